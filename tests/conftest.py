"""How all tests compute, and what those of runs and commands share: a tiny dataset, small sizes, quick recipes."""

import os
import sqlite3

import cv2
import numpy as np
import pytest
import torch
from sqlalchemy import event
from sqlalchemy.engine import Engine

from nas_mer.data import CLASSES, Dataset, Sample
from nas_mer.data.synthetic.releases import write_releases
from nas_mer.score import Predictions
from nas_mer.search import load_search_recipe
from nas_mer.space import SearchSpace
from nas_mer.train import Recipe, load_recipe


@pytest.fixture(autouse=True, scope="session")
def _nothing_waits_for_the_disk():
    """No test cuts the power, and what a killed process has written is there without that."""

    def relax(connection, record):
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", relax)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield
    event.remove(Engine, "connect", relax)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Small maps are quicker on one thread, torch's sums are the same everywhere, and each core has tests to run."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture
def two_threads():
    """Within the test torch and OpenCV compute on two threads."""
    torch.set_num_threads(2)
    cv2.setNumThreads(2)
    yield
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


SIZES = {"size": 16, "feature_maps": 4, "pool": 2}


def made(subjects=(("alpha", "s01"), ("alpha", "s02"), ("beta", "s01"), ("beta", "s02")), classes=CLASSES, size=16):
    """A dataset in which every subject shows each of these classes once, and its first class twice."""
    samples = [Sample(*subject, f"{label}_{i}", label) for subject in subjects for i, label in enumerate(classes)]
    samples += [Sample(*subject, "again", classes[0]) for subject in subjects]
    maps = np.random.default_rng(0).normal(size=(len(samples), 3, size, size)).astype(np.float32)
    return Dataset("tiny", maps, tuple(samples))


@pytest.fixture(name="made", scope="session")
def _made():
    return made


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of a dataset: 2 databases, 4 subjects, 16 samples."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    made().save(folder)
    return folder


@pytest.fixture(scope="session")
def filmed(tmp_path_factory):
    """A tree of synthetic releases: 30 clips of 6 people in three databases."""
    folder = tmp_path_factory.mktemp("frames") / "filmed"
    write_releases(folder, subjects=2, clips=3, workers=1)
    return folder


@pytest.fixture(scope="session")
def space():
    return SearchSpace.load("rcn", **SIZES)


@pytest.fixture(scope="session")
def search_recipe():
    """Three epochs of two steps."""
    return load_search_recipe("default").model_copy(update={"epochs": 3, "batch_size": 4})


@pytest.fixture(scope="session")
def recipe():
    """Two epochs of two steps."""
    return load_recipe("default", Recipe).model_copy(update={"epochs": 2, "batch_size": 8})


def content(folder):
    """Every file and folder below a folder, hidden or not, with the bytes and the time of each file."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(name="content", scope="session")
def _content():
    return content


SHAPE = {"smic": (4, 6), "casme2": (5, 4), "samm": (6, 3)}


def simulate(genotype="rcn-f", seed=0, signal=1.0, shape=None, classes=CLASSES, data=7):
    """Predictions of random labels; `shape` maps a database to its numbers of subjects and of clips of each."""
    shape = shape or SHAPE
    keys = [(name, f"{name}/{s:02}", f"clip{c}") for name, (n, m) in shape.items() for s in range(n) for c in range(m)]
    databases, subjects, clips = zip(*keys, strict=True)
    labels = np.random.default_rng(data).integers(len(classes), size=len(keys))
    noise = np.random.default_rng([seed, *genotype.encode()]).normal(size=(len(keys), len(classes)))
    logits = noise + signal * np.eye(len(classes))[labels]
    return Predictions(genotype, seed, classes, databases, subjects, clips, labels, logits.argmax(axis=1), logits)


@pytest.fixture(name="simulate", scope="session")
def _simulate():
    return simulate
