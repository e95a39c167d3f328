"""What a search costs, in training steps of one network.

A step is a forward and a backward pass over 64 samples. A network's is that of a mean network of the space; a supernet
counts as many of them as the multiplications and additions of its forward pass are of a network's. Optimisers,
normalisation and activations are left out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from nas_mer.errors import UserError
from nas_mer.nn import Network
from nas_mer.search.tuning import Axis, at_sizes, changed, drawn, split
from nas_mer.space import INPUT, Graph, SearchSpace
from nas_mer.train.batches import steps_and_batch
from nas_mer.train.recipe import Recipe

STEP = 64
"""Samples of a step."""

LOOK = 1 / 3
"""What a forward pass alone costs of a step: a backward pass takes two of it."""

DRAWS = 8
"""How many genotypes stand for all of a space."""

TUNED_DRAWS = 32
"""How many networks stand for all that a search may train if it tunes: they differ in more than their genotype."""


@dataclass(frozen=True)
class Cost:
    """What a search with a supernet costs: how many samples the supernet is trained on, forward and backward.

    Attributes:
        each: an epoch.
        once: what comes after the last epoch.
        warm_up: how many epochs at the start cost another number.
        warming: each of these.
    """

    each: float
    once: float = 0.0
    warm_up: int = 0
    warming: float = 0.0

    def of(self, epochs: int) -> float:
        """Return the cost of a search of some epochs."""
        first = min(epochs, self.warm_up)
        return first * self.warming + (epochs - first) * self.each + self.once

    def epochs(self, most: float) -> int:
        """Return how many epochs some samples are enough for; less than 1 if they are enough for none."""
        left = most - self.of(self.warm_up)
        if left < 0 and self.warm_up:
            return int((most - self.once) / self.warming)
        return self.warm_up + int(left / self.each)


def training_steps(recipe: Recipe, train: int, valid: int) -> float:
    """Return how many steps it costs to train a network on some samples and to judge it on others."""
    steps, batch = steps_and_batch(train, recipe.batch_size)
    return (recipe.epochs * steps * batch + valid * LOOK) / STEP


def sample_steps(space: SearchSpace) -> float:
    """Return how many steps of one network it costs to train the supernet of a space on one sample."""
    return operations(space.graph) / mean_operations(space) / STEP


def mean_operations(space: SearchSpace) -> float:
    """Return the FLOP of a mean network of a space."""
    draws = random.Random(0)
    return sum(operations(space.freeze(space.sample(draws))) for _ in range(DRAWS)) / DRAWS


def tuned(space: SearchSpace, recipe: Recipe, axes: Sequence[Axis]) -> Iterator[tuple[Recipe, float]]:
    """Iterate over what stands for all that a search may train: a recipe, and a network's cost.

    The cost is in mean networks of the space as it is, by FLOP. What cannot be built is left out.

    Raises:
        UserError: that is everything.
    """
    if not axes:
        yield recipe, 1.0
        return
    draws, build, usual = random.Random(0), at_sizes(space), mean_operations(space)
    problems: list[UserError] = []
    for _ in range(TUNED_DRAWS):
        parameters, changes = split(axes, drawn(axes, draws.getrandbits(32)))
        try:
            sized, way = build(parameters), changed(recipe, changes)
        except UserError as error:
            problems.append(error)
            continue
        yield way, operations(sized.freeze(sized.sample(draws))) / usual
    if len(problems) == TUNED_DRAWS:
        raise UserError(f"--tune: none of {TUNED_DRAWS} draws can be built; tune to other values: {problems[0]}")


def operations(graph: Graph, classes: int = 3) -> int:
    """Return the multiplications and additions (FLOP) of a forward pass over one sample, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    shape = graph.shapes[INPUT]
    with torch.device("meta"):  # shapes without values
        network = Network(graph, classes)
        mixture = {decision: torch.ones(len(options)) for decision, options in graph.decisions.items()}
        maps = torch.zeros(2, shape.channels, shape.height, shape.width)  # two: batch statistics need more than one
        with FlopCounterMode(display=False) as counter:
            network(maps, mixture)
    return int(counter.get_total_flops()) // len(maps)
