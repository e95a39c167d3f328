"""How a search came to its genotypes: what it found best after each epoch, and since when that has been the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from nas_mer.space import Genotype, SearchSpace

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Course:
    """How the mean weights of some searches came to their genotypes.

    Attributes:
        best: the best genotype after each epoch.
        genotypes: the best ones after the last epoch.
        joint: their joint weights, `(epochs, genotypes)`.
        each: the same by each search's own weights, `(searches, epochs, genotypes)`.
        equal: the best one's joint weight by equal weights.
        since: the epoch, from 1, since which the best genotype has been the same; None where it changed in the last one
            or there is but one.
        decisions: the same of each decision's heaviest option.
    """

    best: tuple[Genotype, ...]
    genotypes: tuple[Genotype, ...]
    joint: Array
    each: Array
    equal: float
    since: int | None
    decisions: Mapping[str, int | None]

    @property
    def epochs(self) -> int:
        """How many there are."""
        return len(self.best)

    @property
    def text(self) -> str:
        """Since when the best genotype has been the same, as a sentence; empty after one epoch."""
        if self.epochs == 1:
            return ""
        if self.since is None:
            return f"The best genotype changed in the last of {self.epochs} epochs."
        return f"The best genotype has been the same since epoch {self.since} of {self.epochs}."

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "epochs": self.epochs,
            "since": self.since,
            "decisions": dict(self.decisions),
            "genotypes": [
                {"rank": genotype.rank, "choices": dict(genotype.choices), "joint": joint.tolist()}
                for genotype, joint in zip(self.genotypes, self.joint.T, strict=True)
            ],
        }


def course(space: SearchSpace, weights: Mapping[str, Array], top: int = 3) -> Course:
    """Return how searches came to their best genotypes.

    Args:
        space: the space that was searched.
        weights: `(searches, epochs, options)` in 0..1 of each decision, its options in the space's order.
        top: how many genotypes to follow.
    """
    means = {decision: values.mean(axis=0) for decision, values in weights.items()}
    epochs = len(next(iter(means.values())))

    def after(epoch: int) -> dict[str, dict[str, float]]:
        """Return the mean weights after an epoch, by option."""
        return {d: dict(zip(space.decisions[d], mean[epoch].tolist(), strict=True)) for d, mean in means.items()}

    genotypes = tuple(space.top(after(-1), top))
    best = tuple(space.top(after(epoch), 1)[0] for epoch in range(epochs))
    return Course(
        best,
        genotypes,
        np.stack([_joint(space, means, genotype) for genotype in genotypes], axis=-1),
        np.stack([_joint(space, weights, genotype) for genotype in genotypes], axis=-1),
        equal_weight(space, genotypes[0]),
        settled([genotype.choices for genotype in best]),
        {decision: settled(heaviest(values)) for decision, values in weights.items()},
    )


def equal_weight(space: SearchSpace, genotype: Genotype) -> float:
    """Return the joint weight of a genotype where the options of each decision weigh the same."""
    weights = {name: dict.fromkeys(options, 1 / len(options)) for name, options in space.decisions.items()}
    return space.combinations.joint(genotype.choices, weights)


def heaviest(values: Array) -> list[int]:
    """Return the option of the greatest mean weight after each epoch, of weights `(searches, epochs, options)`."""
    found: list[int] = values.mean(axis=0).argmax(axis=-1).tolist()
    return found


def settled(winners: Sequence[object]) -> int | None:
    """Return the epoch, from 1, since which the winner has been the same.

    None where it changed in the last epoch, or where there is but one, after which nothing has settled yet.
    """
    changes = [epoch for epoch, (before, now) in enumerate(pairwise(winners), start=2) if before != now]
    since = changes[-1] if changes else 1
    return since if since < len(winners) else None


def _joint(space: SearchSpace, weights: Mapping[str, Array], genotype: Genotype) -> Array:
    """Return the joint weight of a genotype, of weights `(..., options)`."""
    parts = [
        weights[decision][..., space.decisions[decision].index(option)]
        for decision, option in genotype.choices.items()
        if (decision, option) not in space.combinations.free
    ]
    return np.asarray(np.prod(parts, axis=0))
