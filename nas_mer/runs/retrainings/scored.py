"""The scores of retraining runs, as far as they are trained, for tables and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from nas_mer.errors import UserError
from nas_mer.runs.folder import Run, distinct_names
from nas_mer.runs.retrainings.config import RetrainConfig, genotype_of
from nas_mer.runs.retrainings.findings import notes, predictions
from nas_mer.score import (
    Comparison,
    Grid,
    Predictions,
    Published,
    ScoreRow,
    as_json,
    averaged,
    by_genotype,
    compare,
    compared,
    find_published,
    fullest,
    published_records,
    score,
    score_records,
    score_table,
)
from nas_mer.space import Genotype, SearchSpace
from nas_mer.words import listed


@dataclass(frozen=True)
class Scored:
    """A retraining run with its scores.

    Attributes:
        run: the run.
        genotype: the one to look at; None for all.
        average: whether the networks of a genotype's seeds speak together (`nas_mer.score.averaged`).
    """

    run: Run[RetrainConfig]
    genotype: str | None = None
    average: bool = False

    @cached_property
    def whole(self) -> Scored:
        """The same of all genotypes."""
        return self if self.genotype is None else replace(self, genotype=None)

    @cached_property
    def predictions(self) -> list[Predictions]:
        """One item a (genotype, seed).

        Raises:
            UserError: the genotype is not of the run, or no network is trained.
        """
        if self.genotype is None:
            return predictions(self.run)
        name, known = genotype_of(self.run, self.genotype), by_genotype(self.whole.predictions)
        if name not in known and self.run.finished:
            raise UserError(f"{self.run.path}: every training of {name} failed; see: nas-mer score {self.run.path}")
        if name not in known:
            raise UserError(
                f"{self.run.path}: no network of {name} is trained yet; continue the run with: "
                f"nas-mer runs resume {self.run.path}"
            )
        return known[name]

    @cached_property
    def groups(self) -> dict[str, list[Predictions]]:
        """By genotype its seeds that cover the same samples, or what they say together."""
        groups = {name: fullest(group) for name, group in by_genotype(self.predictions).items()}
        return {name: [averaged(*group)] for name, group in groups.items()} if self.average else groups

    @cached_property
    def rows(self) -> list[ScoreRow]:
        """The score of each genotype, mean over its seeds."""
        return [score(*group) for group in self.groups.values()]

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        """The run's other genotypes that cover the same samples, each compared with this one, or with the first."""
        (first, group), *_ = self.groups.items()
        samples = set(group[0].keys())
        return {
            name: compare(group, other)
            for name, other in self.whole.groups.items()
            if name != first and set(other[0].keys()) == samples
        }

    @cached_property
    def every_row(self) -> dict[str, list[ScoreRow]]:
        """By genotype the score of each seed, then their mean; of an average that alone."""
        rows = dict(zip(self.groups, self.rows, strict=True))
        if self.average:
            return {name: [row] for name, row in rows.items()}
        seeds = {name: [score(seed) for seed in group] for name, group in by_genotype(self.predictions).items()}
        return {name: [*each, *([rows[name]] if len(rows[name].seeds) > 1 else [])] for name, each in seeds.items()}

    @cached_property
    def notes(self) -> list[str]:
        """What to know of the scores: what they lack and why, and which are optimistic."""
        name = None if self.genotype is None else genotype_of(self.run, self.genotype)
        return notes(self.run, self.predictions, name)

    @cached_property
    def published(self) -> dict[str, Published]:
        """By genotype what the paper reports of the same network at the same sizes on the same samples."""
        rcn = SearchSpace.load("rcn")
        found = {}
        for row in self.rows:
            genotype = self._genotypes.get(row.genotype)
            if genotype is None or genotype.space_hash != rcn.hash:
                continue
            sizes = {**rcn.sizes, **genotype.parameters}
            if sizes["dropout"] != rcn.parameters["dropout"]:
                continue
            names = [name for name, choices in rcn.named.items() if choices == genotype.choices]
            samples = {name: part.samples for name, part in row.databases.items()}
            told = int(sizes["size"]), int(sizes["feature_maps"]), int(sizes["pool"])
            for name in names:
                if reported := find_published(name, samples, *told, magnified=self.run.config.dataset.magnified != 1):
                    found[row.genotype] = reported
        return found

    @cached_property
    def compared(self) -> list[Published]:
        """What the paper reports of other methods on the same samples."""
        return compared({name: part.samples for name, part in self.rows[0].databases.items()})

    @cached_property
    def searched(self) -> dict[str, Genotype]:
        """The genotypes that one search found; of several searches those of the one that found the most."""
        found = {name: genotype for name, genotype in self._genotypes.items() if genotype.weight is not None}
        searches = Counter((genotype.space_hash, genotype.origin) for genotype in found.values())
        most = searches.most_common(1)[0][0] if searches else None
        return {name: one for name, one in found.items() if (one.space_hash, one.origin) == most}

    @property
    def about(self) -> str:
        """Dataset, protocol and seeds in words."""
        config = self.run.config
        data = config.dataset.name + (f" ({listed(config.dataset.databases)})" if config.dataset.databases else "")
        seeds = f"seed{'s' if len(config.seeds) > 1 else ''} {listed(config.seeds)}"
        return f"{data}, protocol {config.protocol.upper()}, {seeds}"

    @cached_property
    def _genotypes(self) -> dict[str, Genotype]:
        """Those that are the same in all folds."""
        files = {name: self.run.path / "genotypes" / f"{name}.yaml" for name in self.groups}
        return {name: Genotype.load(file) for name, file in files.items() if file.is_file()}

    def remarks(self) -> list[str]:
        """What to know of the numbers that the paper reports of this run's genotypes."""
        if not self.published and not self.compared:
            return ["the paper reports nothing of these networks at these sizes on these samples"]
        return [f"{name}: {found.remark}" for name, found in self.published.items() if found.remark]


def scores_grid(runs: Sequence[Scored], published: bool = False) -> Grid:
    """Return one table of all runs, with protocol, seeds and notes in its caption.

    A genotype that several runs have stands there as `run:genotype`.

    Args:
        runs: what to show.
        published: also what the paper reports.
    """
    times = Counter(row.genotype for one in runs for row in one.rows)
    called = distinct_names([one.run for one in runs])
    rows, reported, others = [], {}, []
    for run, one in zip(called, runs, strict=True):
        for row in one.rows:
            name = row.genotype if times[row.genotype] == 1 else f"{run}:{row.genotype}"
            rows.append(replace(row, genotype=name))
            if published and row.genotype in one.published:
                reported[name] = one.published[row.genotype]
        if published:
            others += [found for found in one.compared if found not in others]
    abouts = {run: one.about for run, one in zip(called, runs, strict=True)}
    about = next(iter(abouts.values()))
    if len(set(abouts.values())) > 1:
        about = "; ".join(f"{name}: {text}" for name, text in abouts.items())
    grid = score_table(rows, f"UAR and UF1 on {about}", reported, others)
    said = dict.fromkeys(f"{note[0].upper()}{note[1:]}." for one in runs for note in one.notes)
    return replace(grid, caption=" ".join(filter(None, [grid.caption, *said])))


def scores_as_json(runs: Sequence[Scored]) -> dict[str, Any]:
    """Return the scores of all runs as plain JSON values: see `nas_mer.score.as_json`; and their notes."""
    rows = [row for one in runs for found in one.every_row.values() for row in found]
    return {**as_json(rows), "notes": [note for one in runs for note in one.notes]}


def scores_records(runs: Sequence[Scored], published: bool = False) -> Iterator[dict[str, object]]:
    """Iterate over the records of all runs: each genotype's seeds, their mean, and what the paper reports."""
    for run, one in zip(distinct_names([one.run for one in runs]), runs, strict=True):
        for name, rows in one.every_row.items():
            found = [record for row in rows for record in score_records(row)]
            if published and name in one.published:
                found += published_records(one.published[name], name)
            yield from ({"run": run, **record} for record in found)
        if published:
            for other in one.compared:
                yield from ({"run": run, **record} for record in published_records(other, other.method))
