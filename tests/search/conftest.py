import numpy as np
import pytest
import torch

from nas_mer.search import BilevelSearch, SearchRecipe, SearchReplica
from nas_mer.space import SearchSpace
from nas_mer.train import Inputs, Maps


@pytest.fixture
def float64():
    """Whatever is made within the test computes in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


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


def replica(*about):
    """What a search is to do: two batches of 7 a half, one for the alphas.

    Seed 0 has its samples in order, 14 and 10; any other deals them out in its own way, and some differ in number.
    """
    order = np.random.default_rng(about[0]).permutation(24) if about[0] else np.arange(24)
    weights = 14 + about[0] % 3
    return SearchReplica(order[:weights], order[weights:], about)


@pytest.fixture(name="replica", scope="session")
def _replica():
    return replica


@pytest.fixture(scope="session")
def start(space, data):
    """Return a function that starts searches: of seed 0 only, or of all that are given."""

    def start(*replicas, space=space, data=data, **changes):
        recipe = SearchRecipe.model_validate(
            {
                "epochs": 5,
                "batch_size": 7,
                "weights": {"learning_rate": 0.05, "weight_decay": 3e-4},
                "alphas": {"learning_rate": 0.05, "weight_decay": 1e-3},
            }
            | changes
        )
        maps = Maps(data.maps.to(torch.get_default_dtype()), data.labels, data.classes, data.u_mirror)
        return BilevelSearch(space, Inputs.of(maps, recipe.normalise), replicas or (replica(0),), recipe)

    return start
