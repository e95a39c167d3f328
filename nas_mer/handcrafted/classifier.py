"""The classifier of handcrafted features: a linear support vector machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_mer.data import Fold
from nas_mer.handcrafted.descriptor import Descriptor, Features

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def estimator(descriptor: Descriptor) -> Pipeline:
    """Return a descriptor with its classifier as one scikit-learn estimator.

    It takes what `Descriptor.inputs` returns, which is described as it is, without a scaling learned from others. Of
    more than two classes, every two have a hyperplane; a decision value of a class is the number of those that it wins,
    with their distances as a fraction.
    """
    # Imported when needed: it takes half as long as torch, and few runs have a descriptor.
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer
    from sklearn.svm import SVC

    machine = SVC(kernel="linear", C=descriptor.penalty, decision_function_shape="ovr", break_ties=True)
    return Pipeline([("descriptor", FunctionTransformer(descriptor.features)), ("classifier", machine)])


def decision_values(
    descriptor: Descriptor, features: Features, labels: NDArray[np.int64], fold: Fold
) -> NDArray[np.float32]:
    """Fit a classifier to a fold's training samples and ask it about the held-out subject's.

    Args:
        descriptor: of which the features are.
        features: `(N, D)`, those of a dataset.
        labels: `(N,)` indices of classes, each of which occurs among the training samples.
        fold: who is held out.

    Returns:
        `(held out, classes)`; the class of the greatest is the one predicted.
    """
    machine = estimator(descriptor)[-1].fit(features[fold.train], labels[fold.train])
    values = machine.decision_function(features[fold.test])
    return np.asarray(np.stack([-values, values], axis=1) if values.ndim == 1 else values, np.float32)
