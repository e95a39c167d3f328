"""An experiment of the paper on a dataset: what of it is possible, and the study that trains it.

The folder holds `study.db`, an Optuna study over the experiment's grid, and a retraining run for each point of it.
Points are trained one after the other: the folds of each already use all cores. Their order is random (but always the
same), so that what is there of an unfinished grid is an even sample of it.

Within the study a trial is RUNNING from its beginning, COMPLETE with the UAR (or the seconds) once it is trained,
PRUNED where it is impossible, and FAIL where no training of it succeeded. What was interrupted is RUNNING still, and
goes on.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import GridSampler
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import DatabaseError

from nas_mer.compute import Compute
from nas_mer.data import Dataset, loso_folds
from nas_mer.errors import UserError
from nas_mer.files import held
from nas_mer.handcrafted import DESCRIPTORS, find_descriptor
from nas_mer.reproduce.experiments import EXPERIMENTS, Experiment, Setting
from nas_mer.runs import Progress, load_run, resume, retrain
from nas_mer.runs.retrainings.config import places_of
from nas_mer.runs.retrainings.scored import Scored
from nas_mer.score import ScoreRow
from nas_mer.search.optuna_study import sqlite_url
from nas_mer.space import Genotype, SearchSpace, find_genotype
from nas_mer.train import Recipe
from nas_mer.words import did_you_mean, listed

_STUDY = "study.db"
_NAME = "reproduction"  # of the study in it


class _Grid(GridSampler):
    """A grid for ask and tell."""

    def after_trial(self, *_: object) -> None:
        """Do nothing: at the end of the grid Optuna's would stop an `optimize`, of which there is none."""


@dataclass(frozen=True)
class Plan:
    """An experiment on a dataset.

    Attributes:
        name: the experiment's, a key of `EXPERIMENTS`.
        experiment: the part of it that is done.
        quick: whether that is the quick part.
        folder: where it is done.
        data: the dataset's folder.
        magnified: the folder of the same clips with magnified motion, if there is one.
        dataset: the first of these.
        recipe: how networks are trained.
        seeds: how many seeds each is trained with.
        impossible: what cannot be trained on this dataset, with the reason.
        asked: all that the result depends on, as JSON values; a folder belongs to one.
    """

    name: str
    experiment: Experiment
    quick: bool
    folder: Path
    data: Path
    magnified: Path | None
    dataset: Dataset
    recipe: Recipe
    seeds: int
    impossible: Mapping[Setting, str]
    asked: Mapping[str, Any]

    def run_path(self, setting: Setting) -> Path:
        """Return the folder of a setting's run."""
        return self.folder / setting.name


@dataclass(frozen=True)
class Outcome:
    """What came of one setting.

    Attributes:
        score: of the network; None where there is none.
        hours: that one seed's training and test took; None unless that is measured.
        reason: why there is no score.
    """

    score: ScoreRow | None = None
    hours: float | None = None
    reason: str = ""


def plan(
    name: str,
    data: Path,
    recipe: Recipe,
    folder: Path,
    seeds: int,
    quick: bool = False,
    magnified: Path | None = None,
) -> Plan:
    """Look at what of an experiment is possible on a dataset; nothing is made.

    Args:
        name: of the experiment: `table2` to `table6`, `fig1`, `fig7`, `fig8` or `fig9`.
        data: the dataset's folder.
        recipe: how networks are trained.
        folder: where it is to be done, or was begun.
        seeds: how many seeds each network is trained with, at least 1.
        quick: a part of the experiment only.
        magnified: the folder of the same clips with magnified motion.

    Raises:
        UserError: there is no such experiment, a dataset is wrong or not what the experiment needs, or the folder
            holds something else.
    """
    if name not in EXPERIMENTS:
        raise UserError(f"no experiment is called '{name}'{did_you_mean(name, EXPERIMENTS)}")
    experiment = EXPERIMENTS[name].quickly() if quick else EXPERIMENTS[name]
    dataset = Dataset.load(data)
    loso_folds(dataset)  # can it be split at all?
    settings = dict.fromkeys(setting for _, setting, _, _ in experiment.entries())
    asked: dict[str, Any] = {
        "experiment": name,
        "quick": quick,
        "dataset": dataset.fingerprint,
        "recipe": recipe.model_dump(mode="json"),
        "seeds": seeds,
    }
    if any(setting.magnified for setting in settings):
        asked["magnified"] = _magnified(data, dataset, magnified)
    elif magnified is not None:
        raise UserError(f"--magnified: {name} does not compare magnified motion; leave it out")
    found = {setting: _obstacle(setting, dataset, magnified) for setting in settings}
    impossible = {setting: reason for setting, reason in found.items() if reason}
    if folder.exists() and not (folder / _STUDY).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder}: exists and holds no reproduction; choose another --out")
    return Plan(name, experiment, quick, folder, data, magnified, dataset, recipe, seeds, impossible, asked)


def train(
    plan: Plan, compute: Compute = Compute(), progress: Progress | None = None
) -> Iterator[Mapping[Setting, Outcome]]:
    """Train what a plan's folder lacks; iterate over what is known, at first and after each setting.

    Args:
        plan: what to train.
        compute: where and how; no choice changes a score, all change a time.
        progress: told of every epoch; its unit is one setting.

    Raises:
        UserError: the folder was begun with other arguments, another process trains in it, or what is to compute is
            not there.
    """
    compute.check()
    grid = {name: CategoricalDistribution(labels) for name, labels in plan.experiment.grid.items()}
    sampler = _Grid(plan.experiment.grid, seed=0)
    total = len({setting for _, setting, _, _ in plan.experiment.entries()})
    outcomes = {setting: Outcome(reason=reason) for setting, reason in plan.impossible.items()}
    plan.folder.mkdir(parents=True, exist_ok=True)
    busy = f"{plan.folder}: is being trained by another process; wait for its end, or stop it first"
    with held(plan.folder, busy), _study(plan, sampler) as study:
        for trial in study.get_trials(states=[TrialState.COMPLETE, TrialState.FAIL]):
            setting = plan.experiment.setting(trial.params)
            outcomes[setting] = _outcome(plan, setting, trial.value)
        yield outcomes
        while (found := _next(study, sampler, grid)) is not None:
            number, setting = found[0], plan.experiment.setting(found[1])
            if setting in plan.impossible:
                study.tell(number, state=TrialState.PRUNED)
                continue
            seconds = _train(plan, setting, compute, _within(progress, setting.name, len(outcomes), total))
            outcomes[setting] = outcome = _outcome(plan, setting, seconds)
            if outcome.score is None:
                study.tell(number, state=TrialState.FAIL)
            else:
                study.tell(number, seconds if plan.experiment.is_timed else outcome.score.composite.uar)
            yield outcomes


@contextmanager
def _study(plan: Plan, sampler: GridSampler) -> Iterator[optuna.Study]:
    """Open the study of a plan's folder, or begin one.

    Raises:
        UserError: it was begun with other arguments, or is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = plan.folder / _STUDY
    try:
        storage = RDBStorage(sqlite_url(file))
    except DatabaseError as error:
        raise UserError(f"{file}: not readable as a study ({error.orig}); choose another --out") from None
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=_NAME,
            sampler=sampler,
            direction="minimize" if plan.experiment.is_timed else "maximize",
            load_if_exists=True,
        )
        before, now = dict(_leaves(study.user_attrs.get("asked", plan.asked))), dict(_leaves(plan.asked))
        if other := [key for key in {**before, **now} if before.get(key) != now.get(key)]:
            told = listed(f"{key} {before.get(key)}, not {now.get(key)}" for key in other)
            raise UserError(
                f"{plan.folder}: was begun with {told}; give the same arguments to go on, or choose another --out"
            )
        study.set_user_attr("asked", plan.asked)
        yield study
    finally:
        storage.engine.dispose()


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over all that is no mapping in nested mappings, with its path, such as `recipe.epochs`."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _next(study: optuna.Study, sampler: GridSampler, grid: dict[str, Any]) -> tuple[int, Mapping[str, str]] | None:
    """Return the number and the levels of an interrupted trial, or else of a new one; None if the grid is done."""
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        if trial.params.keys() == grid.keys():  # else it was interrupted before it had them, and another has its place
            return trial.number, trial.params
    if sampler.is_exhausted(study):
        return None
    fresh = study.ask(grid)
    return fresh.number, fresh.params


def _train(plan: Plan, setting: Setting, compute: Compute, progress: Progress | None) -> float:
    """Train a setting, or what is missing of it; return the seconds that a seed took.

    A time is one of an uninterrupted training, so for a time everything is trained anew.
    """
    path = plan.run_path(setting)
    if plan.experiment.is_timed:
        shutil.rmtree(path, ignore_errors=True)
    begun = time.perf_counter()
    try:
        if path.exists():
            resume(path, compute, progress)
        else:
            data = plan.magnified if setting.magnified and plan.magnified else plan.data
            is_network = setting.genotype not in DESCRIPTORS
            networks = [_network(setting)] if is_network else []
            descriptors = [] if is_network else [find_descriptor(setting.genotype)]
            retrain(
                networks, data, plan.recipe, path, setting.databases, plan.seeds, compute, progress,
                descriptors=descriptors,
            )  # fmt: skip
    except UserError:
        if not _is_trained(path):
            raise
        # No training succeeded: a result like others.
    return (time.perf_counter() - begun) / plan.seeds


def _is_trained(path: Path) -> bool:
    """Return whether all that a run asks for was trained, with whatever success."""
    if not (path / "run.json").is_file():
        return False
    run = load_run(path)
    return all(place.file(run).is_file() for place in places_of(run))


def _outcome(plan: Plan, setting: Setting, value: float | None) -> Outcome:
    """Return what came of a trained setting; `value` is the seconds if these are measured."""
    try:
        (score,) = Scored(load_run(plan.run_path(setting), "retrain")).rows
    except UserError as error:
        return Outcome(reason=str(error))
    return Outcome(score, value / 3600 if plan.experiment.is_timed and value is not None else None)


def _within(progress: Progress | None, name: str, before: int, total: int) -> Progress | None:
    """Return what a run tells its progress to, as a part of the whole."""
    if progress is None:
        return None
    return lambda done, whole, text: progress(before + done / whole, total, f"{name}: {text}")


@cache
def _network(setting: Setting) -> tuple[SearchSpace, Genotype]:
    """Return a setting's genotype with its space."""
    space, genotype = find_genotype(setting.genotype)
    space = space.with_parameters(**setting.parameters)
    return space, replace(genotype, parameters=dict(space.overrides))


def _obstacle(setting: Setting, dataset: Dataset, magnified: Path | None) -> str:
    """Return why a setting cannot be trained on a dataset; empty if it can."""
    if setting.magnified and magnified is None:
        if dataset.provenance.get("made_by") != "prepare":
            return "the dataset was not made from frames, and in flow maps motion cannot be magnified any more"
        return "no dataset with magnified motion is given: make it of the same clips with data prepare --magnify"
    try:
        if setting.databases:
            loso_folds(dataset.select(setting.databases))
    except UserError as error:
        return str(error)
    try:
        if setting.genotype in DESCRIPTORS:
            find_descriptor(setting.genotype).check(dataset)
        else:
            _network(setting)
    except UserError as error:
        return str(error).partition(": ")[2]  # without the file or dataset
    return ""


def _magnified(data: Path, dataset: Dataset, magnified: Path | None) -> str | None:
    """Return the fingerprint of the dataset with magnified motion, if there is one.

    Raises:
        UserError: it has other clips, its motion is not magnified, or that of the first is.
    """
    if dataset.magnified != 1:
        raise UserError(
            f"--data: the motion in {data} is magnified, {dataset.magnified:g} times; give the maps of motion as it is"
        )
    if magnified is None:
        return None
    other = Dataset.load(magnified)
    if other.magnified == 1:
        raise UserError(f"--magnified: the motion in {magnified} is not magnified; prepare it with --magnify")
    if apart := set(other.samples) ^ set(dataset.samples):
        clips = listed(sorted(map(str, apart)), 3)
        raise UserError(f"--magnified: {magnified} and {data} must have the same clips, one alone has {clips}")
    return other.fingerprint
