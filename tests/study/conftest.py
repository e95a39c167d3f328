"""A table whose truth is known, and search runs of its space on its dataset."""

from itertools import cycle, islice

import numpy as np
import pytest

from nas_mer.data import Dataset
from nas_mer.runs import Compute, search
from nas_mer.space import INPUT
from nas_mer.study import study
from nas_mer.tabular import About, Benchmark
from nas_mer.train import Recipe, load_recipe

ONE = Compute(workers=1)


def table_of(space, predicted, labels, subjects, fingerprint="0" * 16, seeds=None):
    """A table of predictions `(G, K, N)`."""
    classes = ("negative", "positive", "surprise")
    about = About.model_validate(
        {
            "format": 1,
            "space": {"name": space.name, "hash": space.hash, "source": space.source, "parameters": space.overrides},
            "dataset": {"name": "made", "fingerprint": fingerprint},
            "recipe": load_recipe("default", Recipe).model_copy(update={"epochs": 2, "batch_size": 8}),
            "protocol": "loso",
            "classes": classes,
            "seeds": seeds or tuple(range(predicted.shape[1])),
            "genotypes": [dict(genotype.choices) for genotype in space],
            "versions": {},
            "command": "nas-mer benchmark run",
        }
    )
    logits = np.eye(3)[predicted].astype(np.float16)
    name = f"made-{space.name}-{space.graph.shapes[INPUT].height}"
    return Benchmark(name, about, np.array(subjects), labels.astype(np.uint8), logits, predicted.astype(np.uint8))


@pytest.fixture(name="table_of", scope="session")
def _table_of():
    return table_of


@pytest.fixture(scope="session")
def stairs(space):
    """A table without noise: of 57 samples of a class the genotype at place g has g + 1 right, with each of 3 seeds."""
    labels = np.array(list(islice(cycle(range(3)), 3 * 57)))
    right = np.arange(len(labels)) < 3 * np.arange(1, 57)[:, None]
    predicted = np.where(right, labels, (labels + 1) % 3)
    return table_of(space, np.repeat(predicted[:, None], 3, axis=1), labels, people(19, 9))


@pytest.fixture(scope="session")
def noise(space):
    """A table of nothing but noise."""
    rng = np.random.default_rng(6)
    return table_of(space, rng.integers(3, size=(56, 4, 120)), rng.integers(3, size=120), people(30, 4))


def people(count, clips):
    """The owners of the clips of some subjects."""
    return [f"made/s{number:02}" for number in range(count) for _ in range(clips)]


@pytest.fixture(scope="session")
def drawn(space, tiny):
    """A table of the tiny dataset with random predictions of three seeds."""
    dataset = Dataset.load(tiny)
    predicted = np.random.default_rng(5).integers(3, size=(56, 3, len(dataset)))
    owners = [f"{sample.database}/{sample.subject}" for sample in dataset.samples]
    return table_of(space, predicted, np.array(dataset.labels), owners, dataset.fingerprint)


@pytest.fixture(scope="session")
def file(drawn, tmp_path_factory):
    """Its file."""
    path = tmp_path_factory.mktemp("tables") / "made-rcn-16.npz"
    drawn.save(path)
    return path


@pytest.fixture(scope="session")
def runs(space, tiny, search_recipe, recipe, tmp_path_factory):
    """Finished searches of the tiny dataset by name."""
    folder = tmp_path_factory.mktemp("searches")
    slower = search_recipe.model_copy(update={"warm_up": 1})
    return {
        "darts": search(space, tiny, search_recipe, folder / "darts", seeds=3, compute=ONE).path,
        "warm": search(space, tiny, slower, folder / "warm", seeds=2, compute=ONE).path,
        "random": search(
            space, tiny, recipe, folder / "random", seeds=2, compute=ONE, strategy="random", budget=2
        ).path,
        "nested": search(space, tiny, search_recipe, folder / "nested", protocol="nested", compute=ONE).path,
    }


@pytest.fixture(scope="session")
def found(runs, file):
    """A study of them."""
    return study(list(runs.values()), str(file))
