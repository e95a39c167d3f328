"""An experiment as curves: ours with intervals, the paper's numbers as open markers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nas_mer.reproduce.results import Entry, Reproduced
from nas_mer.view.canvas import LEADING, Canvas
from nas_mer.view.figures import FAINT, GREY, INK, LARGE, MEDIUM, PALETTE, SMALL, Colour, Page, number, text_width, wrap

# Inches.
_MARGIN = 0.2
_LEFT = 0.42  # of a panel: the numbers of its ticks
_BELOW = 0.55  # of a panel: its ticks and what they are
_HEIGHT = 2.1  # of a panel's axes
_NARROWEST = 2.4
_GAP = 0.3  # between panels
_SYMBOL = 0.36  # of a curve in the legend
_LINE = SMALL * LEADING / 72

_POINT = 4.6  # points

_LOOKS: tuple[tuple[Colour, str, str], ...] = tuple(
    zip(PALETTE[:4], ("o", "s", "^", "v"), ("-", "--", "-.", ":"), strict=True)
)
_SPREAD = 0.5  # of the distance between ticks: how far apart the curves' points stand at one of them


def figure(found: Reproduced) -> Figure:
    """Draw an experiment: a panel a section, a curve a column, its points in the order of the rows, evenly spaced.

    Bars are 95 % intervals over subjects. What the paper prints is drawn as an open marker; where it prints nothing,
    and why points are missing, is told. The figure fills the width of the current `Page`.
    """
    experiment = found.plan.experiment
    sections, rows, columns = experiment.factors
    page = Page.current().room
    room = page - 2 * _MARGIN
    across = len(sections.levels)
    if (room + _GAP) / across - _GAP < _LEFT + _NARROWEST:
        across = 1
    width = (room + _GAP) / across - _GAP - _LEFT
    canvas = Canvas()
    y = _head(canvas, found, room)
    drawn = [entry for entry in found.entries if entry.ours is not None or entry.paper is not None]
    limits = _limits(drawn)
    panels: list[tuple[Axes, float, float]] = []
    for place, section in enumerate(sections.levels):
        x, top = _MARGIN + _LEFT + (place % across) * (width + _LEFT + _GAP), y + (0.2 if section else 0.0)
        canvas.text(x, top - 0.1, f"{sections.name} {section}" if section else "", MEDIUM, bold=True)
        canvas.text(x + width / 2, top + _HEIGHT + 0.36, rows.name, colour=GREY, align="center")
        axes = canvas.figure.add_axes((0, 0, 1, 1))
        curves = [[found.at(section, row, column) for row in rows.levels] for column in columns.levels]
        _draw(axes, curves, list(rows.levels), limits)
        panels.append((axes, x, top))
        if place % across == across - 1 or place == len(sections.levels) - 1:
            y = top + _HEIGHT + _BELOW
    height = y + 0.02
    for axes, x, top in panels:
        axes.set_position((x / page, 1 - (top + _HEIGHT) / height, width / page, _HEIGHT / height))
    return canvas.cut(page, height)


def _head(canvas: Canvas, found: Reproduced, room: float) -> float:
    """Write the title, the curves' names and what there is to know; return where the panels may begin."""
    experiment = found.plan.experiment
    y = _MARGIN + LARGE / 144
    title = f"{experiment.source}: {experiment.title}" + (", quick" if found.plan.quick else "")
    for line in wrap(title, room, LARGE, bold=True):
        canvas.text(_MARGIN, y, line, LARGE, bold=True)
        y += LARGE * LEADING / 72
    y += 0.05
    x = _MARGIN
    curves = [(name, *look, "full") for name, look in zip(experiment.columns.levels, _LOOKS, strict=False)]
    if any(entry.paper is not None for entry in found.entries):
        curves.append(("in the paper", INK, "o", "", "none"))
    for name, colour, marker, dashes, fill in curves:
        needed = _SYMBOL + text_width(name, SMALL)
        if x > _MARGIN and x + needed > _MARGIN + room:
            x, y = _MARGIN, y + _LINE
        canvas.axes.plot((x, x + _SYMBOL - 0.06), (y, y), color=colour, linestyle=dashes, linewidth=1.2)
        middle = x + (_SYMBOL - 0.06) / 2
        canvas.axes.plot([middle], [y], color=colour, marker=marker, markersize=_POINT, fillstyle=fill)
        canvas.text(x + _SYMBOL, y, name)
        x += needed + 0.2
    y += _LINE + 0.03
    notes = ["Bars: 95 % confidence interval over subjects.", *found.notes]
    notes += [f"No point of ours: {reason.removesuffix('.')}." for reason in found.reasons]
    for line in wrap(" ".join(notes), room, SMALL):
        canvas.text(_MARGIN, y, line, colour=GREY)
        y += _LINE
    return y


def _limits(entries: Sequence[Entry]) -> tuple[float, float]:
    """Return the least and the greatest value to be shown."""
    values = [value for entry in entries for value in (entry.ours, entry.paper, *(entry.interval or ()))]
    known = [value for value in values if value is not None] or [0.0, 1.0]
    pad = 0.05 * (max(known) - min(known)) or 0.05
    return min(known) - pad, max(known) + pad


def _draw(axes: Axes, curves: Sequence[Sequence[Entry]], ticks: Sequence[str], limits: tuple[float, float]) -> None:
    step = _SPREAD / len(curves)
    for order, (entries, (colour, marker, dashes)) in enumerate(zip(curves, _LOOKS, strict=False)):
        shift = (order - (len(curves) - 1) / 2) * step
        places = [place + shift for place in range(len(entries))]
        ours = [math.nan if entry.ours is None else entry.ours for entry in entries]
        axes.plot(places, ours, color=colour, linestyle=dashes, linewidth=1.2, marker=marker, markersize=_POINT)
        for place, entry in zip(places, entries, strict=True):
            if entry.interval:
                axes.plot((place, place), entry.interval, color=colour, linewidth=0.8, solid_capstyle="butt")
            if entry.paper is not None:
                axes.plot(
                    [place + step / 3], [entry.paper], color=colour, marker=marker, markersize=_POINT, linestyle="",
                    fillstyle="none", zorder=5,
                )  # fmt: skip
    axes.set_xlim(-0.5, len(ticks) - 0.5)
    axes.set_ylim(*limits)
    axes.set_xticks(range(len(ticks)), ticks)
    low, high = limits
    values = [float(tick) for tick in MaxNLocator(6).tick_values(low, high) if low <= tick <= high]
    axes.set_yticks(values, [number(tick) for tick in values])
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=SMALL, labelcolor=INK, color=FAINT, length=3)
