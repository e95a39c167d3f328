"""What came of an experiment: each entry beside the number that the paper has there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas_mer.reproduce.experiments import Labels, Setting
from nas_mer.reproduce.planning import Outcome, Plan
from nas_mer.score import Interval, Published, Score, find_published
from nas_mer.score.published import COMPOSITE, SAMPLES, find_published_hours
from nas_mer.words import listed


@dataclass(frozen=True)
class Entry:
    """One number of a table, or one point of a figure.

    Attributes:
        labels: its section, row and column.
        setting: what is trained for it.
        data: the composite or a database.
        measure: `uar`, `uf1` or `hours`.
        ours: mean over seeds; None where there is none.
        spread: its standard deviation over seeds; None with one seed, and of hours.
        interval: 95 % interval over subjects; None of hours.
        paper: the paper's number; None where it has none.
        is_comparable: whether both are of the same samples.
        reason: why there is none of ours.
    """

    labels: Labels
    setting: Setting
    data: str
    measure: str
    ours: float | None
    spread: float | None
    interval: Interval | None
    paper: float | None
    is_comparable: bool
    reason: str

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, of hours ours divided by the paper's; None where they cannot be compared."""
        if self.ours is None or self.paper is None or not self.is_comparable:
            return None
        return self.ours / self.paper if self.measure == "hours" else self.ours - self.paper


@dataclass(frozen=True)
class Reproduced:
    """An experiment, as far as it is done.

    Attributes:
        plan: what was asked for.
        entries: in the order of sections, rows and columns.
        notes: what to know of it, in sentences.
    """

    plan: Plan
    entries: tuple[Entry, ...]
    notes: tuple[str, ...]

    @property
    def reasons(self) -> list[str]:
        """Why entries have no number of ours; each reason once."""
        return list(dict.fromkeys(entry.reason for entry in self.entries if entry.reason))

    def at(self, section: str, row: str, column: str) -> Entry:
        """Return the entry with these labels; KeyError if there is none."""
        return {entry.labels: entry for entry in self.entries}[section, row, column]

    def records(self) -> list[dict[str, Any]]:
        """Return a record an entry, of JSON values; numbers are not rounded, what is not known is None."""
        factors = self.plan.experiment.factors
        return [
            {
                **{factor.name: label for factor, label in zip(factors, entry.labels, strict=True) if factor.name},
                "data": entry.data,
                "measure": entry.measure,
                "ours": entry.ours,
                "spread": entry.spread,
                "low": entry.interval and entry.interval.low,
                "high": entry.interval and entry.interval.high,
                "paper": entry.paper,
                "difference": entry.difference,
                "run": None if entry.ours is None else str(self.plan.run_path(entry.setting)),
                "reason": entry.reason or None,
            }
            for entry in self.entries
        ]

    def as_json(self) -> dict[str, Any]:
        """Return all as JSON values."""
        plan = self.plan
        return {
            "experiment": plan.name,
            "source": plan.experiment.source,
            "title": plan.experiment.title,
            "quick": plan.quick,
            "folder": str(plan.folder),
            "notes": list(self.notes),
            "entries": self.records(),
        }


def reproduced(plan: Plan, outcomes: Mapping[Setting, Outcome]) -> Reproduced:
    """Put what came of a plan beside what the paper reports.

    Args:
        plan: the plan.
        outcomes: of each setting that is done.
    """
    missing = Outcome(reason="not trained yet")
    found: dict[Setting, Published | None] = {}
    entries = []
    for labels, setting, data, measure in plan.experiment.entries():
        outcome = outcomes.get(setting, missing)
        part = _part(outcome, data)
        reported = found.setdefault(setting, _published(setting))
        reason = outcome.reason or (f"the dataset has no {data}" if part is None else "")
        if measure == "hours":
            ours, spread, interval = outcome.hours, None, None
            paper = find_published_hours(setting.method, setting.size, setting.feature_maps, setting.pool)
        else:
            ours, spread, interval = (None, None, None) if part is None else _measured(part, measure)
            scores = reported.scores.get(data) if reported else None
            paper = scores and getattr(scores, measure)
        comparable = _samples(outcome) == _papers_samples(setting)
        entries.append(Entry(labels, setting, data, measure, ours, spread, interval, paper, comparable, reason))
    source = plan.experiment.source
    remarks = [f"{row.method}: {row.remark}" for row in found.values() if row and source in row.remark]
    return Reproduced(plan, tuple(entries), tuple(_notes(plan, entries, remarks)))


def _part(outcome: Outcome, data: str) -> Score | None:
    if outcome.score is None:
        return None
    return outcome.score.composite if data == COMPOSITE else outcome.score.databases.get(data)


def _measured(part: Score, measure: str) -> tuple[float, float | None, Interval | None]:
    if measure == "uf1":
        return part.uf1, part.uf1_spread, part.uf1_interval
    return part.uar, part.uar_spread, part.uar_interval


def _papers_samples(setting: Setting) -> dict[str, int]:
    return {name: SAMPLES[name] for name in setting.databases or SAMPLES}


def _samples(outcome: Outcome) -> dict[str, int]:
    return {name: part.samples for name, part in outcome.score.databases.items()} if outcome.score else {}


def _published(setting: Setting) -> Published | None:
    return find_published(
        setting.method,
        _papers_samples(setting),
        setting.size,
        setting.feature_maps,
        setting.pool,
        setting.magnified,
    )


def _notes(plan: Plan, entries: list[Entry], remarks: list[str]) -> list[str]:
    """Return what to know of the entries, in sentences."""
    experiment, dataset = plan.experiment, plan.dataset
    has_ours = [entry for entry in entries if entry.ours is not None]
    notes = []
    if plan.quick:
        parts = [
            f"{factor.name} {listed(factor.levels)}" for factor in experiment.factors if factor.name in experiment.quick
        ]
        notes.append(f"Quick, a part of the experiment only: {'; '.join(parts)}.")
    epochs = "1 epoch" if plan.recipe.epochs == 1 else f"{plan.recipe.epochs} epochs"
    seeds = "one seed" if plan.seeds == 1 else f"{plan.seeds} seeds"
    height, width = dataset.maps.shape[2:]
    notes.append(
        f"Ours: leave-one-subject-out on {dataset.name}, {len(dataset)} samples, maps of {width}x{height} pixels "
        f"resized to each network's input, at most {epochs}, {seeds}."
    )
    if experiment.is_timed:
        notes.append("Hours are those of all folds of one seed on this machine; compare how they grow.")
    if any(entry.paper is not None and not entry.is_comparable for entry in has_ours):
        notes.append("These are not the paper's samples, so no difference is shown.")
    if all(entry.paper is None for entry in entries):
        notes.append("The paper prints no numbers of this; all are ours.")
    notes += [f"{text[0].upper()}{text[1:].removesuffix('.')}." for text in [experiment.remark, *remarks] if text]
    return notes
