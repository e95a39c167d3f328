"""How decided a search is: what its weights say about each decision, and how far its seeds agree."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nas_mer.search.trials import Networks
from nas_mer.space import Genotype, SearchSpace


@dataclass(frozen=True)
class Verdict:
    """What the weights of one decision say.

    Attributes:
        winner, weight: the option of the greatest weight (mean over seeds), and that weight.
        spread: the standard deviation over seeds of the winner's weight (n - 1); None with one seed.
        second, second_weight: the next one; None and 0 where there is one option.
        decided: the `decidedness` of the mean weights.
        agreement: the share of seeds in which the winner has the greatest weight.
    """

    winner: str
    weight: float
    spread: float | None
    second: str | None
    second_weight: float
    decided: float
    agreement: float


def decidedness(weights: Iterable[float]) -> float:
    """Return how decided a decision is: 1 - entropy / log(options), in 0..1.

    0 where all options weigh the same, 1 where one has all the weight. The weights are taken as parts of their sum.
    """
    values = list(weights)
    total = sum(values)
    if len(values) < 2 or total <= 0:
        return 1.0
    entropy = -sum(value / total * math.log(value / total) for value in values if value > 0)
    return min(max(1 - entropy / math.log(len(values)), 0.0), 1.0)


def verdict(options: Sequence[str], weights: np.ndarray) -> Verdict:
    """Return the verdict of a decision.

    Args:
        options: their names.
        weights: `(seeds, options)`, at least 0, each row summing to 1.
    """
    mean = weights.mean(axis=0)
    order = np.argsort(-mean, kind="stable")
    winner, second = order[0], order[1] if len(order) > 1 else None
    return Verdict(
        winner=options[winner],
        weight=float(mean[winner]),
        spread=float(weights[:, winner].std(ddof=1)) if len(weights) > 1 else None,
        second=None if second is None else options[second],
        second_weight=0.0 if second is None else float(mean[second]),
        decided=decidedness(mean.tolist()),
        agreement=float((weights.argmax(axis=1) == winner).mean()),
    )


def overlap(space: SearchSpace, tops: Sequence[Sequence[Genotype]]) -> float | None:
    """Return how stable the top-k is over searches: the mean Jaccard index of every two's sets, None for one search.

    Isomorphic genotypes of the same sizes are one network.
    """
    networks = Networks(space)
    sets = [{networks.number(one.choices, one.parameters, {}) for one in top} for top in tops]
    pairs = list(itertools.combinations(sets, 2))
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs) if pairs else None
