"""Scores as pictures: how good genotypes are, whether they differ, and whom and what they get wrong.

Each figure fills the width of the current `Page`: how many panels stand side by side follows from that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import kendalltau

from nas_mer.errors import UserError
from nas_mer.score import Comparison, Difference, Interval, Predictions, Published, Score, ScoreRow, by_genotype
from nas_mer.score.published import COMPOSITE
from nas_mer.score.tables import p_in_words, seeds_in_words
from nas_mer.view.figures import FAINT, GREY, INK, MEDIUM, SMALL, Colour, Okabe, text_width, tint
from nas_mer.view.sheet import GAP, LINE, MARGIN, TICKS, Entry, Sheet, bare, columns_for, point
from nas_mer.words import listed

# Inches.
_SLOT = 0.125  # of a subject
_BARS = 0.85  # the height of the subjects' bars

_METRICS = {"UAR": (Okabe.BLUE, "o"), "UF1": (Okabe.VERMILLION, "s")}


def scores_figure(rows: Sequence[ScoreRow], published: Mapping[str, Published] | None = None) -> Figure:
    """Draw UAR and UF1 of genotypes side by side, on the composite and on each database.

    Args:
        rows: one a genotype.
        published: by genotype what the paper reports of it.

    Raises:
        UserError: there is no row.
    """
    _check(rows, "scores")
    published = published or {}
    parts = _parts(rows)

    def marks(row: ScoreRow, data: str) -> list[_Mark]:
        part, said = _part(row, data), published.get(row.genotype)
        reported = said.scores.get(data) if said else None
        found = []
        for metric, shift in (("UAR", -0.18), ("UF1", 0.18)):
            colour, shape = _METRICS[metric]
            if part is not None:
                value, interval, spread = _measured(part, metric)
                found.append(_Mark(value, interval, spread, colour, shape, shift=shift))
            paper = None if reported is None else getattr(reported, metric.lower())
            if paper is not None:
                found.append(_Mark(paper, None, None, colour, "D", filled=False, shift=shift))
        return found

    panels = [_Forest(data, _extent(rows, data), {row.genotype: marks(row, data) for row in rows}) for data in parts]
    entries = [Entry(shape, colour, metric) for metric, (colour, shape) in _METRICS.items()]
    if published:
        entries.append(Entry("D", INK, "in the paper, same network and sizes", filled=False))
    if any(part.uar_interval for row in rows for data in parts if (part := _part(row, data))):
        entries.append(Entry("-", INK, "95 % interval over subjects"))
    if any(len(row.seeds) > 1 for row in rows):
        entries.append(Entry("=", INK, "± standard deviation over seeds"))
    return _forests("UAR and UF1 by leave-one-subject-out", entries, panels, row_height=0.27)


def differences_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Draw the paired differences of genotypes from one of them, on the composite.

    Args:
        comparisons: with the same first side `a`, one a genotype.

    Raises:
        UserError: there is none, or their first sides differ.
    """
    _check(comparisons, "differences")
    first = comparisons[0].a
    if others := sorted({one.a for one in comparisons} - {first}):
        raise UserError(f"differences are drawn from one genotype, found {first} and {others[0]}")

    def panel(metric: str) -> _Forest:
        colour, shape = _METRICS[metric]
        found: dict[str, Difference] = {one.b: getattr(one.composite, metric.lower()) for one in comparisons}
        marks = {
            name: [_Mark(one.change, one.interval, None, colour, shape, filled=not one.within_noise)]
            for name, one in found.items()
        }
        told = {name: bare(p_in_words(one.p_value)) for name, one in found.items()}
        return _Forest(metric, f"{first} has {found[comparisons[0].b].a:.3f}", marks, told, "p", zero=True)

    entries = [
        Entry("o", INK, "beyond noise"),
        Entry("o", INK, "within noise", filled=False),
        Entry("-", INK, "95 % interval over subjects"),
        Entry("", INK, "p: two-sided permutation test over subjects"),
    ]
    return _forests(f"Difference from {first}", entries, [panel(metric) for metric in _METRICS], row_height=0.19)


def confusion_figure(rows: Sequence[ScoreRow]) -> Figure:
    """Draw the confusion matrices of genotypes, on the composite and on each database.

    A cell's shade and upper number are its share of the true class (the row); below it is the number of predictions,
    summed over seeds.

    Raises:
        UserError: there is no row.
    """
    _check(rows, "confusion matrices")
    summed = ", summed over seeds" if any(len(row.seeds) > 1 for row in rows) else ""
    about = f"Upper number and shade: share of the true class; below: number of predictions{summed}."
    classes = rows[0].classes
    longest = max(text_width(name, SMALL) for name in classes)
    left, least = MARGIN + LINE + longest + 0.1, 0.36 * len(classes)
    sheet = Sheet("Confusion matrices", [Entry("", INK, about)], left + least + MARGIN)
    columns = columns_for(max(1 + len(row.databases) for row in rows), sheet.width - MARGIN - left, least)
    cell = min(0.5, ((sheet.width - MARGIN - left + GAP) / columns - GAP) / len(classes))
    turned = longest > cell - 0.05
    side, foot = cell * len(classes), longest if turned else LINE
    for row in rows:
        sheet.text(MARGIN, row.genotype, MEDIUM, bold=True)
        used = text_width(row.genotype, MEDIUM, bold=True)
        sheet.text(MARGIN + used + 0.1, seeds_in_words(row.seeds), colour=GREY)
        sheet.y += 0.2
        parts = list({COMPOSITE: row.composite, **row.databases}.items())
        for start in range(0, len(parts), columns):
            top = sheet.y + 0.17
            sheet.upright(MARGIN + LINE / 2, top + side / 2, "true", GREY)
            for index, name in enumerate(classes):
                sheet.canvas.text(left - 0.06, top + (index + 0.5) * cell, name, align="right")
            x = left
            for data, part in parts[start : start + columns]:
                sheet.text(x, data, bold=True)
                uar = f"UAR {bare(f'{part.uar:.3f}')}"
                if text_width(data, SMALL, bold=True) + text_width(uar, SMALL) + 0.08 < side:
                    sheet.text(x + side, uar, colour=GREY, align="right")
                _matrix(sheet, part, x, top, cell)
                for index, name in enumerate(classes):
                    middle = x + (index + 0.5) * cell
                    if turned:
                        sheet.upright(middle, top + side + 0.05 + foot / 2, name, INK)
                    else:
                        sheet.canvas.text(middle, top + side + 0.02 + foot / 2, name, align="center")
                below = top + side + foot + 0.07 + LINE / 2
                sheet.canvas.text(x + side / 2, below, "predicted", colour=GREY, align="center")
                x += side + GAP
            sheet.y = top + side + foot + 0.07 + LINE + 0.1
    return sheet.cut()


def subjects_figure(predictions: Sequence[Predictions]) -> Figure:
    """Draw the accuracy on each subject while it was held out, grouped by database.

    A bar is the mean over the genotypes and seeds given, a line goes from the least to the greatest of them.

    Args:
        predictions: one a (genotype, seed).

    Raises:
        UserError: there is none.
    """
    _check(predictions, "subjects")
    people = _people(predictions)
    trained = f"Trained: {listed(by_genotype(predictions))}"
    trained += f" ({len(predictions)} leave-one-subject-out trainings)." if len(predictions) > 1 else "."
    entries = [
        Entry("|", tint(Okabe.BLUE, 0.6), "accuracy while held out" + (", mean" if len(predictions) > 1 else "")),
        *([Entry("-", INK, "least and greatest")] if len(predictions) > 1 else []),
        Entry("--", GREY, "the whole database"),
        Entry("", INK, f"Below a bar: subject and number of samples. {trained}"),
    ]
    titles = {database: f"{database}  {bare(f'{_accuracy(group):.3f}')}" for database, group in people.items()}
    left = MARGIN + 0.26
    least = left + max(text_width(title, SMALL, bold=True) for title in titles.values()) + MARGIN
    sheet = Sheet("Accuracy by subject", entries, least)
    foot = max(text_width(f"{person.name}  {person.samples}", SMALL) for group in people.values() for person in group)
    room = int((sheet.width - MARGIN - left) / _SLOT)

    def needed(database: str, piece: Sequence[_Person]) -> float:
        return max(len(piece) * _SLOT, text_width(titles[database], SMALL, bold=True)) + GAP

    lines: list[list[tuple[str, list[_Person]]]] = []
    for database, group in people.items():
        for start in range(0, len(group), room):
            piece = database, group[start : start + room]
            fitting = (line for line in lines if sum(needed(*one) for one in [*line, piece]) - GAP <= room * _SLOT)
            line = next(fitting, None)  # the first with room
            if line is None:
                lines.append([piece])
            else:
                line.append(piece)
    for line in lines:
        x, top = left, sheet.y + 0.16
        for database, persons in line:
            sheet.text(x, titles[database], bold=True)
            axes = sheet.panel(x, top, len(persons) * _SLOT, _BARS)
            _bars(axes, persons, _accuracy(people[database]))
            axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"] if x == left else ["", "", ""])
            for index, person in enumerate(persons):
                text = f"{person.name}  {person.samples}"
                sheet.upright(x + (index + 0.5) * _SLOT, top + _BARS + 0.05, text, INK, hanging=True)
            x += needed(database, persons)
        sheet.y = top + _BARS + foot + 0.15
    return sheet.cut()


def ranks_figure(weights: Mapping[str, float], rows: Sequence[ScoreRow]) -> Figure:
    """Draw whether what a search ranks high scores high: ranks by joint weight beside those by UAR and by UF1.

    A line that does not cross another keeps the order. Kendall's tau-b (scipy) is 1 for the same order, -1 for the
    reverse.

    Args:
        weights: the joint architecture weight in 0..1 of at least two genotypes.
        rows: the score of each of these.

    Raises:
        UserError: there are fewer than two, or one is not scored.
    """
    if len(weights) < 2:
        raise UserError(f"ranks need at least two searched genotypes, found {len(weights)}")
    scores = {row.genotype: row.composite for row in rows}
    if missing := [name for name in weights if name not in scores]:
        raise UserError(f"{missing[0]}: has a weight, but no score")
    metrics = {metric: {name: _measured(scores[name], metric)[0] for name in weights} for metric in _METRICS}
    order = {name: sorted(values, key=lambda one: -values[one]) for name, values in metrics.items()}
    heaviest = sorted(weights, key=lambda name: -weights[name])
    middle = [f"{rank}  {name}  {bare(f'{weights[name]:#.3g}')}" for rank, name in enumerate(heaviest, 1)]
    outer = {
        metric: [f"{rank}  {bare(f'{metrics[metric][name]:.3f}')}" for rank, name in enumerate(order[metric], 1)]
        for metric in _METRICS
    }
    half = max(text_width(text, SMALL) for text in middle) / 2 + 0.06
    end = max(text_width(text, SMALL) for texts in outer.values() for text in texts) + 0.06
    entries = [
        Entry("", INK, "Genotypes from the best (top) to the worst; lines that cross: the scores reverse an order.")
    ]
    for metric, values in metrics.items():
        test = kendalltau([weights[name] for name in weights], [values[name] for name in weights])
        told = "undefined" if math.isnan(test.statistic) else f"{test.statistic:.2f}, p {p_in_words(test.pvalue)}"
        entries.append(Entry("", INK, f"Kendall's τ with {metric}: {bare(told)}"))
    least = 2 * (half + 0.4 + end + MARGIN)  # with room for the lines
    sheet = Sheet("Rank by the search and by retraining", entries, least)
    centre, step = sheet.width / 2, 0.19
    head, top = sheet.y + 0.06, sheet.y + 0.3
    sheet.canvas.text(centre, head, "joint weight", MEDIUM, bold=True, align="center")
    for rank, text in enumerate(middle):
        sheet.canvas.text(centre, top + rank * step, text, align="center")
    for metric, side in (("UAR", -1), ("UF1", 1)):
        colour, _ = _METRICS[metric]
        align: Literal["left", "right"] = "right" if side < 0 else "left"
        inner, outside = centre + side * half, centre + side * (centre - MARGIN - end)
        sheet.canvas.text(outside + side * 0.06, head, metric, MEDIUM, bold=True, align=align)
        for rank, text in enumerate(outer[metric]):
            sheet.canvas.text(outside + side * 0.06, top + rank * step, text, align=align)
        for name in weights:
            ends = top + heaviest.index(name) * step, top + order[metric].index(name) * step
            sheet.canvas.line([(inner, ends[0]), (outside, ends[1])], colour, 1.1)
    sheet.y = top + len(weights) * step
    return sheet.cut()


# --- forests: values with their intervals, a row a genotype -----------------------------------------------------------


@dataclass(frozen=True)
class _Mark:
    """A value with its interval and spread, `shift` rows below the middle of its row."""

    value: float
    interval: Interval | None
    spread: float | None
    colour: Colour
    shape: str
    filled: bool = True
    shift: float = 0.0

    @property
    def reach(self) -> tuple[float, ...]:
        """All that the panel must show."""
        return (self.value, *(self.interval or ()), self.value - (self.spread or 0), self.value + (self.spread or 0))


@dataclass(frozen=True)
class _Forest:
    """A panel: the marks of each genotype, a text at the end of each row under a heading, a line at zero."""

    title: str
    note: str
    marks: Mapping[str, Sequence[_Mark]]
    told: Mapping[str, str] = field(default_factory=dict)
    heading: str = ""
    zero: bool = False


def _forests(title: str, entries: Sequence[Entry], panels: Sequence[_Forest], row_height: float) -> Figure:
    names = list(panels[0].marks)
    left = MARGIN + max(text_width(name, SMALL) for name in names) + 0.1
    right = max((text_width(text, SMALL) + 0.1 for panel in panels for text in panel.told.values()), default=0.0)
    least = max(1.15 + right, *(text_width(panel.note, SMALL) for panel in panels))
    sheet = Sheet(title, entries, left + least + MARGIN)
    room = sheet.width - MARGIN - left
    columns = columns_for(len(panels), room, least)
    width = (room + GAP) / columns - GAP - right
    values = [value for panel in panels for marks in panel.marks.values() for mark in marks for value in mark.reach]
    values += [0.0 for panel in panels if panel.zero]
    low, high = min(values), max(values)
    pad = 0.05 * (high - low) or 0.05
    limits = low - pad, high + pad
    height = row_height * len(names)
    for start in range(0, len(panels), columns):
        top = sheet.y + 0.34
        for index, name in enumerate(names):
            sheet.canvas.text(left - 0.08, top + (index + 0.5) * row_height, name, align="right")
        x = left
        for panel in panels[start : start + columns]:
            sheet.text(x, panel.title, MEDIUM, bold=True)
            sheet.canvas.text(x, sheet.y + 0.22, panel.note, colour=GREY)
            _forest(sheet.panel(x, top, width, height), panel, names, limits)
            if panel.told:
                sheet.canvas.text(x + width + right, sheet.y + 0.22, panel.heading, colour=GREY, align="right")
            for index, name in enumerate(names):
                text = panel.told.get(name, "")
                sheet.canvas.text(x + width + right, top + (index + 0.5) * row_height, text, align="right")
            x += width + right + GAP
        sheet.y = top + height + TICKS
    return sheet.cut()


def _forest(axes: Axes, panel: _Forest, names: Sequence[str], limits: tuple[float, float]) -> None:
    for row, name in enumerate(names):
        axes.axhline(row, color=FAINT, linewidth=0.5, zorder=0)
        for mark in panel.marks[name]:
            y = row + mark.shift
            if mark.interval:
                axes.plot(mark.interval, (y, y), color=mark.colour, linewidth=0.8, solid_capstyle="butt")
            if mark.spread:
                ends = mark.value - mark.spread, mark.value + mark.spread
                axes.plot(ends, (y, y), color=mark.colour, linewidth=2.6, solid_capstyle="butt")
            point(axes, mark.value, y, mark.shape, mark.colour, mark.filled)
    if panel.zero:
        axes.axvline(0, color=GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
    axes.set_xlim(*limits)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks([])
    ticks = [
        tick for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(*limits) if limits[0] <= tick <= limits[1]
    ]
    axes.set_xticks(ticks, [bare(f"{tick:+.3g}" if panel.zero and tick else f"{tick:.3g}") for tick in ticks])


# --- subjects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Person:
    """A subject: its number of samples, and `(trainings,)` how many of them each got right."""

    name: str
    samples: int
    right: np.ndarray


def _people(predictions: Sequence[Predictions]) -> dict[str, list[_Person]]:
    """Return the subjects of each database, in the order of their names."""
    counts: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for one in predictions:
        right = one.labels == one.predicted
        for subject in np.unique(one.subjects).tolist():
            held_out = one.subjects == subject
            database, _, name = subject.partition("/")
            counts.setdefault((database, name), []).append((int(held_out.sum()), int(right[held_out].sum())))
    people: dict[str, list[_Person]] = {}
    for (database, name), found in sorted(counts.items()):
        people.setdefault(database, []).append(_Person(name, found[0][0], np.array([right for _, right in found])))
    return people


def _accuracy(people: Sequence[_Person]) -> float:
    """Return the share of all samples that is right, mean over trainings."""
    return float(sum(person.right.mean() for person in people) / sum(person.samples for person in people))


def _bars(axes: Axes, people: Sequence[_Person], accuracy: float) -> None:
    for index, person in enumerate(people):
        shares = person.right / person.samples
        axes.bar(index, shares.mean(), width=0.7, color=tint(Okabe.BLUE, 0.6))
        if len(shares) > 1:
            axes.plot((index, index), (shares.min(), shares.max()), color=INK, linewidth=0.8, solid_capstyle="butt")
    axes.axhline(accuracy, color=GREY, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set_xlim(-0.5, len(people) - 0.5)
    axes.set_ylim(0, 1.03)
    axes.set_xticks([])


# --- what they share --------------------------------------------------------------------------------------------------


def _check(items: Sized, what: str) -> None:
    if not len(items):
        raise UserError(f"{what}: there is nothing to draw")


def _parts(rows: Iterable[ScoreRow]) -> dict[str, Score]:
    """Return the composite and each database, as the first row that has it scores it."""
    parts: dict[str, Score] = {}
    for row in rows:
        parts = {COMPOSITE: row.composite, **row.databases} | parts
    return parts


def _extent(rows: Iterable[ScoreRow], data: str) -> str:
    """Return of how many samples and subjects some scores are, from the least to the most."""
    parts = [part for row in rows if (part := _part(row, data))]

    def from_to(numbers: Sequence[int]) -> str:
        least, most = min(numbers), max(numbers)
        return f"{most}" if least == most else f"{least} to {most}"

    return f"{from_to([part.samples for part in parts])} samples, {from_to([part.folds for part in parts])} subjects"


def _part(row: ScoreRow, data: str) -> Score | None:
    return row.composite if data == COMPOSITE else row.databases.get(data)


def _measured(part: Score, metric: str) -> tuple[float, Interval | None, float | None]:
    """Return value, interval and spread of a metric."""
    if metric == "UAR":
        return part.uar, part.uar_interval, part.uar_spread
    return part.uf1, part.uf1_interval, part.uf1_spread


def _matrix(sheet: Sheet, part: Score, x: float, y: float, cell: float) -> None:
    totals = part.confusion.sum(axis=1)
    for (row, column), count in np.ndenumerate(part.confusion):
        share = count / totals[row] if totals[row] else 0.0
        face = tint(Okabe.BLUE, share)
        at, down = x + column * cell, y + row * cell
        sheet.canvas.bar(at + 0.01, down + 0.01, cell - 0.02, cell - 0.02, face)
        ink = "white" if sum(to_rgb(face)) < 1.6 else INK
        upper = bare(f"{share:.2f}") if totals[row] else "-"
        sheet.canvas.text(at + cell / 2, down + cell / 2 - 0.065, upper, SMALL, ink, bold=True, align="center")
        sheet.canvas.text(at + cell / 2, down + cell / 2 + 0.065, str(count), SMALL, ink, align="center")
