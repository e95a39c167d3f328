"""How decided a search is: what its weights say about each decision, and how far its seeds agree."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas_mer.space import Genotype


@dataclass(frozen=True)
class Verdict:
    """What the weights of one decision say.

    Attributes:
        winner, weight: the option of the greatest weight (mean over seeds), and that weight.
        spread: the standard deviation over seeds of the winner's weight (n - 1); None with one seed.
        second, second_weight: the next one; None and 0 where there is one option.
        decided: 1 minus the entropy of the weights over its maximum: 0 for equal weights, 1 for a single option left.
        agreement: the share of seeds in which the winner has the greatest weight.
    """

    winner: str
    weight: float
    spread: float | None
    second: str | None
    second_weight: float
    decided: float
    agreement: float


def verdict(options: Sequence[str], weights: np.ndarray) -> Verdict:
    """Return the verdict of a decision.

    Args:
        options: their names.
        weights: `(seeds, options)`, at least 0, each row summing to 1.
    """
    mean = weights.mean(axis=0)
    order = np.argsort(-mean, kind="stable")
    winner, second = order[0], order[1] if len(order) > 1 else None
    logs = np.log(np.where(mean > 0, mean, 1.0))
    entropy = float(-(mean * logs).sum())
    return Verdict(
        winner=options[winner],
        weight=float(mean[winner]),
        spread=float(weights[:, winner].std(ddof=1)) if len(weights) > 1 else None,
        second=None if second is None else options[second],
        second_weight=0.0 if second is None else float(mean[second]),
        decided=1.0 if len(options) == 1 else max(0.0, 1.0 - entropy / float(np.log(len(options)))),
        agreement=float((weights.argmax(axis=1) == winner).mean()),
    )


def overlap(tops: Sequence[Sequence[Genotype]]) -> float | None:
    """Return how stable the top-k is over searches: the mean Jaccard index of every two's sets, None for one search."""
    sets = [{tuple(sorted(genotype.choices.items())) for genotype in top} for top in tops]
    pairs = list(itertools.combinations(sets, 2))
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs) if pairs else None
