"""Genotypes trained one by one for a search run, several at a time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from nas_mer.compute import Compute
from nas_mer.data import Dataset
from nas_mer.errors import UserError
from nas_mer.runs.findings import Member
from nas_mer.runs.folder import Progress, Run, maps_of
from nas_mer.runs.searched import SearchConfig, replicas_of, space_of, studies_of
from nas_mer.runs.tensorboard import Metrics
from nas_mer.search import SearchReplica, Trial
from nas_mer.search.objectives import measured
from nas_mer.search.study import Asked
from nas_mer.search.supernets import average_recall
from nas_mer.search.tuning import changed, in_words
from nas_mer.space import INPUT, SearchSpace, same_ops
from nas_mer.train import Group, Inputs, Recipe, Replica, train
from nas_mer.workers import Report, Stopped


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
    shared = (space, dataset, recipe, run.config.objectives)
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

        while tasks := [_Task(m, asked, replicas[m]) for m, study in studies.items() for asked in study.batch()]:
            for task, trial in compute.each(_judge, tasks, shared, None, same_ops()):
                studies[task.member].tell(task.asked.number, trial)
                done, best = done + 1, max(filter(None, (best, trial)), key=_order)
                if progress:
                    progress(done, total, f"{task.member}, {_in_words(trial)}; best so far: {_in_words(best)}")
            note()
        note()


@dataclass(frozen=True)
class _Task:
    """A genotype that a study asks for."""

    member: Member
    asked: Asked
    replica: SearchReplica


def _judge(
    task: _Task, report: Report, space: SearchSpace, dataset: Dataset, recipe: Recipe, objectives: tuple[str, ...]
) -> Trial:
    """Train a genotype on one half of the samples and apply it to the other."""
    asked, halves = task.asked, task.replica
    judged = partial(Trial, asked.choices, parameters=asked.parameters, recipe=asked.recipe)
    try:
        space = space.with_parameters(**asked.parameters) if asked.parameters else space
        recipe = changed(recipe, asked.recipe)
    except UserError as error:
        return judged(failure=str(error))
    genotype = space.genotype(asked.choices)
    graph, fold = space.freeze(genotype), task.member.fold or "none"
    inputs = Inputs.of(maps_of(dataset, graph.shapes[INPUT].height), recipe.normalise, recipe.augment)
    replica = Replica(genotype.digest, graph, fold, halves.weights, halves.alphas, task.member.seed)

    def after_epoch(group: Group) -> None:
        if report.stop():
            raise Stopped

    (trained,) = train([replica], after_epoch, inputs.to(report.device), recipe)
    if trained.failure:
        return judged(failure=trained.failure)
    logits = torch.from_numpy(trained.logits)
    labels = inputs.labels[torch.from_numpy(halves.alphas)].cpu()
    uar, loss = average_recall(logits, labels), float(F.cross_entropy(logits, labels))
    return judged(uar, loss, measured=measured(objectives, graph, inputs.classes))


def _line(member: Member, number: int, trial: Trial) -> dict[str, Any]:
    return {**member.about, "trial": number, **asdict(trial)}


def _order(trial: Trial) -> float:
    return -1.0 if trial.valid_uar is None else trial.valid_uar


def _in_words(trial: Trial) -> str:
    about = {**trial.choices, **trial.parameters, **trial.recipe}
    choices = ", ".join(f"{name} {in_words(value)}" for name, value in about.items())
    return f"{choices}: " + ("failed" if trial.valid_uar is None else f"validation UAR {trial.valid_uar:.3f}")
