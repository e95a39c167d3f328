"""Is the difference between two genotypes real?

Two answers, both over subjects and both paired (each subject is predicted by both sides):

- a bootstrap interval of the difference: the same draw of subjects scores both sides (see `intervals`);
- a permutation test: were the two sides alike, it would not matter which of them said what of a subject. Every
  subject's predictions are exchanged with probability 1/2 and the pooled difference is computed anew; p is the share of
  exchanges whose difference is at least as large, in either direction, as the one observed. With few subjects all
  exchanges are enumerated; else p = (1 + count) / (1 + R) of R random ones (Phipson and Smyth, "Permutation p-values
  should never be zero", 2010).

A difference is *within noise* unless both agree that it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas_mer.errors import UserError
from nas_mer.score.intervals import (
    LEVEL,
    RESAMPLES,
    Interval,
    Metric,
    differ,
    fold_confusions,
    interval,
    resample_subjects,
    resampled,
)
from nas_mer.score.metrics import Counts, Floats, uar, uf1
from nas_mer.score.predictions import Predictions, check_same_samples, check_seeds, seeds_of

# Sums of the same fractions in another order differ by this much at most.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Difference:
    """One metric of two sides, each the mean over its seeds.

    Attributes:
        a: the first side, in 0..1.
        b: the second side, in 0..1.
        interval: 95 % confidence interval of b - a over subjects; None with one subject a database.
        p_value: of the two-sided permutation test over subjects, in (0, 1].
    """

    a: float
    b: float
    interval: Interval | None
    p_value: float

    @property
    def change(self) -> float:
        """`b - a`, in -1..1."""
        return self.b - self.a

    @property
    def within_noise(self) -> bool:
        """Whether chance alone explains the difference: p >= 0.05, or the interval holds 0 or is unknown."""
        return self.p_value >= 1 - LEVEL or self.interval is None or self.interval.low <= 0 <= self.interval.high


@dataclass(frozen=True)
class Contrast:
    """Two sides on one set of samples."""

    samples: int
    folds: int
    uar: Difference
    uf1: Difference


@dataclass(frozen=True)
class Comparison:
    """Two genotypes, or one trained in two ways, on the same samples.

    Attributes:
        a: genotype of the first side.
        b: genotype of the second side.
        seeds_a: seeds that the first side is the mean over; none if they speak together (`averaged`).
        seeds_b: on the second side.
        disagreements: how many samples one seed of a and one seed of b predict differently, mean over all such pairs.
        composite: over all samples.
        databases: over each database's samples; their p-values are not corrected for being several.
    """

    a: str
    b: str
    seeds_a: tuple[int, ...]
    seeds_b: tuple[int, ...]
    disagreements: float
    composite: Contrast
    databases: Mapping[str, Contrast]

    @property
    def verdict(self) -> str:
        """What the composite says, in plain sentences."""
        sentences = [
            _sentence("UAR", self.composite.uar),
            _sentence("UF1", self.composite.uf1),
        ]
        if 1 in (len(self.seeds_a), len(self.seeds_b)):
            sentences.append("A side has one seed only; more seeds measure a difference more closely.")
        return " ".join(sentences)

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
        return {
            "a": {"genotype": self.a, "seeds": list(self.seeds_a)},
            "b": {"genotype": self.b, "seeds": list(self.seeds_b)},
            "disagreements": self.disagreements,
            "verdict": self.verdict,
            **_contrast_as_json(self.composite),
            "databases": {name: _contrast_as_json(part) for name, part in self.databases.items()},
        }

    def _repr_html_(self) -> str:
        from nas_mer.score.tables import comparison_table  # tables are made of comparisons

        return comparison_table(self).html()


def compare(
    a: Sequence[Predictions], b: Sequence[Predictions], resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Compare two genotypes, or one trained in two ways.

    Args:
        a: predictions of the first with one or more seeds.
        b: predictions of the second with one or more seeds, for the same samples.
        resamples: how many draws of subjects the intervals rest on, and how many exchanges the tests; at least 1.
        seed: of both.

    Raises:
        UserError: a side mixes genotypes, repeats a seed, or does not cover the same samples (what differs is listed).
    """
    if resamples < 1:
        raise UserError(f"the number of resamples must be at least 1, found {resamples}")
    check_seeds(a)
    check_seeds(b)
    check_same_samples(a[0], b[0])
    return Comparison(
        a=a[0].genotype,
        b=b[0].genotype,
        seeds_a=seeds_of(a),
        seeds_b=seeds_of(b),
        disagreements=float(np.mean([_disagreements(one, other) for one in a for other in b])),
        composite=_contrast(a, b, resamples, seed),
        databases={
            database: _contrast(
                [item.only(database) for item in a], [item.only(database) for item in b], resamples, seed
            )
            for database in a[0].database_names
        },
    )


def _disagreements(one: Predictions, other: Predictions) -> int:
    said = dict(zip(other.keys(), other.predicted.tolist(), strict=True))
    return sum(said[key] != predicted for key, predicted in zip(one.keys(), one.predicted.tolist(), strict=True))


def _contrast(a: Sequence[Predictions], b: Sequence[Predictions], resamples: int, seed: int) -> Contrast:
    folds_a, folds_b = fold_confusions(a), fold_confusions(b)  # K x S x C x C
    draws = resample_subjects(a[0], resamples, seed)  # R x S

    def difference(metric: Metric) -> Difference:
        change = resampled(metric, folds_b, draws) - resampled(metric, folds_a, draws)  # R
        return Difference(
            a=float(metric(folds_a.sum(axis=1)).mean()),
            b=float(metric(folds_b.sum(axis=1)).mean()),
            interval=interval(change) if differ(draws) else None,
            p_value=_p_value(metric, folds_a, folds_b, resamples, seed),
        )

    return Contrast(samples=len(a[0].labels), folds=folds_a.shape[1], uar=difference(uar), uf1=difference(uf1))


def _p_value(metric: Metric, folds_a: Counts, folds_b: Counts, exchanges: int, seed: int) -> float:
    """Return the two-sided p-value of exchanging subjects between `(Ka, S, C, C)` and `(Kb, S, C, C)`.

    A subject's seeds are exchanged together, as its mean confusion matrix over them, so that the sides need not have as
    many seeds (the test is exact where they do). For UAR, linear in the predictions, that is the mean over seeds; for
    UF1 it is so but for the little by which F1's denominators vary between seeds.
    """
    # Multiplied by both numbers of seeds the means stay whole numbers, and the metrics do not change by scale.
    a, b = folds_a.sum(axis=0) * len(folds_b), folds_b.sum(axis=0) * len(folds_a)  # S x C x C
    total, gap = (a + b).sum(axis=0), b - a
    gap = gap[gap.any(axis=(1, 2))]  # exchanging equal matrices changes nothing
    signs, exact = _signs(len(gap), exchanges, seed)  # R x T
    shift = (signs @ gap.reshape(len(gap), total.size)).reshape(-1, *total.shape)  # R x C x C
    null = np.abs(metric(total + shift) - metric(total - shift))
    observed = np.abs(metric(total + gap.sum(axis=0)) - metric(total - gap.sum(axis=0)))
    count = np.count_nonzero(null >= observed - _ROUNDING)
    return float(count / len(signs) if exact else (1 + count) / (1 + len(signs)))


def _signs(subjects: int, exchanges: int, seed: int) -> tuple[Floats, bool]:
    """Return `(R, subjects)` of +1 (kept) and -1 (exchanged), and whether these are all there are.

    They are all combinations where those are no more than the `exchanges` asked for, else so many random ones.
    """
    exact = 1 << subjects <= exchanges
    if exact:
        exchanged = np.arange(1 << subjects)[:, None] >> np.arange(subjects) & 1
    else:
        exchanged = np.random.default_rng(seed).integers(2, size=(exchanges, subjects))
    return np.where(exchanged, -1.0, 1.0), exact


def _sentence(name: str, difference: Difference) -> str:
    if difference.within_noise:
        return f"{name}: the difference of {difference.change:+.3f} is within noise."
    return (
        f"{name}: B is {'higher' if difference.change > 0 else 'lower'} by {abs(difference.change):.3f}, beyond noise."
    )


def _contrast_as_json(part: Contrast) -> dict[str, Any]:
    return {
        "samples": part.samples,
        "folds": part.folds,
        **{
            name: {
                "a": difference.a,
                "b": difference.b,
                "difference": difference.change,
                "interval": difference.interval,
                "p_value": difference.p_value,
                "within_noise": difference.within_noise,
            }
            for name, difference in (("uar", part.uar), ("uf1", part.uf1))
        },
    }
