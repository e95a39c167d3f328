"""Genotypes that were judged one by one, and their ranking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

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
    """

    choices: Mapping[str, str]
    valid_uar: float | None = None
    valid_loss: float | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Ranked:
    """A genotype among others.

    Attributes:
        genotype: with its rank; it has no joint weight.
        valid_uar, valid_loss: means over the searches that tried it.
        searches: how many these are.
    """

    genotype: Genotype
    valid_uar: float
    valid_loss: float
    searches: int


def ranked(space: SearchSpace, searches: Iterable[Iterable[Trial]]) -> list[Ranked]:
    """Return the genotypes that some searches tried, the best first; isomorphic networks are one genotype.

    The best has the greatest validation UAR, mean over the searches that tried it; of equals that of the smallest
    loss, then the first by the order of options.
    """
    seen = Distinct()
    found: dict[int, list[list[Trial]]] = {}
    for trials in searches:
        of_search: dict[int, list[Trial]] = {}
        for trial in trials:
            if trial.valid_uar is not None:
                of_search.setdefault(seen.number(space.graph.freeze(trial.choices)), []).append(trial)
        for number, alike in of_search.items():
            found.setdefault(number, []).append(alike)
    rows = []
    for parts in found.values():
        uars, losses = (
            [float(np.mean([getattr(trial, name) for trial in part])) for part in parts]
            for name in ("valid_uar", "valid_loss")
        )
        names = min(tuple(trial.choices[name] for name in space.decisions) for part in parts for trial in part)
        rows.append((-float(np.mean(uars)), float(np.mean(losses)), names, len(parts)))
    return [
        Ranked(space.genotype(dict(zip(space.decisions, names, strict=True)), rank=rank), -uar, loss, count)
        for rank, (uar, loss, names, count) in enumerate(sorted(rows), start=1)
    ]
