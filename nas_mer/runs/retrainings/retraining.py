"""The retrain command: genotypes trained from scratch under leave-one-subject-out, in a run folder.

The classifiers of handcrafted descriptors are fitted beside them, once each: nothing about them depends on a seed.
"""

from __future__ import annotations

import csv
import functools
import itertools
import math
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas_mer.compute import Compute
from nas_mer.data import Dataset, loso_folds
from nas_mer.data.dataset import COLUMNS as SAMPLE_COLUMNS
from nas_mer.errors import UserError
from nas_mer.files import replacing, write_text
from nas_mer.handcrafted import AnyDescriptor
from nas_mer.placed_yaml import write_yaml
from nas_mer.runs.folder import DatasetReference, Progress, Run, by_one_process, check_input, create_run
from nas_mer.runs.nested import Nested
from nas_mer.runs.retrainings.config import Place, RetrainConfig, checkpoints_of, genotype_file, places_of, recipe_of
from nas_mer.runs.retrainings.findings import predictions, result_of
from nas_mer.runs.retrainings.fitting import fit_all
from nas_mer.runs.tensorboard import Metrics, follow
from nas_mer.runs.tensors import packed, read_tensor, read_tensors, write_tensors
from nas_mer.runs.trainings import Heard, Task, Training, train_all
from nas_mer.score import Predictions, confusion, uar
from nas_mer.seeds import Seeds, numbers_of
from nas_mer.space import Genotype, Graph, SearchSpace, load_genotype
from nas_mer.train import Recipe, Replica, Trained
from nas_mer.words import listed

CHECKPOINT_EVERY = 10.0
"""Seconds between two checkpoints of a training if no other number is asked for; most are trained before."""


def retrain(
    genotypes: Sequence[tuple[SearchSpace, Genotype] | Nested],
    dataset: Path,
    recipe: Recipe,
    out: Path,
    databases: Sequence[str] | None = None,
    seeds: Seeds = 1,
    compute: Compute = Compute(),
    progress: Progress | None = None,
    tensorboard: bool = False,
    descriptors: Sequence[AnyDescriptor] = (),
) -> Run[RetrainConfig]:
    """Retrain genotypes under leave-one-subject-out and keep every prediction.

    A network is that of its last epoch; the held-out subject is looked at once, after training.

    Args:
        genotypes: each with its space, or what a nested search or a choice found for each fold.
        dataset: the dataset's folder.
        recipe: how; where a choice has a recipe for a fold, that goes first.
        out: the run folder to make.
        databases: train and test on these databases of the dataset only.
        seeds: of independent trainings of each fold, how many or which.
        compute: where and how; no choice changes the result, but for rounding between devices and sizes of groups.
        progress: told of every epoch.
        tensorboard: write TensorBoard events, too.
        descriptors: handcrafted ones, whose classifiers are fitted and scored likewise.
    """
    reference, data = DatasetReference.of(dataset, databases)
    folds = loso_folds(data)  # before a run is made: can it be split?
    handcrafted: dict[str, AnyDescriptor] = {one.kind: one for one in descriptors}
    for descriptor in descriptors:
        descriptor.check(data)  # and can it be described?
        if descriptor.takes == "clips":
            reference = reference.model_copy(update={"clips": data.clips_fingerprint})
    single = [one for one in genotypes if not isinstance(one, Nested)]
    named = distinctly_named(single)
    searched = [one for one in genotypes if isinstance(one, Nested)]
    nested = {one.name: one for one in searched}
    for one in searched:
        one.check(data.name, reference.fingerprint, folds)
    chosen = [choice for one in searched for choice in one.folds.values()]
    check_spaces([*(space for space, _ in single), *(choice.space for choice in chosen)], data)
    unlike = [one.name for one in searched if one.folds != nested[one.name].folds]
    unlike += [one.kind for one in descriptors if one != handcrafted[one.kind]]
    names = Counter([*named, *nested, *handcrafted, *unlike])
    if several := [name for name, times in names.items() if times > 1]:
        raise UserError(f"two things to retrain are called '{min(several)}'; rename one")
    compute.check()
    config = RetrainConfig(
        dataset=reference,
        seeds=numbers_of(seeds),
        recipe=recipe,
        genotypes=(*named, *nested),
        handcrafted=handcrafted,
        classes=data.classes,
    )

    def fill(folder: Path) -> None:
        files = {f"{name}.yaml": pair for name, pair in named.items()}
        for name, one in nested.items():
            files |= {f"{name}/{fold}.yaml": (choice.space, choice.genotype) for fold, choice in one.folds.items()}
            for fold, choice in one.folds.items():
                if choice.recipe is not None:
                    write_yaml(folder / "recipes" / name / f"{fold}.yaml", choice.recipe.model_dump(mode="json"))
        write_genotypes(folder, files)
        _write_rows(folder / "samples.csv", [SAMPLE_COLUMNS, *((*s.key, s.label) for s in data.samples)])
        if tensorboard:
            follow(folder)

    return continue_retrain(create_run(out, "retrain", config, fill), compute, progress)


@by_one_process
def continue_retrain(
    run: Run[RetrainConfig], compute: Compute = Compute(), progress: Progress | None = None
) -> Run[RetrainConfig]:
    """Train the replicas that a run lacks; each is as it would have been in an uninterrupted run."""
    dataset = run.config.dataset.load()
    folds = {fold.subject: fold for fold in loso_folds(dataset)}
    finished: dict[Place, dict[str, Any]] = {}
    standing = _Standing(dataset)
    places = places_of(run)
    for place in places:
        if place.file(run).is_file():
            logits, finished[place] = read_tensor(place.file(run), "logits")
            standing.add(place, folds[place.fold].test, logits.numpy())
    total = len(places)
    known = [{**place.about, **about} for place, about in finished.items()]

    def keep(place: Place, trained: Trained) -> None:
        if place in finished:
            return
        losses = [loss if math.isfinite(loss) else None for loss in trained.losses]
        about = {"losses": losses, "failure": trained.failure}
        write_tensors(place.file(run), packed({"logits": torch.from_numpy(trained.logits), **trained.weights}, about))
        place.checkpoint(run).unlink(missing_ok=True)
        finished[place] = about
        standing.add(place, folds[place.fold].test, trained.logits)
        metrics.add({**place.about, **about})

    def hear(task: Task[Place], heard: Heard[Place]) -> None:
        for first, trained in heard.trained.items():
            for place in places_by_first[first]:
                keep(place, trained)
        for place, checkpoint in heard.checkpoints.items():
            write_tensors(place.checkpoint(run), checkpoint)
        if progress:
            done = len(finished) + task.part(heard.epoch, finished)
            progress(done, total, f"{task}, epoch {heard.epoch}{standing}")

    def hear_values(place: Place, values: np.ndarray) -> None:
        keep(place, Trained(values, (), {}))
        if progress:
            progress(len(finished), total, f"{place}{standing}")

    fits = {
        place: (run.config.handcrafted[place.genotype], folds[place.fold])
        for place in places
        if place.genotype in run.config.handcrafted and place not in finished
    }
    trainings = {place: training for place, training in _trainings(run, dataset) if place not in finished}
    same = defaultdict[Any, list[Place]](list)  # a genotype may have several names: what is the same is trained once
    for place, training in trainings.items():
        same[training.replica.about, training.recipe].append(place)
    places_by_first = {alike[0]: alike for alike in same.values()}
    missing = {first: trainings[first] for first in places_by_first}
    every = CHECKPOINT_EVERY if compute.checkpoint_every is None else compute.checkpoint_every
    states = {place: read_tensors(place.checkpoint(run))[0] for place in missing if place.checkpoint(run).is_file()}
    with Metrics(run, known) as metrics:
        fit_all(fits, dataset, compute, hear_values)
        train_all(missing, dataset, compute, hear, states, every)
        found = predictions(run)
        scores = result_of(run, found)
        metrics.add_scores(scores["scores"])
    _write_predictions(run, found)
    shutil.rmtree(checkpoints_of(run), ignore_errors=True)  # before the run is finished: then nobody looks at it again
    run.finish(scores)
    return run


class _Standing:
    """How the genotypes of a run stand so far, over all folds and seeds that are trained."""

    def __init__(self, dataset: Dataset) -> None:
        self.labels, self.classes = dataset.labels, len(dataset.classes)
        self.counts: dict[str, np.ndarray] = {}

    def add(self, place: Place, test: np.ndarray, logits: np.ndarray) -> None:
        """Count what a network says of its held-out samples, `(T, classes)`; one that failed has no logits."""
        if len(logits):
            counts = confusion(self.labels[test], logits.argmax(axis=1), self.classes)
            self.counts[place.genotype] = self.counts.get(place.genotype, 0) + counts

    def __str__(self) -> str:
        scores = sorted(((float(uar(counts)), name) for name, counts in self.counts.items()), reverse=True)
        best = ", ".join(f"{name} {score:.3f}" for score, name in scores[:3])
        return f"; UAR so far: {best}" if best else ""


def _trainings(run: Run[RetrainConfig], dataset: Dataset) -> Iterator[tuple[Place, Training]]:
    """Iterate over all that a run trains, seed by seed, so that one looked at early compares all its genotypes."""
    folds = loso_folds(dataset)
    load = functools.cache(load_genotype)
    known: dict[str, Graph] = {}
    found: dict[tuple[str, str], tuple[str, Graph, Recipe]] = {}
    for name, fold in itertools.product(run.config.genotypes, folds):
        space, genotype = load(genotype_file(run, name, fold.subject))
        if genotype.digest not in known:
            known[genotype.digest] = space.freeze(genotype)
        found[name, fold.subject] = genotype.digest, known[genotype.digest], recipe_of(run, name, fold.subject)
    for seed, name, fold in itertools.product(run.config.seeds, run.config.genotypes, folds):
        digest, graph, recipe = found[name, fold.subject]
        replica = Replica(digest, graph, fold.subject, fold.train, fold.test, seed)
        yield Place(name, seed, fold.subject), Training(replica, recipe)


def check_spaces(spaces: Iterable[SearchSpace], dataset: Dataset) -> None:
    """Check that spaces take a dataset's maps, and that a run can keep them.

    It keeps one file of each space, from whose sizes a genotype tells how its own differ.

    Raises:
        UserError: a space is for maps of other channels, or two differ in the sizes that their files give, and in no
            more.
    """
    kept: dict[str, SearchSpace] = {}
    for space in spaces:
        check_input(space, dataset)
        first = kept.setdefault(space.hash, space)
        if unlike := [name for name, value in space.written.items() if value != first.written[name]]:
            sizes = listed(f"{name} is {space.written[name]}, there {first.written[name]}" for name in unlike)
            raise UserError(
                f"{space.file}: differs from {first.file} in its sizes alone ({sizes}), and a run keeps one file of a "
                f"space; use one file for all, with --set {unlike[0]}={space.written[unlike[0]]}, or a run for each"
            )


def write_genotypes(folder: Path, files: Mapping[str, tuple[SearchSpace, Genotype]]) -> None:
    """Write genotypes into a new run's folder, each under the name of its file, and their spaces beside them."""
    for file, (space, genotype) in files.items():
        space_file = f"spaces/{space.hash}.yaml"
        if not (folder / space_file).exists():
            write_text(folder / space_file, space.source)
        above = "../" * (file.count("/") + 1)
        replace(genotype, space_file=f"{above}{space_file}").save(folder / "genotypes" / file)


def distinctly_named(
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
