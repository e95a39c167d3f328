from pathlib import Path

import numpy as np
import pytest

from nas_mer.data import CLASSES, Dataset, Sample, import_maps


def composite(counts=None, size=4, seed=0, **more):
    """A dataset of random maps; `counts` maps (database, subject) to its numbers of samples of each class."""
    if counts is None:
        rng = np.random.default_rng(seed)
        names = [(database, f"s{i:02}") for database in ("alpha", "beta") for i in range(6)]
        counts = {name: rng.integers(1, 5, size=3) for name in names}
    samples = tuple(
        Sample(database, subject, f"{label}_{i}", label)
        for (database, subject), numbers in counts.items()
        for label, number in zip(CLASSES, numbers, strict=True)
        for i in range(number)
    )
    maps = np.random.default_rng(seed).normal(size=(len(samples), 3, size, size)).astype(np.float32)
    return Dataset(**{"name": "made", "maps": maps, "samples": samples} | more)


@pytest.fixture(name="composite", scope="session")
def _composite():
    return composite


@pytest.fixture(scope="session")
def megc():
    """The real composite, imported and checked against its ground truth."""
    data = Path(__file__).parents[2] / "../shared/data"
    if not (data / "megc2019-flow28").is_dir():
        pytest.skip("the licensed MEGC2019 maps are not here")
    return import_maps(data / "megc2019-flow28", data / "combined_3class_gt.csv")
