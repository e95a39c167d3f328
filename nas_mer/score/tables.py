"""Scores and comparisons as tables for a terminal of 100 columns."""

import math
from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from nas_mer.score.compare import Comparison, Difference
from nas_mer.score.intervals import Interval
from nas_mer.score.scores import Score, ScoreRow


def score_table(rows: Sequence[ScoreRow], title: str | None = None) -> Table:
    """Return UAR and UF1 of the composite and of each database, and the number of samples and folds, by row.

    Beside a composite's value stands its spread over seeds, below it the 95 % confidence interval over subjects.
    """
    databases = list(dict.fromkeys(name for row in rows for name in row.databases))
    table = _table(title)
    table.add_column("genotype", overflow="fold")
    for heading in ("UAR", "UF1", *(f"{name}\nUAR   UF1" for name in databases), "samples\nfolds"):
        table.add_column(Text(heading), justify="right", overflow="fold")
    for row in rows:
        whole = row.composite
        table.add_row(
            *_cells(
                f"{row.genotype}\n{_seeds(row.seeds)}",
                _measure(whole.uar, whole.uar_spread, whole.uar_interval),
                _measure(whole.uf1, whole.uf1_spread, whole.uf1_interval),
                *(_pair(row.databases.get(name)) for name in databases),
                f"{whole.samples}\n{whole.folds}",
            )
        )
    notes = []
    if any(row.composite.uar_interval for row in rows):
        notes.append("[low, high]: 95 % confidence interval over subjects.")
    if any(len(row.seeds) > 1 for row in rows):
        notes.append("Mean over seeds ± their standard deviation.")
    table.caption = Text(" ".join(notes))
    return table


def class_table(row: ScoreRow) -> Table:
    """Return recall and confusion of every class, for the composite and each database."""
    over = f", summed over {len(row.seeds)} seeds" if len(row.seeds) > 1 else ""
    table = _table(f"{row.genotype}: recall and confusion{over}")
    for heading in ("data", "true class"):
        table.add_column(heading, overflow="fold")
    for heading in ("recall", *(f"as {name}" for name in row.classes), "samples"):
        table.add_column(Text(heading), justify="right", overflow="fold")
    for data, part in {"composite": row.composite, **row.databases}.items():
        table.add_section()
        for index, name in enumerate(row.classes):
            counts = part.confusion[index]
            table.add_row(
                *_cells(
                    data if index == 0 else "",
                    name,
                    _number(float(part.recalls[index])),
                    *map(str, counts.tolist()),
                    str(counts.sum()),
                )
            )
    return table


def comparison_table(comparison: Comparison) -> Table:
    """Return both sides, their difference, its interval and p-value; the verdict stands below."""
    table = _table(
        f"A: {comparison.a} ({_seeds(comparison.seeds_a)})   B: {comparison.b} ({_seeds(comparison.seeds_b)})"
    )
    for heading in ("data", "metric"):
        table.add_column(heading, overflow="fold")
    for heading in ("A", "B", "B - A", "95 % interval", "p", "noise"):
        table.add_column(heading, justify="right", overflow="fold")
    for data, part in {"composite": comparison.composite, **comparison.databases}.items():
        table.add_section()
        table.add_row(*_cells(data, "UAR", *_difference(part.uar)))
        table.add_row(*_cells(f"{part.samples} in {part.folds} folds", "UF1", *_difference(part.uf1)))
    table.caption = Text(
        f"{comparison.verdict}\n"
        f"A and B disagree on {comparison.disagreements:.0f} of {comparison.composite.samples} samples. "
        "p: two-sided permutation test over subjects; of several databases one is soon below 0.05 by chance."
    )
    return table


def _table(title: str | None) -> Table:
    return Table(
        title=None if title is None else Text(title),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        title_justify="left",
        caption_justify="left",
    )


def _cells(*texts: str) -> Iterable[Text]:
    """Return texts as they are: a name with square brackets is no markup."""
    return map(Text, texts)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _measure(mean: float, spread: float | None, interval: Interval | None) -> str:
    first = f"{mean:.3f}" if spread is None else f"{mean:.3f} ± {spread:.3f}"
    return first if interval is None else f"{first}\n[{interval.low:.3f}, {interval.high:.3f}]"


def _pair(part: Score | None) -> str:
    return "-" if part is None else f"{part.uar:.3f} {part.uf1:.3f}"


def _difference(difference: Difference) -> Iterable[str]:
    ends = difference.interval
    return (
        f"{difference.a:.3f}",
        f"{difference.b:.3f}",
        f"{difference.change:+.3f}",
        "-" if ends is None else f"[{ends.low:+.3f}, {ends.high:+.3f}]",
        "<0.001" if difference.p_value < 0.001 else f"{difference.p_value:.3f}",
        "within" if difference.within_noise else "beyond",
    )


def _seeds(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
