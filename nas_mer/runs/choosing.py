"""The choose command: which genotype to train by which recipe, for each group of subjects without a look at it.

genotypes/rcn-f.yaml, spaces/...               the genotypes; the recipes are in run.json
replicas/rcn-f/default/0/1-3.safetensors       logits of one (genotype, recipe, seed) for two groups held out together
result.json                                    the choice for each group, when the run is finished

The subjects are divided into G groups. Every candidate, a genotype and a recipe, is trained without each pair of groups
and says what the samples of both are. The choice for group g rests on the networks that were trained without g, by what
they say of the other group that they were trained without: cross-validation among the other groups, so that no map and
no label of g has any part in it. One training serves two groups, G (G - 1) / 2 of them a candidate and seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from nas_mer.compute import Compute
from nas_mer.data import Dataset, loso_folds, subject_parts
from nas_mer.errors import UserError
from nas_mer.runs.folder import Config, DatasetReference, Progress, Run, by_one_process, create_run
from nas_mer.runs.nested import Choice, Nested
from nas_mer.runs.retrainings.retraining import check_spaces, distinctly_named, write_genotypes
from nas_mer.runs.tensors import packed, read_tensor, write_tensors
from nas_mer.runs.trainings import Heard, Task, Training, train_all
from nas_mer.score import confusion, uar, uf1
from nas_mer.seeds import Seeds, numbers_of
from nas_mer.space import Genotype, SearchSpace, load_genotype
from nas_mer.train import Recipe, Replica
from nas_mer.words import listed

LEAST_GROUPS = 3
"""With fewer there is nobody left to train on."""


class ChooseConfig(Config):
    """What a choice was asked for."""

    genotypes: tuple[str, ...]
    recipes: dict[str, Recipe]
    groups: int


class Candidate(NamedTuple):
    """A genotype and a recipe, by their names in the run."""

    genotype: str
    recipe: str

    def __str__(self) -> str:
        return f"{self.genotype} by {self.recipe}"


@dataclass(frozen=True)
class _Place:
    """Where the logits of a training belong: those of a candidate, a seed, and the two groups that are held out."""

    candidate: Candidate
    seed: int
    pair: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.candidate}, seed {self.seed}, without groups {self.pair[0]} and {self.pair[1]}"

    def file(self, run: Run[ChooseConfig]) -> Path:
        first, second = self.pair
        return run.path / "replicas" / Path(*self.candidate) / str(self.seed) / f"{first}-{second}.safetensors"


def choose(
    genotypes: Sequence[tuple[SearchSpace, Genotype]],
    recipes: Mapping[str, Recipe],
    dataset: Path,
    out: Path,
    groups: int = 8,
    seeds: Seeds = 1,
    compute: Compute = Compute(),
    progress: Progress | None = None,
) -> Run[ChooseConfig]:
    """Choose a genotype and a recipe for each group of subjects, by the other groups alone.

    The best candidate has the greatest mean of UAR and UF1, both pooled over the other groups, mean over seeds; of
    equals it is the first. `retrain` takes what was chosen (`chosen_of`).

    Args:
        genotypes: each with its space.
        recipes: by name; each genotype is trained by each.
        dataset: the dataset's folder.
        out: the run folder to make.
        groups: into how many the subjects are divided, alike in classes and databases; at least 3.
        seeds: of trainings of each, how many or which.
        compute: where and how.
        progress: told of every epoch.

    Raises:
        UserError: an argument is wrong, or a class has fewer subjects than there are groups.
    """
    if groups < LEAST_GROUPS:
        raise UserError(f"--groups: must be at least {LEAST_GROUPS}, found {groups}")
    if wrong := [name for name in recipes if name.startswith(".") or set(name) & set("/\\")]:
        raise UserError(f"a recipe's name becomes a folder's, so it has no slashes and no dot first: {listed(wrong)}")
    reference, data = DatasetReference.of(dataset)
    loso_folds(data)  # before a run is made: can it be split?
    _groups(data, groups)
    named = distinctly_named(genotypes)
    check_spaces([space for space, _ in genotypes], data)
    compute.check()
    config = ChooseConfig(
        dataset=reference, seeds=numbers_of(seeds), genotypes=tuple(named), recipes=dict(recipes), groups=groups
    )

    def fill(folder: Path) -> None:
        write_genotypes(folder, {f"{name}.yaml": pair for name, pair in named.items()})

    return continue_choose(create_run(out, "choose", config, fill), compute, progress)


@by_one_process
def continue_choose(
    run: Run[ChooseConfig], compute: Compute = Compute(), progress: Progress | None = None
) -> Run[ChooseConfig]:
    """Train what a choice lacks, and choose; a training that was under way begins again."""
    dataset = run.config.dataset.load()
    groups = _groups(dataset, run.config.groups)
    trainings = dict(_trainings(run, dataset, groups))
    missing = {place: training for place, training in trainings.items() if not place.file(run).is_file()}
    finished = {*trainings} - {*missing}

    def hear(task: Task[_Place], heard: Heard[_Place]) -> None:
        for place, trained in heard.trained.items():
            if place not in finished:
                logits = {"logits": torch.from_numpy(trained.logits)}
                write_tensors(place.file(run), packed(logits, {"failure": trained.failure}))
                finished.add(place)
        if progress:
            done = len(finished) + task.part(heard.epoch, finished)
            progress(done, len(trainings), f"{task}, epoch {heard.epoch}")

    train_all(missing, dataset, compute, hear)
    logits: dict[_Place, np.ndarray] = {}
    failures: list[dict[Candidate, str]] = [{} for _ in groups]  # of each group
    for place in trainings:
        found, about = read_tensor(place.file(run), "logits")
        logits[place] = found.numpy()
        if about["failure"]:
            for group in place.pair:
                failures[group].setdefault(place.candidate, str(about["failure"]))
    for members, failed in zip(groups, failures, strict=True):
        if failed.keys() == {*_candidates(run)}:
            subjects = listed(np.unique(dataset.subjects[members]))
            reasons = listed([f"{one}: {why}" for one, why in failed.items()], 3)
            raise UserError(
                f"{run.path}: no candidate could be trained without {subjects}; start another run with other recipes: "
                f"{reasons}"
            )
    run.finish(_result(run, dataset, groups, logits, failures))
    return run


def chosen_of(run: Run[ChooseConfig]) -> Nested:
    """Return the genotype and the recipe that each subject's group has.

    Raises:
        UserError: the run is not finished.
    """
    known = genotypes_of(run)
    folds = {
        subject: Choice(*known[group["genotype"]], run.config.recipes[group["recipe"]])
        for group in run.result["groups"]
        for subject in group["subjects"]
    }
    return Nested(run.name, folds, run.config.dataset.fingerprint)


def genotypes_of(run: Run[ChooseConfig]) -> dict[str, tuple[SearchSpace, Genotype]]:
    """Return the genotypes of a choice by their names in the run, each with its space."""
    return {name: load_genotype(run.path / "genotypes" / f"{name}.yaml") for name in run.config.genotypes}


def _groups(dataset: Dataset, count: int) -> tuple[np.ndarray, ...]:
    return subject_parts(dataset, np.arange(len(dataset)), count, seed=0)


def _candidates(run: Run[ChooseConfig]) -> list[Candidate]:
    return [Candidate(*names) for names in itertools.product(run.config.genotypes, run.config.recipes)]


def _trainings(
    run: Run[ChooseConfig], dataset: Dataset, groups: Sequence[np.ndarray]
) -> Iterator[tuple[_Place, Training]]:
    """Iterate over all that a run trains."""
    known = genotypes_of(run)
    graphs = {name: space.freeze(genotype) for name, (space, genotype) in known.items()}
    pairs = {}
    for first, second in itertools.combinations(range(len(groups)), 2):
        held_out = np.union1d(groups[first], groups[second])
        pairs[first, second] = np.setdiff1d(np.arange(len(dataset)), held_out), held_out
    for seed, candidate, (pair, (train, test)) in itertools.product(run.config.seeds, _candidates(run), pairs.items()):
        digest, graph = known[candidate.genotype][1].digest, graphs[candidate.genotype]
        replica = Replica(digest, graph, f"groups {pair[0]} and {pair[1]}", train, test, seed)
        yield _Place(candidate, seed, pair), Training(replica, run.config.recipes[candidate.recipe])


def _result(
    run: Run[ChooseConfig],
    dataset: Dataset,
    groups: Sequence[np.ndarray],
    logits: Mapping[_Place, np.ndarray],
    failures: Sequence[Mapping[Candidate, str]],
) -> dict[str, Any]:
    """Return the choice for each group and the scores that it rests on, and how candidates did over all groups.

    A candidate cannot be chosen for a group if one of its trainings without that group failed.
    """

    def scores_of(candidate: Candidate, group: int) -> np.ndarray:
        of_seeds = [_score(dataset, groups, group, candidate, seed, logits) for seed in run.config.seeds]
        return np.asarray(np.mean(of_seeds, axis=0))  # UAR, UF1

    scores = [
        {one: scores_of(one, group) for one in _candidates(run) if one not in failed}
        for group, failed in enumerate(failures)
    ]
    chosen = [max(fit, key=lambda one: fit[one].mean()) for fit in scores]
    of_all = {one: [fit[one] for fit in scores if one in fit] for one in _candidates(run)}
    notes = []
    for one in _candidates(run):
        if why := [failed[one] for failed in failures if one in failed]:
            of = f"{len(why)} of {len(groups)} groups"
            notes.append(f"{one}: could not be chosen for {of}, since a training without them failed: {why[0]}")
    if searched := [name for name, (_, genotype) in genotypes_of(run).items() if genotype.rank is not None]:
        notes.append(
            f"found by a search: {listed(searched)}; if that search saw this dataset, as with protocol shared, so has "
            "the choice"
        )
    return {
        "groups": [
            {
                "subjects": np.unique(dataset.subjects[members]).tolist(),
                **_row(best, fit[best]),
                "candidates": [_row(one, found) for one, found in fit.items()],
            }
            for members, best, fit in zip(groups, chosen, scores, strict=True)
        ],
        "candidates": [
            {**_row(one, np.mean(found, axis=0)), "chosen": chosen.count(one)} for one, found in of_all.items() if found
        ],
        "notes": notes,
    }


def _score(
    dataset: Dataset,
    groups: Sequence[np.ndarray],
    group: int,
    candidate: Candidate,
    seed: int,
    logits: Mapping[_Place, np.ndarray],
) -> tuple[float, float]:
    """Return UAR and UF1 over all groups but one, each by the network that was trained without both."""
    counts = np.zeros((len(dataset.classes),) * 2, np.int64)
    for other in range(len(groups)):
        if other != group:
            pair = min(group, other), max(group, other)
            held_out = np.union1d(groups[group], groups[other])
            said = logits[_Place(candidate, seed, pair)].argmax(axis=1)[np.isin(held_out, groups[other])]
            counts += confusion(dataset.labels[groups[other]], said, len(dataset.classes))
    return float(uar(counts)), float(uf1(counts))


def _row(candidate: Candidate, scores: np.ndarray) -> dict[str, Any]:
    return {**candidate._asdict(), "uar": float(scores[0]), "uf1": float(scores[1])}
