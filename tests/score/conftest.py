from collections.abc import Callable

import numpy as np
import pytest

from nas_mer.score import Predictions

CLASSES = ("negative", "positive", "surprise")
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
def _simulate() -> Callable[..., Predictions]:
    return simulate
