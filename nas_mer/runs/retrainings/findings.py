"""What a retraining has found, as far as it is done: predictions, scores, and what to know of them."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from nas_mer.data import Sample
from nas_mer.errors import UserError
from nas_mer.runs.folder import Run
from nas_mer.runs.retrainings.config import Place, RetrainConfig, genotype_file, places_of, samples_by_fold
from nas_mer.runs.tensors import read_tensor
from nas_mer.score import Predictions, as_json, by_genotype, fullest, score
from nas_mer.score.predictions import seeds_of
from nas_mer.space import Genotype
from nas_mer.words import listed


def predictions(run: Run[RetrainConfig], begun: bool = True) -> list[Predictions]:
    """Return what a run's networks said of their held-out samples: one item a (genotype, seed), as far as trained.

    Args:
        run: the run.
        begun: whether it must have some.

    Raises:
        UserError: it must, and no network is trained yet, or the training of each failed.
    """
    samples, classes = samples_by_fold(run), run.config.classes
    failures = []
    parts: dict[tuple[str, int], list[tuple[list[Sample], np.ndarray]]] = {}
    for place, (logits, about) in _trained(run, places_of(run)):
        if about["failure"]:
            failures.append(f"{place.genotype}, {about['failure']}")
        else:
            parts.setdefault((place.genotype, place.seed), []).append((samples[place.fold], logits.numpy()))
    if begun and not parts:
        if failures:
            raise UserError(
                f"{run.path}: no training succeeded; start another run with another recipe: {listed(failures, 3)}"
            )
        raise UserError(f"{run.path}: no network is trained yet; continue it with: nas-mer runs resume {run.path}")
    found = []
    for (genotype, seed), folds in parts.items():
        rows = [sample for fold, _ in folds for sample in fold]
        pooled = np.concatenate([logits for _, logits in folds])
        found.append(
            Predictions(
                genotype=genotype,
                seed=seed,
                classes=classes,
                databases=np.array([s.database for s in rows]),
                subjects=np.array([f"{s.database}/{s.subject}" for s in rows]),
                clips=np.array([s.clip for s in rows]),
                labels=np.array([classes.index(s.label) for s in rows]),
                predicted=pooled.argmax(axis=1),
                logits=pooled,
            )
        )
    return found


def notes(run: Run[RetrainConfig], found: Sequence[Predictions], name: str | None = None) -> list[str]:
    """Return what to know of a run's scores: what they lack and why, and which are optimistic.

    Args:
        run: the run.
        found: its predictions.
        name: the one genotype to speak of; None for all.
    """
    places = [place for place in places_of(run) if name in (None, place.genotype)]
    trained = {place: about["failure"] for place, (_, about) in _trained(run, places)}
    failed = defaultdict(list)
    for place, failure in trained.items():
        if failure:
            failed[place.genotype].append(failure)
    said = [f"{one}: {len(why)} failed, whose samples are in no score: {listed(why, 3)}" for one, why in failed.items()]
    if missing := len(places) - len(trained):
        said.append(f"{missing} of {len(places)} trainings are still to come; their samples are in no score")
    for label, group in by_genotype(found).items():
        if few := {*seeds_of(group)} - {*seeds_of(fullest(group))}:
            seeds = listed(f"seed {seed}" for seed in sorted(few))
            said.append(f"{label}: no mean or comparison includes {seeds}, which covers fewer samples than others")
    folds = {place.fold for place in places}
    named = [one for one in run.config.genotypes if name in (None, one)]
    if searched := [one for one in named if _is_searched(run, one, folds)]:
        said.append(
            f"found by a search: {listed(searched)}; if that search saw this dataset, as with protocol shared, its "
            "scores here are optimistic"
        )
    return said


def _is_searched(run: Run[RetrainConfig], name: str, folds: Iterable[str]) -> bool:
    """Return whether a search found a genotype that may have seen a subject that it is tested on.

    What a nested search found for a fold has not seen the fold's subject.
    """
    load = functools.cache(Genotype.load)
    found = ((fold, load(genotype_file(run, name, fold))) for fold in folds)
    return any(one.rank is not None and not one.origin.endswith(f", fold {fold}") for fold, one in found)


def result_of(run: Run[RetrainConfig], found: Sequence[Predictions]) -> dict[str, Any]:
    """Return a run's scores, for each seed and as means over seeds, with notes on them."""
    groups = [fullest(group) for group in by_genotype(found).values()]
    rows = [score(one) for one in found] + [score(*group) for group in groups if len(group) > 1]
    return {**as_json(rows), "notes": notes(run, found)}


def _trained(
    run: Run[RetrainConfig], places: Iterable[Place]
) -> Iterator[tuple[Place, tuple[torch.Tensor, dict[str, Any]]]]:
    """Iterate over those of some replicas that are trained, with their logits and what their files say of them."""
    return ((place, read_tensor(place.file(run), "logits")) for place in places if place.file(run).is_file())
