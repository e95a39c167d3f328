"""Replicas trained together, as one program: one on a core, all folds at once on a GPU."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas_mer.nn import Stack, stacked
from nas_mer.train.batches import Inputs, Plan, joined, plan, steps_and_batch
from nas_mer.train.optimizers import Momentum
from nas_mer.train.recipe import Recipe
from nas_mer.train.replica import Replica, Trained, fresh
from nas_mer.train.states import Named, part, prefixed, restacked, unstacked


def alike(replica: Replica, recipe: Recipe) -> tuple[str, int, int]:
    """Return what replicas must have in common to be trained together: network, steps an epoch, samples a step."""
    return replica.genotype, *steps_and_batch(len(replica.train), recipe.batch_size)


def train(
    replicas: Sequence[Replica],
    report: Callable[[Group], None],
    inputs: Inputs,
    recipe: Recipe,
    states: Sequence[Named] | None = None,
) -> list[Trained]:
    """Train networks from scratch, and apply each to its held-out samples once, at its end.

    What a replica gives does not depend on the others: bit for bit if it is trained alone on one thread of a CPU, to
    rounding in any group and on any device. One that stops early or fails leaves the group.

    Args:
        replicas: what to train; `alike`.
        report: told after every epoch.
        inputs: the maps.
        recipe: how.
        states: where each is to go on, as `Group.states` returned it; all after the same number of epochs.

    Returns:
        one result a replica, in their order.
    """
    group = Group(replicas, inputs, recipe)
    if states is not None:
        group.restore(states)
    while group.places:
        group.run_epoch()
        report(group)
    return [group.trained[place] for place in range(len(replicas))]


def quickest_group(replicas: Sequence[Replica], inputs: Inputs, recipe: Recipe, device: torch.device) -> int:
    """Return how many replicas to train together on a device.

    One on a CPU: there grouped convolutions take about twice as long (`docs/speed.md`). Elsewhere an epoch is measured
    of all of them, then of half as many, and so on, as long as there is too little memory or fewer are quicker.
    """
    if device.type == "cpu" or len(replicas) == 1:
        return 1
    inputs, best, size = inputs.to(device), (math.inf, 1), len(replicas)
    while size >= 1:
        try:
            found = _epoch_seconds(replicas[:size], inputs, recipe) / size, size
        except torch.OutOfMemoryError:
            found = math.inf, size
        if found[0] > best[0]:
            break
        best, size = min(best, found), size // 2
    return best[1]


def _epoch_seconds(replicas: Sequence[Replica], inputs: Inputs, recipe: Recipe) -> float:
    """Return how long the second epoch of a group takes; the first one is for warming up."""
    group = Group(replicas, inputs, recipe.model_copy(update={"stop_loss": None, "epochs": 3}))
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        if group.places:  # else all diverged in the first
            group.run_epoch()  # ends with the losses on the CPU
        seconds.append(time.perf_counter() - start)
    return seconds[1]


class Group:
    """Replicas in training.

    Attributes:
        replicas: all of them.
        places: which are still in training.
        trained: what came out of the others, by place.
        epoch: how many epochs are done.
        losses: place -> the mean training loss of each epoch.
    """

    def __init__(self, replicas: Sequence[Replica], inputs: Inputs, recipe: Recipe) -> None:
        self.replicas = tuple(replicas)
        self.inputs, self.recipe = inputs, recipe
        self.places = list(range(len(replicas)))
        self.trained: dict[int, Trained] = {}
        self.losses: dict[int, list[float]] = {place: [] for place in self.places}
        self.epoch = 0
        self.stack = Stack([fresh(one.graph, inputs.classes, one.about) for one in replicas], inputs.device)
        self.normaliser = inputs.fit([replica.train for replica in replicas])
        counts = torch.stack(
            [
                torch.bincount(inputs.labels[torch.from_numpy(r.train).to(inputs.device)], minlength=inputs.classes)
                for r in replicas
            ]
        )
        self.class_weights = class_weights(counts, recipe.balance)  # R x classes
        self.optimizer = Momentum(recipe.optimizer, self.stack.parameters)

    def run_epoch(self) -> None:
        """Train all for one epoch; those that are done, or cannot go on, leave."""
        recipe = self.recipe
        rate = recipe.schedule.at(self.epoch, recipe.epochs, recipe.optimizer.learning_rate)
        epoch = self._plan()
        criterion = stacked(self._criterion, self.stack.count)
        total = torch.zeros(self.stack.count, device=self.inputs.device)
        steps = zip(epoch.index, epoch.shift, epoch.factor, epoch.hole, epoch.keys, strict=True)
        for index, shift, factor, hole, keys in steps:
            self.stack.draw(keys)
            maps = self.normaliser(self.inputs.batch(index, shift if recipe.augment.shift else None))
            maps = self.inputs.changed(maps, factor, hole)
            labels = self.inputs.labels[index % len(self.inputs.labels)]
            losses = criterion(self.stack(maps), labels, self.class_weights)
            parameters = list(self.stack.parameters.values())
            gradients = torch.autograd.grad(losses.sum(), parameters, materialize_grads=True)
            self.optimizer.step(self.stack.parameters, gradients, rate)
            total += losses.detach()
        self.epoch += 1
        self._part([float(loss) / len(epoch.index) for loss in total])

    def _plan(self) -> Plan:
        """Return the plan of the epoch, for all that are in training."""
        batch_size, dropouts = self.recipe.batch_size, self.stack.dropouts
        replicas = [self.replicas[place] for place in self.places]
        plans = [plan(one.train, self.inputs, batch_size, dropouts, (*one.about, self.epoch)) for one in replicas]
        return joined(plans, self.inputs.device)

    def _criterion(self, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        weight = weights if self.recipe.balance else None
        return F.cross_entropy(logits, labels, weight, label_smoothing=self.recipe.label_smoothing)

    def _part(self, losses: Sequence[float]) -> None:
        """Note the epoch's losses, take the results of those that end with it, and go on with the others."""
        ending, failing = [], []
        for row, (place, loss) in enumerate(zip(self.places, losses, strict=True)):
            self.losses[place].append(loss)
            stops = self.recipe.stop_loss is not None and loss <= self.recipe.stop_loss
            if not math.isfinite(loss):
                failing.append(row)
                self._fail(place, f"the training loss became {loss} in epoch {self.epoch}")
            elif stops or self.epoch == self.recipe.epochs:
                ending.append(row)
        if ending:
            self._conclude(ending)
        self._keep([row for row in range(len(self.places)) if row not in {*ending, *failing}])

    def _conclude(self, rows: Sequence[int]) -> None:
        """Apply the networks at some rows of the stack to their held-out samples."""
        logits = self._held_out()
        for row in rows:
            place = self.places[row]
            replica = self.replicas[place]
            mine = logits[row, : len(replica.test)].float().cpu().numpy()
            if not np.isfinite(mine).all():
                self._fail(place, f"the network's outputs are not finite after epoch {self.epoch}")
                continue
            weights = {name: value[row].detach().cpu().clone() for name, value in self.stack.state().items()}
            weights |= {f"normaliser.{name}": value[row, 0].cpu() for name, value in self.normaliser.learned.items()}
            self.trained[place] = Trained(mine, tuple(self.losses[place]), weights)

    def _held_out(self) -> Tensor:
        """Return `(R, T, classes)` logits, T as many as the largest of the held-out sets; the rows of others repeat."""
        tests = [torch.from_numpy(self.replicas[place].test) for place in self.places]
        longest = max(map(len, tests))
        index = torch.stack([test[torch.arange(longest) % len(test)] for test in tests]).to(self.inputs.device)
        with self.stack.evaluating():
            return self.stack(self.normaliser(self.inputs.batch(index)))

    def _fail(self, place: int, why: str) -> None:
        replica = self.replicas[place]
        message = f"seed {replica.seed}, fold {replica.fold}: {why}"
        empty = np.zeros((0, self.inputs.classes), np.float32)
        self.trained[place] = Trained(empty, tuple(self.losses[place]), {}, message)

    def _keep(self, rows: Sequence[int]) -> None:
        """Go on with some rows of the stack."""
        if len(rows) == len(self.places):
            return
        self.places = [self.places[row] for row in rows]
        if not rows:
            return
        which = torch.tensor(rows, device=self.inputs.device)
        self.stack.keep(which)
        self.optimizer.keep(which)
        self.class_weights = self.class_weights[which]
        self.normaliser = self.normaliser.keep(which)

    def states(self) -> dict[int, dict[str, Tensor]]:
        """Return, of each replica in training by its place, copies (on the CPU) of what the next epoch depends on."""
        tensors = prefixed("network", self.stack.state()) | prefixed("momentum", self.optimizer.state())
        found = dict(zip(self.places, unstacked(tensors, len(self.places)), strict=True))
        for place, state in found.items():
            state["losses"] = torch.tensor(self.losses[place], dtype=torch.float64)
        return found

    def restore(self, states: Sequence[Named]) -> None:
        """Go on from states of the same replicas, all after the same number of epochs."""
        self.losses = {place: state["losses"].tolist() for place, state in zip(self.places, states, strict=True)}
        (self.epoch,) = {len(losses) for losses in self.losses.values()}
        tensors = restacked(states)
        self.stack.restore(part(tensors, "network"))
        self.optimizer.restore(part(tensors, "momentum"))


def class_weights(counts: Tensor, power: float) -> Tensor:
    """Return the weight of each class in the loss: the inverse of its share to a power.

    1 on average over samples, 0 where a class is absent.

    Args:
        counts: `(..., classes)`, the samples of each class.
        power: 0 is equal weights, 1 makes all classes count alike.
    """
    counts = counts.to(torch.get_default_dtype())
    weights = torch.where(counts > 0, counts.clamp_min(1) ** -power, 0.0)
    return weights * counts.sum(-1, keepdim=True) / (weights * counts).sum(-1, keepdim=True)
