"""Scores and comparisons as tables of at most 100 columns of text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from nas_mer.score.compare import Comparison, Difference
from nas_mer.score.grid import Column, Grid, Row
from nas_mer.score.intervals import Interval
from nas_mer.score.published import COMPOSITE, Measured, Published
from nas_mer.score.scores import Score, ScoreRow


def score_table(
    rows: Sequence[ScoreRow],
    title: str = "",
    published: Mapping[str, Published] | None = None,
    compared: Sequence[Published] = (),
) -> Grid:
    """Return UAR and UF1 of the composite and of each database, and the number of samples and folds, by row.

    Beside a composite's value stands its spread over seeds, below it the 95 % confidence interval over subjects.

    Args:
        rows: what is scored.
        title: what the table is of.
        published: by genotype what the paper reports of it, to stand below it.
        compared: what the paper reports of other methods, to stand at the end.
    """
    published = published or {}
    databases = list(dict.fromkeys(name for row in rows for name in row.databases))
    columns = [
        Column("genotype", words=True),
        Column("UAR"),
        Column("UF1"),
        *(Column(metric, group=name) for name in databases for metric in ("UAR", "UF1")),
        Column("samples\nfolds"),
    ]
    own: list[Row] = []
    for row in rows:
        whole = row.composite
        own.append(
            (
                "\n".join(filter(None, [row.genotype, seeds_in_words(row.seeds)])),
                _measure(whole.uar, whole.uar_spread, whole.uar_interval),
                _measure(whole.uf1, whole.uf1_spread, whole.uf1_interval),
                *(cell for name in databases for cell in _pair(row.databases.get(name))),
                f"{whole.samples}\n{whole.folds}",
            )
        )
        if row.genotype in published:
            found = published[row.genotype]
            own.append(_published_row(found, f"in the paper\n{found.source}", databases))
    others = [_published_row(found, found.method, databases) for found in compared]
    notes = []
    if any(row.composite.uar_interval for row in rows):
        notes.append("[low, high]: 95 % confidence interval over subjects.")
    if any(len(row.seeds) > 1 for row in rows):
        notes.append("Mean over seeds ± their standard deviation.")
    if others:
        notes.append(f"Last: other methods, as the paper reports them ({compared[0].source}).")
    return Grid(title, columns, [own, others] if others else [own], " ".join(notes))


def class_table(row: ScoreRow) -> Grid:
    """Return recall and confusion of every class, for the composite and each database."""
    over = f", summed over {len(row.seeds)} seeds" if len(row.seeds) > 1 else ""
    columns = [Column("data", words=True), Column("true class", words=True), Column("recall")]
    columns += [Column(name) for name in (*(f"as {name}" for name in row.classes), "samples")]
    sections = []
    for data, part in {COMPOSITE: row.composite, **row.databases}.items():
        counts = part.confusion.tolist()
        sections.append(
            [
                (data if not index else "", name, _number(recall), *map(str, counts[index]), str(sum(counts[index])))
                for index, (name, recall) in enumerate(zip(row.classes, part.recalls.tolist(), strict=True))
            ]
        )
    return Grid(f"{row.genotype}: recall and confusion{over}", columns, sections)


def comparison_table(comparison: Comparison) -> Grid:
    """Return both sides, their difference, its interval and p-value; the verdict stands below."""
    sides = f"A: {_side(comparison.a, comparison.seeds_a)}   B: {_side(comparison.b, comparison.seeds_b)}"
    columns = [Column("data", words=True), Column("metric", words=True)]
    columns += [Column(name) for name in ("A", "B", "B - A", "95 % interval", "p", "noise")]
    sections = [
        [
            (data, "UAR", *_difference(part.uar)),
            (f"{part.samples} in {part.folds} folds", "UF1", *_difference(part.uf1)),
        ]
        for data, part in {COMPOSITE: comparison.composite, **comparison.databases}.items()
    ]
    caption = (
        f"{comparison.verdict}\n"
        f"A and B disagree on {comparison.disagreements:.0f} of {comparison.composite.samples} samples. "
        "p: two-sided permutation test over subjects; of several databases one is soon below 0.05 by chance."
    )
    return Grid(sides, columns, sections, caption)


def part_table(part: Score) -> Grid:
    """Return the UAR and UF1 of one set of samples."""
    columns = [Column("UAR"), Column("UF1"), Column("samples"), Column("folds")]
    uar, uf1 = (
        _measure(part.uar, part.uar_spread, part.uar_interval),
        _measure(part.uf1, part.uf1_spread, part.uf1_interval),
    )
    return Grid("", columns, [[(uar, uf1, str(part.samples), str(part.folds))]])


def seeds_in_words(seeds: Sequence[int]) -> str:
    """Return `3 seeds` or `seed 0`; nothing of networks that speak together, whose name tells it."""
    if not seeds:
        return ""
    return f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"


def p_in_words(p_value: float) -> str:
    """Return a p-value with three decimals, `<0.001` below that."""
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _side(genotype: str, seeds: Sequence[int]) -> str:
    words = seeds_in_words(seeds)
    return f"{genotype} ({words})" if words else genotype


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _measure(mean: float, spread: float | None, interval: Interval | None) -> str:
    first = f"{mean:.3f}" if spread is None else f"{mean:.3f} ± {spread:.3f}"
    return first if interval is None else f"{first}\n[{interval.low:.3f}, {interval.high:.3f}]"


def _pair(part: Score | Measured | None) -> tuple[str, str]:
    return ("-", "-") if part is None else (_number(part.uar), _number(part.uf1))


def _published_row(found: Published, name: str, databases: Sequence[str]) -> Row:
    scores = [found.scores.get(data) for data in (COMPOSITE, *databases)]
    return (name, *(cell for part in scores for cell in _pair(part)), "")


def _difference(difference: Difference) -> Iterable[str]:
    ends = difference.interval
    return (
        f"{difference.a:.3f}",
        f"{difference.b:.3f}",
        f"{difference.change:+.3f}",
        "-" if ends is None else f"[{ends.low:+.3f}, {ends.high:+.3f}]",
        p_in_words(difference.p_value),
        "within" if difference.within_noise else "beyond",
    )
