"""Does a search find what is good? Search runs against the table of all networks of their space.

The truth is a table (`nas_mer.tabular`): every network retrained with several seeds under leave-one-subject-out. A
search is asked for its ranking (Kendall's tau with the true one), for its best (their regret), and what chance would
have found. docs/study.md defines each number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas_mer.errors import UserError
from nas_mer.score import Comparison, Interval, Predictions, ScoreRow, compare, score, uar, uf1
from nas_mer.score.intervals import fold_confusions, interval, resample_subjects, resampled
from nas_mer.search.cost import sample_steps
from nas_mer.study.searches import Ranking, Searched, open_searches
from nas_mer.study.statistics import (
    Components,
    Estimate,
    attainable_tau,
    chance,
    components,
    estimate,
    expected_best,
    held_out_best,
    real_share,
    reliability_interval,
    split_half_tau,
    tau,
)
from nas_mer.tabular import Benchmark

TOP = 3
"""How many of a search's best are retrained and the best of them taken, as the paper does."""

METRICS = {"uar": uar, "uf1": uf1}

DRAWS = 1_000
"""Resamples of subjects that a variance is taken over; the quantiles of an interval need more."""


@dataclass(frozen=True)
class Ceiling:
    """How much of a table's ranking is no noise, in one metric.

    Attributes:
        split_half: tau between the means of one half of the seeds and of the other, mean over splits.
        attainable: the expected tau of the true ranking with the table's means.
        attainable_interval: its 95 % interval.
        components: the variances among genotypes and among seeds.
        over_seeds: the share of the variance among the table's means that other seeds would show, too.
        over_seeds_interval: its 95 % interval.
        over_subjects: the share that other subjects would show, too.
    """

    split_half: float
    attainable: float
    attainable_interval: Interval
    components: Components
    over_seeds: float
    over_seeds_interval: Interval
    over_subjects: float


@dataclass(frozen=True)
class Truth:
    """What a table says before any search.

    Attributes:
        ceilings: by metric, `uar` and `uf1`.
        best: the genotype of the greatest mean UAR.
        best_uar: its mean, which is too high for having been picked.
        held_out_uar: the UAR of the best genotype by all seeds but one, with that one.
        mean_uar: of all genotypes, what a uniform draw has on average.
    """

    ceilings: dict[str, Ceiling]
    best: str
    best_uar: float
    held_out_uar: float
    mean_uar: float


@dataclass(frozen=True)
class Pick:
    """The first few genotypes of a ranking, of which the best is taken by retraining.

    Attributes:
        genotypes: their names in the table, in order.
        regret: how much UAR is missing to the best of the table; best ones are found and scored with different seeds.
        naive_regret: the same by means over all seeds, which favours the best.
        chance: the probability that the best of as many uniform draws is as good.
    """

    genotypes: tuple[str, ...]
    regret: float
    naive_regret: float
    chance: float


@dataclass(frozen=True)
class Outcome:
    """What one ranking is worth.

    Attributes:
        judged: how many networks it ranks.
        tau: with the ranking by mean UAR.
        tau_uf1: with that by mean UF1.
        first: its first genotype.
        top: its first three.
        steps: what it has cost.
        draws: how many networks random search can train for that.
        chance: the probability that the best of so many uniform draws is as good as the first; None for no draw.
    """

    judged: int
    tau: float
    tau_uf1: float
    first: Pick
    top: Pick
    steps: float
    draws: int
    chance: float | None


@dataclass(frozen=True, eq=False)
class Result:
    """What a search run is worth.

    Attributes:
        name: the run's.
        strategy, protocol: how it has searched.
        settings: what was asked for otherwise than by default.
        alone: by seed its searches, each by itself: one, or in a nested run one for each fold.
        together: the mean over all its searches, from which `nas-mer derive` takes genotypes.
        ranking: that of the mean.
    """

    name: str
    strategy: str
    protocol: str
    settings: dict[str, Any]
    alone: dict[int, tuple[Outcome, ...]]
    together: Outcome
    ranking: Ranking

    def over_seeds(self, read: Callable[[Outcome], float], seeds: Sequence[int] | None = None) -> Estimate:
        """Return a number of the searches by themselves: its mean over seeds, or over some of them."""
        chosen = list(self.alone) if seeds is None else seeds
        return estimate([float(np.mean([read(outcome) for outcome in self.alone[seed]])) for seed in chosen])


@dataclass(frozen=True, eq=False)
class NestedScore:
    """The LOSO score of a nested search, read from the table.

    Attributes:
        name: the run's.
        score: mean over the table's seeds, with intervals over subjects.
        best: the comparison with the genotype that is the best in hindsight.
        random: the UAR that a uniform draw has on average.
        gain: 95 % interval over subjects of the nested search's UAR minus that.
        shared: the comparison with the first genotype of the shared run that has searched likewise; None without one.
    """

    name: str
    score: ScoreRow
    best: Comparison
    random: float
    gain: Interval
    shared: Comparison | None


Criterion = Literal["tau", "regret"]


@dataclass(frozen=True)
class Choice:
    """A variant that was chosen on one half of the seeds and is reported on the other.

    Attributes:
        name: the run's.
        chosen_by: the criterion on the half that chose.
        reported: the same on the other half.
    """

    name: str
    chosen_by: float
    reported: float


@dataclass(frozen=True)
class Selection:
    """The best of several runs of one strategy, chosen and reported on different seeds.

    Attributes:
        strategy: the strategy.
        names: the runs to choose from.
        criterion: `tau`, the greatest, or `regret` of the first genotype, the least.
        choices: chosen on the seeds at even places and reported on the others, and the other way round.
    """

    strategy: str
    names: tuple[str, ...]
    criterion: Criterion
    choices: tuple[Choice, Choice]

    @property
    def reported(self) -> float:
        """The mean of both reports."""
        return float(np.mean([choice.reported for choice in self.choices]))


@dataclass(frozen=True, eq=False)
class Study:
    """Search runs against a table.

    Attributes:
        table: the table.
        truth: what it says before any search.
        training: what it costs to train a network for random search, in steps.
        results: one a run.
        nested: one a nested run.
        selections: of strategies with several runs.
    """

    table: Benchmark
    truth: Truth
    training: float
    results: tuple[Result, ...]
    nested: tuple[NestedScore, ...]
    selections: tuple[Selection, ...]

    @cached_property
    def random_regret(self) -> NDArray[np.float64]:
        """`(G,)` the expected regret of the best of 1, 2, ... uniform draws, if retraining tells which it is."""
        scores = self.table.uar
        best = held_out_best(scores)
        return np.array([best - expected_best(scores, draws) for draws in range(1, len(scores) + 1)])

    def _repr_html_(self) -> str:
        from nas_mer.study.tables import grids  # tables are made of studies

        return "".join(grid.html() for grid in grids(self))


def study(runs: Sequence[Path], table: str | None = None, size: int | None = None) -> Study:
    """Compare what search runs have found with the table of their space.

    Args:
        runs: folders of finished search runs, at least one, of any strategies, protocols and numbers of seeds.
        table: the name or file of a benchmark; None takes the shipped one that fits the runs.
        size: that of its networks, as `nas_mer.benchmark` takes it; None takes that of the first run.

    Raises:
        UserError: a run or a table does not fit (see `open_searches`), or the table has one seed or network.
    """
    searches, truth = open_searches(runs, table, size)
    if len(truth.seeds) < 2:
        raise UserError(f"{truth.name}: has one seed; to tell noise from truth a study needs a table of at least two")
    if len(truth.genotypes) < 2:
        raise UserError(f"{truth.name}: has one network, of which there is no ranking")
    of_sample = sample_steps(truth.space)
    results = {one.name: _result(one, truth, of_sample) for one in searches}
    training = float(np.mean([steps for one in searches for steps in one.trainings(truth.about.recipe).values()]))
    return Study(
        table=truth,
        truth=truth_of(truth),
        training=training,
        results=tuple(results.values()),
        nested=tuple(_nested(one, searches, results, truth) for one in searches if one.nested),
        selections=tuple(selections(list(results.values()))),
    )


def truth_of(table: Benchmark) -> Truth:
    """Return what a table of at least two seeds says before any search."""
    means = table.uar.mean(axis=1)
    best = int(table.ranking[0])
    draws = resample_subjects(table.predictions(table.genotypes[0], table.seeds[0]), DRAWS)
    ceilings = {}
    for name, metric in METRICS.items():
        scores = getattr(table, name)
        over_subjects = np.array([resampled(metric, folds, draws) for folds in table.confusions])
        parts = components(scores)
        reliability, ends = parts.reliability(len(table.seeds)), reliability_interval(scores)
        ceilings[name] = Ceiling(
            split_half=split_half_tau(scores),
            attainable=attainable_tau(reliability),
            attainable_interval=Interval(*map(attainable_tau, ends)),
            components=parts,
            over_seeds=reliability,
            over_seeds_interval=ends,
            over_subjects=real_share(scores.mean(axis=1), over_subjects),
        )
    return Truth(
        ceilings, table.genotypes[best].label, float(means[best]), held_out_best(table.uar), float(means.mean())
    )


def outcome(ranking: Ranking, table: Benchmark, steps: float, training: float) -> Outcome:
    """Return what a ranking is worth.

    Args:
        ranking: of at least one genotype.
        table: the truth.
        steps: what the ranking has cost.
        training: what it costs random search to train one network.
    """
    means = table.uar.mean(axis=1)
    first, draws = ranking.places[:1], min(int(steps / training + 1e-6), len(means))  # for the rounding of the sum
    return Outcome(
        judged=len(ranking.places),
        tau=tau(ranking.values, means[ranking.places]),
        tau_uf1=tau(ranking.values, table.uf1.mean(axis=1)[ranking.places]),
        first=_pick(first, table),
        top=_pick(ranking.places[:TOP], table),
        steps=steps,
        draws=draws,
        chance=chance(means, float(means[first[0]]), draws) if draws else None,
    )


def _pick(places: NDArray[np.int64], table: Benchmark) -> Pick:
    means = table.uar.mean(axis=1)
    score = float(means[places].max())
    return Pick(
        genotypes=tuple(table.genotypes[place].label for place in places),
        regret=held_out_best(table.uar) - held_out_best(table.uar, places.tolist()),
        naive_regret=float(means.max()) - score,
        chance=chance(means, score, len(places)),
    )


def _result(searched: Searched, table: Benchmark, of_sample: float) -> Result:
    trainings, costs = searched.trainings(table.about.recipe), searched.steps(of_sample)
    alone = {
        seed: tuple(
            outcome(searched.ranking(table, [member]), table, costs[member], trainings[member]) for member in members
        )
        for seed, members in searched.members.items()
    }
    ranking = searched.ranking(table, searched.found.members)
    steps, training = sum(costs.values()), float(np.mean(list(trainings.values())))
    return Result(
        name=searched.name,
        strategy=searched.strategy,
        protocol=searched.run.config.protocol,
        settings=searched.settings,
        alone=alone,
        together=outcome(ranking, table, steps, training),
        ranking=ranking,
    )


def _nested(
    searched: Searched, searches: Sequence[Searched], results: dict[str, Result], table: Benchmark
) -> NestedScore:
    chosen = searched.folds()
    found = [table.folds(chosen, seed) for seed in table.seeds]
    draws = resample_subjects(found[0])
    random = np.mean([resampled(uar, folds, draws) for folds in table.confusions], axis=0)
    alike = [
        one
        for one in searches
        if not one.nested and (one.strategy, one.settings) == (searched.strategy, searched.settings)
    ]
    return NestedScore(
        name=searched.name,
        score=score(*found),
        best=_compared(found, table, table.genotypes[table.ranking[0]].label),
        random=float(table.uar.mean()),
        gain=interval(resampled(uar, fold_confusions(found), draws) - random),
        shared=_compared(found, table, results[alike[0].name].together.first.genotypes[0]) if alike else None,
    )


def _compared(found: Sequence[Predictions], table: Benchmark, genotype: str) -> Comparison:
    """Compare a genotype (first) with the predictions of a nested search (second)."""
    return compare([table.predictions(genotype, seed) for seed in table.seeds], found)


def selections(results: Sequence[Result]) -> Iterator[Selection]:
    """Choose the best of the shared runs of each strategy on one half of their seeds; report it on the other.

    Strategies with one run, and runs of one seed, have no part in it.
    """
    strategies: dict[str, list[Result]] = {}
    for result in results:
        if result.protocol == "shared" and len(result.alone) > 1:
            strategies.setdefault(result.strategy, []).append(result)
    ways: dict[Criterion, Callable[[Outcome], float]]
    ways = {"tau": lambda one: one.tau, "regret": lambda one: one.first.regret}
    for strategy, variants in strategies.items():
        if len(variants) > 1:
            for criterion, read in ways.items():
                choices = _chosen(variants, criterion, read, 0), _chosen(variants, criterion, read, 1)
                yield Selection(strategy, tuple(one.name for one in variants), criterion, choices)


def _chosen(
    variants: Sequence[Result], criterion: Criterion, read: Callable[[Outcome], float], half: Literal[0, 1]
) -> Choice:
    """Choose on the seeds at every second place, from `half` on, and report on the others."""

    def on(variant: Result, start: int) -> float:
        return variant.over_seeds(read, list(variant.alone)[start::2]).mean

    best = max(variants, key=lambda one: on(one, half) * (1 if criterion == "tau" else -1))
    return Choice(best.name, on(best, half), on(best, 1 - half))
