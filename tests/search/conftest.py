import numpy as np
import pytest
import torch

from nas_mer.search import BilevelSearch, SearchRecipe
from nas_mer.space import SearchSpace
from nas_mer.train import Maps


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Small maps are quicker on one thread, and sums are the same on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def space():
    return SearchSpace.load("rcn", size=12, feature_maps=4, pool=2)


@pytest.fixture(scope="session")
def data():
    """24 maps of three classes in noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 3
    maps = rng.normal(size=(24, 3, 12, 12)) + 0.3 * labels[:, None, None, None]
    return Maps(torch.from_numpy(maps.astype(np.float32)), torch.from_numpy(labels), 3, 0.0)


@pytest.fixture(scope="session")
def start(space, data):
    """Return a function that starts a search: 14 maps train the weights (two batches), 10 the alphas."""

    def start(graph=space.graph, about=(0,), **changes):
        recipe = {
            "epochs": 5,
            "batch_size": 7,
            "weights": {"learning_rate": 0.05, "weight_decay": 3e-4},
            "alphas": {"learning_rate": 0.05, "weight_decay": 1e-3},
        }
        return BilevelSearch(
            graph, data, (np.arange(14), np.arange(14, 24)), SearchRecipe.model_validate(recipe | changes), about
        )

    return start
