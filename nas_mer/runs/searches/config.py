"""What a search run was asked for, and where it keeps what.

space.yaml                       the space
seeds/0.safetensors              the last epoch of seed 0: supernet, alphas, optimisers, history
seeds/0/smic/s01.safetensors     the same of a nested search, whose fold holds out subject s01 of SMIC
studies.db                       the trials of a strategy that trains genotypes one by one
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, model_validator

from nas_mer.data import Dataset, bilevel_halves, loso_folds
from nas_mer.errors import UserError
from nas_mer.files import SCRATCH
from nas_mer.runs.folder import Config, Run
from nas_mer.runs.searches.findings import Findings, History, Member, Tried
from nas_mer.runs.tensors import unpacked
from nas_mer.search import (
    STRATEGIES,
    Epoch,
    SearchRecipe,
    SearchReplica,
    Strategy,
    Study,
    SupernetStrategy,
    Trial,
    TrialStrategy,
    find_strategy,
)
from nas_mer.search.objectives import check_objectives
from nas_mer.search.optuna_study import open_storage, sqlite_url
from nas_mer.search.tuning import Axis
from nas_mer.space import SearchSpace
from nas_mer.train import Recipe
from nas_mer.train.recipe import Count

Protocol = Literal["shared", "nested"]
STUDIES = "studies.db"


class SharedStorage(BaseModel):
    """Where studies are kept that many machines work on.

    Attributes:
        url: of an Optuna storage.
        asker: what this run is called there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    asker: str


class SearchConfig(Config):
    """What a search was asked for.

    Attributes:
        recipe: of a supernet, or of the networks that a strategy trains one by one.
        parameters: the sizes of the space.
        strategy: how it searches; a name of `nas_mer.search.STRATEGIES`.
        trials: how many genotypes each search trains, where the strategy does that.
        storage: where its studies are, if not in the run folder.
        tune: what is drawn besides the genotypes, where a strategy trains them one by one.
        objectives: what they are compared by; names of `nas_mer.search.OBJECTIVES`.
        protocol: what a search may see.
        top: how many genotypes to derive.
    """

    recipe: SearchRecipe | Recipe
    parameters: dict[str, int | float | bool]
    strategy: str = "darts"
    trials: Count | None = None
    storage: SharedStorage | None = None
    tune: tuple[Axis, ...] = ()
    objectives: tuple[str, ...] = ("uar",)
    protocol: Protocol = "shared"
    top: Count = 3

    @model_validator(mode="after")
    def _fits(self) -> Self:
        supernet = isinstance(STRATEGIES.get(self.strategy), SupernetStrategy)
        if self.strategy not in STRATEGIES:
            raise ValueError(f"no strategy is called '{self.strategy}'")
        if supernet != isinstance(self.recipe, SearchRecipe) or supernet != (self.trials is None):
            raise ValueError(f"recipe or trials are not those of strategy {self.strategy}")
        check_objectives(self.objectives)
        return self


@dataclass(frozen=True)
class State:
    """The supernet of one search as far as it has come.

    Attributes:
        epochs: what each epoch left.
        failure: why it stopped without a result.
        tensors: what the next epoch depends on, if there is to be one.
        trials: the genotypes that it judged after its last epoch.
    """

    epochs: tuple[Epoch, ...] = ()
    failure: str | None = None
    tensors: Mapping[str, torch.Tensor] | None = None
    trials: tuple[Trial, ...] = ()

    @classmethod
    def of(cls, checkpoint: bytes) -> State:
        """Read what `nas_mer.runs.searches.supernets` has packed."""
        tensors, about = unpacked(checkpoint)
        epochs = tuple(Epoch(**epoch) for epoch in about["epochs"])
        trials = tuple(Trial(**trial) for trial in about.get("trials", ()))
        return cls(epochs, about["failure"], tensors, trials)

    def stopped(self, recipe: SearchRecipe) -> bool:
        """Return whether it stopped early."""
        return recipe.stops([epoch.eigenvalue or 0.0 for epoch in self.epochs])

    def kept(self, recipe: SearchRecipe) -> tuple[Epoch, ...]:
        """Return the epochs that count: of a search that stopped early, those before it went wrong."""
        rule = recipe.early_stopping
        return self.epochs[: -rule.back] if rule is not None and self.stopped(recipe) else self.epochs


def strategy_of(run: Run[SearchConfig]) -> Strategy:
    """Return how a run searches."""
    return find_strategy(run.config.strategy)


def space_of(run: Run[SearchConfig]) -> SearchSpace:
    """Return the space that a run searches, at its sizes."""
    return SearchSpace.load(run.path / "space.yaml", **run.config.parameters)


def replicas_of(dataset: Dataset, seeds: Iterable[int], protocol: Protocol) -> dict[Member, SearchReplica]:
    """Return all searches of a run, seed by seed.

    Raises:
        UserError: the subjects cannot be split into halves.
    """
    everything = np.arange(len(dataset))
    folds = [(f.subject, f.train) for f in loso_folds(dataset)] if protocol == "nested" else [(None, everything)]
    members = {Member(seed, fold): train for seed in seeds for fold, train in folds}
    return {
        member: SearchReplica(*bilevel_halves(dataset, train, member.seed), member.streams)
        for member, train in members.items()
    }


def studies_of(run: Path, config: SearchConfig, space: SearchSpace, members: Iterable[Member]) -> dict[Member, Study]:
    """Return the studies of a run's searches.

    Args:
        run: the run's folder, in which the studies are if they are nowhere else.
        config: what was asked for.
        space: the space.
        members: the searches.

    Raises:
        UserError: the storage cannot be used, or has a study of something else.
    """
    strategy = find_strategy(config.strategy)
    assert isinstance(strategy, TrialStrategy)
    assert config.trials is not None
    storage = _storage_of(run, config)
    opened = open_storage(storage.url)
    of = {
        "space": f"{space.hash} {json.dumps(config.parameters, sort_keys=True)}",
        "dataset": config.dataset.fingerprint,
        "recipe": hashlib.sha256(config.recipe.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:12],
    }
    return {
        member: Study(
            space,
            opened,
            _study_name(space, strategy, member),
            member.streams,
            strategy.sampler,
            config.trials,
            of,
            storage.asker,
            config.tune,
            config.objectives,
        )
        for member in members
    }


def _storage_of(run: Path, config: SearchConfig) -> SharedStorage:
    """Return where the studies of a run are: in its folder if they are nowhere else."""
    return config.storage or SharedStorage(url=sqlite_url(run.resolve() / STUDIES), asker="")


def _study_name(space: SearchSpace, strategy: Strategy, member: Member) -> str:
    return f"{space.name}, {strategy.name}, {member}"


def state_file(run: Run[SearchConfig], member: Member) -> Path:
    """Return where the last epoch of a search's supernet is kept."""
    place = f"{member.seed}/{member.fold}" if member.fold else str(member.seed)
    return run.path / "seeds" / f"{place}.safetensors"


def read_state(run: Run[SearchConfig], member: Member) -> State:
    """Return the supernet of a search as far as it has come.

    Raises:
        UserError: its file is damaged.
    """
    path = state_file(run, member)
    try:
        return State.of(path.read_bytes()) if path.is_file() else State()
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: is damaged ({error}); delete it, and resuming the run searches {member} again"
        ) from None


def findings(run: Run[SearchConfig]) -> Findings:
    """Return what a search run holds so far.

    Raises:
        UserError: it holds nothing yet, or all its searches failed.
    """
    strategy = strategy_of(run)
    if strategy.weighs:
        return history(run)
    trials: dict[Member, tuple[Trial, ...]] = {}
    failures: dict[Member, str] = {}
    if isinstance(strategy, SupernetStrategy):
        for member in _members(run):
            state = read_state(run, member)
            trials[member] = state.trials
            if state.failure is not None:
                failures[member] = state.failure
    elif run.config.storage or (run.path / STUDIES).is_file():
        for member, study in studies_of(run.path, run.config, space_of(run), _members(run)).items():
            found = tuple(study.trials().values())
            trials[member] = found
            if found and all(trial.failure for trial in found):
                failures[member] = f"{member}: {found[0].failure}"
    scored = {member: of for member, of in trials.items() if any(not trial.failure for trial in of)}
    _refuse_nothing(run, scored, failures, len(trials), "judged no genotype")
    return Tried(scored, failures, run.config.objectives)


def history(run: Run[SearchConfig]) -> History:
    """Return the architecture weights of a search run so far.

    Raises:
        UserError: its strategy has none, no search has an epoch yet, or all failed.
    """
    strategy, recipe = strategy_of(run), run.config.recipe
    if not (strategy.weighs and isinstance(strategy, SupernetStrategy) and isinstance(recipe, SearchRecipe)):
        raise UserError(
            f"{run.path}: strategy {strategy.name} has no architecture weights; it has compared genotypes one by one, "
            f"which are shown by: nas-mer runs show {run.path}"
        )
    states = {member: read_state(run, member) for member in _members(run)}
    failures = {member: state.failure for member, state in states.items() if state.failure is not None}
    epochs = {m: state.kept(recipe) for m, state in states.items() if m not in failures and state.epochs}
    _refuse_nothing(run, epochs, failures, len(states), "no finished epoch")
    return History(epochs, failures, strategy.search.length(space_of(run), recipe))


def _refuse_nothing(
    run: Run[SearchConfig], found: Mapping[Member, object], failures: Mapping[Member, str], begun: int, lacking: str
) -> None:
    """Raise a UserError if a run has found nothing."""
    if begun and len(failures) == begun:
        why = "; ".join(itertools.islice(failures.values(), 3))
        raise UserError(f"{run.path}: no search succeeded; start another run with another recipe: {why}")
    if not found:
        raise UserError(f"{run.path}: the search has {lacking} yet; continue it with: nas-mer runs resume {run.path}")


def mean_weights(run: Run[SearchConfig]) -> dict[str, dict[str, float]]:
    """Return the weight of each option after the last epoch, mean over searches."""
    return history(run).mean(space_of(run))


def _members(run: Run[SearchConfig]) -> list[Member]:
    """Return the searches that a run has begun, seed by seed."""
    if run.config.protocol == "shared":
        return [Member(seed) for seed in run.config.seeds]
    strategy = strategy_of(run)
    if isinstance(strategy, TrialStrategy):
        space, studies = space_of(run), open_storage(_storage_of(run.path, run.config).url).studies()
        begins = {seed: _study_name(space, strategy, Member(seed)) + ", fold " for seed in run.config.seeds}
        return [
            Member(seed, study.removeprefix(begin))
            for seed, begin in begins.items()
            for study in studies
            if study.startswith(begin)
        ]
    found = []
    for seed in run.config.seeds:
        folder = run.path / "seeds" / str(seed)
        files = sorted(file for file in folder.rglob("*.safetensors") if not file.parent.name.endswith(SCRATCH))
        found += [Member(seed, file.relative_to(folder).with_suffix("").as_posix()) for file in files]
    return found
