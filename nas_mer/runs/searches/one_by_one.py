"""Genotypes trained one by one for a search run, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from nas_mer.compute import Compute
from nas_mer.data import Dataset
from nas_mer.errors import UserError
from nas_mer.runs.folder import Progress, Run
from nas_mer.runs.searches.config import SearchConfig, replicas_of, space_of, studies_of
from nas_mer.runs.searches.findings import Member
from nas_mer.runs.tensorboard import Metrics
from nas_mer.runs.trainings import Heard, Task, Training, train_all
from nas_mer.search import SearchReplica, Trial
from nas_mer.search.objectives import measured
from nas_mer.search.optuna_study import Asked
from nas_mer.search.supernets import average_recall
from nas_mer.search.tuning import changed, in_words
from nas_mer.space import SearchSpace
from nas_mer.train import Recipe, Replica


def run_studies(
    run: Run[SearchConfig], recipe: Recipe, dataset: Dataset, compute: Compute, progress: Progress | None
) -> None:
    """Judge the genotypes that the studies of a run ask for: of all studies a batch each at a time.

    Args:
        run: the run.
        recipe: how a genotype is trained on the weights' half.
        dataset: the run's.
        compute: where and how.
        progress: told of every trial.
    """
    space, replicas = space_of(run), replicas_of(dataset, run.config.seeds, run.config.protocol)
    studies = studies_of(run.path, run.config, space, replicas)
    known = {member: study.trials() for member, study in studies.items()}
    done, total = sum(study.judged() for study in studies.values()), len(studies) * (run.config.trials or 0)
    best = max((trial for found in known.values() for trial in found.values()), key=_order, default=None)
    lines = [_line(member, *one) for member, found in known.items() for one in found.items()]
    with Metrics(run, lines) as metrics:

        def note() -> None:
            for member, study in studies.items():
                for number, trial in study.trials().items():
                    if number not in known[member]:
                        known[member][number] = trial
                        metrics.add(_line(member, number, trial))

        def tell(key: _Key, trial: Trial) -> None:
            nonlocal done, best
            studies[key.member].tell(key.number, trial)
            done, best = done + 1, max(filter(None, (best, trial)), key=_order)
            if progress:
                progress(done, total, f"{key.member}, {_in_words(trial)}; best so far: {_in_words(best)}")

        while asked := {_Key(member, one.number): one for member, study in studies.items() for one in study.batch()}:
            batch: dict[_Key, _Judged] = {}
            for key, one in asked.items():
                try:
                    training = _training(key.member, one, space, recipe, replicas[key.member])
                except UserError as error:
                    tell(key, _trial(one, failure=str(error)))
                else:
                    values = measured(run.config.objectives, training.replica.graph, len(dataset.classes))
                    batch[key] = _Judged(one, training, values)
            _judge(batch, dataset, compute, tell)
            note()
        note()


class _Key(NamedTuple):
    """A trial of one search."""

    member: Member
    number: int

    def __str__(self) -> str:
        return f"{self.member}, trial {self.number}"


class _Judged(NamedTuple):
    """A genotype that a study asks for, how it is trained, and what its graph alone tells of it."""

    asked: Asked
    training: Training
    measured: dict[str, float]


def _training(member: Member, asked: Asked, space: SearchSpace, recipe: Recipe, halves: SearchReplica) -> Training:
    """Return how a genotype is trained on one half of the samples, to be applied to the other.

    Raises:
        UserError: the space or the recipe cannot have what the genotype is tuned to.
    """
    space = space.with_parameters(**asked.parameters) if asked.parameters else space
    genotype = space.genotype(asked.choices)
    fold = member.fold or "none"
    replica = Replica(genotype.digest, space.freeze(genotype), fold, halves.weights, halves.alphas, member.seed)
    return Training(replica, changed(recipe, asked.recipe))


def _judge(
    batch: Mapping[_Key, _Judged], dataset: Dataset, compute: Compute, tell: Callable[[_Key, Trial], None]
) -> None:
    """Train genotypes, and tell what each has come to as soon as it is known."""
    told: set[_Key] = set()

    def hear(_: Task[_Key], heard: Heard[_Key]) -> None:
        for key, trained in heard.trained.items():
            if key in told:
                continue
            told.add(key)
            one = batch[key]
            if trained.failure:
                tell(key, _trial(one.asked, failure=trained.failure))
                continue
            logits, labels = (
                torch.from_numpy(part) for part in (trained.logits, dataset.labels[one.training.replica.test])
            )
            uar, loss = average_recall(logits, labels), float(F.cross_entropy(logits, labels))
            tell(key, _trial(one.asked, valid_uar=uar, valid_loss=loss, measured=one.measured))

    train_all({key: one.training for key, one in batch.items()}, dataset, compute, hear)


def _trial(asked: Asked, **found: Any) -> Trial:
    return Trial(asked.choices, parameters=asked.parameters, recipe=asked.recipe, **found)


def _line(member: Member, number: int, trial: Trial) -> dict[str, Any]:
    return {**member.about, "trial": number, **asdict(trial)}


def _order(trial: Trial) -> float:
    return -1.0 if trial.valid_uar is None else trial.valid_uar


def _in_words(trial: Trial) -> str:
    about = {**trial.choices, **trial.parameters, **trial.recipe}
    choices = ", ".join(f"{name} {in_words(value)}" for name, value in about.items())
    return f"{choices}: " + ("failed" if trial.valid_uar is None else f"validation UAR {trial.valid_uar:.3f}")
