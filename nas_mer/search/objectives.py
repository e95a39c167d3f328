"""What a search looks for: a greater validation UAR, and perhaps a smaller or quicker network.

All but the UAR is measured of a network's graph, whatever its weights.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from nas_mer.errors import UserError
from nas_mer.nn import Network
from nas_mer.search.cost import operations
from nas_mer.space import INPUT, Graph
from nas_mer.words import did_you_mean
from nas_mer.workers import one_thread

WARM_UP, PASSES = 10, 50
"""How many forward passes come before those that are timed, and how many these are."""


@dataclass(frozen=True)
class Objective:
    """Something that a search makes better.

    Attributes:
        title: what it is called.
        form: how its value is written, a format specification.
        measure: from a network's graph and its number of classes to the value, the smaller the better; None for the
            validation UAR, which only training tells, the greater the better.
        unit: of its value, if it has one.
    """

    title: str
    form: str
    measure: Callable[[Graph, int], float] | None = None
    unit: str = ""

    @property
    def heading(self) -> str:
        """Its title with its unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def in_words(self, value: float) -> str:
        """Return a value with its unit."""
        return f"{value:{self.form}} {self.unit}".strip()

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Which way is better, in Optuna's words."""
        return "maximize" if self.measure is None else "minimize"


def parameters(graph: Graph, classes: int) -> int:
    """Return how many trained numbers a network has."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Network(graph, classes).parameters())


def latency(graph: Graph, classes: int) -> float:
    """Return the milliseconds that a network takes for one map: the median of 50 forward passes after 10 others.

    On this machine's CPU, in one thread. What else the machine does at the time is in it.
    """
    shape, network, taken = graph.shapes[INPUT], Network(graph, classes).eval(), []
    maps = torch.zeros(1, shape.channels, shape.height, shape.width)
    with one_thread(), torch.inference_mode():
        for _ in range(WARM_UP + PASSES):
            start = time.perf_counter()
            network(maps)
            taken.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken[WARM_UP:])


OBJECTIVES = {
    "uar": Objective("validation UAR", ".3f"),
    "parameters": Objective("parameters", ",.0f", parameters),
    "flops": Objective("FLOP", ",.0f", operations),
    "latency": Objective("latency", ".2f", latency, "ms"),
}


def measured(objectives: Sequence[str], graph: Graph, classes: int) -> dict[str, float]:
    """Return the values of those objectives that a graph tells."""
    ways = {name: OBJECTIVES[name].measure for name in objectives}
    return {name: measure(graph, classes) for name, measure in ways.items() if measure is not None}


def check_objectives(names: Sequence[str]) -> None:
    """Check the names of objectives.

    Raises:
        UserError: one is unknown or there twice, or the UAR is not among them.
    """
    for name in names:
        if name not in OBJECTIVES:
            raise UserError(f"--objectives: no objective is called '{name}'{did_you_mean(name, OBJECTIVES)}")
    if len(set(names)) < len(names):
        raise UserError(f"--objectives: each may be there once, found {','.join(names)}")
    if "uar" not in names:
        raise UserError(
            f"--objectives: uar has to be among them, or else nothing is learnt; write uar,{','.join(names)}"
        )
