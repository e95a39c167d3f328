"""Retraining runs whose networks are asked, and clips to ask them about."""

import csv
import shutil

import numpy as np
import pytest

from nas_mer.data import CLASSES, Dataset
from nas_mer.data.frames import preparation_like
from nas_mer.runs import load_run, retrain
from nas_mer.runs.predicting import find_case
from nas_mer.runs.tensors import packed, read_tensors, write_tensors


@pytest.fixture(scope="session")
def standardised(genotypes, tiny, recipe, tmp_path_factory, alone):
    """One genotype and seed; maps are normalised by what the training samples have taught."""
    how = recipe.model_copy(update={"normalise": "standardise"})
    return retrain(genotypes[:1], tiny, how, tmp_path_factory.mktemp("runs") / "standardised", compute=alone)


@pytest.fixture
def copy(retrained, tmp_path):
    """The same run, to be damaged."""
    shutil.copytree(retrained.path, tmp_path / "copy")
    return load_run(tmp_path / "copy")


@pytest.fixture
def case(tiny):
    """A clip, by its name or file."""
    dataset = Dataset.load(tiny)
    return lambda clip: find_case(dataset, str(clip), preparation_like(dataset))


@pytest.fixture
def saved(tmp_path):
    """A map in a file, which is no sample of the dataset."""
    np.save(tmp_path / "own.npy", np.random.default_rng(5).normal(size=(3, 16, 16)).astype(np.float32))
    return tmp_path / "own.npy"


def stored(run):
    """What the run wrote of each genotype, seed and sample: logits."""
    with (run.path / "predictions.csv").open(newline="") as file:
        return {
            (row["genotype"], int(row["seed"]), f"{row['database']}/{row['subject']}/{row['clip']}"): [
                float(row[f"logit_{name}"]) for name in CLASSES
            ]
            for row in csv.DictReader(file)
        }


@pytest.fixture(name="stored", scope="session")
def _stored():
    return stored


def fail(run, genotype, seed, fold):
    """Let the training of a network have failed."""
    file = run.path / "replicas" / genotype / str(seed) / f"{fold}.safetensors"
    _, about = read_tensors(file)
    write_tensors(file, packed({}, {**about, "failure": f"seed {seed}, fold {fold}: it diverged"}))


@pytest.fixture(name="fail", scope="session")
def _fail():
    return fail
