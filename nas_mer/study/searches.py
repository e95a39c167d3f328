"""Finished search runs as a study reads them: what each search ranks how, and what it has cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_mer.errors import UserError, refuse
from nas_mer.runs import Run, SearchConfig, load_run, space_of
from nas_mer.runs.folder import distinct_names
from nas_mer.runs.searches.config import findings, read_state, replicas_of, strategy_of
from nas_mer.runs.searches.findings import Findings, Member
from nas_mer.search import SearchRecipe, SearchReplica, SupernetStrategy
from nas_mer.search.cost import training_steps
from nas_mer.space import INPUT, Genotype, SearchSpace
from nas_mer.tabular import Benchmark, find_benchmark, shipped_tables
from nas_mer.train import Recipe
from nas_mer.words import listed


@dataclass(frozen=True, eq=False)
class Ranking:
    """Genotypes as a search, or the mean of several, ranks them.

    Attributes:
        places: `(n,)` in the table, the best first.
        values: `(n,)` what they are ranked by, joint weight or validation UAR.
    """

    places: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Searched:
    """A finished search run of a table's space, size and dataset.

    Attributes:
        run: the run.
        name: what to call it.
        space: what it has searched, as the table has it.
        found: what it has found.
    """

    run: Run[SearchConfig]
    name: str
    space: SearchSpace
    found: Findings

    @property
    def strategy(self) -> str:
        """How it searches."""
        return self.run.config.strategy

    @property
    def nested(self) -> bool:
        """Whether there is a search for each fold."""
        return self.run.config.protocol == "nested"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What was asked for otherwise than the strategy's default recipe and objective have it, by key."""
        strategy, config = strategy_of(self.run), self.run.config
        default = dict(strategy.accept(strategy.load("default")).leaves())
        asked = dict(config.recipe.leaves())
        changed = {key: value for key, value in asked.items() if key not in default or default[key] != value}
        if config.trials is not None:
            changed["trials"] = config.trials
        if config.objectives != ("uar",):
            changed["objectives"] = ", ".join(config.objectives)
        return changed

    @cached_property
    def members(self) -> dict[int, list[Member]]:
        """The searches of each seed: one, or one for each fold."""
        found: dict[int, list[Member]] = {}
        for member in self.found.members:
            found.setdefault(member.seed, []).append(member)
        return found

    def ranking(self, table: Benchmark, members: Sequence[Member]) -> Ranking:
        """Return the ranking by the mean of some of its searches; of isomorphic genotypes the best counts."""
        found: dict[int, float] = {}
        for genotype, value in self.found.of(members).ranking(self.space):
            found.setdefault(table.place(genotype), value)
        return Ranking(np.array(list(found)), np.array(list(found.values())))

    def folds(self) -> dict[str, Genotype]:
        """Return the genotype that each fold of a nested search has chosen."""
        return self.found.fold_genotypes(self.space)

    def steps(self, of_sample: float) -> dict[Member, float]:
        """Return what each search has cost, in training steps of one network; see `nas_mer.search.cost`.

        Args:
            of_sample: what it costs to train the space's supernet on one sample.
        """
        strategy, recipe = strategy_of(self.run), self.run.config.recipe
        if isinstance(recipe, Recipe):
            judged = {one: len(self.found.of([one]).ranking(self.space)) for one in self.found.members}
            return {one: judged[one] * training for one, training in self.trainings(recipe).items()}
        assert isinstance(strategy, SupernetStrategy)
        costs = {
            one: strategy.search.cost(self.space, recipe, self._replicas[one]).of(self._epochs(one, recipe))
            for one in self.found.members
        }
        return {one: of_sample * cost for one, cost in costs.items()}

    def trainings(self, recipe: Recipe) -> dict[Member, float]:
        """Return what it costs to train and judge one network by a recipe, on the halves of each search."""
        return {
            one: training_steps(recipe, len(self._replicas[one].weights), len(self._replicas[one].alphas))
            for one in self.found.members
        }

    @cached_property
    def _replicas(self) -> Mapping[Member, SearchReplica]:
        config = self.run.config
        return replicas_of(config.dataset.load(), config.seeds, config.protocol)

    def _epochs(self, member: Member, recipe: SearchRecipe) -> int:
        """Return how many of the recipe's epochs a search has done, with those that it took back."""
        return min(recipe.epochs, len(read_state(self.run, member).epochs))


def open_searches(
    paths: Sequence[Path], table: str | None = None, size: int | None = None
) -> tuple[list[Searched], Benchmark]:
    """Open search runs and the table of what they have searched.

    Args:
        paths: their folders, at least one.
        table: a benchmark's name or file; None takes the shipped one of their space, size and dataset.
        size: that of the table's networks, as `nas_mer.benchmark` takes it; None takes that of the first run.

    Raises:
        UserError: a run is no search, not finished, or one of its searches failed; it is of another space, size or
            dataset than the table; or there is no table.
    """
    runs = [load_run(path, "search") for path in paths]
    for run in runs:
        if failures := run.result["failures"]:
            raise UserError(
                f"{run.path}: {listed(failures)} failed ({next(iter(failures.values()))}); a study of the others would "
                "make the strategy look better than it is; search again with another recipe"
            )
    if twice := [path for number, path in enumerate(paths) if path.resolve() in {p.resolve() for p in paths[:number]}]:
        raise UserError(f"{twice[0]}: is named twice")
    spaces = [space_of(run) for run in runs]
    found = _table(runs[0], spaces[0], table, size)
    if found.about.partial:
        raise UserError(f"{found.name}: is partial; a study needs every network of {found.space.name}")
    refuse([text for run, space in zip(runs, spaces, strict=True) for text in _unlike(run, space, found)])
    named = zip(runs, distinct_names(runs), strict=True)
    return [Searched(run, name, found.space, findings(run)) for run, name in named], found


def _table(run: Run[SearchConfig], space: SearchSpace, name: str | None, size: int | None) -> Benchmark:
    """Return the table that is named, or the shipped one that is of what a run has searched."""
    side = space.graph.shapes[INPUT].height
    if name is not None:
        return find_benchmark(name, size if size is not None or Path(name).suffix == ".npz" else side)
    tables = [find_benchmark(file) for file in shipped_tables().values()]
    fitting = [table for table in tables if not any(_unlike(run, space, table)) and size in (None, table.size)]
    if not fitting:
        data = run.config.dataset.name
        raise UserError(
            f"{run.path}: no table that comes with nas_mer is of {space.name} at size {size or side} on '{data}' "
            f"(there are: {listed(table.name for table in tables) or 'none'}); make one with: nas-mer benchmark run, "
            "and name it by --table"
        )
    return fitting[0]


def _unlike(run: Run[SearchConfig], space: SearchSpace, table: Benchmark) -> Iterator[str]:
    """Iterate over what a run has searched and a table is not of."""
    if (space.hash, space.sizes) != (table.space.hash, table.space.sizes):
        yield (
            f"{run.path}: has searched {space.described}, but the table {table.name} is of "
            f"{table.space.described}; name the table of what was searched by --table, or search what the table is of"
        )
    if run.config.tune:
        tuned = listed(axis.name for axis in run.config.tune)
        yield (
            f"{run.path}: has tuned {tuned} beside the genotypes, but the networks of {table.name} differ in their "
            "genotypes alone; search without --tune"
        )
    ours, theirs = run.config.dataset, table.about.dataset
    if ours.fingerprint != theirs.fingerprint:
        yield (
            f"{run.path}: has searched on '{ours.name}' ({ours.fingerprint}), but the table {table.name} is of "
            f"'{theirs.name}' ({theirs.fingerprint}); a study needs the same samples in both"
        )
