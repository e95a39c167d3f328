"""Curves of a search: its architecture weights and losses over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nas_mer.view.architecture import decidedness
from nas_mer.view.canvas import LEADING, Canvas
from nas_mer.view.figures import (
    FAINT,
    GREY,
    INK,
    LARGE,
    MEDIUM,
    PALETTE,
    SMALL,
    Colour,
    apart,
    number,
    save,
    text_width,
    wrap,
)

Array = np.ndarray[Any, Any]

_MARGIN = 0.2
_WIDTH, _HEIGHT = 2.3, 1.5  # of a panel's axes, at least
_LABEL = 0.13  # the height of a label
_LEADER = 0.2  # from the end of a curve to its label
_TICKS = 0.35  # the room that the ticks' numbers take
_MOST_COLUMNS = 5
_COLOURS = (*PALETTE[:-1], INK)  # thin lines in yellow are hard to see
_OTHER = "#8c8c8c"


def draw_history(
    weights: Mapping[str, Array], options: Mapping[str, Sequence[str]], losses: Mapping[str, Array], path: Path
) -> None:
    """Write `history_figure` as svg, png or pdf, by the suffix of `path`.

    Raises:
        UserError: the suffix is another one.
    """
    save(history_figure(weights, options, losses), path)


def history_figure(
    weights: Mapping[str, Array], options: Mapping[str, Sequence[str]], losses: Mapping[str, Array] | None = None
) -> Figure:
    """Draw the architecture weights of a search over its epochs, a panel for each decision, and its losses.

    Several seeds are drawn thin, their mean over them. Every curve is labelled at its end; the option of the greatest
    mean weight at the end is drawn thick, and a dashed line shows equal weights.

    Args:
        weights: `(seeds, epochs, options)` in 0..1 of each decision.
        options: the names of each decision's options, in the order of the last axis.
        losses: `(seeds, epochs)` of each loss by its name.
    """
    panels = [_loss_panel(losses)] if losses else []
    panels += [_weight_panel(decision, options[decision], values) for decision, values in weights.items()]
    columns = min(math.ceil(math.sqrt(len(panels))), _MOST_COLUMNS)
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    widths = [_TICKS + _WIDTH + max(row[c].label_width for row in rows if c < len(row)) + 0.3 for c in range(columns)]
    heights = [max(panel.height for panel in row) for row in rows]
    canvas = Canvas()
    y = _head(canvas, panels[-1].seeds, sum(widths))
    size = sum(widths) + 2 * _MARGIN, y + sum(heights) + 0.75 * len(rows) + _MARGIN
    for row, height in zip(rows, heights, strict=True):
        x = _MARGIN
        for panel, width in zip(row, widths, strict=False):
            _draw(panel, canvas, x + _TICKS, y + 0.25, height, size)
            x += width
        y += height + 0.75
    return canvas.cut(*size)


@dataclass(frozen=True)
class _Curve:
    """One labelled curve.

    Attributes:
        values: `(seeds, epochs)`.
    """

    label: str
    values: Array
    colour: Colour
    thick: bool = False

    @property
    def mean(self) -> Array:
        """The mean over seeds, `(epochs,)`."""
        mean: Array = self.values.mean(axis=0)
        return mean


@dataclass(frozen=True)
class _Panel:
    """Axes with curves over the epochs."""

    title: str
    note: str
    curves: tuple[_Curve, ...]
    equal: float | None = None

    @property
    def seeds(self) -> int:
        return len(self.curves[0].values)

    @property
    def height(self) -> float:
        return max(_HEIGHT, _LABEL * len(self.curves))

    @property
    def label_width(self) -> float:
        return max(text_width(curve.label, SMALL, curve.thick) for curve in self.curves) + _LEADER + 0.05

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest value shown."""
        values = np.concatenate([curve.values.ravel() for curve in self.curves])
        if self.equal is not None:
            return 0.0, 1.06 * max(float(values.max()), self.equal)
        low, high = float(values.min()), float(values.max())
        pad = 0.06 * (high - low) or 0.5
        return low - pad, high + pad


def _weight_panel(decision: str, options: Sequence[str], values: Array) -> _Panel:
    final = values[:, -1].mean(axis=0)
    best = int(final.argmax())
    coloured = [index for index, name in enumerate(options) if name != "none"]
    if len(coloured) > len(_COLOURS):  # too many to tell apart: the heaviest ones
        coloured.sort(key=lambda index: -final[index])
    colours = dict(zip(coloured, _COLOURS, strict=False))
    curves = tuple(
        _Curve(f"{name} {number(final[index])}", values[:, :, index], colours.get(index, _OTHER), index == best)
        for index, name in enumerate(options)
    )
    return _Panel(decision, f"{decidedness(final):.0%} decided", curves, 1 / len(options))


def _loss_panel(losses: Mapping[str, Array]) -> _Panel:
    curves = tuple(
        _Curve(f"{name.replace('_', ' ')} {values[:, -1].mean():.2f}", values, _COLOURS[index % len(_COLOURS)])
        for index, (name, values) in enumerate(losses.items())
    )
    return _Panel("loss", "", curves)


def _head(canvas: Canvas, seeds: int, width: float) -> float:
    """Write the title and what the lines mean; return where the panels may begin."""
    canvas.text(_MARGIN, _MARGIN + LARGE / 144, "Architecture weights by epoch", LARGE, bold=True)
    text = "thick: the option of the greatest weight at the end; dashed: equal weights; decided: 1 \u2212 entropy / "
    text += "log(number of options)" + (
        f"; pale: each of {seeds} searches, and over them their mean" if seeds > 1 else ""
    )
    y = _MARGIN + LARGE * LEADING / 72 + 0.1
    for line in wrap(text, width, SMALL):
        canvas.text(_MARGIN, y, line, colour=GREY)
        y += SMALL * LEADING / 72
    return y + 0.05


def _draw(panel: _Panel, canvas: Canvas, x: float, y: float, height: float, page: tuple[float, float]) -> None:
    """Draw a panel with the upper left corner of its axes at (x, y) inches of a page of some size."""
    wide, high = page
    axes = canvas.figure.add_axes((x / wide, 1 - (y + height) / high, _WIDTH / wide, height / high))
    _curves(axes, panel)
    canvas.text(x, y - 0.1, panel.title, MEDIUM, bold=True)
    canvas.text(x + _WIDTH, y - 0.1, panel.note, colour=GREY, align="right")
    canvas.text(x + _WIDTH / 2, y + height + 0.3, "epoch", colour=GREY, align="center")
    low, top = panel.limits
    ends = [y + height * (1 - (curve.mean[-1] - low) / (top - low)) for curve in panel.curves]
    places = apart(ends, _LABEL, y, y + height)
    for curve, end, place in zip(panel.curves, ends, places, strict=True):
        canvas.line([(x + _WIDTH, end), (x + _WIDTH + _LEADER - 0.04, place)], curve.colour, 0.7)
        label = INK if curve.thick else GREY
        canvas.text(x + _WIDTH + _LEADER, place, curve.label, colour=label, bold=curve.thick)


def _curves(axes: Axes, panel: _Panel) -> None:
    epochs = np.arange(1, panel.curves[0].values.shape[1] + 1)
    alone = "o" if len(epochs) == 1 else ""
    for curve in sorted(panel.curves, key=lambda curve: curve.thick):
        if panel.seeds > 1:
            axes.plot(epochs, curve.values.T, color=curve.colour, linewidth=0.5, alpha=0.35)
        width = 2.2 if curve.thick else 1.0
        axes.plot(epochs, curve.mean, color=curve.colour, linewidth=width, marker=alone, markersize=3)
    if panel.equal is not None:
        axes.axhline(panel.equal, color=GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
    axes.set_ylim(*panel.limits)
    axes.set_xlim(min(1, len(epochs) - 1), len(epochs))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=SMALL, labelcolor=GREY, color=FAINT, length=3)
    axes.set_xticks(_ticks(1, len(epochs), MaxNLocator(5, integer=True)))
    axes.set_yticks(_ticks(*panel.limits, MaxNLocator(4)))


def _ticks(low: float, high: float, locator: MaxNLocator) -> list[float]:
    return [tick for tick in locator.tick_values(low, high) if low <= tick <= high]
