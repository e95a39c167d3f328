from contextlib import contextmanager

import numpy as np
import pytest
import torch

from nas_mer.space import SearchSpace
from nas_mer.train import Inputs, Maps, Recipe, train


@contextmanager
def double():
    """Compute in double precision within the block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)  # which is this one in a block within another


@pytest.fixture(name="double", scope="session")
def _double():
    return double


@pytest.fixture(scope="session")
def space():
    return SearchSpace.load("rcn", size=12, feature_maps=4, pool=2)


@pytest.fixture(scope="session")
def data():
    """30 maps of three classes, each with its own direction of flow in the upper half, in noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    maps = rng.normal(size=(30, 3, 12, 12)).astype(np.float32)
    maps[:, :2, :6] += 1.5 * np.array([[1, 0], [-1, 0], [0, 1]], np.float32)[labels][:, :, None, None]
    return Maps(torch.from_numpy(maps), torch.from_numpy(labels), 3, 0.0)


def recipe(**changes):
    return Recipe.model_validate(
        {
            "epochs": 3,
            "batch_size": 8,
            "optimizer": {"learning_rate": 0.02, "weight_decay": 1e-3},
            "augment": {"flip": 0.5, "shift": 1},
        }
        | changes
    )


@pytest.fixture(name="recipe", scope="session")
def _recipe():
    return recipe


def trained(replicas, data, recipe, report=lambda group: None, states=None):
    """What replicas give that are trained as one group."""
    return train(replicas, report, Inputs.of(data, recipe.normalise, recipe.augment), recipe, states)


@pytest.fixture(name="trained", scope="session")
def _trained():
    return trained
