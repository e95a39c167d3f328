"""Supernets trained for a search run, one on a core or all as one program on a GPU."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nas_mer.compute import Compute
from nas_mer.data import Dataset
from nas_mer.runs.folder import Progress, Run, maps_of
from nas_mer.runs.searches.config import SearchConfig, State, read_state, replicas_of, space_of, state_file
from nas_mer.runs.searches.findings import Member, by_option
from nas_mer.runs.tensorboard import Metrics
from nas_mer.runs.tensors import packed, write_tensors
from nas_mer.search import SearchRecipe, SearchReplica, Supernets, SupernetStrategy
from nas_mer.space import INPUT, SearchSpace, same_ops
from nas_mer.train import Inputs
from nas_mer.workers import Report, Stopped


def train_supernets(
    run: Run[SearchConfig],
    strategy: SupernetStrategy,
    recipe: SearchRecipe,
    dataset: Dataset,
    compute: Compute,
    progress: Progress | None,
) -> None:
    """Do what the supernets of a run lack; one that was stopped goes on after its last epoch.

    Args:
        run: the run.
        strategy: how it searches.
        recipe: with which constants.
        dataset: the run's.
        compute: where and how.
        progress: told of every epoch.
    """
    space, replicas = space_of(run), replicas_of(dataset, run.config.seeds, run.config.protocol)
    states = {member: read_state(run, member) for member in replicas}
    inputs = Inputs.of(maps_of(dataset, space.graph.shapes[INPUT].height), recipe.normalise)
    length = strategy.search.length(space, recipe)
    lengths = {member: len(state.epochs) for member, state in states.items()}
    weights = {member: state.epochs[-1].weights for member, state in states.items() if state.epochs}
    known = [{**m.about, **asdict(epoch)} for m, state in states.items() for epoch in state.epochs]

    def best() -> str:
        """Return the genotype that would be derived now, in words."""
        if not strategy.weighs:
            return ""
        means = {name: np.mean([of[name] for of in weights.values()], axis=0) for name in space.decisions}
        choices, _ = next(space.combinations.best(by_option(space, means)))
        return "; best so far: " + ", ".join(f"{decision} {option}" for decision, option in choices.items())

    def keep(_: object, checkpoints: Mapping[Member, bytes]) -> None:
        for member, checkpoint in checkpoints.items():
            epochs = State.of(checkpoint).epochs
            if len(epochs) < lengths[member]:
                continue  # of a task that is done again, because its process was lost
            write_tensors(state_file(run, member), checkpoint)
            for epoch in epochs[lengths[member] :]:
                metrics.add({**member.about, **asdict(epoch)})
            lengths[member] = len(epochs)
            if epochs:
                weights[member] = epochs[-1].weights
            if progress and epochs:
                now = f"{member}: validation UAR {epochs[-1].valid_uar:.3f}"
                progress(sum(lengths.values()), length * len(replicas), f"{now}{best()}")

    going_on = {m: one for m, one in replicas.items() if not _is_done(states[m], strategy, recipe, length)}
    tasks = _tasks(going_on, states, recipe, compute)
    shared = (space, inputs, strategy.search, recipe, compute.checkpoint_every or 0.0)
    with Metrics(run, known, space.decisions) as metrics:
        for task, checkpoints in compute.each(_search, tasks, shared, keep, same_ops()):
            keep(task, checkpoints)


@dataclass(frozen=True)
class _Task:
    """Searches to be run as one program, from their states on where they have some."""

    members: tuple[Member, ...]
    replicas: tuple[SearchReplica, ...]
    states: tuple[State, ...]


def _is_done(state: State, strategy: SupernetStrategy, recipe: SearchRecipe, length: int) -> bool:
    """Return whether nothing is left to do for a search."""
    if state.failure is not None or state.stopped(recipe):
        return True
    return len(state.epochs) == length and (strategy.weighs or bool(state.trials))


def _tasks(
    replicas: Mapping[Member, SearchReplica], states: Mapping[Member, State], recipe: SearchRecipe, compute: Compute
) -> list[_Task]:
    groups: dict[Any, list[Member]] = defaultdict(list)
    for member, replica in replicas.items():
        groups[len(states[member].epochs), *replica.alike(recipe)].append(member)
    cpu = compute.devices[0].type == "cpu"
    tasks = []
    for group in groups.values():
        together = compute.group or (1 if cpu else compute.part(len(group)))
        for start in range(0, len(group), together):
            part = group[start : start + together]
            tasks.append(_Task(tuple(part), tuple(replicas[m] for m in part), tuple(states[m] for m in part)))
    return tasks


def _search(
    task: _Task,
    report: Report,
    space: SearchSpace,
    inputs: Inputs,
    kind: type[Supernets],
    recipe: SearchRecipe,
    checkpoint_every: float,
) -> dict[Member, bytes]:
    """Search from the task's states on; report checkpoints and return the last of each search."""
    search, length = kind(space, inputs.to(report.device), task.replicas, recipe), kind.length(space, recipe)
    epochs = {place: [asdict(epoch) for epoch in state.epochs] for place, state in enumerate(task.states)}
    tensors = [state.tensors for state in task.states if state.tensors]
    if tensors:
        search.restore(tensors)
    kept = time.monotonic()

    def checkpoints(**more: Mapping[int, Any]) -> dict[Member, bytes]:
        found = {}
        states = search.states()
        for place, member in enumerate(task.members):
            failure = f"{member}: {search.failures[place]}" if place in search.failures else None
            about = {"epochs": epochs[place], "failure": failure}
            about |= {name: values[place] for name, values in more.items() if place in values}
            found[member] = packed(states.get(place, {}), about)
        return found

    while search.places and search.epoch < length:
        for place, record in search.run_epoch().items():
            epochs[place].append(asdict(record))
        stop = report.stop()
        if stop or (search.epoch < length and time.monotonic() - kept >= checkpoint_every):
            kept = time.monotonic()
            report(checkpoints())
        if stop:
            raise Stopped
    judged = dict(zip(search.places, search.trials(), strict=True)) if search.places else {}
    trials = {place: [asdict(trial) for trial in found] for place, found in judged.items() if found}
    return checkpoints(trials=trials)
