"""UAR and UF1, the two numbers micro-expression recognisers are compared by.

A confusion matrix counts samples by true class (row) and predicted class (column). It is *pooled*, that is summed over
all folds, before anything is divided. With C classes, TP_c on the diagonal, N_c = TP_c + FN_c samples of class c (its
row) and TP_c + FP_c predictions of it (its column):

    UAR = 1/C * sum_c  TP_c / N_c
    UF1 = 1/C * sum_c  2 TP_c / (2 TP_c + FP_c + FN_c)

Source: the paper, section V-B, whose 2 P_c R_c / (P_c + R_c) is the same fraction; the protocol of MEGC2019 (See et
al., "MEGC 2019 - the second facial micro-expressions grand challenge", FG 2019).

A part of the data may lack a class. A class without samples has no recall, and one neither present nor predicted has
no F1: it is left out, and C is the number of classes left. A class that is predicted but not present has F1 0. This is
what scikit-learn's `balanced_accuracy_score` and `f1_score(average="macro")` do.

Every function takes one matrix `(C, C)` or a batch `(..., C, C)`; neither metric changes when a matrix is scaled.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[Any]
Floats = NDArray[np.float64]


def confusion(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Count samples by true class (row) and predicted class (column).

    Args:
        labels: `(N,)` true class indices in `0..classes-1`.
        predicted: `(N,)` predicted class indices, likewise.
        classes: the number of classes C.

    Returns:
        `(C, C)`.
    """
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def recalls(confusion: Counts) -> Floats:
    """Return each class's TP / N in 0..1, `(..., C)`; NaN for a class without samples."""
    return _ratio(_true_positives(confusion), confusion.sum(axis=-1))


def f1_scores(confusion: Counts) -> Floats:
    """Return each class's 2 TP / (2 TP + FP + FN) in 0..1, `(..., C)`; NaN for one neither present nor predicted."""
    return _ratio(2 * _true_positives(confusion), confusion.sum(axis=-1) + confusion.sum(axis=-2))


def uar(confusion: Counts) -> Floats:
    """Return the unweighted average recall in 0..1, `(...)`; NaN for a matrix without samples."""
    return _mean(recalls(confusion))


def uf1(confusion: Counts) -> Floats:
    """Return the unweighted F1 in 0..1, `(...)`; NaN for a matrix without samples."""
    return _mean(f1_scores(confusion))


def _true_positives(confusion: Counts) -> Counts:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _ratio(part: Counts, whole: Counts) -> Floats:
    """Return part / whole, NaN where whole is 0."""
    ratio: Floats = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return ratio


def _mean(values: Floats) -> Floats:
    """Return the mean over the last axis of what is not NaN."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))
