import numpy as np
import pytest

from nas_mer.data import Dataset


@pytest.fixture(scope="session")
def recorded(made):
    """A dataset with clips of noise, 5 frames of 12 x 12 pixels."""
    plain = made()
    clips = np.random.default_rng(1).integers(256, size=(len(plain), 5, 12, 12)).astype(np.uint8)
    return Dataset(plain.name, plain.maps, plain.samples, clips=clips)
