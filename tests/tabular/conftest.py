"""A space of three networks, retrained and packed; and a table of the paper's space whose predictions are drawn."""

import numpy as np
import pytest

from nas_mer.runs import Compute, retrain
from nas_mer.space import SearchSpace
from nas_mer.tabular import About, Benchmark, networks, pack
from nas_mer.train import Recipe, load_recipe

BRANCHES = """
version: 1
name: branches
input: {channels: 3, size: 16}
states:
  stem: {from: input, module: [{op: conv, channels: 4, stride: 4}, batch_norm, relu]}
  a: {from: stem, module: {choose: {conv: [{op: conv}, relu], skip: skip}}}
  b: {from: stem, module: {choose: {conv: [{op: conv}, relu], skip: skip}}}
  both: {from: [a, b]}
head: {from: both, pool: 2}
genotypes:
  plain: {a: skip, b: skip}
"""

CLASSES = ("negative", "positive", "surprise")


@pytest.fixture(scope="session")
def branches():
    """Four genotypes, of which conv-skip and skip-conv are the same network."""
    return SearchSpace.parse(BRANCHES, "branches.yaml")


@pytest.fixture(scope="session")
def retrained(branches, tiny, recipe, tmp_path_factory):
    """A retraining of its three networks with two seeds."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return retrain(networks(branches), tiny, recipe, out, seeds=2, compute=Compute(workers=1))


@pytest.fixture(scope="session")
def packed(retrained):
    return pack([retrained], "branches-16")


def drawn(sizes=(("casme2", 5, 4), ("samm", 6, 3), ("smic", 4, 6)), seeds=(0, 1)):
    """A table of `rcn` with random predictions, better than chance by as much as is drawn for each genotype."""
    rng = np.random.default_rng(3)
    space = SearchSpace.load("rcn", size=16)
    choices = [dict(genotype.choices) for genotype in space]
    subjects = np.array(
        [f"{name}/s{i:02}" for name, people, clips in sizes for i in range(people) for _ in range(clips)]
    )
    labels = rng.integers(3, size=len(subjects)).astype(np.uint8)
    skill = rng.uniform(0.5, 2, size=(len(choices), 1, 1, 1))
    logits = rng.normal(size=(len(choices), len(seeds), len(labels), 3)) + skill * np.eye(3)[labels]
    about = About.model_validate(
        {
            "format": 1,
            "space": {"name": "rcn", "hash": space.hash, "source": space.source, "parameters": {"size": 16}},
            "dataset": {"name": "drawn", "fingerprint": "0" * 16},
            "recipe": load_recipe("default", Recipe),
            "protocol": "loso",
            "classes": CLASSES,
            "seeds": seeds,
            "genotypes": choices,
            "versions": {"nas-mer": "0"},
            "command": "nas-mer benchmark run rcn",
        }
    )
    logits = logits.astype(np.float16)
    return Benchmark("drawn-rcn-16", about, subjects, labels, logits, logits.argmax(axis=-1).astype(np.uint8))


@pytest.fixture(scope="session")
def table():
    return drawn()
