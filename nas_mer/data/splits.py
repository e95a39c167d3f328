"""Who is trained on and who is held out: splits that never put one subject on both sides."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_mer.data.dataset import Dataset
from nas_mer.errors import UserError, refuse
from nas_mer.words import listed

Indices = NDArray[np.int64]

_DEALS = 8
_ABSENT = 1e6  # the cost of a part without a class, more than any imbalance of counts


@dataclass(frozen=True, eq=False)
class Fold:
    """One subject held out.

    Attributes:
        subject: `database/subject`.
        train: sorted indices of the other subjects' samples.
        test: sorted indices of the subject's samples.
    """

    subject: str
    train: Indices
    test: Indices


def loso_folds(dataset: Dataset) -> tuple[Fold, ...]:
    """Return the leave-one-subject-out folds, sorted by subject; every sample is in one test part.

    Raises:
        UserError: there is one subject only, or all samples of a class are one subject's, so that the fold that holds
            it out could not learn the class.
    """
    subjects = np.unique(dataset.subjects).tolist()
    if len(subjects) < 2:
        raise UserError(
            f"dataset '{dataset.name}': leave-one-subject-out needs two subjects or more, found {listed(subjects)}"
        )
    folds = []
    problems = []
    for subject in subjects:
        held_out = dataset.subjects == subject
        fold = Fold(subject, np.flatnonzero(~held_out), np.flatnonzero(held_out))
        absent = np.setdiff1d(np.arange(len(dataset.classes)), dataset.labels[fold.train])
        if len(absent):
            names = listed(dataset.classes[label] for label in absent)
            problems.append(f"dataset '{dataset.name}': no sample of {names} is left to train on without {subject}")
        folds.append(fold)
    refuse(problems)
    return tuple(folds)


def bilevel_halves(dataset: Dataset, indices: ArrayLike, seed: int) -> tuple[Indices, Indices]:
    """Split training samples into the half for the weights and the half for the architecture weights.

    See `subject_parts`, of which this is the case of two parts.
    """
    weights, alphas = subject_parts(dataset, indices, 2, seed)
    return weights, alphas


def subject_parts(dataset: Dataset, indices: ArrayLike, parts: int, seed: int) -> tuple[Indices, ...]:
    """Split samples into parts that share no subject and are alike in size, classes and databases.

    The subjects are dealt out at random; then single subjects are moved, or two exchanged, as long as that brings
    nearer to an equal share what is more than one sample off it: the number of samples, those of each class, and
    those of each class in each database. If all cannot be brought that near, the best of several deals is kept. On the
    training folds of the MEGC2019 composite no half is more than 1 sample off in any of these, where scikit-learn's
    `StratifiedGroupKFold` is up to 4.5 off and puts some subjects into the same half whatever the seed.

    Args:
        dataset: where the samples are from.
        indices: `(n,)` distinct indices of samples, in any order.
        parts: how many, at least 2.
        seed: determines the split, together with the set of samples.

    Returns:
        for each part its sorted indices; every class of the dataset occurs in each.

    Raises:
        UserError: there are fewer subjects than parts, or a class cannot be in every part.
    """
    chosen = np.unique(np.asarray(indices, dtype=np.int64))
    subjects, owner = np.unique(dataset.subjects[chosen], return_inverse=True)
    if len(subjects) < parts:
        raise UserError(f"dataset '{dataset.name}': {parts} parts need as many subjects, found {listed(subjects)}")

    labels, classes = dataset.labels[chosen], len(dataset.classes)
    by_class = _tally(owner, labels, classes)  # subjects x classes
    refuse(
        [
            f"dataset '{dataset.name}': {parts} parts need as many subjects with samples of '{name}', "
            f"found {listed(subjects[carries]) or 'none'}"
            for name, carries in zip(dataset.classes, by_class.T > 0, strict=True)
            if carries.sum() < parts
        ]
    )
    databases, database = np.unique(dataset.databases[chosen], return_inverse=True)
    by_both = _tally(owner, database * classes + labels, len(databases) * classes)
    counts = np.hstack([by_class, by_both[:, by_both.any(axis=0)], by_class.sum(axis=1, keepdims=True)])
    share = counts.sum(axis=0) / parts

    def imbalance(totals: NDArray[np.float64]) -> NDArray[np.float64]:
        excess = np.maximum(np.abs(totals - share) - 1, 0)
        lacking = totals[..., :classes] == 0
        return np.asarray((excess**2 / share).sum(axis=-1) + _ABSENT * lacking.sum(axis=-1))

    rng = np.random.default_rng(seed)
    cost, part = np.inf, owner
    for _ in range(_DEALS):
        deal = _evened(rng.permutation(len(subjects)) % parts, counts, imbalance)
        cost, part = min((cost, part), deal, key=itemgetter(0))
        if cost == 0:
            break
    lacking = np.any([by_class[part == p].sum(axis=0) == 0 for p in range(parts)], axis=0)
    if lacking.any():
        names = listed(dataset.classes[label] for label in np.flatnonzero(lacking))
        raise UserError(
            f"dataset '{dataset.name}': too few subjects have {names} for each of {parts} parts to get some"
        )
    return tuple(chosen[part[owner] == p] for p in range(parts))


def _tally(owner: Indices, values: Indices, count: int) -> NDArray[np.float64]:
    """Return how often each owner has each of the values `0..count-1`, `(owners, count)`."""
    tally = np.zeros((owner.max() + 1, count))
    np.add.at(tally, (owner, values), 1)
    return tally


def _evened(
    part: Indices, counts: NDArray[np.float64], imbalance: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> tuple[float, Indices]:
    """Return the summed imbalance and the part of each subject after the best moves and exchanges, until none helps.

    Args:
        part: `(S,)` the part each subject is in at first.
        counts: `(S, F)` what is to be even.
        imbalance: of parts' totals `(..., F)`.
    """
    parts, nobody = part.max() + 1, len(part)
    part = np.append(part, -1)
    counts = np.vstack([counts, np.zeros_like(counts[:1])])  # an exchange with nobody is a move
    while True:
        totals = np.stack([counts[part == p].sum(axis=0) for p in range(parts)])
        costs = imbalance(totals)
        best, exchange = 1e-6, None  # rounding is no gain
        for p, q in itertools.combinations(range(parts), 2):
            here, there = (np.append(np.flatnonzero(part == side), nobody) for side in (p, q))
            lost = counts[here][:, None] - counts[there][None, :]  # here x there x F
            gain = costs[p] + costs[q] - imbalance(totals[p] - lost) - imbalance(totals[q] + lost)
            if gain.max() > best:
                best = gain.max()
                first, second = np.unravel_index(gain.argmax(), gain.shape)
                exchange = [here[first], there[second]], [q, p]
        if exchange is None:
            return float(costs.sum()), part[:nobody]
        movers, places = exchange
        part[movers] = places
        part[nobody] = -1
