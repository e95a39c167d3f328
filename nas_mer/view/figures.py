"""The look that all figures share, how they fit a paper, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context, rcParams
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch
from matplotlib.text import Text
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

INCH = 2.54  # in centimetres

WIDTHS = {"column": 3.5, "page": 7.16}
"""In inches, of one column and of both columns of an IEEE journal."""

Font = Literal["sans", "serif"]

# Both come with matplotlib, so that a figure looks the same everywhere. STIX is a Times with mathematics.
_FONTS: dict[Font, Any] = {
    "sans": {"font.family": ["DejaVu Sans"], "mathtext.fontset": "dejavusans"},
    "serif": {"font.family": ["STIXGeneral"], "mathtext.fontset": "stix"},
}
_LEAST = 5.0  # points, below which text in print is not legible

PICTURES: dict[str, dict[str, Any]] = {
    ".pdf": {"CreationDate": None},
    ".png": {"Software": None},
    ".svg": {"Date": None},
}
"""The suffixes of pictures, with the metadata that they are written without, so that equal figures are equal files."""


@dataclass(frozen=True)
class Page:
    """What figures are made for. Draw and save them `with page.applied():`.

    Attributes:
        width: the room for a figure in inches. What can be laid out anew fills it, with no text below 7 points; a
            drawing of a natural size is scaled down to it. None: each figure has a width of its own.
        font: the text's; `serif` suits papers set in Times.
    """

    width: float | None = None
    font: Font = "sans"

    @staticmethod
    def current() -> Page:
        """Return the one that is applied, or else the plain one."""
        return _PAGE.get()

    @property
    def room(self) -> float:
        """The width in inches of a figure that is laid out to fill it."""
        return self.width or WIDTHS["page"]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Make figures for it within a `with` block."""
        token = _PAGE.set(self)
        try:
            with rc_context(_FONTS[self.font]):
                yield
        finally:
            _PAGE.reset(token)


_PLAIN = Page()
_PAGE = ContextVar("page", default=_PLAIN)


def check_suffix(path: Path, others: Sequence[str] = ()) -> str:
    """Return the suffix of a picture's file, in lower case: one of `PICTURES`, or of what other tools read.

    Raises:
        UserError: it is none of them.
    """
    suffix = path.suffix.lower()
    if suffix not in (*PICTURES, *others):
        tools = f", and for other tools as {', '.join(others)}" if others else ""
        raise UserError(f"{path}: pictures are written as {', '.join(PICTURES)}{tools}; found '{path.suffix}'")
    return suffix


def save(figure: Figure, path: Path) -> None:
    """Write a figure as svg, png (200 dots an inch) or pdf, by the suffix of `path`; equal figures are equal files.

    A figure that is wider than the current page has room for is scaled down.

    Raises:
        UserError: the suffix is another one, or text would be smaller than 5 points.
    """
    suffix = check_suffix(path)
    width = Page.current().width
    if width is not None and figure.get_figwidth() > width:
        _shrink(figure, width, path)
    style: Any = {"svg.hashsalt": "nas-mer", "pdf.fonttype": 42}  # 42: fonts that journals take and editors edit
    with rc_context(style), replacing(path) as fresh:
        figure.savefig(fresh, format=suffix.removeprefix("."), dpi=200, metadata=PICTURES[suffix])


def _shrink(figure: Figure, width: float, path: Path) -> None:
    """Scale a figure with all that is measured in points to a width in inches."""
    natural, height = (float(side) for side in figure.get_size_inches())
    scale = width / natural
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    smallest = min((float(text.get_fontsize()) for text in texts), default=SMALL)
    if smallest * scale < _LEAST:
        needed = _LEAST / smallest * natural * INCH
        raise UserError(
            f"{path}: at a width of {width * INCH:.1f} cm its text would have {smallest * scale:.1f} points; it needs "
            f"{np.ceil(needed * 10) / 10:.1f} cm, for {_LEAST:g} points"
        )
    figure.set_size_inches(width, height * scale)
    for text in figure.findobj(Text):
        text.set_fontsize(float(text.get_fontsize()) * scale)
    for line in figure.findobj(Line2D):
        line.set_linewidth(line.get_linewidth() * scale)
        line.set_markersize(line.get_markersize() * scale)
    for patch in figure.findobj(Patch):
        patch.set_linewidth(patch.get_linewidth() * scale)
        if isinstance(patch, FancyArrowPatch):
            patch.set_mutation_scale(patch.get_mutation_scale() * scale)


def number(weight: float) -> str:
    """Return a weight, 0..1, with two decimals and without its leading zero: `.07`, `1.00`."""
    return f"{weight:.2f}".removeprefix("0")


def tint(colour: Colour, strength: float) -> Colour:
    """Return a colour mixed with white; strength 1 is the colour itself, 0 is white."""
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(colour))
    return red, green, blue


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return the width of a line of text in inches, in the font that is set."""
    return _text_width(text, size, bold, tuple(rcParams["font.family"]))


@lru_cache(maxsize=8192)
def _text_width(text: str, size: float, bold: bool, family: tuple[str, ...]) -> float:
    font = FontProperties(family=list(family), size=size, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def wrap(text: str, width: float, size: float, bold: bool = False) -> list[str]:
    """Return the lines of a text broken so that each is at most `width` inches wide.

    It is broken between words, and a word that fills more than a line, as a run's name may, after its dashes too.
    """
    pieces: list[tuple[str, str]] = []  # each with what stands before it on the same line
    for word in text.split(" "):
        fits = text_width(word, size, bold) <= width
        first, *others = [word] if fits else re.findall(r"[^-_/]*[-_/]|[^-_/]+", word) or [word]
        pieces += [(" ", first), *(("", other) for other in others)]
    lines: list[str] = []
    for before, piece in pieces:
        longer = f"{lines[-1]}{before}{piece}" if lines else piece
        if lines and text_width(longer, size, bold) <= width:
            lines[-1] = longer
        else:
            lines.append(piece)
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
