"""A page to draw on in inches, and cards: boxes of short lines, some of them bars."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal
from urllib.parse import quote, urlencode

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path as Curve

from nas_mer.view.figures import FAINT, INK, SMALL, Colour, text_width

Point = tuple[float, float]
Choices = Mapping[str, str]
"""Decision -> option."""

LEADING = 1.5  # of the font's size
METER = 0.45  # the length of a full meter in inches
UNSEEN = 0.001  # the opacity of what is not seen; with none at all matplotlib would leave it out
_HEAD = 6.0, 5.4  # the length and the width of an arrow's head in points


def mark(role: str, *ways: Choices) -> str:
    """Return the name of an artist whose look depends on weights: `role|decision=option&decision2=option2;...`.

    Its weight is the sum over ways of the product of their options' weights. Names are URL-quoted. A canvas ends the
    name with `|n`, so that it is unique; in an SVG file it is the id of the artist's group.
    """
    return f"{role}|{';'.join(urlencode(way, quote_via=quote) for way in ways)}"


class Canvas:
    """A page whose unit is the inch, with its origin in the upper left corner and y downwards."""

    def __init__(self) -> None:
        self._marks: Counter[str] = Counter()
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
        mark: str = "",
    ) -> None:
        """Write one line, its capitals centred on `y`, with a coloured ground `behind` it."""
        ground = None if behind is None else {"facecolor": behind, "edgecolor": "none", "boxstyle": "round,pad=0.15"}
        written = self.axes.text(
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
        self._mark(written, mark)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        face: Colour,
        edge: Colour = INK,
        opacity: float = 1.0,
        mark: str = "",
    ) -> None:
        """Draw a box with round corners; (x, y) is its upper left one. The opacity and the name are its outline's."""
        shape = f"round,pad=0,rounding_size={min(0.06, height / 3)}"
        self._add(FancyBboxPatch((x, y), width, height, shape, facecolor=face, linewidth=0, zorder=5))
        outline = FancyBboxPatch(
            (x, y), width, height, shape, fill=False, edgecolor=edge, linewidth=0.8, alpha=opacity, zorder=5
        )
        self._add(outline, mark)

    def bar(self, x: float, y: float, width: float, height: float, face: Colour, mark: str = "") -> None:
        """Fill a rectangle; (x, y) is its upper left corner."""
        self._add(Rectangle((x, y), width, height, facecolor=face, linewidth=0, zorder=6), mark)

    def frame(self, x: float, y: float, width: float, height: float, shown: bool, mark: str) -> None:
        """Draw the outline of a rectangle, invisible unless `shown`; (x, y) is its upper left corner."""
        alpha = 1.0 if shown else UNSEEN
        self._add(Rectangle((x, y), width, height, fill=False, edgecolor=INK, linewidth=1, alpha=alpha, zorder=7), mark)

    def disc(self, x: float, y: float, radius: float, face: Colour, edge: Colour = INK) -> None:
        """Draw a filled circle."""
        self._add(Circle((x, y), radius, facecolor=face, edgecolor=edge, linewidth=0.8, zorder=5))

    def line(
        self,
        points: Sequence[Point],
        colour: Colour = INK,
        width: float = 1.0,
        arrow: bool = False,
        curved: bool = False,
        opacity: float = 1.0,
        dashes: Sequence[float] = (),
        mark: str = "",
    ) -> None:
        """Draw a line through points, or the curve of four control points, below boxes.

        Args:
            points: at least two.
            colour: of the line and its head.
            width: in points.
            arrow: whether a head stands at its end; it is as large whatever the width.
            curved: whether the points are control points.
            opacity: 0..1.
            dashes: the lengths of dashes and gaps in points; none for a solid line.
            mark: the name of the line and of its head.
        """
        if arrow:
            points = [*points[:-1], self._head(points[-2], points[-1], colour, opacity, mark)]
        codes = [Curve.MOVETO, *([Curve.CURVE4] * 3 if curved else [Curve.LINETO] * (len(points) - 1))]
        # matplotlib takes dashes in units of the line's width.
        style = (0, tuple(length / width for length in dashes)) if dashes else "solid"
        line = PathPatch(
            Curve(points, codes),
            fill=False,
            edgecolor=colour,
            linewidth=width,
            linestyle=style,
            capstyle="butt" if arrow or dashes else "round",
            joinstyle="miter" if arrow else "round",
            alpha=opacity,
            zorder=2,
        )
        self._add(line, mark)

    def _head(self, before: Point, tip: Point, colour: Colour, opacity: float, mark: str) -> Point:
        """Draw an arrow's head and return the middle of its base."""
        length, width = (size / 72 for size in _HEAD)
        way = math.dist(before, tip) or 1.0
        along, down = (tip[0] - before[0]) / way, (tip[1] - before[1]) / way
        x, y = tip[0] - length * along, tip[1] - length * down
        corners = [(x - width / 2 * down, y + width / 2 * along), tip, (x + width / 2 * down, y - width / 2 * along)]
        self._add(Polygon(corners, facecolor=colour, linewidth=0, alpha=opacity, zorder=2), mark)
        return x, y

    def _add(self, artist: Artist, mark: str = "") -> None:
        self.axes.add_artist(artist)
        self._mark(artist, mark)

    def _mark(self, artist: Artist, mark: str) -> None:
        if mark:
            self._marks[mark] += 1
            artist.set_gid(f"{mark}|{self._marks[mark]}")


@dataclass(frozen=True)
class Row:
    """A line of a card: a text on a coloured ground, or a text, a meter and the meter's value.

    Attributes:
        bar: the colour of the ground or the meter; None for neither.
        part: how far the meter goes, 0..1; None for a ground.
        tick: where on the meter, 0..1, a thin line stands.
        right: a text at the right end, or the row's only one.
        widest: the longest text that `right` may become at other weights.
        framed: whether a frame stands around it.
        role: of the right text, where it depends on weights.
        way: what the weights are of.
    """

    left: str
    right: str = ""
    size: float = SMALL
    colour: Colour = INK
    bold: bool = False
    centred: bool = False
    bar: Colour | None = None
    part: float | None = None
    tick: float = 0.0
    widest: str = ""
    framed: bool = False
    role: str = ""
    way: Choices = field(default_factory=dict)

    @property
    def width(self) -> float:
        """Its least width in inches."""
        right = text_width(self.widest or self.right, self.size, self.bold) + 0.12 if self.right else 0
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
            canvas.bar(start, middle - 0.035, METER * self.part, 0.07, self.bar, mark("meter", self.way))
            canvas.bar(start + METER * self.tick - 0.005, middle - 0.05, 0.01, 0.1, INK)
            canvas.frame(x, y + 0.01, width, self.height - 0.02, self.framed, mark("frame", self.way))
        name = mark(self.role, self.way) if self.role else ""
        if self.centred:
            canvas.text(
                x + width / 2, middle, self.left or self.right, self.size, self.colour, self.bold, "center", mark=name
            )
        else:
            canvas.text(x + 0.05, middle, self.left, self.size, self.colour, self.bold)
            canvas.text(x + width - 0.05, middle, self.right, self.size, self.colour, self.bold, "right", mark=name)


@dataclass(frozen=True)
class Card:
    """A box of rows: those of its head, and below them the others in one or more columns.

    Attributes:
        least: its least width in inches.
        stacked: whether it looks like several cards on top of each other.
        opacity: of its outline, 0..1.
        mark: the name of its outline, where that depends on weights.
    """

    head: tuple[Row, ...]
    rows: tuple[Row, ...] = ()
    columns: int = 1
    face: Colour = "white"
    edge: Colour = INK
    least: float = 0.0
    stacked: bool = False
    opacity: float = 1.0
    mark: str = ""

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
            canvas.box(x + shift, y - shift, self.width, self.height, self.face, FAINT)
        canvas.box(x, y, self.width, self.height, self.face, self.edge, self.opacity, self.mark)
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
