"""The retrain command: genotypes trained from scratch under leave-one-subject-out, in a run folder.

genotypes/rcn-f.yaml, spaces/...            what is trained
samples.csv                                 the dataset's manifest
replicas/rcn-f/0/smic/s01.safetensors       logits, losses and network of one (genotype, seed, held-out subject)
predictions.csv                             every sample's prediction, when the run is finished
"""

from __future__ import annotations

import csv
import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas_mer.data import CLASSES, Sample, loso_folds
from nas_mer.data.dataset import COLUMNS as SAMPLE_COLUMNS
from nas_mer.data.tables import listed, read_rows
from nas_mer.errors import UserError
from nas_mer.files import replacing, sweep, write_text
from nas_mer.runs.folder import (
    Config,
    DatasetReference,
    Progress,
    Run,
    check_input,
    create_run,
    maps_of,
    pick_device,
    pick_workers,
)
from nas_mer.runs.tensors import packed, read_tensors, write_tensors
from nas_mer.score import Predictions, as_json, by_genotype, fullest, score
from nas_mer.space import INPUT, Genotype, SearchSpace, load_genotype, same_ops
from nas_mer.train import Maps, Recipe, Replica, Trained, train
from nas_mer.workers import Report, each


class RetrainConfig(Config):
    """What a retraining was asked for."""

    recipe: Recipe
    genotypes: tuple[str, ...]
    classes: tuple[str, ...] = CLASSES
    protocol: str = "loso"


def retrain(
    genotypes: Sequence[tuple[SearchSpace, Genotype]],
    dataset: Path,
    recipe: Recipe,
    out: Path,
    databases: Sequence[str] | None = None,
    seeds: int = 1,
    workers: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Run[RetrainConfig]:
    """Retrain genotypes under leave-one-subject-out and keep every prediction.

    A network is that of its last epoch; the held-out subject is looked at once, after training.

    Args:
        genotypes: each with its space.
        dataset: the dataset's folder.
        recipe: how.
        out: the run folder to make.
        databases: train and test on these databases of the dataset only.
        seeds: how many independent trainings of each fold, with seeds 0, 1, ...
        workers: processes; any number gives the same result.
        device: `auto`, `cpu`, `cuda`.
        progress: told of every fold.
    """
    reference, data = DatasetReference.of(dataset, databases)
    loso_folds(data)  # before a run is made: can it be split?
    named = _distinctly_named(genotypes)
    for space, _ in named.values():
        check_input(space, data)
    pick_device(device)
    config = RetrainConfig(
        dataset=reference, seeds=tuple(range(seeds)), recipe=recipe, genotypes=tuple(named), classes=data.classes
    )

    def fill(folder: Path) -> None:
        for name, (space, genotype) in named.items():
            write_text(folder / "spaces" / f"{space.hash}.yaml", space.source)
            replace(genotype, space_file=f"../spaces/{space.hash}.yaml").save(folder / "genotypes" / f"{name}.yaml")
        _write_rows(folder / "samples.csv", [SAMPLE_COLUMNS, *((*s.key, s.label) for s in data.samples)])

    return continue_retrain(create_run(out, "retrain", config, fill), workers, device, progress)


def continue_retrain(
    run: Run[RetrainConfig], workers: int | None = None, device: str = "auto", progress: Progress | None = None
) -> Run[RetrainConfig]:
    """Train the replicas that a run lacks; each is as it would have been in an uninterrupted run."""
    if run.finished:
        return run
    sweep(run.path)
    dataset, target = run.config.dataset.load(), pick_device(device)
    folds = loso_folds(dataset)
    finished: dict[_Place, dict[str, Any]] = {}
    total = len(run.config.genotypes) * len(run.config.seeds) * len(folds)
    sizes: dict[int, list[tuple[_Place, Replica]]] = {}
    graphs = {}
    for name in run.config.genotypes:
        space, genotype = load_genotype(_file(run, name))
        graphs[name] = (genotype.digest, space.freeze(genotype))
    # Seed by seed, so that a run that is looked at early compares all its genotypes.
    for seed, (name, (digest, graph)), fold in itertools.product(run.config.seeds, graphs.items(), folds):
        place = _Place(name, seed, fold.subject)
        if place.file(run).is_file():
            finished[place] = read_tensors(place.file(run))[1]
        else:
            replica = Replica(digest, graph, fold.subject, fold.train, fold.test, seed)
            sizes.setdefault(graph.shapes[INPUT].height, []).append((place, replica))
    run.write_metrics({**place.about, **about} for place, about in finished.items())
    for size, tasks in sizes.items():
        shared = (maps_of(dataset, size, target), run.config.recipe)
        for (place, _), trained in each(_train, tasks, shared, pick_workers(workers, target), setup=same_ops()):
            losses = [loss if math.isfinite(loss) else None for loss in trained.losses]
            about = {"losses": losses, "failure": trained.failure}
            tensors = {"logits": torch.from_numpy(trained.logits), **trained.weights}
            write_tensors(place.file(run), packed(tensors, about))
            finished[place] = about
            run.add_metric({**place.about, **about})
            if progress:
                progress(len(finished), total, f"{place.genotype}, seed {place.seed}, {place.fold}")
    found = predictions(run)
    _write_predictions(run, found)
    run.finish(result_of(run, found))
    return run


def predictions(run: Run[RetrainConfig]) -> list[Predictions]:
    """Return what a run's networks said of their held-out samples: one item a (genotype, seed), as far as trained.

    Raises:
        UserError: no network is trained yet, or the training of each failed.
    """
    samples, classes = _samples(run), run.config.classes
    failures = []
    parts: dict[tuple[str, int], list[tuple[list[Sample], np.ndarray]]] = {}
    for place, (tensors, about) in _trained(run):
        if about["failure"]:
            failures.append(f"{place.genotype}, {about['failure']}")
        else:
            parts.setdefault((place.genotype, place.seed), []).append((samples[place.fold], tensors["logits"].numpy()))
    if failures and not parts:
        raise UserError(
            f"{run.path}: no training succeeded; start another run with another recipe: {listed(failures, 3)}"
        )
    if not parts:
        raise UserError(f"{run.path}: no network is trained yet; continue it with: nas-mer runs resume {run.path}")
    found = []
    for (genotype, seed), folds in parts.items():
        rows = [sample for fold, _ in folds for sample in fold]
        logits = np.concatenate([logits for _, logits in folds])
        found.append(
            Predictions(
                genotype=genotype,
                seed=seed,
                classes=classes,
                databases=np.array([s.database for s in rows]),
                subjects=np.array([f"{s.database}/{s.subject}" for s in rows]),
                clips=np.array([s.clip for s in rows]),
                labels=np.array([classes.index(s.label) for s in rows]),
                predicted=logits.argmax(axis=1),
                logits=logits,
            )
        )
    return found


def notes(run: Run[RetrainConfig], found: Sequence[Predictions]) -> list[str]:
    """Return what to know of a run's scores: what they lack and why, and which are optimistic."""
    places = _places(run)
    trained = {place: about["failure"] for place, (_, about) in _trained(run)}
    failed = defaultdict(list)
    for place, failure in trained.items():
        if failure:
            failed[place.genotype].append(failure)
    said = [
        f"{name}: {len(why)} failed, whose samples are in no score: {listed(why, 3)}" for name, why in failed.items()
    ]
    if missing := len(places) - len(trained):
        said.append(f"{missing} of {len(places)} trainings are still to come; their samples are in no score")
    for name, group in by_genotype(found).items():
        if few := {one.seed for one in group} - {one.seed for one in fullest(group)}:
            seeds = listed(f"seed {seed}" for seed in sorted(few))
            said.append(f"{name}: no mean or comparison includes {seeds}, which covers fewer samples than others")
    if searched := [name for name in run.config.genotypes if Genotype.load(_file(run, name)).rank is not None]:
        said.append(
            f"found by a search: {listed(searched)}; if that search saw this dataset, as with protocol shared, its "
            "scores here are optimistic"
        )
    return said


def result_of(run: Run[RetrainConfig], found: Sequence[Predictions]) -> dict[str, Any]:
    """Return a run's scores, for each seed and as means over seeds, with notes on them."""
    groups = [fullest(group) for group in by_genotype(found).values()]
    rows = [score(one) for one in found] + [score(*group) for group in groups if len(group) > 1]
    return {**as_json(rows), "notes": notes(run, found)}


@dataclass(frozen=True)
class _Place:
    """Where a replica's results belong."""

    genotype: str
    seed: int
    fold: str

    @property
    def about(self) -> dict[str, Any]:
        return {"genotype": self.genotype, "seed": self.seed, "fold": self.fold}

    def file(self, run: Run[RetrainConfig]) -> Path:
        return run.path / "replicas" / self.genotype / str(self.seed) / f"{self.fold}.safetensors"


def _train(task: tuple[_Place, Replica], report: Report, data: Maps, recipe: Recipe) -> Trained:
    return train(task[1], report, data, recipe)


def _samples(run: Run[RetrainConfig]) -> dict[str, list[Sample]]:
    """Return the samples of each fold, in the order of the fold's test indices."""
    folds: dict[str, list[Sample]] = {}
    for row in read_rows(run.path / "samples.csv", SAMPLE_COLUMNS):
        sample = Sample(*row.of(SAMPLE_COLUMNS))
        folds.setdefault(f"{sample.database}/{sample.subject}", []).append(sample)
    return folds


def _file(run: Run[RetrainConfig], genotype: str) -> Path:
    return run.path / "genotypes" / f"{genotype}.yaml"


def _places(run: Run[RetrainConfig]) -> list[_Place]:
    """Return the places of all replicas that a run asks for."""
    return [_Place(*about) for about in itertools.product(run.config.genotypes, run.config.seeds, _samples(run))]


def _trained(run: Run[RetrainConfig]) -> Iterator[tuple[_Place, tuple[Mapping[str, torch.Tensor], dict[str, Any]]]]:
    """Iterate over the replicas that are trained, with what their files hold."""
    return ((place, read_tensors(place.file(run))) for place in _places(run) if place.file(run).is_file())


def _distinctly_named(
    genotypes: Sequence[tuple[SearchSpace, Genotype]],
) -> dict[str, tuple[SearchSpace, Genotype]]:
    """Return the genotypes by their label; different ones of one label by label and digest.

    Raises:
        UserError: a label cannot be the name of a file.
    """
    different = {(genotype.label, genotype.digest): (space, genotype) for space, genotype in genotypes}
    labels = [label for label, _ in different]
    if wrong := [label for label in labels if label.startswith(".") or set(label) & set("/\\")]:
        raise UserError(f"a genotype's name becomes a file's, so it has no slashes and no dot first: {listed(wrong)}")
    return {
        label if labels.count(label) == 1 else f"{label}-{digest[:8]}": found
        for (label, digest), found in different.items()
    }


def _write_predictions(run: Run[RetrainConfig], found: Sequence[Predictions]) -> None:
    """Write `predictions.csv`: a row a sample, genotype and seed, with the logits."""
    classes = run.config.classes
    rows: list[Sequence[object]] = [
        ("genotype", "seed", "database", "subject", "clip", "label", "predicted", *(f"logit_{c}" for c in classes))
    ]
    for one in found:
        for i, (subject, clip) in enumerate(one.keys()):
            name = subject.partition("/")[2]
            label, predicted = classes[one.labels[i]], classes[one.predicted[i]]
            logits = [f"{logit:.6g}" for logit in one.logits[i]]
            rows.append((one.genotype, one.seed, one.databases[i], name, clip, label, predicted, *logits))
    _write_rows(run.path / "predictions.csv", rows)


def _write_rows(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with replacing(path) as fresh, fresh.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
