"""What a report tells of runs: their data, space, search, genotypes and scores, and how to repeat them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import yaml
from matplotlib.figure import Figure

from nas_mer.data import montage_figure
from nas_mer.data.tables import listed
from nas_mer.errors import UserError
from nas_mer.report.document import Cell, Heading, Paragraph, Part, Picture, Replay, Section, Source, Table
from nas_mer.runs import RetrainConfig, Run, SearchConfig, history, space_of
from nas_mer.runs.findings import SHOWN, History, Tried
from nas_mer.runs.folder import DatasetReference
from nas_mer.runs.predicting import activation_figure
from nas_mer.runs.score_pictures import ranks_of
from nas_mer.runs.scored import Scored
from nas_mer.runs.searched import findings, strategy_of
from nas_mer.score import Comparison, Interval, ScoreRow, compare
from nas_mer.search import Ranked, SearchRecipe
from nas_mer.search.decided import verdict
from nas_mer.space import Genotype, SearchSpace, load_genotype
from nas_mer.view import (
    Course,
    architecture_figure,
    confusion_figure,
    course,
    differences_figure,
    history_figure,
    scores_figure,
    subjects_figure,
)

Subject = TypeVar("Subject")


def story(runs: Sequence[Run[Any]]) -> list[Section]:
    """Return the sections of a report on some runs. What a run lacks is named where it would stand."""
    searches = [Searched(run) for run in runs if run.kind == "search"]
    scored = [Retrained(run) for run in runs if run.kind == "retrain"]
    sections = [
        Section("summary", "What came out", [*_summary(searches, scored)]),
        Section("data", "Data", [*_data(runs)]),
        Section("space", "Search space", [*_spaces(searches, scored)]),
        Section("search", "Search", [*_searches(searches)]),
        Section("genotypes", "Genotypes", [*_genotypes(searches, scored)]),
        Section("scores", "Scores", [*_scores(scored)]),
        Section("attention", "What the networks look at", [*_attention(scored)]),
        Section("repeat", "How to repeat it", [*_repeat(runs)]),
    ]
    return [section for section in sections if section.parts]


class Searched:
    """A search run, as far as it is.

    Attributes:
        run: the run.
    """

    def __init__(self, run: Run[SearchConfig]) -> None:
        self.run = run

    @cached_property
    def space(self) -> SearchSpace:
        """The space that it searches."""
        return space_of(self.run)

    @cached_property
    def weights(self) -> dict[str, Any]:
        """Decision -> `(searches, epochs, options)`."""
        return self.history.weights()

    @cached_property
    def history(self) -> History:
        """What it holds.

        Raises:
            UserError: it holds nothing yet.
        """
        return history(self.run)

    @cached_property
    def course(self) -> Course:
        """How it came to its genotypes."""
        return course(self.space, self.weights, self.run.config.top)

    @property
    def weighs(self) -> bool:
        """Whether it has architecture weights; otherwise it judged genotypes one by one."""
        return strategy_of(self.run).weighs

    @cached_property
    def judged(self) -> list[Ranked]:
        """The genotypes that it judged one by one, the best first."""
        found = findings(self.run)
        return found.ranked(self.space) if isinstance(found, Tried) else []

    def mean(self, epoch: int = -1) -> dict[str, dict[str, float]]:
        """Return decision -> option -> its weight after an epoch, mean over searches."""
        return {
            name: dict(zip(self.space.decisions[name], values[:, epoch].mean(axis=0).tolist(), strict=True))
            for name, values in self.weights.items()
        }

    @property
    def top(self) -> tuple[Genotype, ...]:
        """Its best genotypes."""
        if not self.weighs:
            return tuple(one.genotype for one in self.judged[: self.run.config.top])
        return self.course.genotypes

    @property
    def many(self) -> str:
        """What several of its searches are called."""
        return "folds" if self.run.config.protocol == "nested" else "seeds"

    @property
    def what(self) -> str:
        """What was asked for, in words."""
        config = self.run.config
        return (
            f"{self.run.name} is a search of {self.space.name} ({self.space.size:,} genotypes) on "
            f"{config.dataset.name}: strategy {config.strategy}, protocol {config.protocol}, "
            f"{_plural(len(config.seeds), 'seed')}, {config.recipe.epochs} epochs"
            + (f", {config.recipe.order} order" if isinstance(config.recipe, SearchRecipe) else " a genotype")
        )


class Retrained:
    """A retraining run, as far as it is."""

    def __init__(self, run: Run[RetrainConfig]) -> None:
        self.run = run
        self.scored = Scored(run)

    @cached_property
    def rows(self) -> dict[str, ScoreRow]:
        """The score of each genotype, mean over seeds.

        Raises:
            UserError: no network is trained yet.
        """
        return {row.genotype: row for row in self.scored.rows}

    @property
    def best(self) -> str:
        """The genotype of the highest UAR."""
        return max(self.rows, key=lambda name: self.rows[name].composite.uar)

    @cached_property
    def differences(self) -> list[Comparison]:
        """Every other genotype that covers the same samples against the best one."""
        groups = self.scored.groups
        samples = set(groups[self.best][0].keys())
        others = [name for name, group in groups.items() if name != self.best and set(group[0].keys()) == samples]
        return [compare(groups[self.best], groups[name]) for name in others]


# --- the sections -----------------------------------------------------------------------------------------------------


def _summary(searches: Sequence[Searched], scored: Sequence[Retrained]) -> Iterator[Part]:
    for one in searches:
        yield from _told(_search_in_words, one)
    for run in scored:
        yield from _told(_scores_in_words, run)


def _search_in_words(one: Searched) -> Iterator[Part]:
    (best, *_) = one.top
    if not one.weighs:
        yield Paragraph(
            f"{one.what}. Of {_plural(len(one.judged), 'network')} the best is {_choices(best)}, with a validation UAR "
            f"of {one.judged[0].valid_uar:.3f}; as the best of many this number is optimistic."
        )
        return
    chance = 1 / one.space.size
    decided = [verdict(one.space.decisions[name], values[:, -1]).decided for name, values in one.weights.items()]
    text = (
        f"{one.what}. After {one.history.length} epochs the best genotype is {_choices(best)}, with a joint weight of "
        f"{best.weight:.3g}; equal weights would give {chance:.3g}. "
    )
    if len(decided) > 1:
        text += f"Its decisions are {min(decided):.0%} to {max(decided):.0%} decided"
    else:
        text += f"Its decision is {decided[0]:.0%} decided"
    agreement = one.run.result["overlap"] if one.run.finished else None
    if agreement is not None:
        text += f", and the {one.many}' top {one.run.config.top} overlap by {agreement:.0%}"
    since = one.course.since
    text += (
        f". The best genotype has been the same since epoch {since}." if since else ". It changed in the last epoch."
    )
    yield Paragraph(text)


def _scores_in_words(run: Retrained) -> Iterator[Part]:
    best = run.rows[run.best]
    whole = best.composite
    many = f"{_plural(len(run.rows), 'genotype')} with {_plural(len(run.run.config.seeds), 'seed')}"
    highest = f"the highest UAR is that of {run.best}," if len(run.rows) > 1 else "its UAR is"
    text = (
        f"{run.run.name} retrained {many} in {whole.folds} folds: {highest} "
        f"{_with_interval(whole.uar, whole.uar_interval)}, with a UF1 of "
        f"{_with_interval(whole.uf1, whole.uf1_interval)} (composite of {whole.samples} samples; 95 % intervals over "
        "subjects)."
    )
    if run.differences:
        beyond = [found.b for found in run.differences if not found.composite.uar.within_noise]
        which = listed(beyond) if beyond else "none"
        text += f" Of the others {which} differ{'' if len(beyond) > 1 else 's'} from it beyond noise in UAR."
    yield Paragraph(text)


def _data(runs: Sequence[Run[Any]]) -> Iterator[Part]:
    for reference in {run.config.dataset.fingerprint: run.config.dataset for run in runs}.values():
        yield from _told(_dataset, reference)


def _dataset(reference: DatasetReference) -> Iterator[Part]:
    dataset = reference.load()
    people = len(np.unique(dataset.subjects))
    shape = "\u00d7".join(map(str, dataset.maps.shape[1:]))
    yield Paragraph(
        f"{dataset.name}: {len(dataset):,} flow maps of {shape} (horizontal flow, vertical flow, optical strain) of "
        f"{people} subjects; fingerprint {dataset.fingerprint}."
    )
    subjects = {name: len(np.unique(dataset.subjects[dataset.databases == name])) for name in dataset.counts()}
    rows = [[name, *counts.values(), sum(counts.values()), subjects[name]] for name, counts in dataset.counts().items()]
    yield Table("Samples by database and class", ["database", *dataset.classes, "samples", "subjects"], rows)
    yield Picture("maps", "Some samples of each database and class", montage_figure(dataset, 3), folded=True)


def _spaces(searches: Sequence[Searched], scored: Sequence[Retrained]) -> Iterator[Part]:
    spaces = {one.space.hash: one.space for one in searches}
    for run in scored:
        spaces |= {space.hash: space for space, _ in _retrained(run.run).values() if space.hash not in spaces}
    for space in spaces.values():
        yield Heading(f"{space.name}: {space.title}" if space.title else space.name)
        size = f"{_plural(space.size, 'genotype')}, {_plural(len(space.decisions), 'decision')}"
        yield Paragraph(f"{size}; content hash {space.hash}.")
        yield Picture(f"{space.name}-space", f"The space {space.name} with all its options", architecture_figure(space))
        rows = [[name, len(options), ", ".join(options)] for name, options in space.decisions.items()]
        yield Table(f"Decisions of {space.name}", ["decision", "options", "their names"], rows, folded=True)
        yield Source(f"The space's file {space.name}.yaml", space.source)


def _searches(searches: Sequence[Searched]) -> Iterator[Part]:
    if not searches:
        yield Paragraph("No search run is in this report; add one to see its weights and history.", missing=True)
    weighing = [one for one in searches if one.weighs]
    if len(weighing) > 1:
        yield Heading("All searches")
        yield from _told(_winners, weighing)
    for one in searches:
        yield Heading(one.run.name)
        yield from _told(_search, one)


def _search(one: Searched) -> Iterator[Part]:
    nested = one.run.config.protocol == "nested"
    yield Paragraph(
        "Each fold was searched without its subject, so the scores of its genotypes are not optimistic."
        if nested
        else "The search has seen every subject, so a LOSO score of its genotypes on this dataset is optimistic."
    )
    if not one.run.finished:
        yield Paragraph(f"The search is not finished; it is told {findings(one.run).extent}.", missing=True)
    if not one.weighs:
        yield _trials(one)
        return
    figure = architecture_figure(one.space, one.mean(), one.top[0])
    epochs = range(one.history.length)
    weights = {
        name: {
            option: [round(float(values[:, epoch, index].mean()), 4) for epoch in epochs]
            for index, option in enumerate(one.space.decisions[name])
        }
        for name, values in one.weights.items()
    }
    picture = Picture(f"{one.run.name}-weights", "Architecture weights, mean over searches", figure)
    yield Replay(picture, weights, [dict(genotype.choices) for genotype in one.course.best])
    figure = history_figure(one.weights, one.space.decisions, one.history.losses(), one.course)
    yield Picture(f"{one.run.name}-history", "Weights, entropy, losses and the best genotypes over the epochs", figure)
    yield _decisions(one)
    if nested:
        yield _chosen(one)


def _winners(searches: Sequence[Searched]) -> Iterator[Part]:
    """Tell what several searches chose, decision by decision."""
    decisions = dict.fromkeys(name for one in searches for name in one.space.decisions)
    rows: list[list[object]] = []
    for one in searches:
        found = {name: verdict(one.space.decisions[name], values[:, -1]) for name, values in one.weights.items()}
        texts = [f"{found[name].winner} {found[name].weight:.2f}" if name in found else None for name in decisions]
        rows.append([one.run.name, one.run.config.strategy, one.run.config.protocol, *texts])
    yield Table("The winners and their weights", ["search", "strategy", "protocol", *decisions], rows)


def _decisions(one: Searched) -> Table:
    rows: list[list[object]] = []
    for name, values in one.weights.items():
        found = verdict(one.space.decisions[name], values[:, -1])
        rows.append(
            [
                name, found.winner, found.weight, found.spread, found.second, found.second_weight,
                _percent(found.decided), _percent(found.agreement),
            ]
        )  # fmt: skip
    headings = ["decision", "winner", "weight", "\u00b1", "second", "its weight", "decided", f"{one.many} agree"]
    return Table("What each decision comes to", headings, rows)


def _trials(one: Searched) -> Table:
    rows: list[list[object]] = [
        [found.genotype.rank, found.valid_uar, found.valid_loss, found.searches, *found.genotype.choices.values()]
        for found in one.judged[:SHOWN]
    ]
    headings = ["rank", "validation UAR", "loss", "searches", *one.space.decisions]
    return Table("The best genotypes that were judged one by one", headings, rows)


def _chosen(one: Searched) -> Table:
    """Return how often each option won, over the folds of a nested search."""
    rows: list[list[object]] = []
    for name, values in one.weights.items():
        wins = Counter(values[:, -1].argmax(axis=1).tolist())
        rows += [
            [name, option, wins[index], _percent(wins[index] / len(values))]
            for index, option in enumerate(one.space.decisions[name])
            if wins[index]
        ]
    return Table("In how many searches each option won", ["decision", "option", "searches", "share"], rows)


def _genotypes(searches: Sequence[Searched], scored: Sequence[Retrained]) -> Iterator[Part]:
    for one in searches:
        yield from _told(_derived, one)
    for run in scored:
        retrained = _retrained(run.run)
        rows = [
            [name, genotype.space, genotype.origin or "named by its space", _choices(genotype)]
            for name, (_, genotype) in retrained.items()
        ]
        if rows:
            yield Table(f"Retrained by {run.run.name}", ["genotype", "space", "origin", "choices"], rows)


def _derived(one: Searched) -> Iterator[Part]:
    top = one.top
    rows = [
        [f"top{one.rank}", None if one.weight is None else Cell(f"{one.weight:.3g}", one.weight), *one.choices.values()]
        for one in top
    ]
    yield Table(f"Derived from {one.run.name}", ["genotype", "joint weight", *one.space.decisions], rows)
    for genotype in top:
        figure = architecture_figure(one.space, genotype=genotype)
        yield Picture(f"{one.run.name}-top{genotype.rank}", f"The network of top{genotype.rank}", figure, folded=True)


def _scores(scored: Sequence[Retrained]) -> Iterator[Part]:
    if not scored:
        yield Paragraph("No retraining run is in this report; add one to see its scores.", missing=True)
    if len(scored) > 1:
        yield Heading("All runs")
        yield from _told(_side_by_side, scored)
    for run in scored:
        yield Heading(run.run.name)
        yield from _told(_score, run)


def _side_by_side(scored: Sequence[Retrained]) -> Iterator[Part]:
    """Tell of several retrainings in one table, and compare the best genotype of each with the best of all."""
    rows = {f"{run.run.name}: {name}": row for run in scored for name, row in run.rows.items()}
    yield _score_table(rows)
    best, *others = sorted(scored, key=lambda run: -run.rows[run.best].composite.uar)
    comparisons = {}
    for run in others:
        try:
            name = f"{run.run.name}: {run.best}"
            comparisons[name] = compare(best.scored.groups[best.best], run.scored.groups[run.best])
        except UserError as error:  # other samples
            yield Paragraph(f"{name}: {error}", missing=True)
    if comparisons:
        yield _difference_table(f"{best.run.name}: {best.best}", comparisons)


def _score(run: Retrained) -> Iterator[Part]:
    yield Paragraph(f"{run.scored.about}.")
    yield _score_table(run.rows)
    for note in [*run.scored.notes, *(run.scored.remarks() if run.scored.published else [])]:
        yield Paragraph(f"{note}.")
    for view in _VIEWS:
        yield from _told(partial(_drawn, view), run)
    if run.differences:
        yield _difference_table(run.best, {found.b: found for found in run.differences}, folded=True)


class _View(NamedTuple):
    """A picture of a retraining."""

    name: str
    caption: str
    draw: Callable[[Retrained], Figure]
    folded: bool = False


_VIEWS = (
    _View(
        "scores",
        "UAR and UF1, and what the paper reports of the same networks",
        lambda run: scores_figure(run.scored.rows, run.scored.published),
    ),
    _View(
        "differences",
        "Paired differences from the genotype of the highest UAR",
        lambda run: differences_figure(run.differences),
    ),
    _View("ranks", "Ranks by the search beside those by score", lambda run: ranks_of(run.scored).figure),
    _View(
        "confusion",
        "Confusion matrices of the genotype of the highest UAR",
        lambda run: confusion_figure([run.rows[run.best]]),
    ),
    _View(
        "confusions", "Confusion matrices of all genotypes", lambda run: confusion_figure(run.scored.rows), folded=True
    ),
    _View(
        "subjects",
        "Accuracy on each subject, over all genotypes",
        lambda run: subjects_figure([one for group in run.scored.groups.values() for one in group]),
        folded=True,
    ),
)


def _drawn(view: _View, run: Retrained) -> Iterator[Part]:
    yield Picture(f"{run.run.name}-{view.name}", view.caption, view.draw(run), view.folded)


def _score_table(scores: Mapping[str, ScoreRow]) -> Table:
    databases = list(dict.fromkeys(name for row in scores.values() for name in row.databases))
    headings = ["genotype", "seeds", "UAR", "its interval", "UF1", "its interval"]
    headings += [f"{name} {metric}" for name in databases for metric in ("UAR", "UF1")]
    rows = [
        [
            name, len(row.seeds), row.composite.uar, _interval(row.composite.uar_interval), row.composite.uf1,
            _interval(row.composite.uf1_interval),
            *(value for database in databases for value in _pair(row, database)),
        ]
        for name, row in scores.items()
    ]  # fmt: skip
    caption = "UAR and UF1 of the composite, with 95 % intervals over subjects, and of each database"
    return Table(caption, headings, rows)


def _difference_table(first: str, comparisons: Mapping[str, Comparison], folded: bool = False) -> Table:
    rows = [
        [
            name,
            *(
                value
                for part in (found.composite.uar, found.composite.uf1)
                for value in (_signed(part.change), _interval(part.interval), part.p_value)
            ),
        ]
        for name, found in comparisons.items()
    ]
    headings = ["genotype", "UAR", "its interval", "p", "UF1", "its interval", "p"]
    return Table(f"Differences from {first}, paired over subjects, with permutation tests", headings, rows, folded)


def _attention(retrained: Sequence[Retrained]) -> Iterator[Part]:
    for run in retrained:
        yield from _told(_activation, run)


def _activation(run: Retrained) -> Iterator[Part]:
    name = run.best
    caption = f"Class activation and attention maps of {name} in samples that it gets right and wrong"
    figure = activation_figure(run.run, genotype=name)
    yield Paragraph("Each sample is shown to the networks that its subject was held out from.")
    yield Picture(f"{run.run.name}-activation", caption, figure)


def _repeat(runs: Sequence[Run[Any]]) -> Iterator[Part]:
    yield Paragraph(
        "A run is a function of its configuration: the same versions, dataset and command give the same numbers, bit "
        "for bit on a CPU."
    )
    for run in runs:
        yield Heading(run.name)
        versions = ", ".join(f"{name} {version}" for name, version in run.about["versions"].items())
        machine = ", ".join(f"{name} {value}" for name, value in run.about["machine"].items())
        dataset = run.config.dataset
        yield Paragraph(
            f"Started {run.created:%Y-%m-%d %H:%M} UTC on {machine}; {versions}; dataset {dataset.name} with the "
            f"fingerprint {dataset.fingerprint}."
        )
        yield Source("Command", shlex.join(run.about["command"]), folded=False)
        config = yaml.safe_dump(run.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        yield Source(f"Configuration of {run.name}", config.rstrip())


# --- what the sections share ------------------------------------------------------------------------------------------


def _told(tell: Callable[[Subject], Iterator[Part]], subject: Subject) -> Iterator[Part]:
    """Iterate over what is told of something; where it cannot be had, say why instead of the rest."""
    try:
        yield from tell(subject)
    except UserError as error:
        yield Paragraph(str(error), missing=True)


def _retrained(run: Run[RetrainConfig]) -> dict[str, tuple[SearchSpace, Genotype]]:
    """Return the genotypes of a retraining run that are the same in all folds."""
    files = {name: run.path / "genotypes" / f"{name}.yaml" for name in run.config.genotypes}
    return {name: load_genotype(file) for name, file in files.items() if file.is_file()}


def _choices(genotype: Genotype) -> str:
    return ", ".join(f"{decision}: {option}" for decision, option in genotype.choices.items())


def _pair(row: ScoreRow, database: str) -> tuple[float | None, float | None]:
    part = row.databases.get(database)
    return (None, None) if part is None else (part.uar, part.uf1)


def _percent(share: float) -> Cell:
    return Cell(f"{share:.0%}", share)


def _signed(value: float) -> Cell:
    return Cell(f"{value:+.3f}", value)


def _interval(interval: Interval | None) -> Cell | None:
    return None if interval is None else Cell(f"[{interval.low:.3f}, {interval.high:.3f}]", interval.low)


def _with_interval(value: float, interval: Interval | None) -> str:
    return f"{value:.3f}" + ("" if interval is None else f" [{interval.low:.3f}, {interval.high:.3f}]")


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
