"""Genotypes that were judged one by one, and their ranking."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nas_mer.errors import UserError
from nas_mer.search.objectives import OBJECTIVES
from nas_mer.search.tuning import Values, at_sizes
from nas_mer.space import Genotype, SearchSpace
from nas_mer.space.isomorphism import Distinct


@dataclass(frozen=True)
class Trial:
    """What one search says of one genotype.

    Attributes:
        choices: the genotype's.
        valid_uar: its unweighted average recall on the alphas' half; None where it failed.
        valid_loss: its mean loss there.
        failure: why it has none of both.
        parameters: the values of the space's parameters that are tuned.
        recipe: those of the recipe's keys that are tuned.
        measured: its values of other objectives than the UAR.
    """

    choices: Mapping[str, str]
    valid_uar: float | None = None
    valid_loss: float | None = None
    failure: str | None = None
    parameters: Values = field(default_factory=dict)
    recipe: Values = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ranked:
    """A genotype among others.

    Attributes:
        genotype: with its rank, at the sizes that it was tried at; it has no joint weight.
        valid_uar, valid_loss: means over the searches that tried it.
        searches: how many these are.
        parameters, recipe: the values of what was tuned, of the space and of the recipe.
        measured: its values of other objectives than the UAR, means likewise.
    """

    genotype: Genotype
    valid_uar: float
    valid_loss: float
    searches: int
    parameters: Values = field(default_factory=dict)
    recipe: Values = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)

    def value(self, objective: str) -> float:
        """Return its value of an objective."""
        return self.valid_uar if objective == "uar" else self.measured[objective]


class Networks:
    """Numbers trainings: the same number where isomorphic networks of the same sizes are trained by the same recipe.

    Attributes:
        at: the space with other values of its parameters; see `at_sizes`.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.at = at_sizes(space)
        self._distinct: defaultdict[str, Distinct] = defaultdict(Distinct)
        self._known: dict[str, str] = {}

    def number(self, choices: Mapping[str, str], parameters: Values, recipe: Values) -> str:
        """Return the number of a training; all genotypes at sizes that cannot be built are one."""
        key = json.dumps([choices, parameters, recipe], sort_keys=True)
        if key not in self._known:
            sizes, way = (json.dumps(part, sort_keys=True) for part in (parameters, recipe))
            try:
                graph = self.at(parameters).graph.freeze(choices)
            except UserError:
                self._known[key] = sizes
            else:
                self._known[key] = f"{self._distinct[sizes].number(graph)} {sizes} {way}"
        return self._known[key]


def ranked(space: SearchSpace, searches: Iterable[Iterable[Trial]]) -> list[Ranked]:
    """Return what some searches tried, the best first; isomorphic networks are one genotype.

    The best has the greatest validation UAR, mean over the searches that tried it; of equals that of the smallest
    loss, then the first by the order of options. A genotype that was tried at several sizes, or by several recipes, is
    there several times.
    """
    networks = Networks(space)
    found: dict[str, list[list[Trial]]] = {}
    for trials in searches:
        of_search: dict[str, list[Trial]] = {}
        for trial in trials:
            if trial.valid_uar is not None:
                number = networks.number(trial.choices, trial.parameters, trial.recipe)
                of_search.setdefault(number, []).append(trial)
        for number, alike in of_search.items():
            found.setdefault(number, []).append(alike)
    rows = [_merged(networks, space, parts) for parts in found.values()]
    rows.sort(key=lambda one: (-one.valid_uar, one.valid_loss, _about(one, space)))
    return [replace(one, genotype=replace(one.genotype, rank=rank)) for rank, one in enumerate(rows, start=1)]


def front(found: Sequence[Ranked], objectives: Sequence[str]) -> list[Ranked]:
    """Return those that none of the others beats: that is at least as good in all objectives, and better in one.

    Of equals all are there. The order is that of `found`.
    """
    signs = [1 if OBJECTIVES[name].direction == "maximize" else -1 for name in objectives]
    values = np.array([[sign * one.value(name) for sign, name in zip(signs, objectives, strict=True)] for one in found])
    return [
        one
        for one, own in zip(found, values, strict=True)
        if not ((values >= own).all(axis=1) & (values > own).any(axis=1)).any()
    ]


def _merged(networks: Networks, space: SearchSpace, parts: Sequence[Sequence[Trial]]) -> Ranked:
    """Return the means over searches of the trials of one training, those of each search first."""

    def mean(value: Callable[[Trial], Any]) -> float:
        return float(np.mean([np.mean([value(trial) for trial in part]) for part in parts]))

    def mean_of(objective: str) -> float:
        return mean(lambda trial: trial.measured[objective])

    first = min((trial for part in parts for trial in part), key=lambda trial: _names(trial.choices, space))
    return Ranked(
        networks.at(first.parameters).genotype(first.choices),
        mean(lambda trial: trial.valid_uar),
        mean(lambda trial: trial.valid_loss),
        len(parts),
        first.parameters,
        first.recipe,
        {objective: mean_of(objective) for objective in first.measured},
    )


def _names(choices: Mapping[str, str], space: SearchSpace) -> tuple[str, ...]:
    """Return the options in the order of decisions."""
    return tuple(choices[name] for name in space.decisions)


def _about(one: Ranked, space: SearchSpace) -> tuple[Any, ...]:
    return _names(one.genotype.choices, space), json.dumps([one.parameters, one.recipe], sort_keys=True)
