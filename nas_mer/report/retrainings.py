"""What a report tells of retrainings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from nas_mer.errors import UserError
from nas_mer.report.document import Cell, Paragraph, Part, Picture, Table, told
from nas_mer.runs import RetrainConfig, Run
from nas_mer.runs.retrainings.pictures import RETRAIN_VIEWS
from nas_mer.runs.retrainings.scored import Scored
from nas_mer.score import Comparison, Difference, Interval, Score, ScoreRow, compare
from nas_mer.score.tables import p_in_words
from nas_mer.space import Genotype, SearchSpace, load_genotype
from nas_mer.space.genotype import in_words
from nas_mer.words import listed, plural


class _View(NamedTuple):
    """A picture of a retraining: of all its genotypes, or of the best."""

    view: str
    caption: str
    of_best: bool = False
    folded: bool = False


_VIEWS = (
    _View("scores", "UAR and UF1, and what the paper reports of the same networks"),
    _View("differences", "Paired differences from the genotype of the highest UAR", of_best=True),
    _View("ranks", "Ranks by the search beside those by score"),
    _View("confusion", "Confusion matrices of the genotype of the highest UAR", of_best=True),
    _View("confusion", "Confusion matrices of all genotypes", folded=True),
    _View("subjects", "Accuracy on each subject, over all genotypes", folded=True),
)


@dataclass(frozen=True, eq=False)
class Retrained:
    """A retraining run, as far as it is. What it does not hold yet raises a `UserError`.

    Attributes:
        run: the run.
        name: what it is called in the report.
    """

    run: Run[RetrainConfig]
    name: str

    @cached_property
    def scored(self) -> Scored:
        """Its scores."""
        return Scored(self.run)

    @cached_property
    def rows(self) -> dict[str, ScoreRow]:
        """The score of each genotype, mean over seeds."""
        return {row.genotype: row for row in self.scored.rows}

    @property
    def begun(self) -> bool:
        """Whether a network is trained."""
        with suppress(UserError):
            return bool(self.rows)
        return False

    @cached_property
    def best(self) -> str:
        """The genotype of the highest UAR, of those with the most samples: of a run under way some have few yet."""
        parts = {name: row.composite for name, row in self.rows.items()}
        return max(parts, key=lambda name: (parts[name].samples, parts[name].uar))

    @cached_property
    def of_best(self) -> Scored:
        """The scores of the best genotype."""
        return replace(self.scored, genotype=self.best)

    @property
    def uar(self) -> float:
        """The highest UAR."""
        return self.rows[self.best].composite.uar

    @property
    def notes(self) -> list[str]:
        """What to know of its scores, and of those that the paper reports."""
        return [*self.scored.notes, *(self.scored.remarks() if self.scored.published else [])]

    @cached_property
    def genotypes(self) -> dict[str, tuple[SearchSpace, Genotype]]:
        """Those that are the same in all folds, each with its space."""
        files = {name: self.run.path / "genotypes" / f"{name}.yaml" for name in self.run.config.genotypes}
        return {name: load_genotype(file) for name, file in files.items() if file.is_file()}

    @property
    def spaces(self) -> list[SearchSpace]:
        """The spaces of these."""
        return [space for space, _ in self.genotypes.values()]

    def summary(self) -> Iterator[Part]:
        """Tell what was trained and what came out."""
        whole = self.rows[self.best].composite
        many = f"{plural(len(self.rows), 'genotype')} with {plural(len(self.run.config.seeds), 'seed')}"
        highest = f"the highest UAR is that of {self.best}," if len(self.rows) > 1 else "its UAR is"
        text = (
            f"{self.name} retrained {many} in {plural(whole.folds, 'fold')}: {highest} "
            f"{_in_words(whole.uar, whole.uar_interval)}, with a UF1 of "
            f"{_in_words(whole.uf1, whole.uf1_interval)} (composite of {plural(whole.samples, 'sample')}; 95 % "
            "intervals over subjects)."
        )
        if self.of_best.comparisons:
            beyond = [name for name, one in self.of_best.comparisons.items() if not one.composite.uar.within_noise]
            differ = f"{listed(beyond)} differ" if len(beyond) > 1 else f"{listed(beyond) or 'none'} differs"
            text += f" Of the others {differ} from it beyond noise in UAR."
        yield Paragraph(text)

    def described(self) -> Iterator[Part]:
        """Tell which genotypes it trains."""
        rows: list[list[object]] = []
        for name in self.run.config.genotypes:
            if name in self.genotypes:
                _, one = self.genotypes[name]
                rows.append([name, one.space, one.origin or "named by its space", one.text])
            else:
                rows.append([name, None, "found for each fold", "one genotype a fold"])
        for name, descriptor in self.run.config.handcrafted.items():
            rows.append([name, None, "handcrafted", in_words(descriptor.model_dump(exclude={"kind"}))])
        yield Table(f"Retrained by {self.name}", ["genotype", "space", "origin", "choices"], rows)

    def scores(self) -> Iterator[Part]:
        """Tell how good its genotypes are, and whether they differ."""
        yield Paragraph(f"{self.scored.about}.")
        yield _score_table(self.rows)
        for note in self.notes:
            yield Paragraph(f"{note}.")
        yield from told(self._drawn, _VIEWS)
        if self.of_best.comparisons:
            yield _difference_table(self.best, self.of_best.comparisons, folded=True)

    def _drawn(self, one: _View) -> Iterator[Part]:
        found = RETRAIN_VIEWS[one.view](self.of_best if one.of_best else self.scored)
        name = "-".join([self.run.name, *([self.best] if one.of_best else []), one.view])
        yield Picture(name, one.caption, found.figure, one.folded)
        for note in found.notes:
            if note not in self.notes:
                yield Paragraph(f"{note}.")

    def activation(self) -> Iterator[Part]:
        """Tell what the networks of its best genotype look at."""
        caption = f"Class activation and attention maps of {self.best} in samples that it gets right and wrong"
        figure = RETRAIN_VIEWS["activation"](self.of_best).figure
        yield Paragraph(f"{self.name}: each sample is shown to the networks that its subject was held out from.")
        yield Picture(f"{self.run.name}-activation", caption, figure)


def side_by_side(retrainings: Sequence[Retrained]) -> Iterator[Part]:
    """Tell of several retrainings that have begun in one table, and compare the best genotype of each."""
    yield _score_table({f"{one.name}: {name}": row for one in retrainings for name, row in one.rows.items()})
    first, *others = sorted(retrainings, key=lambda one: -one.uar)
    comparisons = {}
    for one in others:
        name = f"{one.name}: {one.best}"
        try:
            comparisons[name] = compare(first.scored.groups[first.best], one.scored.groups[one.best])
        except UserError as error:  # other samples
            yield Paragraph(f"{name}: {error}", missing=True)
    if comparisons:
        yield _difference_table(f"{first.name}: {first.best}", comparisons)


def _score_table(scores: Mapping[str, ScoreRow]) -> Table:
    databases = list(dict.fromkeys(name for row in scores.values() for name in row.databases))
    headings = ["genotype", "seeds", "UAR", "its interval", "UF1", "its interval"]
    headings += [f"{name} {metric}" for name in databases for metric in ("UAR", "UF1")]
    rows = [
        [
            name,
            len(row.seeds),
            *_with_intervals(row.composite),
            *(value for database in databases for value in _pair(row.databases.get(database))),
        ]
        for name, row in scores.items()
    ]
    caption = "UAR and UF1 of the composite, with 95 % intervals over subjects, and of each database"
    return Table(caption, headings, rows)


def _difference_table(first: str, comparisons: Mapping[str, Comparison], folded: bool = False) -> Table:
    rows = [
        [name, *_difference(found.composite.uar), *_difference(found.composite.uf1)]
        for name, found in comparisons.items()
    ]
    headings = ["genotype", "UAR", "its interval", "p", "UF1", "its interval", "p"]
    return Table(f"Differences from {first}, paired over subjects, with permutation tests", headings, rows, folded)


def _difference(one: Difference) -> tuple[Cell, Cell, Cell]:
    return Cell.signed(one.change), Cell.interval(one.interval), Cell(p_in_words(one.p_value), one.p_value)


def _with_intervals(part: Score) -> tuple[object, ...]:
    return part.uar, Cell.interval(part.uar_interval), part.uf1, Cell.interval(part.uf1_interval)


def _pair(part: Score | None) -> tuple[float | None, float | None]:
    return (None, None) if part is None else (part.uar, part.uf1)


def _in_words(value: float, interval: Interval | None) -> str:
    return f"{value:.3f}" if interval is None else f"{value:.3f} {Cell.interval(interval).text}"
