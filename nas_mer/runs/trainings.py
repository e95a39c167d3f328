"""Replicas that a run lacks, each trained by its recipe, in tasks of those that can be trained as one program."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from nas_mer.compute import Compute
from nas_mer.data import Dataset
from nas_mer.runs.folder import maps_of
from nas_mer.runs.tensors import packed
from nas_mer.space import INPUT, same_ops
from nas_mer.train import Group, Inputs, Recipe, Replica, Trained, alike, quickest_group, train
from nas_mer.train.recipe import Augment, Normalise
from nas_mer.train.states import Named
from nas_mer.workers import Report, Stopped

KeyT = TypeVar("KeyT")
Form = tuple[int, Normalise, Augment]
"""What distinguishes the inputs of two trainings on one dataset: the size of the maps, and what is done to them."""


@dataclass(frozen=True, eq=False)
class Training:
    """A replica and the recipe that it is trained by."""

    replica: Replica
    recipe: Recipe

    @property
    def form(self) -> Form:
        """The form of its inputs."""
        return self.replica.graph.shapes[INPUT].height, self.recipe.normalise, self.recipe.augment


@dataclass(frozen=True)
class Task(Generic[KeyT]):
    """Trainings by one recipe to be run as one program, from their states on where they have some."""

    keys: tuple[KeyT, ...]
    trainings: tuple[Training, ...]
    states: tuple[Named, ...] | None

    def __str__(self) -> str:
        more = len(self.keys) - 1
        return f"{self.keys[0]}" + (f" and {more} more" if more else "")

    def part(self, epoch: int, finished: Container[KeyT]) -> float:
        """Return how many trainings those of its own that are not finished amount to after an epoch."""
        return sum(key not in finished for key in self.keys) * epoch / self.trainings[0].recipe.epochs


@dataclass(frozen=True)
class Heard(Generic[KeyT]):
    """What a task tells of itself after an epoch.

    Attributes:
        epoch: how many are done.
        trained: what has come out since it was heard last.
        checkpoints: the states of the others, if it was time to keep them.
    """

    epoch: int
    trained: Mapping[KeyT, Trained]
    checkpoints: Mapping[KeyT, bytes]


def train_all(
    trainings: Mapping[KeyT, Training],
    dataset: Dataset,
    compute: Compute,
    hear: Callable[[Task[KeyT], Heard[KeyT]], None],
    states: Mapping[KeyT, Named] | None = None,
    checkpoint_every: float = math.inf,
) -> None:
    """Train replicas, in the order that they are given in.

    Args:
        trainings: what to train, by a key that says in words what it is.
        dataset: on whose maps.
        compute: where and how.
        hear: told of every epoch of every task, and once more, of all that it has trained, when a task has ended.
        states: where those go on that were begun before, as `nas_mer.train.Group.states` returned it.
        checkpoint_every: seconds between two checkpoints of a task; it tells its states at an interrupt in any case.
    """
    sizes = {size: maps_of(dataset, size) for size in {one.form[0] for one in trainings.values()}}
    inputs = {form: Inputs.of(sizes[form[0]], *form[1:]) for form in {one.form for one in trainings.values()}}
    tasks = _tasks(trainings, states or {}, compute, inputs)
    for task, trained in compute.each(_train, tasks, (inputs, checkpoint_every), hear, same_ops()):
        hear(task, Heard(max(len(one.losses) for one in trained), dict(zip(task.keys, trained, strict=True)), {}))


def _tasks(
    trainings: Mapping[KeyT, Training], states: Mapping[KeyT, Named], compute: Compute, inputs: Mapping[Form, Inputs]
) -> list[Task[KeyT]]:
    groups: dict[Any, list[KeyT]] = defaultdict(list)
    for key, one in trainings.items():
        epoch = len(states[key]["losses"]) if key in states else 0
        groups[epoch, one.recipe, *alike(one.replica, one.recipe)].append(key)
    order = {key: number for number, key in enumerate(trainings)}
    tasks = []
    for (epoch, recipe, *_), keys in groups.items():
        replicas = [trainings[key].replica for key in keys]
        form = trainings[keys[0]].form
        most = replicas[: compute.part(len(replicas))]
        together = compute.group or quickest_group(most, inputs[form], recipe, compute.devices[0])
        for start in range(0, len(keys), together):
            members = tuple(keys[start : start + together])
            known = tuple(states[key] for key in members) if epoch else None
            tasks.append(Task(members, tuple(trainings[key] for key in members), known))
    return sorted(tasks, key=lambda task: order[task.keys[0]])


def _train(task: Task[KeyT], report: Report, inputs: Mapping[Form, Inputs], checkpoint_every: float) -> list[Trained]:
    told: set[int] = set()
    kept = time.monotonic()

    def after_epoch(group: Group) -> None:
        nonlocal kept
        fresh = group.trained.keys() - told
        told.update(fresh)
        stop = report.stop()
        states = {}
        if stop or time.monotonic() - kept >= checkpoint_every:
            kept = time.monotonic()
            states = group.states()
        trained = {task.keys[place]: group.trained[place] for place in fresh}
        report(Heard(group.epoch, trained, {task.keys[place]: packed(state, {}) for place, state in states.items()}))
        if stop and group.places:
            raise Stopped

    first = task.trainings[0]
    replicas = [one.replica for one in task.trainings]
    return train(replicas, after_epoch, inputs[first.form].to(report.device), first.recipe, task.states)
