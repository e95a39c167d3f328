"""Confidence intervals by resampling subjects.

The clips of one subject resemble each other, so the unit that is drawn is the subject (the cluster bootstrap, Field and
Welsh, "Bootstrapping clustered data", JRSS B 2007). Subjects are drawn with replacement within each database, so that
every resample has each database's number of subjects. An interval is the middle 95 % of the metric over the resamples
(percentile method).

Several seeds of one genotype are resampled together: the metric is averaged over the seeds on the same draw. As each
fold is a training of its own, a draw of subjects is also one of trainings. What no interval from one dataset can show
is that the folds share most of their training subjects (Bengio and Grandvalet, "No unbiased estimator of the variance
of K-fold cross-validation", JMLR 2004).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas_mer.errors import UserError
from nas_mer.score.metrics import Counts, Floats, confusion
from nas_mer.score.predictions import Predictions

RESAMPLES = 10_000
LEVEL = 0.95

Metric = Callable[[Counts], Floats]


class Interval(NamedTuple):
    """The two ends of a 95 % confidence interval."""

    low: float
    high: float


def fold_confusions(seeds: Sequence[Predictions]) -> NDArray[np.int64]:
    """Return the confusion matrix of every fold.

    Args:
        seeds: predictions of the same samples with K seeds.

    Returns:
        `(K, S, C, C)`, subjects in the order of their names; its sum over S is each seed's pooled matrix.
    """
    return np.array(
        [
            [
                confusion(seed.labels[held_out], seed.predicted[held_out], len(seed.classes))
                for held_out in (seed.subjects == subject for subject in np.unique(seed.subjects))
            ]
            for seed in seeds
        ]
    )


def resample_subjects(predictions: Predictions, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Draw subjects with replacement within each database.

    Returns:
        `(resamples, S)`: how often each subject is drawn, whole numbers; subjects in the order of their names. The
        array is shared and cannot be written to.

    Raises:
        UserError: `resamples` is negative.
    """
    if resamples < 0:
        raise UserError(f"the number of resamples must be at least 0, found {resamples}")
    _, first = np.unique(predictions.subjects, return_index=True)
    return _draws(tuple(predictions.databases[first].tolist()), resamples, seed)


@lru_cache(maxsize=8)
def _draws(databases: tuple[str, ...], resamples: int, seed: int) -> Floats:
    """Return the draws of subjects of these databases: a report asks for the same ones a hundred times."""
    rng = np.random.default_rng(seed)
    draws = np.empty((resamples, len(databases)))
    for database in np.unique(databases):
        members = np.flatnonzero(np.array(databases) == database)
        draws[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=resamples)
    draws.setflags(write=False)
    return draws


def differ(draws: Floats) -> bool:
    """Return whether draws of subjects differ: with one subject a database they do not, and there is no interval."""
    return bool((draws != 1).any())


def resampled(metric: Metric, folds: Counts, draws: Floats) -> Floats:
    """Return the metric of every resample, averaged over seeds.

    Args:
        metric: from matrices `(..., C, C)` to numbers `(...)`.
        folds: `(K, S, C, C)` as `fold_confusions` gives them.
        draws: `(R, S)` as `resample_subjects` gives them.

    Returns:
        `(R,)`.
    """
    seeds, subjects, classes, _ = folds.shape
    pooled = draws @ folds.reshape(seeds, subjects, classes * classes)  # K x R x CC
    means: Floats = metric(pooled.reshape(seeds, len(draws), classes, classes)).mean(axis=0)
    return means


def interval(values: Floats) -> Interval:
    """Return the middle 95 % of the resampled values `(R,)`, R > 0."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
