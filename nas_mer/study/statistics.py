"""What a ranking is worth, beside what noise and chance would do: functions of numbers alone.

Scores are arrays `(G, K)`: G genotypes, each retrained with K seeds; means are over seeds. The score of a genotype that
was picked for being the best is too high (the winner's curse); `held_out_best` picks and scores on different seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f, kendalltau, t

from nas_mer.score import Interval
from nas_mer.score.intervals import LEVEL

Floats = NDArray[np.float64]

_TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2


@dataclass(frozen=True)
class Estimate:
    """A mean over the seeds of a search.

    Attributes:
        mean: the mean.
        spread: the standard deviation over seeds (n - 1); None with one seed.
        interval: the mean's 95 % interval over seeds; None with one seed.
    """

    mean: float
    spread: float | None
    interval: Interval | None


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of values, one a seed, at least one, with its interval by Student's t.

    A bootstrap of so few values would be too short: of five it holds the truth in 83 of 100 cases.
    """
    sample = np.asarray(values, dtype=np.float64)
    mean, degrees = float(sample.mean()), len(sample) - 1
    if not degrees:
        return Estimate(mean, None, None)
    spread = float(sample.std(ddof=1))
    low, high = (mean + float(t.ppf(tail, degrees)) * spread / math.sqrt(len(sample)) for tail in _TAILS)
    return Estimate(mean, spread, Interval(low, high))


def tau(one: Floats, other: Floats) -> float:
    """Return Kendall's tau-b of two rankings `(n,)` in -1..1 (Kendall, 1945); 0 where one of them ties everything."""
    if len(one) < 2:
        return 0.0
    found = float(kendalltau(one, other).statistic)
    return 0.0 if math.isnan(found) else found


# --- the most that noise allows ---------------------------------------------------------------------------------------


def split_half_tau(scores: Floats) -> float:
    """Return the tau between the means over one half of the seeds and over the other, mean over all splits.

    Of an odd number of seeds the halves are as equal as can be. K is at least 2.
    """
    seeds = set(range(scores.shape[1]))
    halves = [(half, sorted(seeds - set(half))) for half in combinations(sorted(seeds), len(seeds) // 2)]
    return float(np.mean([tau(scores[:, one].mean(axis=1), scores[:, other].mean(axis=1)) for one, other in halves]))


@dataclass(frozen=True)
class Components:
    """Variances of a one-way random effects model: score = genotype + seed's error.

    Attributes:
        genotypes: among genotypes, beyond what the errors bring about; at least 0.
        errors: among the seeds of a genotype.
    """

    genotypes: float
    errors: float

    def reliability(self, seeds: int) -> float:
        """Return the share of the variance among means over some seeds that is the genotypes', 0..1."""
        whole = self.genotypes + self.errors / seeds
        return self.genotypes / whole if whole else 1.0


def components(scores: Floats) -> Components:
    """Return the variance components of scores, from the analysis of variance; K is at least 2."""
    errors = float(scores.var(axis=1, ddof=1).mean())
    between = float(scores.mean(axis=1).var(ddof=1))
    return Components(max(0.0, between - errors / scores.shape[1]), errors)


def reliability_interval(scores: Floats) -> Interval:
    """Return the 95 % interval of the reliability of the means over all K seeds, in 0..1; K is at least 2.

    Exact for normal values: the F of the analysis of variance over its expectation, 1 / (1 - reliability), has the
    F distribution of G - 1 and G (K - 1) degrees of freedom (Searle, Casella and McCulloch, Variance components, 1992).
    """
    genotypes, seeds = scores.shape
    errors = float(scores.var(axis=1, ddof=1).mean())
    if not errors:
        return Interval(1.0, 1.0)
    ratio = seeds * float(scores.mean(axis=1).var(ddof=1)) / errors
    degrees = genotypes - 1, genotypes * (seeds - 1)
    high, low = (max(0.0, 1 - float(f.ppf(tail, *degrees)) / ratio) if ratio else 0.0 for tail in _TAILS)
    return Interval(low, high)


def attainable_tau(reliability: float) -> float:
    """Return the expected tau of the true ranking with one by means of some reliability.

    The correlation of the true values with the means is the root of the reliability, and for normal values tau is
    2/pi arcsin of the correlation (Greiner, 1909). It is 1 without noise.
    """
    return 2 / math.pi * math.asin(math.sqrt(reliability))


def real_share(means: Floats, resampled: Floats) -> float:
    """Return the share of the variance among genotypes that would be there with other subjects, too, 0..1.

    What subjects (and the trainings of their folds) bring about is the variance over resamples of a genotype's
    deviation from the mean genotype; the share is what is left of the observed variance without it.

    Args:
        means: `(G,)` scores.
        resampled: `(G, R)` the same on resampled subjects, the same draws for all genotypes.
    """
    observed = float(means.var(ddof=1))
    if not observed:
        return 1.0
    deviations = resampled - resampled.mean(axis=0)
    noise = float(deviations.var(axis=1, ddof=1).sum()) / (len(means) - 1)
    return max(0.0, 1 - noise / observed)


# --- regret and chance ------------------------------------------------------------------------------------------------


def held_out_best(scores: Floats, places: Sequence[int] | slice = slice(None)) -> float:
    """Return the score of the best of some genotypes, found by all seeds but one and scored by that one.

    Mean over the seeds; K is at least 2. Of a single genotype it is its mean.
    """
    some = scores[places]
    return float(np.mean([some[others.argmax(), seed] for seed, others in _without_each_seed(some)]))


def expected_best(scores: Floats, draws: int) -> float:
    """Return `held_out_best` of some genotypes drawn uniformly, none twice: its expectation over draws.

    Exact: the i-th best of G is the best of n draws with the probability C(G - i, n - 1) / C(G, n).
    """
    total = len(scores)
    shares = np.array([math.comb(total - i, draws - 1) / math.comb(total, draws) for i in range(1, total + 1)])
    found = [shares @ scores[np.argsort(-others, kind="stable"), seed] for seed, others in _without_each_seed(scores)]
    return float(np.mean(found))


def _without_each_seed(scores: Floats) -> list[tuple[int, Floats]]:
    """Return each seed's column with the means `(G,)` over all others."""
    return [(seed, np.delete(scores, seed, axis=1).mean(axis=1)) for seed in range(scores.shape[1])]


def chance(means: Floats, score: float, draws: int) -> float:
    """Return the probability that the best of some genotypes, drawn uniformly and none twice, scores at least so much.

    Exact (hypergeometric): all of the draws are worse with the probability C(worse, n) / C(G, n).
    """
    worse = int((means < score).sum())
    return 1 - math.comb(worse, draws) / math.comb(len(means), draws)
