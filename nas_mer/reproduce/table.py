"""An experiment as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nas_mer.reproduce.results import Entry, Reproduced
from nas_mer.score.grid import Column, Grid, Row


def table(found: Reproduced) -> Grid:
    """Return an experiment as a table: each row of the paper's, with lines for ours, the paper's and the difference.

    Entries that have no number of ours bear the number of the reason, which stands in the caption.
    """
    experiment = found.plan.experiment
    sections, rows, columns = experiment.factors
    has_sections = bool(sections.name)
    reasons = {reason: number for number, reason in enumerate(found.reasons, 1)}
    heads = [Column(sections.name, words=True)] if has_sections else []
    heads.append(Column(rows.name, words=True))
    heads += [Column(f"{columns.name}\n{label}") for label in columns.levels]
    parts: list[list[Row]] = []
    for section in sections.levels:
        part: list[Row] = []
        for row in rows.levels:
            line = [found.at(section, row, column) for column in columns.levels]
            names, *cells = _lines(row, line, reasons)
            first = [section if not part else ""] if has_sections else []
            part.append((*first, names, *cells))
        parts.append(part)
    notes = list(found.notes)
    if any(entry.interval for entry in found.entries):
        notes.append("Interval: 95 % confidence interval over subjects.")
    if any(entry.spread is not None for entry in found.entries):
        notes.append("Mean over seeds ± their standard deviation.")
    notes += [f"({number}) {reason.removesuffix('.')}." for reason, number in reasons.items()]
    title = f"{experiment.source}: {experiment.title}" + (", quick" if found.plan.quick else "")
    return Grid(title, heads, parts, " ".join(notes))


def _lines(name: str, entries: Sequence[Entry], reasons: dict[str, int]) -> list[str]:
    """Return a row's name and entries, a line for all that at least one of the entries has."""
    hours = entries[0].measure == "hours"
    number = "{:.3g} h" if hours else "{:.3f}"

    def ours(entry: Entry) -> str:
        if entry.ours is None:
            return f"({reasons[entry.reason]})"
        spread = "" if entry.spread is None else f" ± {entry.spread:.3f}"
        return number.format(entry.ours) + spread

    def interval(entry: Entry) -> str:
        return f"[{entry.interval.low:.3f}, {entry.interval.high:.3f}]" if entry.interval else ""

    def paper(entry: Entry) -> str:
        return "" if entry.paper is None else number.format(entry.paper)

    def difference(entry: Entry) -> str:
        if entry.difference is None:
            return ""
        return f"{entry.difference:.3g}" if hours else f"{entry.difference:+.3f}"

    lines: list[tuple[str, Callable[[Entry], str]]] = [
        (name, ours),
        ("  interval", interval),
        ("  in the paper", paper),
        ("  ours / paper" if hours else "  difference", difference),
    ]
    shown = [(label, texts) for label, text in lines if any(texts := [text(entry) for entry in entries])]
    return ["\n".join(label for label, _ in shown), *map("\n".join, zip(*(texts for _, texts in shown), strict=True))]
