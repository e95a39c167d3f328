"""The look that all figures share, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from scipy.optimize import isotonic_regression

from nas_mer.errors import UserError
from nas_mer.files import replacing

Colour = str | tuple[float, float, float]


class Okabe:
    """The colours of Okabe and Ito (2008), which any colour vision tells apart."""

    BLUE = "#0072B2"
    ORANGE = "#E69F00"
    GREEN = "#009E73"
    VERMILLION = "#D55E00"
    SKY = "#56B4E9"
    PURPLE = "#CC79A7"
    YELLOW = "#F0E442"


PALETTE = (Okabe.BLUE, Okabe.ORANGE, Okabe.GREEN, Okabe.VERMILLION, Okabe.SKY, Okabe.PURPLE, Okabe.YELLOW)
INK, GREY, FAINT = "#1a1a1a", "#666666", "#d5d5d5"

# The fonts are at least 7 points at a figure's natural size.
SMALL, MEDIUM, LARGE = 7.0, 8.5, 11.0

_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
    "svg": {"Date": None},
}


def save(figure: Figure, path: Path) -> None:
    """Write a figure as svg, png (200 dots an inch) or pdf, by the suffix of `path`; equal figures are equal files.

    Raises:
        UserError: the suffix is another one.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _METADATA:
        known = ", ".join(f".{known}" for known in _METADATA)
        raise UserError(f"{path}: figures are written as {known}, found '{path.suffix}'")
    style: Any = {"svg.hashsalt": "nas-mer", "pdf.fonttype": 42}  # 42: fonts that journals take and editors edit
    with rc_context(style), replacing(path) as fresh:
        figure.savefig(fresh, format=kind, dpi=200, metadata=_METADATA[kind])


def number(weight: float) -> str:
    """Return a weight, 0..1, with two decimals and without its leading zero: `.07`, `1.00`."""
    return f"{weight:.2f}".removeprefix("0")


def tint(colour: Colour, strength: float) -> Colour:
    """Return a colour mixed with white; strength 1 is the colour itself, 0 is white."""
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(colour))
    return red, green, blue


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return the width of a line of text in inches."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def wrap(text: str, width: float, size: float, bold: bool = False) -> list[str]:
    """Return the lines of a text broken between words so that each is at most `width` inches wide."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size, bold) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def apart(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions moved as little as possible (in squares) so that neighbours are `gap` apart, within low..high.

    The gap shrinks where there is no room for it. The order is kept; equal positions stay in their given order.
    """
    count = len(positions)
    gap = min(gap, (high - low) / max(count - 1, 1))
    order = np.argsort(positions, kind="stable")
    steps = gap * np.arange(count)
    # With the steps taken off, "at least a gap apart" is "not falling": isotonic regression solves it exactly.
    level = isotonic_regression(np.asarray(positions)[order] - steps).x
    moved = np.empty(count)
    moved[order] = np.clip(level, low, high - gap * (count - 1)) + steps
    return [float(position) for position in moved]
