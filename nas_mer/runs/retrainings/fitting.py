"""Classifiers of handcrafted descriptors that a run lacks, each fitted to the training samples of a fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nas_mer.compute import Compute
from nas_mer.data import Dataset, Fold
from nas_mer.handcrafted import AnyDescriptor
from nas_mer.handcrafted.classifier import decision_values
from nas_mer.handcrafted.descriptor import Features
from nas_mer.workers import Report

KeyT = TypeVar("KeyT")


def fit_all(
    fits: Mapping[KeyT, tuple[AnyDescriptor, Fold]],
    dataset: Dataset,
    compute: Compute,
    hear: Callable[[KeyT, NDArray[np.float32]], None],
) -> None:
    """Describe a dataset, and fit classifiers.

    Args:
        fits: the descriptor and the fold of each classifier.
        dataset: what is described; each sample once.
        compute: where and how.
        hear: told of the held-out samples' decision values, `(held out, classes)`, as each classifier is fitted.
    """
    features = {one: one.features(one.inputs(dataset)) for one in {descriptor for descriptor, _ in fits.values()}}
    for (key, *_), values in compute.each(_fit, [(key, *fit) for key, fit in fits.items()], (features, dataset.labels)):
        hear(key, values)


def _fit(
    task: tuple[KeyT, AnyDescriptor, Fold],
    report: Report,
    features: Mapping[AnyDescriptor, Features],
    labels: NDArray[np.int64],
) -> NDArray[np.float32]:
    _, descriptor, fold = task
    return decision_values(descriptor, features[descriptor], labels, fold)
