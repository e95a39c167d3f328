"""Curves of a search over the epochs: its weights and losses, how decided it is, and its best genotypes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Locator, LogLocator, MaxNLocator

from nas_mer.search.decided import decidedness
from nas_mer.view.canvas import LEADING, Canvas
from nas_mer.view.course import Course, heaviest, settled
from nas_mer.view.figures import (
    FAINT,
    GREY,
    INK,
    LARGE,
    MEDIUM,
    PALETTE,
    SMALL,
    Colour,
    Page,
    apart,
    number,
    save,
    text_width,
    wrap,
)

Array = np.ndarray[Any, Any]

_MARGIN = 0.2
_WIDTH, _HEIGHT = 2.3, 1.5  # of a panel's axes, unless the page is narrow or the labels are many
_NARROWEST = 1.4
_GAP = 0.3  # between panels
_LABEL = 0.13  # the height of a label
_LEADER = 0.2  # from the end of a curve to its label
_TICKS = 0.35  # the room that the ticks' numbers take
_MOST_COLUMNS = 5
_FEW = 8  # searches that are drawn one by one
_DECADES = 1e-12  # of the greatest joint weight, below which none is told apart
_COLOURS = (*PALETTE[:-1], INK)  # thin lines in yellow are hard to see
_OTHER = "#8c8c8c"


def draw_history(
    weights: Mapping[str, Array],
    options: Mapping[str, Sequence[str]],
    losses: Mapping[str, Array],
    path: Path,
    course: Course | None = None,
) -> None:
    """Write `history_figure` as svg, png or pdf, by the suffix of `path`.

    Raises:
        UserError: the suffix is another one.
    """
    save(history_figure(weights, options, losses, course), path)


def history_figure(
    weights: Mapping[str, Array],
    options: Mapping[str, Sequence[str]],
    losses: Mapping[str, Array] | None = None,
    course: Course | None = None,
) -> Figure:
    """Draw a search over its epochs: losses, how decided each decision is, the best genotypes, and all weights.

    Lines are of the mean weights over searches, from which genotypes come. Several searches are drawn pale below them,
    many as the band in which the middle nine tenths of them lie. Every curve is labelled at its end; the option of the
    greatest weight at the end is drawn thick, a dashed line shows equal weights, and a dotted one the epoch since which
    the winner has been the same.

    Args:
        weights: `(searches, epochs, options)` in 0..1 of each decision.
        options: the names of each decision's options, in the order of the last axis.
        losses: `(searches, epochs)` of each loss by its name.
        course: how the best genotypes came about; without it they are not drawn.
    """
    panels = [_loss_panel(losses)] if losses else []
    panels.append(_decided_panel(weights))
    panels += [_genotype_panel(course)] if course else []
    panels += [_weight_panel(decision, options[decision], values) for decision, values in weights.items()]
    columns, across = _columns(panels)
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    widths = [_around(row[c] for row in rows if c < len(row)) + across for c in range(columns)]
    heights = [max(panel.height for panel in row) for row in rows]
    canvas = Canvas()
    y = _head(canvas, panels[-1].searches, course, sum(widths))
    size = sum(widths) + 2 * _MARGIN, y + sum(heights) + 0.75 * len(rows) + _MARGIN
    for row, height in zip(rows, heights, strict=True):
        x = _MARGIN
        for panel, width in zip(row, widths, strict=False):
            _draw(panel, canvas, (x + _TICKS, y + 0.25, across, height), size)
            x += width
        y += height + 0.75
    return canvas.cut(*size)


def _columns(panels: Sequence[_Panel]) -> tuple[int, float]:
    """Return how many panels stand side by side, and how wide the axes of each are in inches."""
    width, least = Page.current().width, max(_NARROWEST, *(panel.head_width - panel.label_width for panel in panels))
    if width is None:
        return min(math.ceil(math.sqrt(len(panels))), _MOST_COLUMNS), max(_WIDTH, least)
    room = width - 2 * _MARGIN
    for columns in range(min(len(panels), _MOST_COLUMNS), 0, -1):
        across = (room - sum(_around(panels[c::columns]) for c in range(columns))) / columns
        if across >= least:
            break
    return columns, max(across, least)


def _around(panels: Iterable[_Panel]) -> float:
    """Return how much room the ticks and labels of a column of panels take."""
    return _TICKS + max(panel.label_width for panel in panels) + _GAP


@dataclass(frozen=True)
class _Curve:
    """One labelled curve.

    Attributes:
        line: of the mean weights, `(epochs,)`.
        values: of each search, `(searches, epochs)`.
    """

    label: str
    line: Array
    values: Array
    colour: Colour
    thick: bool = False


@dataclass(frozen=True)
class _Panel:
    """Axes with curves over the epochs.

    Attributes:
        limits: the least and the greatest value shown.
        equal: where a dashed line stands.
        logarithmic: whether the values' axis is.
        since: the epoch since which the winner has been the same.
        below: what is told of that.
    """

    title: str
    note: str
    curves: tuple[_Curve, ...]
    limits: tuple[float, float]
    equal: float | None = None
    logarithmic: bool = False
    since: int | None = None
    below: str = ""

    @property
    def searches(self) -> int:
        return len(self.curves[0].values)

    @property
    def height(self) -> float:
        return max(_HEIGHT, _LABEL * len(self.curves))

    @property
    def head_width(self) -> float:
        """How much title and note take; they may reach above the labels."""
        return text_width(self.title, MEDIUM, bold=True) + (0.1 + text_width(self.note, SMALL) if self.note else 0)

    @property
    def label_width(self) -> float:
        return max(text_width(curve.label, SMALL, curve.thick) for curve in self.curves) + _LEADER + 0.05

    def share(self, value: float) -> float:
        """Return how high a value stands, 0 at the lower end of the axis and 1 at the upper one."""
        low, high, at = (np.log(part) if self.logarithmic else part for part in (*self.limits, value))
        return float((at - low) / (high - low))


def _weight_panel(decision: str, options: Sequence[str], values: Array) -> _Panel:
    mean = values.mean(axis=0)
    final = mean[-1]
    best = int(final.argmax())
    coloured = [index for index, name in enumerate(options) if name != "none"]
    if len(coloured) > len(_COLOURS):  # too many to tell apart: the heaviest ones
        coloured.sort(key=lambda index: -final[index])
    colours = dict(zip(coloured, _COLOURS, strict=False))
    curves = tuple(
        _Curve(
            f"{name} {number(final[index])}",
            mean[:, index],
            values[:, :, index],
            colours.get(index, _OTHER),
            index == best,
        )
        for index, name in enumerate(options)
    )
    equal, since = 1 / len(options), settled(heaviest(values))
    limits = 0.0, 1.06 * max(float(values.max()), equal)
    note = f"{decidedness(final):.0%} decided"
    return _Panel(decision, note, curves, limits, equal, since=since, below=_told(since, len(mean), "winner"))


def _decided_panel(weights: Mapping[str, Array]) -> _Panel:
    curves = []
    for index, (decision, values) in enumerate(weights.items()):
        line, each = (np.apply_along_axis(decidedness, -1, weighed) for weighed in (values.mean(axis=0), values))
        curves.append(_Curve(f"{decision} {line[-1]:.0%}", line, each, _COLOURS[index % len(_COLOURS)]))
    most = max(max(curve.line.max(), curve.values.max()) for curve in curves)
    return _Panel("how decided", "", tuple(curves), (0.0, 1.06 * max(float(most), 0.01)))


def _genotype_panel(course: Course) -> _Panel:
    equal = course.equal
    least = _DECADES * max(float(course.joint.max()), equal)  # a weight of 0 has no logarithm
    joint, each = np.maximum(course.joint, least), np.maximum(course.each, least)
    curves = tuple(
        _Curve(
            f"top{genotype.rank} {course.joint[-1, index]:.2g}",
            joint[:, index],
            each[:, :, index],
            _COLOURS[index % len(_COLOURS)],
            genotype.rank == 1,
        )
        for index, genotype in enumerate(course.genotypes)
    )
    limits = (
        min(float(each.min()), float(joint.min()), equal) / 1.3,
        max(float(each.max()), float(joint.max()), equal) * 1.3,
    )
    below = _told(course.since, course.epochs, "best")
    return _Panel("joint weight of the best", "", curves, limits, equal, True, course.since, below)


def _loss_panel(losses: Mapping[str, Array]) -> _Panel:
    curves = tuple(
        _Curve(
            f"{name.replace('_', ' ')} {values[:, -1].mean():.2f}",
            values.mean(axis=0),
            values,
            _COLOURS[index % len(_COLOURS)],
        )
        for index, (name, values) in enumerate(losses.items())
    )
    everything = np.concatenate([values.ravel() for values in losses.values()])
    low, high = float(everything.min()), float(everything.max())
    pad = 0.06 * (high - low) or 0.5
    return _Panel("loss", "", curves, (low - pad, high + pad))


def _told(since: int | None, epochs: int, what: str) -> str:
    """Return in words since when a winner has been the same."""
    if epochs == 1:
        return ""
    return f"the {what} changed in the last one" if since is None else f"the same {what} since {since}"


def _head(canvas: Canvas, searches: int, course: Course | None, width: float) -> float:
    """Write the title and what the lines mean; return where the panels may begin."""
    canvas.text(_MARGIN, _MARGIN + LARGE / 144, "A search by epoch", LARGE, bold=True)
    text = f"{course.text} " if course is not None and course.text else ""
    if searches > 1:
        pale = f"the middle 90 % of {searches} searches" if searches > _FEW else f"each of {searches} searches"
        text += f"Lines: of the mean weights; pale: {pale}. "
    text += (
        "Thick: the greatest at the end; dashed: equal weights; dotted: since when the winner is the same. Decided: 1 "
        "\u2212 entropy / log(number of options)."
    )
    y = _MARGIN + LARGE * LEADING / 72 + 0.1
    for line in wrap(text, width, SMALL):
        canvas.text(_MARGIN, y, line, colour=GREY)
        y += SMALL * LEADING / 72
    return y + 0.05


def _draw(panel: _Panel, canvas: Canvas, place: tuple[float, float, float, float], page: tuple[float, float]) -> None:
    """Draw a panel with its axes at a place, (left, top, width, height) in inches, of a page of some size."""
    (x, y, width, height), (wide, high) = place, page
    axes = canvas.figure.add_axes((x / wide, 1 - (y + height) / high, width / wide, height / high))
    _curves(axes, panel)
    canvas.text(x, y - 0.1, panel.title, MEDIUM, bold=True)
    canvas.text(x + max(width, panel.head_width), y - 0.1, panel.note, colour=GREY, align="right")
    below = f"epoch; {panel.below}" if panel.below else "epoch"
    canvas.text(x + width / 2, y + height + 0.3, below, colour=GREY, align="center")
    ends = [y + height * (1 - panel.share(curve.line[-1])) for curve in panel.curves]
    places = apart(ends, _LABEL, y, y + height)
    for curve, end, middle in zip(panel.curves, ends, places, strict=True):
        canvas.line([(x + width, end), (x + width + _LEADER - 0.04, middle)], curve.colour, 0.7)
        label = INK if curve.thick else GREY
        canvas.text(x + width + _LEADER, middle, curve.label, colour=label, bold=curve.thick)


def _curves(axes: Axes, panel: _Panel) -> None:
    epochs = np.arange(1, len(panel.curves[0].line) + 1)
    alone = "o" if len(epochs) == 1 else ""
    for curve in sorted(panel.curves, key=lambda curve: curve.thick):
        if panel.searches > _FEW:
            low, high = np.quantile(curve.values, (0.05, 0.95), axis=0)
            axes.fill_between(epochs, low, high, color=curve.colour, linewidth=0, alpha=0.15)
        elif panel.searches > 1:
            axes.plot(epochs, curve.values.T, color=curve.colour, linewidth=0.5, alpha=0.35)
        width = 2.2 if curve.thick else 1.0
        axes.plot(epochs, curve.line, color=curve.colour, linewidth=width, marker=alone, markersize=3)
    if panel.equal is not None:
        axes.axhline(panel.equal, color=GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
    if panel.since is not None:
        axes.axvline(panel.since, color=INK, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    if panel.logarithmic:
        axes.set_yscale("log")
        axes.minorticks_off()
    axes.set_ylim(*panel.limits)
    axes.set_xlim(min(1, len(epochs) - 1), len(epochs))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=SMALL, labelcolor=GREY, color=FAINT, length=3)
    axes.set_xticks(_ticks((1, len(epochs)), MaxNLocator(5, integer=True)))
    decades = LogLocator(subs=(1,) if panel.limits[1] > 100 * panel.limits[0] else (1, 2, 5), numticks=5)
    ticks = _ticks(panel.limits, decades if panel.logarithmic else MaxNLocator(4))
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])


def _ticks(limits: tuple[float, float], locator: Locator) -> list[float]:
    low, high = limits
    return [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]
