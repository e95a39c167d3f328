"""One independent training: what it is to do, and what it gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nas_mer.nn import Network
from nas_mer.space import Graph
from nas_mer.train.streams import stream_seed


@dataclass(frozen=True, eq=False)
class Replica:
    """What one training is to do. Its random streams depend on genotype, fold and seed alone.

    Attributes:
        genotype: the genotype's digest.
        graph: its network's graph.
        fold: the fold's name (its held-out subject).
        train: indices of the training samples.
        test: indices of the held-out subject's samples.
        seed: the seed.
    """

    genotype: str
    graph: Graph
    fold: str
    train: np.ndarray
    test: np.ndarray
    seed: int

    @property
    def about(self) -> tuple[int, str, str]:
        """What its random streams depend on."""
        return self.seed, self.genotype, self.fold


@dataclass(frozen=True)
class Trained:
    """What one training gave.

    Attributes:
        logits: `(len(test), classes)` float32 for the held-out samples, from the last epoch's network.
        losses: the mean training loss of each epoch.
        weights: the network's parameters and buffers, and the normaliser's mean and scale where it has them.
        failure: why it stopped without a result, or None.
    """

    logits: np.ndarray
    losses: tuple[float, ...]
    weights: Mapping[str, Tensor]
    failure: str | None = None


def fresh(graph: Graph, classes: int, about: tuple[str | int, ...]) -> Network:
    """Return a network with the initial weights that `about` gives it, whatever torch's own generator is at."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(*about, "network"))
        return Network(graph, classes)
