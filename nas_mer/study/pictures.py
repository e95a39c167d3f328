"""A study as pictures: ranks against scores, tau beside the most that noise allows, regret against cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nas_mer.study.statistics import Estimate
from nas_mer.study.study import TOP, Outcome, Result, Study
from nas_mer.view.figures import FAINT, GREY, INK, MEDIUM, SMALL, Okabe, apart, text_width, tint, wrap
from nas_mer.view.sheet import GAP, LINE, MARGIN, TICKS, Entry, Sheet, bare, columns_for, point

# Inches.
_PANEL = 1.45, 1.1  # the least width and the height of a panel of ranks
_ROW = 0.22  # of a run
_COST = 2.9  # the height of regret against cost
_BESIDE = 0.09  # from a point to the next of the same cost, if they are few
_CROWD = 0.4  # that all of one cost may take
_DECADE = 1.2  # from 1,000 to 10,000, if there is to be a number between
_AXIS = 0.4  # the numbers of an upright axis and what it shows


def ranks_figure(study: Study) -> Figure:
    """Draw the retrained UAR of genotypes over their rank in a search, a panel a run (all its searches together).

    Falling from the left is what a search is for. The search's first three are marked.
    """
    means, seeds = study.table.uar.mean(axis=1), len(study.table.seeds)
    entries = [
        Entry("s", Okabe.VERMILLION, f"the search's first {TOP}"),
        Entry("o", Okabe.BLUE, "the others that it ranks", filled=False),
        Entry("--", GREY, "mean of all genotypes"),
        Entry(
            "", INK, f"UAR: leave-one-subject-out, mean over {seeds} seeds. τ: Kendall's, of the mean of all searches; "
            "in brackets the mean τ of single ones.",
        ),
    ]  # fmt: skip
    sheet = Sheet("Retrained UAR by the rank in the search", entries, MARGIN * 2 + _AXIS + _PANEL[0])
    room = sheet.width - 2 * MARGIN - _AXIS
    columns = columns_for(len(study.results), room, _PANEL[0])
    width, height = (room + GAP) / columns - GAP, _PANEL[1]
    limits = _padded(float(means.min()), float(means.max()))
    for start in range(0, len(study.results), columns):
        line = study.results[start : start + columns]
        heads = [wrap(result.name, width, MEDIUM, bold=True) for result in line]
        top = sheet.y + 0.155 * max(map(len, heads)) + 0.2
        sheet.upright(MARGIN + 0.05, top + height / 2, "UAR", GREY)
        for column, (result, head) in enumerate(zip(line, heads, strict=True)):
            x = MARGIN + _AXIS + column * (width + GAP)
            for number, text in enumerate(head):
                sheet.canvas.text(x, sheet.y + 0.06 + 0.155 * number, text, MEDIUM, bold=True)
            alone = result.over_seeds(lambda one: one.tau).mean
            told = f"τ {result.together.tau:z.2f} ({alone:z.2f})"
            sheet.canvas.text(x, top - 0.12, bare(told), colour=GREY)
            axes = sheet.panel(x, top, width, height)
            scores = means[result.ranking.places]
            ranks = np.arange(1, len(scores) + 1)
            axes.axhline(means.mean(), color=GREY, linewidth=0.7, linestyle=(0, (3, 2)), zorder=1)
            axes.plot(
                ranks[TOP:], scores[TOP:], "o", markersize=3, color=Okabe.BLUE, markerfacecolor="white",
                markeredgewidth=0.8, clip_on=False,
            )  # fmt: skip
            axes.plot(ranks[:TOP], scores[:TOP], "s", markersize=4.2, color=Okabe.VERMILLION, clip_on=False, zorder=6)
            axes.set_xlim(0, len(means) + 1)
            axes.set_ylim(*limits)
            _upright_ticks(axes, limits, labelled=column == 0)
            axes.set_xticks([1, len(scores)] if len(scores) > 1 else [1])
        sheet.y = top + height + TICKS
    sheet.canvas.text(MARGIN + _AXIS + room / 2, sheet.y - 0.06, "rank in the search", colour=GREY, align="center")
    sheet.y += 0.05
    return sheet.cut()


def tau_figure(study: Study) -> Figure:
    """Draw each run's tau with the retrained ranking by UAR, beside that of the true ranking and of half the seeds."""
    ceiling = study.truth.ceilings["uar"]
    most, (low, high), band = ceiling.attainable, ceiling.attainable_interval, tint(FAINT, 0.5)
    entries = [
        Entry("o", Okabe.BLUE, "mean of single searches"),
        Entry("-", INK, "its 95 % interval over seeds"),
        Entry(".", GREY, "a single search"),
        Entry("D", Okabe.VERMILLION, "the mean of all searches", filled=False),
        Entry("|", band, bare(f"the true ranking with the table's: τ {most:.2f} (white line), 95 % interval "
                              f"[{low:.2f}, {high:.2f}]")),
        Entry("--", GREY, bare(f"one half of the table's seeds with the other: τ {ceiling.split_half:.2f}")),
    ]  # fmt: skip
    names = [result.name for result in study.results]
    left = MARGIN + max(text_width(name, SMALL) for name in names) + 0.12
    sheet = Sheet("Kendall's τ of search and retraining", entries, left + 1.5 + MARGIN)
    height = _ROW * len(names)
    axes = sheet.panel(left, sheet.y, sheet.width - MARGIN - left, height)
    axes.axvspan(low, high, color=band, linewidth=0, zorder=0)
    axes.axvline(most, color="white", linewidth=1.5, zorder=0.2)
    axes.axvline(0, color=GREY, linewidth=0.7, zorder=1)
    axes.axvline(ceiling.split_half, color=GREY, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    values = [0.0, ceiling.split_half, low, high]
    for row, result in enumerate(study.results):
        sheet.canvas.text(left - 0.08, sheet.y + (row + 0.5) * _ROW, names[row], align="right")
        axes.axhline(row, color=FAINT, linewidth=0.5, zorder=0.5)
        single = [result.over_seeds(lambda one: one.tau, [seed]).mean for seed in result.alone]
        found = result.over_seeds(lambda one: one.tau)
        axes.plot(single, [row] * len(single), ".", color=GREY, markersize=3, zorder=2)
        _interval(axes, found, row)
        point(axes, found.mean, row, "o", Okabe.BLUE)
        point(axes, result.together.tau, row, "D", Okabe.VERMILLION, filled=False)
        values += [*single, result.together.tau, *(found.interval or ())]
    limits = _padded(min(values), max(values))
    axes.set_xlim(*limits)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks([])
    ticks = _ticks(limits)
    axes.set_xticks(ticks, [bare(f"{tick:.3g}") for tick in ticks])
    sheet.y += height + TICKS
    return sheet.cut()


def regret_figure(study: Study) -> Figure:
    """Draw what each search's first genotype lacks to the best, over its cost, beside the best of random draws."""
    entries = [
        Entry("o", Okabe.BLUE, "top 1 of single searches, mean"),
        Entry("-", INK, "its 95 % interval over seeds"),
        Entry("D", Okabe.VERMILLION, "top 1 of the mean of all searches, at the cost of all", filled=False),
        Entry("--", INK, "the best of n random draws, expected, if retraining tells which it is"),
        Entry("", INK, "Of the same cost: side by side."),
    ]
    labels = [result.name for result in study.results]
    right = max(text_width(label, SMALL) for label in labels) + 0.4
    sheet = Sheet("Regret and cost", entries, MARGIN * 2 + _AXIS + 2 + right)
    left, width = MARGIN + _AXIS + 0.08, sheet.width - 2 * MARGIN - _AXIS - 0.08 - right
    sheet.upright(MARGIN + 0.05, sheet.y + _COST / 2, "missing UAR", GREY)
    axes = sheet.panel(left, sheet.y, width, _COST)
    axes.set_xscale("log")
    draws = np.arange(1, len(study.random_regret) + 1)
    axes.plot(draws * study.training, study.random_regret, color=INK, linewidth=1, linestyle=(0, (3, 2)), zorder=2)
    axes.axhline(0, color=FAINT, linewidth=0.7, zorder=0)
    alone = [result.over_seeds(_steps).mean * _searches(result) for result in study.results]
    together = [result.together.steps for result in study.results]
    costs = [*(study.training * draws[[0, -1]]), *alone, *together]
    axes.set_xlim(min(costs) / 1.3, max(costs) * 1.15)
    places = zip(_side_by_side(axes, alone, width), _side_by_side(axes, together, width), strict=True)
    values, ends = [0.0, *study.random_regret.tolist()], []
    for result, (steps, all_steps) in zip(study.results, places, strict=True):
        found, regret = result.over_seeds(_regret), _regret(result.together)
        if found.interval:
            axes.plot([steps, steps], found.interval, color=INK, linewidth=0.8, solid_capstyle="butt", zorder=3)
        if len(result.alone) > 1:
            point(axes, steps, found.mean, "o", Okabe.BLUE)
            axes.plot([steps, all_steps], [found.mean, regret], color=tint(GREY, 0.5), linewidth=0.6, zorder=1)
        point(axes, all_steps, regret, "D", Okabe.VERMILLION, filled=False)
        ends.append((all_steps, regret))
        values += [found.mean, regret, *(found.interval or ())]
    limits = _padded(min(values), max(values))
    axes.set_ylim(*limits)
    _upright_ticks(axes, limits, labelled=True)
    _steps_axis(axes, width)
    _label(sheet, axes, ends, labels, left + width)
    sheet.y += _COST + TICKS
    sheet.canvas.text(left + width / 2, sheet.y - 0.04, "training steps of one network", colour=GREY, align="center")
    sheet.y += 0.08
    return sheet.cut()


PICTURES: dict[str, Callable[[Study], Figure]] = {"ranks": ranks_figure, "tau": tau_figure, "regret": regret_figure}
"""What is drawn of a study, by the name of its file."""


def _regret(outcome: Outcome) -> float:
    return outcome.first.regret


def _steps(outcome: Outcome) -> float:
    return outcome.steps


def _searches(result: Result) -> int:
    """Return how many searches a seed has: one, or one for each fold."""
    return len(next(iter(result.alone.values())))


def _interval(axes: Axes, found: Estimate, row: float) -> None:
    if found.interval:
        axes.plot(found.interval, (row, row), color=INK, linewidth=0.9, solid_capstyle="butt", zorder=3)


def _side_by_side(axes: Axes, steps: Sequence[float], width: float) -> list[float]:
    """Return costs moved so that their points do not hide each other, on an axis of some inches."""
    low, high = axes.get_xlim()
    scale = width / math.log(high / low)
    places = apart([scale * math.log(cost / low) for cost in steps], min(_BESIDE, _CROWD / len(steps)), 0, width)
    return [low * math.exp(place / scale) for place in places]


def _label(sheet: Sheet, axes: Axes, ends: Sequence[tuple[float, float]], labels: Sequence[str], right: float) -> None:
    """Name points to the right of a panel of `_COST` inches, each name with a line to its point."""
    low, high = axes.get_ylim()
    wanted = [_COST * (high - value) / (high - low) for _, value in ends]
    line = {"arrowstyle": "-", "color": tint(GREY, 0.7), "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
    for end, y, label in zip(ends, apart(wanted, LINE, 0, _COST), labels, strict=True):
        sheet.canvas.text(right + 0.3, sheet.y + y, label)
        place = right + 0.27, sheet.y + y
        axes.annotate(
            "", end, xytext=place, textcoords=sheet.canvas.axes.transData, arrowprops=line, annotation_clip=False
        )


def _steps_axis(axes: Axes, width: float) -> None:
    """Number an axis of steps, some inches long, at powers of ten; where there is room also at 2 and 5 times these."""
    low, high = axes.get_xlim()
    parts = (1, 2, 5) if width / math.log10(high / low) > _DECADE else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [part * 10**power for power in powers for part in parts if low <= part * 10**power <= high]
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.set_xticks([], minor=True)


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = 0.06 * (high - low) or 0.01
    return low - pad, high + pad


def _ticks(limits: tuple[float, float]) -> list[float]:
    found = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(*limits)
    return [float(tick) for tick in found if limits[0] <= tick <= limits[1]]


def _upright_ticks(axes: Axes, limits: tuple[float, float], labelled: bool) -> None:
    ticks = _ticks(limits)
    axes.set_yticks(ticks, [bare(f"{tick:.3g}") if labelled else "" for tick in ticks])
