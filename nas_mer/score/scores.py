"""The scores of a genotype: UAR and UF1 of the composite and of each database."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_mer.score.intervals import (
    RESAMPLES,
    Interval,
    Metric,
    differ,
    fold_confusions,
    interval,
    resample_subjects,
    resampled,
)
from nas_mer.score.metrics import recalls, uar, uf1
from nas_mer.score.predictions import Predictions, check_seeds, seeds_of


@dataclass(frozen=True, eq=False)
class Score:
    """How well a set of samples was recognised: with one seed, or the mean over several.

    Attributes:
        samples: the number of samples.
        folds: the number of subjects, each held out once.
        uar: unweighted average recall in 0..1.
        uar_spread: its standard deviation over seeds (n - 1); None with one seed.
        uar_interval: its 95 % confidence interval over subjects; None where it was not asked for, or with one subject a
            database.
        uf1: unweighted F1 in 0..1.
        uf1_spread: likewise.
        uf1_interval: likewise.
        recalls: `(C,)`; NaN for a class without samples.
        confusion: `(C, C)` true class by row, predicted class by column; pooled over folds, summed over seeds.
    """

    samples: int
    folds: int
    uar: float
    uar_spread: float | None
    uar_interval: Interval | None
    uf1: float
    uf1_spread: float | None
    uf1_interval: Interval | None
    recalls: NDArray[np.float64]
    confusion: NDArray[np.int64]

    def _repr_html_(self) -> str:
        from nas_mer.score.tables import part_table  # tables are made of scores

        return part_table(self).html()


@dataclass(frozen=True, eq=False)
class ScoreRow:
    """The scores of one genotype: with one seed, or the mean over several.

    Attributes:
        genotype: its name or digest.
        seeds: the seeds that it is the mean over; none of networks that speak together (`averaged`).
        classes: the C names of the classes.
        composite: the score over all samples.
        databases: the score of each database's samples.
    """

    genotype: str
    seeds: tuple[int, ...]
    classes: tuple[str, ...]
    composite: Score
    databases: Mapping[str, Score]

    def _repr_html_(self) -> str:
        from nas_mer.score.tables import score_table

        return score_table([self]).html()


def by_genotype(predictions: Iterable[Predictions]) -> dict[str, list[Predictions]]:
    """Group predictions by genotype, each in order of first appearance, so that `score(*seeds)` can average each."""
    groups: dict[str, list[Predictions]] = {}
    for item in predictions:
        groups.setdefault(item.genotype, []).append(item)
    return groups


def score(*seeds: Predictions, resamples: int = RESAMPLES, seed: int = 0) -> ScoreRow:
    """Score a genotype with one seed, or as the mean over several.

    Args:
        seeds: at least one; predictions of one genotype for the same samples, with different seeds.
        resamples: how many draws of subjects the confidence intervals rest on; 0 leaves them out.
        seed: of those draws.

    Raises:
        UserError: nothing was given, the genotypes or the samples differ, or a seed occurs twice.
    """
    check_seeds(seeds)
    first = seeds[0]
    return ScoreRow(
        genotype=first.genotype,
        seeds=seeds_of(seeds),
        classes=first.classes,
        composite=_score(seeds, resamples, seed),
        databases={
            database: _score([item.only(database) for item in seeds], resamples, seed)
            for database in first.database_names
        },
    )


def _score(seeds: Sequence[Predictions], resamples: int, seed: int) -> Score:
    folds = fold_confusions(seeds)  # K x S x C x C
    draws = resample_subjects(seeds[0], resamples, seed)  # R x S
    pooled = folds.sum(axis=1)  # K x C x C

    def measure(metric: Metric) -> tuple[float, float | None, Interval | None]:
        values = metric(pooled)  # K
        return (
            float(values.mean()),
            float(values.std(ddof=1)) if len(seeds) > 1 else None,
            interval(resampled(metric, folds, draws)) if differ(draws) else None,
        )

    uar_mean, uar_spread, uar_interval = measure(uar)
    uf1_mean, uf1_spread, uf1_interval = measure(uf1)
    total = pooled.sum(axis=0)  # C x C
    return Score(
        samples=len(seeds[0].labels),
        folds=folds.shape[1],
        uar=uar_mean,
        uar_spread=uar_spread,
        uar_interval=uar_interval,
        uf1=uf1_mean,
        uf1_spread=uf1_spread,
        uf1_interval=uf1_interval,
        recalls=recalls(total),
        confusion=total,
    )


def as_json(rows: Iterable[ScoreRow]) -> dict[str, list[dict[str, Any]]]:
    """Return scores as plain JSON values.

    `scores` holds each row of one seed or of an average: `genotype`, `seed` (null of an average), `classes`, then what
    `Score` holds for the composite, and the same for each of `databases`. `means` holds each row over several seeds,
    with `seeds` instead of `seed`. What is undefined is null.
    """
    document: dict[str, list[dict[str, Any]]] = {"scores": [], "means": []}
    for row in rows:
        one_seed = len(row.seeds) <= 1
        document["scores" if one_seed else "means"].append(
            {
                "genotype": row.genotype,
                **({"seed": next(iter(row.seeds), None)} if one_seed else {"seeds": list(row.seeds)}),
                "classes": list(row.classes),
                **_score_as_json(row.composite, row.classes),
                "databases": {name: _score_as_json(part, row.classes) for name, part in row.databases.items()},
            }
        )
    return document


def _score_as_json(part: Score, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "samples": part.samples,
        "folds": part.folds,
        "uar": part.uar,
        "uf1": part.uf1,
        "uar_spread": part.uar_spread,
        "uf1_spread": part.uf1_spread,
        "uar_interval": part.uar_interval,
        "uf1_interval": part.uf1_interval,
        "recalls": {
            name: None if math.isnan(recall) else recall
            for name, recall in zip(classes, part.recalls.tolist(), strict=True)
        },
        "confusion": part.confusion.tolist(),
    }
