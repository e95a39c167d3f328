"""A page to draw on in inches, and cards: boxes of short lines, some of them bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Curve

from nas_mer.view.figures import FAINT, INK, SMALL, Colour, text_width

Point = tuple[float, float]

LEADING = 1.5  # of the font's size
METER = 0.45  # the length of a meter in inches


class Canvas:
    """A page whose unit is the inch, with its origin in the upper left corner and y downwards."""

    def __init__(self) -> None:
        self.figure = Figure()
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set_autoscale_on(False)

    def cut(self, width: float, height: float) -> Figure:
        """Return the page, cut to its size."""
        self.figure.set_size_inches(width, height)
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        return self.figure

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = SMALL,
        colour: Colour = INK,
        bold: bool = False,
        align: Literal["left", "center", "right"] = "left",
        behind: Colour | None = None,
    ) -> None:
        """Write one line, its capitals centred on `y`, with a coloured ground `behind` it."""
        ground = None if behind is None else {"facecolor": behind, "edgecolor": "none", "boxstyle": "round,pad=0.15"}
        self.axes.text(
            x,
            y + 0.365 * size / 72,
            text,
            size=size,
            color=colour,
            weight="bold" if bold else "normal",
            horizontalalignment=align,
            verticalalignment="baseline",
            bbox=ground,
            zorder=9,
            parse_math=False,
        )

    def box(
        self, x: float, y: float, width: float, height: float, face: Colour, edge: Colour = INK, line: float = 0.8
    ) -> None:
        """Draw a box with round corners; (x, y) is its upper left one."""
        shape = f"round,pad=0,rounding_size={min(0.06, height / 3)}"
        self.axes.add_artist(
            FancyBboxPatch((x, y), width, height, shape, facecolor=face, edgecolor=edge, linewidth=line, zorder=5)
        )

    def bar(self, x: float, y: float, width: float, height: float, face: Colour) -> None:
        """Fill a rectangle; (x, y) is its upper left corner."""
        self.axes.add_artist(Rectangle((x, y), width, height, facecolor=face, linewidth=0, zorder=6))

    def frame(self, x: float, y: float, width: float, height: float) -> None:
        """Draw the outline of a rectangle; (x, y) is its upper left corner."""
        outline = Rectangle((x, y), width, height, facecolor="none", edgecolor=INK, linewidth=0.9, zorder=7)
        self.axes.add_artist(outline)

    def disc(self, x: float, y: float, radius: float, face: Colour, edge: Colour = INK) -> None:
        """Draw a filled circle."""
        self.axes.add_artist(Circle((x, y), radius, facecolor=face, edgecolor=edge, linewidth=0.8, zorder=5))

    def line(
        self,
        points: Sequence[Point],
        colour: Colour = INK,
        width: float = 1.0,
        arrow: bool = False,
        curved: bool = False,
        above: bool = False,
    ) -> None:
        """Draw a line through points, or the curve of four control points; `above` other lines, but below boxes."""
        codes = [Curve.MOVETO, *([Curve.CURVE4] * 3 if curved else [Curve.LINETO] * (len(points) - 1))]
        self.axes.add_artist(
            FancyArrowPatch(
                path=Curve(points, codes),
                arrowstyle="-|>,head_length=0.45,head_width=0.2" if arrow else "-",
                mutation_scale=8 + 2 * width,
                color=colour,
                linewidth=width,
                capstyle="butt" if arrow else "round",
                joinstyle="miter" if arrow else "round",
                shrinkA=0,
                shrinkB=0,
                zorder=3 if above else 2,
            )
        )


@dataclass(frozen=True)
class Row:
    """A line of a card: a text on a coloured ground, or a text, a meter and the meter's value.

    Attributes:
        bar: the colour of the ground or the meter; None for neither.
        part: how far the meter goes, 0..1; None for a ground.
        mark: where on the meter, 0..1, a thin line stands.
        right: a text at the right end.
        framed: whether a frame stands around it.
    """

    left: str
    right: str = ""
    size: float = SMALL
    colour: Colour = INK
    bold: bool = False
    centred: bool = False
    bar: Colour | None = None
    part: float | None = None
    mark: float = 0.0
    framed: bool = False

    @property
    def width(self) -> float:
        """Its least width in inches."""
        right = text_width(self.right, self.size, self.bold) + 0.12 if self.right else 0
        meter = 0 if self.part is None else METER + 0.08
        return text_width(self.left, self.size, self.bold) + meter + right + 0.1

    @property
    def height(self) -> float:
        """Its height in inches."""
        return self.size * LEADING / 72 + (0 if self.bar is None else 0.02)

    def draw(self, canvas: Canvas, x: float, y: float, width: float) -> None:
        """Draw the row with its upper left corner at (x, y)."""
        middle, inner = y + self.height / 2, self.height - 0.03
        if self.bar is not None and self.part is None:
            canvas.bar(x, y + 0.015, width, inner, self.bar)
        elif self.bar is not None and self.part is not None:
            start = x + width - METER - 0.33  # the values of all meters take as much room
            canvas.bar(start, middle - 0.035, METER, 0.07, "#ececec")
            canvas.bar(start, middle - 0.035, METER * self.part, 0.07, self.bar)
            canvas.bar(start + METER * self.mark - 0.005, middle - 0.05, 0.01, 0.1, INK)
        if self.framed:
            canvas.frame(x, y + 0.01, width, self.height - 0.02)
        if self.centred:
            canvas.text(x + width / 2, middle, self.left, self.size, self.colour, self.bold, "center")
        else:
            canvas.text(x + 0.05, middle, self.left, self.size, self.colour, self.bold)
        if self.right:
            canvas.text(x + width - 0.05, middle, self.right, self.size, self.colour, self.bold, "right")


@dataclass(frozen=True)
class Card:
    """A box of rows: those of its head, and below them the others in one or more columns.

    Attributes:
        least: its least width in inches.
        stacked: whether it looks like several cards on top of each other.
    """

    head: tuple[Row, ...]
    rows: tuple[Row, ...] = ()
    columns: int = 1
    face: Colour = "white"
    edge: Colour = INK
    line: float = 0.8
    least: float = 0.0
    stacked: bool = False

    @cached_property
    def width(self) -> float:
        """Its width in inches."""
        column = max((row.width for row in self.rows), default=0)
        body = self.columns * column + (self.columns - 1) * 0.1
        return max([self.least, max([body, *(row.width for row in self.head)]) + 0.12])

    @cached_property
    def height(self) -> float:
        """Its height in inches."""
        return sum(row.height for row in self.head) + max(self._heights(), default=0) + 0.1

    @property
    def side(self) -> float:
        """How far its outline is from its centre at the left and right."""
        return self.width / 2

    @property
    def room(self) -> float:
        """How broad a part of its upper and lower side lines may end at."""
        return self.width - 0.3

    def reach(self, shift: float) -> float:
        """Return how far its outline is from its centre above and below, `shift` beside the centre."""
        return self.height / 2

    def _columns(self) -> list[tuple[Row, ...]]:
        length = -(-len(self.rows) // self.columns)
        return [self.rows[start : start + length] for start in range(0, len(self.rows), max(length, 1))]

    def _heights(self) -> list[float]:
        return [sum(row.height for row in column) for column in self._columns()]

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw the card with its upper left corner at (x, y)."""
        for shift in (0.08, 0.04) if self.stacked else ():
            canvas.box(x + shift, y - shift, self.width, self.height, self.face, FAINT, self.line)
        canvas.box(x, y, self.width, self.height, self.face, self.edge, self.line)
        inner = self.width - 0.12
        top = y + 0.05
        for row in self.head:
            row.draw(canvas, x + 0.06, top, inner)
            top += row.height
        width = (inner - (self.columns - 1) * 0.1) / self.columns
        for index, column in enumerate(self._columns()):
            at = top
            for row in column:
                row.draw(canvas, x + 0.06 + index * (width + 0.1), at, width)
                at += row.height
