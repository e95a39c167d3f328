"""A page of panels under a title and a legend, filled from above."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas_mer.view.canvas import LEADING, Canvas
from nas_mer.view.figures import FAINT, GREY, INK, LARGE, SMALL, Colour, Page, text_width, wrap

# Inches.
MARGIN = 0.12
GAP = 0.26  # between panels
LINE = SMALL * LEADING / 72
TICKS = 0.34  # below a panel: the numbers of its ticks, and what is below them


@dataclass(frozen=True)
class Entry:
    """An entry of a legend: a marker, a line (`-`, `=` for a thick one, `--`), a bar (`|`) or nothing, and a text."""

    shape: str
    colour: Colour
    text: str
    filled: bool = True


class Sheet:
    """A page of the current width, or the least that its content needs, that is filled from above.

    Attributes:
        y: where the next piece begins, in inches from the top.
    """

    def __init__(self, title: str, entries: Sequence[Entry], least: float = 0.0) -> None:
        self.canvas = Canvas()
        self.width = max(Page.current().room, least)
        self.y = MARGIN
        self._panels: list[tuple[Axes, float, float, float, float]] = []
        for line in wrap(title, self.width - 2 * MARGIN, LARGE, bold=True):
            self.canvas.text(MARGIN, self.y + LARGE / 144, line, LARGE, bold=True)
            self.y += LARGE * LEADING / 72
        self.y += 0.08
        self._legend(entries)
        self.y += 0.12

    def _legend(self, entries: Sequence[Entry]) -> None:
        x = MARGIN
        for entry in entries:
            symbol = 0.26 if entry.shape else 0.0
            lines = wrap(entry.text, self.width - 2 * MARGIN - symbol, SMALL)
            needed = symbol + max(text_width(line, SMALL) for line in lines)
            if x > MARGIN and x + needed > self.width - MARGIN:
                x, self.y = MARGIN, self.y + LINE
            self._symbol(entry, x, self.y)
            for number, line in enumerate(lines):
                self.y += LINE if number else 0
                self.canvas.text(x + symbol, self.y, line, colour=GREY)
            x += needed + 0.16
        self.y += LINE / 2

    def _symbol(self, entry: Entry, x: float, y: float) -> None:
        match entry.shape:
            case "":
                return
            case "|":
                self.canvas.bar(x + 0.08, y - 0.05, 0.07, 0.1, entry.colour)
            case "-" | "=" | "--":
                self.canvas.axes.plot(
                    [x, x + 0.2],
                    [y, y],
                    color=entry.colour,
                    linewidth=2.6 if entry.shape == "=" else 0.8,
                    linestyle=(0, (3, 2)) if entry.shape == "--" else "-",
                    solid_capstyle="butt",
                )
            case shape:
                point(self.canvas.axes, x + 0.12, y, shape, entry.colour, entry.filled)

    def text(
        self,
        x: float,
        text: str,
        size: float = SMALL,
        colour: Colour = INK,
        bold: bool = False,
        align: Literal["left", "right"] = "left",
    ) -> None:
        """Write one line at the place reached."""
        self.canvas.text(x, self.y + 0.06, text, size, colour, bold, align)

    def upright(self, x: float, y: float, text: str, colour: Colour, hanging: bool = False) -> None:
        """Write one line that is read from below, centred on `y`, or ending there."""
        self.canvas.axes.text(
            x, y, text, size=SMALL, color=colour, rotation=90, horizontalalignment="center",
            verticalalignment="top" if hanging else "center", zorder=9, parse_math=False,
        )  # fmt: skip

    def panel(self, x: float, y: float, width: float, height: float) -> Axes:
        """Return axes with their upper left corner at (x, y)."""
        axes = self.canvas.figure.add_axes((0, 0, 1, 1))
        self._panels.append((axes, x, y, width, height))
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)
        axes.tick_params(labelsize=SMALL, labelcolor=GREY, color=FAINT, length=2.5, pad=2)
        axes.set_facecolor("none")
        return axes

    def cut(self) -> Figure:
        """Return the page, cut below the place reached."""
        height = self.y + 0.06
        figure = self.canvas.cut(self.width, height)
        for axes, x, y, wide, high in self._panels:
            axes.set_position((x / self.width, 1 - (y + high) / height, wide / self.width, high / height))
        return figure


def point(axes: Axes, x: float, y: float, shape: str, colour: Colour, filled: bool = True) -> None:
    """Draw a value as a marker, which may reach over the edge of its panel."""
    axes.plot(
        [x], [y], marker=shape, markersize=4.2 if shape == "D" else 4.6, linestyle="", color=colour,
        markerfacecolor=colour if filled else "white", markeredgewidth=1.0, zorder=5, clip_on=False,
    )  # fmt: skip


def columns_for(count: int, room: float, least: float) -> int:
    """Return how many of `count` panels stand side by side: as many as fit, in lines that are about as long."""
    fitting = min(count, max(1, int((room + GAP) / (least + GAP))))
    return math.ceil(count / math.ceil(count / fitting))


def bare(text: str) -> str:
    """Return numbers without the zero before their point, and with a minus sign instead of a hyphen."""
    return re.sub(r"(?<![\w.])-(?=\.?\d)", "\u2212", re.sub(r"(?<!\d)0\.", ".", text))
