"""What the searches of a run have found so far: architecture weights, or genotypes that were judged one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from nas_mer.search import Epoch, Ranked, Trial, front, ranked
from nas_mer.search.decided import Verdict, verdict
from nas_mer.search.tuning import Values
from nas_mer.space import Genotype, SearchSpace

SHOWN = 10
"""How many of the best trials a run's result has."""


class Member(NamedTuple):
    """One search of a run: its seed, and the subject that it holds out if the protocol is nested."""

    seed: int
    fold: str | None = None

    def __str__(self) -> str:
        return f"seed {self.seed}" + (f", fold {self.fold}" if self.fold else "")

    @property
    def about(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"seed": self.seed} | ({"fold": self.fold} if self.fold else {})

    @property
    def streams(self) -> tuple[str | int, ...]:
        """What its random streams depend on."""
        return tuple(self.about.values())


class Findings(ABC):
    """What a search run holds so far: something of at least one search.

    Attributes:
        failures: why each search that failed stopped without a result.
    """

    failures: Mapping[Member, str]

    @property
    @abstractmethod
    def members(self) -> list[Member]:
        """The searches that have begun and did not fail."""

    @property
    @abstractmethod
    def extent(self) -> str:
        """How far they are, in words."""

    @abstractmethod
    def of(self, members: Sequence[Member]) -> Self:
        """Return what some of the searches hold."""

    @abstractmethod
    def top(self, space: SearchSpace, k: int) -> list[Genotype]:
        """Return the best genotypes by the mean over searches."""

    def kept(self, space: SearchSpace, k: int) -> list[tuple[Genotype, Values]]:
        """Return the genotypes to keep, each with what was tuned of the recipe: the `k` best."""
        return [(genotype, {}) for genotype in self.top(space, k)]

    @abstractmethod
    def ranking(self, space: SearchSpace) -> list[tuple[Genotype, float]]:
        """Return all genotypes that were compared, the best first, each with what it was compared by.

        Isomorphic ones may be among them.
        """

    @abstractmethod
    def valid_uar(self, member: Member) -> float:
        """Return the unweighted average recall that a search came to on the alphas' half."""

    @abstractmethod
    def result(self, space: SearchSpace, k: int) -> dict[str, Any]:
        """Return what is particular to this kind of findings, for `result.json`."""

    def of_fold(self, fold: str) -> Self:
        """Return what the searches of one fold hold."""
        return self.of([member for member in self.members if member.fold == fold])

    def fold_kept(self, space: SearchSpace) -> dict[str, tuple[Genotype, Values]]:
        """Return the best genotype of each fold of a nested search, by the mean of its seeds, as `kept` does."""
        folds = dict.fromkeys(member.fold for member in self.members if member.fold)
        return {fold: self.of_fold(fold).kept(space, 1)[0] for fold in folds}

    def fold_genotypes(self, space: SearchSpace) -> dict[str, Genotype]:
        """Return the same without what was tuned of the recipe."""
        return {fold: genotype for fold, (genotype, _) in self.fold_kept(space).items()}


@dataclass(frozen=True)
class History(Findings):
    """Architecture weights, epoch by epoch.

    Attributes:
        epochs: the epochs so far of each search that has begun and did not fail; of one that stopped early, those that
            it goes back to.
        failures: why each other one stopped without a result.
        asked: how many epochs a search is to have.
    """

    epochs: Mapping[Member, tuple[Epoch, ...]]
    failures: Mapping[Member, str]
    asked: int

    @property
    def members(self) -> list[Member]:
        """The searches that have begun and did not fail."""
        return list(self.epochs)

    @property
    def length(self) -> int:
        """The number of epochs that all of these have done."""
        return min(map(len, self.epochs.values()))

    @property
    def extent(self) -> str:
        """How far they are, in words."""
        least, most = self.length, max(map(len, self.epochs.values()))
        done = f"{most}" if least == most else f"{least} to {most}"
        return f"after {done} of {self.asked} epochs"

    def of(self, members: Sequence[Member]) -> History:
        """Return what some of the searches hold."""
        return History({member: self.epochs[member] for member in members}, self.failures, self.asked)

    def weights(self) -> dict[str, np.ndarray]:
        """Return decision -> `(searches, epochs, options)`."""
        common = [epochs[: self.length] for epochs in self.epochs.values()]
        return {
            decision: np.array([[epoch.weights[decision] for epoch in epochs] for epochs in common])
            for decision in common[0][0].weights
        }

    def last(self) -> dict[str, np.ndarray]:
        """Return decision -> `(searches, options)`, after the last epoch of each."""
        ends = [epochs[-1].weights for epochs in self.epochs.values()]
        return {decision: np.array([weights[decision] for weights in ends]) for decision in ends[0]}

    def mean(self, space: SearchSpace) -> dict[str, dict[str, float]]:
        """Return decision -> option -> its weight after the last epoch, mean over searches."""
        return by_option(space, {name: values.mean(axis=0) for name, values in self.last().items()})

    def verdicts(self, space: SearchSpace) -> dict[str, Verdict]:
        """Return how decided each decision is after the last epoch."""
        return {name: verdict(space.decisions[name], values) for name, values in self.last().items()}

    def losses(self) -> dict[str, np.ndarray]:
        """Return `train_loss` and `valid_loss`, `(searches, epochs)` each."""
        common = [epochs[: self.length] for epochs in self.epochs.values()]
        return {
            name: np.array([[getattr(epoch, name) for epoch in epochs] for epochs in common])
            for name in ("train_loss", "valid_loss")
        }

    def top(self, space: SearchSpace, k: int) -> list[Genotype]:
        """Return the genotypes of the greatest joint weight (mean over searches)."""
        return space.top(self.mean(space), k)

    def ranking(self, space: SearchSpace) -> list[tuple[Genotype, float]]:
        """Return the whole space, each genotype with its joint weight (mean over searches)."""
        everything = space.top(self.mean(space), space.size, distinct=False)
        return [(genotype, genotype.weight or 0.0) for genotype in everything]

    def valid_uar(self, member: Member) -> float:
        """Return the unweighted average recall of a search's supernet in its last epoch."""
        return self.epochs[member][-1].valid_uar

    def result(self, space: SearchSpace, k: int) -> dict[str, Any]:
        """Return the weights, and how decided each decision is."""
        verdicts = {name: asdict(found) for name, found in self.verdicts(space).items()}
        return {"weights": self.mean(space), "decisions": verdicts}


@dataclass(frozen=True)
class Tried(Findings):
    """Genotypes that were judged one by one.

    Attributes:
        trials: those so far of each search that has judged one.
        failures: why each search of which all failed has no result.
        objectives: what they were compared by; names of `nas_mer.search.OBJECTIVES`.
    """

    trials: Mapping[Member, tuple[Trial, ...]]
    failures: Mapping[Member, str]
    objectives: tuple[str, ...] = ("uar",)

    @property
    def members(self) -> list[Member]:
        """The searches that have judged a genotype."""
        return list(self.trials)

    @property
    def extent(self) -> str:
        """How far they are, in words."""
        count = sum(map(len, self.trials.values()))
        return f"after {count} trials"

    def of(self, members: Sequence[Member]) -> Tried:
        """Return what some of the searches hold."""
        return Tried({member: self.trials[member] for member in members}, self.failures, self.objectives)

    def ranked(self, space: SearchSpace) -> list[Ranked]:
        """Return all genotypes that were judged, the best first."""
        return ranked(space, self.trials.values())

    def top(self, space: SearchSpace, k: int) -> list[Genotype]:
        """Return the genotypes of the greatest validation UAR (mean over the searches that tried them)."""
        return [one.genotype for one in self.ranked(space)[:k]]

    def kept(self, space: SearchSpace, k: int) -> list[tuple[Genotype, Values]]:
        """Return the `k` best and, if there is more than one objective, all others that none beats."""
        found = self.ranked(space)
        unbeaten = front(found, self.objectives) if len(self.objectives) > 1 else []
        return [(one.genotype, one.recipe) for one in found if one in found[:k] or one in unbeaten]

    def ranking(self, space: SearchSpace) -> list[tuple[Genotype, float]]:
        """Return what was judged, each network with its validation UAR (mean over the searches that tried it)."""
        return [(one.genotype, one.valid_uar) for one in self.ranked(space)]

    def valid_uar(self, member: Member) -> float:
        """Return the unweighted average recall of the best genotype of a search."""
        return max(trial.valid_uar for trial in self.trials[member] if trial.valid_uar is not None)

    def result(self, space: SearchSpace, k: int) -> dict[str, Any]:
        """Return how many trials there were, the best, those that none beats, and why some failed."""
        found = self.ranked(space)
        return {
            "tried": len(found),
            "objectives": list(self.objectives),
            "trials": [_row(one) for one in found[: max(k, SHOWN)]],
            "front": [_row(one) for one in front(found, self.objectives)],
            "failed": dict(Counter(one.failure for of in self.trials.values() for one in of if one.failure)),
        }


def _row(one: Ranked) -> dict[str, Any]:
    """Return what is known of a genotype that was judged, for `result.json`."""
    return {
        "rank": one.genotype.rank,
        "valid_uar": one.valid_uar,
        "valid_loss": one.valid_loss,
        "searches": one.searches,
        "choices": dict(one.genotype.choices),
        "parameters": dict(one.parameters),
        "recipe": dict(one.recipe),
        "measured": dict(one.measured),
    }


def by_option(space: SearchSpace, weights: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return decision -> option -> weight, of decision -> `(options,)`."""
    return {name: dict(zip(space.decisions[name], values.tolist(), strict=True)) for name, values in weights.items()}
