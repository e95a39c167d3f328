"""Supernets in training, as every search with shared weights has them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas_mer.nn import Mixture, Stack, stacked
from nas_mer.search.cost import LOOK, Cost
from nas_mer.search.recipe import SearchRecipe
from nas_mer.search.trials import Trial
from nas_mer.space import SearchSpace
from nas_mer.train.batches import Inputs, Plan, joined, plan, steps_and_batch
from nas_mer.train.optimizers import Momentum
from nas_mer.train.replica import fresh
from nas_mer.train.states import Named, part, prefixed, restacked, unstacked

Weights = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Epoch:
    """What one epoch of a search left.

    Attributes:
        epoch: its number, from 1.
        train_loss: the mean loss of the weight steps (with dropout).
        valid_loss: the mean loss on the alphas' half (without dropout, with batch statistics).
        valid_uar: the unweighted average recall there.
        weights: decision -> the options' weights, options sorted by name; empty where a search has no such weights.
        eigenvalue: the largest eigenvalue of the Hessian of the validation loss with respect to all alphas, where the
            recipe stops early by it.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    valid_uar: float
    weights: Weights
    eigenvalue: float | None = None


@dataclass(frozen=True, eq=False)
class SearchReplica:
    """What one search is to do. Its random streams depend on `about` alone.

    Attributes:
        weights: indices of the samples that train the weights.
        alphas: indices of those that train the architecture weights, or judge genotypes; disjoint in subjects.
        about: the seed; a nested search adds its fold.
    """

    weights: np.ndarray
    alphas: np.ndarray
    about: tuple[str | int, ...]

    def alike(self, recipe: SearchRecipe) -> tuple[int, ...]:
        """Return what searches of one space must have in common to run together: steps and samples a step."""
        halves = (steps_and_batch(len(half), recipe.batch_size) for half in (self.weights, self.alphas))
        return tuple(number for half in halves for number in half)

    def look(self, recipe: SearchRecipe) -> float:
        """Return what a look at the alphas' half costs, in samples; see `nas_mer.search.cost`."""
        _, _, steps, batch = self.alike(recipe)
        return steps * batch * LOOK


class Supernets(ABC):
    """Searches of one space, run as one program: their supernets and the optimiser of the weights.

    What one search does depends on no other; one that diverges leaves.

    Args:
        space: the space.
        inputs: the maps.
        replicas: what to search; `alike`.
        recipe: how.

    Attributes:
        places: which of the replicas are still searched.
        failures: why each one that failed stopped.
        epoch: how many epochs are done.
    """

    def __init__(
        self, space: SearchSpace, inputs: Inputs, replicas: Sequence[SearchReplica], recipe: SearchRecipe
    ) -> None:
        self.space, self.graph, self.inputs, self.recipe = space, space.graph, inputs, recipe
        self.replicas = tuple(replicas)
        self.places = list(range(len(replicas)))
        self.failures: dict[int, str] = {}
        self.epoch = 0
        self.stack = Stack([fresh(self.graph, inputs.classes, one.about) for one in replicas], inputs.device)
        self.normaliser = inputs.fit([np.concatenate([r.weights, r.alphas]) for r in replicas])
        self.weight_optimizer = Momentum(recipe.weights, self.stack.parameters)
        self._seen: list[tuple[Tensor, Tensor]] = []  # logits and labels of the alphas' half, in this epoch

    @classmethod
    def length(cls, space: SearchSpace, recipe: SearchRecipe) -> int:
        """Return how many epochs a search has, if it does not stop early."""
        return recipe.epochs

    @classmethod
    @abstractmethod
    def cost(cls, space: SearchSpace, recipe: SearchRecipe, replica: SearchReplica) -> Cost:
        """Return what a search costs."""

    @abstractmethod
    def run_epoch(self) -> dict[int, Epoch]:
        """Search for one epoch; return what it left, by place, of each replica that did not fail in it."""

    @abstractmethod
    def weights(self) -> list[dict[str, tuple[float, ...]]]:
        """Return, of each search, the ranking weight of each decision's options, which sum to 1."""

    def trials(self) -> list[tuple[Trial, ...]]:
        """Return, of each search, the genotypes that it has judged, after its last epoch."""
        return [()] * len(self.places)

    def states(self) -> dict[int, dict[str, Tensor]]:
        """Return, of each search that goes on by its place, copies (on the CPU) of what the next epoch depends on."""
        found = dict(zip(self.places, unstacked(self._tensors(), len(self.places)), strict=True))
        for state in found.values():
            state["epoch"] = torch.tensor(self.epoch)
        return found

    def restore(self, states: Sequence[Named]) -> None:
        """Go back to states of the same searches, all after the same number of epochs.

        The epochs that follow are those that followed then.
        """
        tensors = restacked(states)
        (self.epoch,) = set(tensors["epoch"].tolist())
        self._restore(tensors)

    def _tensors(self) -> dict[str, Tensor]:
        """Return what the next epoch depends on, `(R, ...)` each."""
        return prefixed("network", self.stack.state()) | prefixed("weight_optimizer", self.weight_optimizer.state())

    def _restore(self, tensors: Named) -> None:
        self.stack.restore(part(tensors, "network"))
        self.weight_optimizer.restore(part(tensors, "weight_optimizer"))

    @property
    def rate(self) -> float:
        """The learning rate of the weights in this epoch; after the schedule's end, that of its last epoch."""
        recipe = self.recipe
        return recipe.schedule.at(min(self.epoch, recipe.epochs - 1), recipe.epochs, recipe.weights.learning_rate)

    def _train(self, batch: Tensor, keys: Tensor, rate: float, mixture: Mixture) -> Tensor:
        """Train the weights on samples `(R, N)` of their half, and return the losses `(R,)`."""
        parameters = list(self.stack.parameters.values())
        self.stack.draw(keys)
        losses = self._losses(self.stack(self._maps(batch), mixture), batch)
        gradients = torch.autograd.grad(losses.sum(), parameters, materialize_grads=True)
        self.weight_optimizer.step(self.stack.parameters, clipped(gradients, self.recipe.clip), rate)
        return losses.detach()

    def _judged(self, batches: Tensor, mixture: Mixture) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the logits `(R, N, classes)` and labels of batches, as the alpha steps see them."""
        with torch.no_grad(), self.stack.measuring():
            for batch in batches:
                yield self.stack(self._maps(batch), mixture), self.inputs.labels[batch]

    def _plan(self, half: str) -> Plan:
        """Return the plan of an epoch over one half, for all that are searched."""
        size, dropouts = self.recipe.batch_size, self.stack.dropouts
        replicas = [self.replicas[place] for place in self.places]
        plans = [
            plan(getattr(one, half), self.inputs, size, dropouts, (*one.about, half, self.epoch)) for one in replicas
        ]
        return joined(plans, self.inputs.device)

    def _maps(self, batch: Tensor) -> Tensor:
        return self.normaliser(self.inputs.batch(batch))

    def _losses(self, logits: Tensor, batch: Tensor) -> Tensor:
        return stacked(F.cross_entropy, self.stack.count)(logits, self.inputs.labels[batch])

    def _part(self, train_losses: Sequence[float], eigenvalues: Sequence[float] | None = None) -> dict[int, Epoch]:
        """Return the epoch's records, and go on without those that diverged or stop early."""
        logits, labels = (torch.cat(parts, dim=1).cpu() for parts in zip(*self._seen, strict=True))
        records, rows = {}, []
        for row, (place, train_loss, weights) in enumerate(zip(self.places, train_losses, self.weights(), strict=True)):
            loss = float(F.cross_entropy(logits[row], labels[row]))
            uar = average_recall(logits[row], labels[row])
            eigenvalue = None if eigenvalues is None else eigenvalues[row]
            record = Epoch(self.epoch, train_loss, loss, uar, weights, eigenvalue)
            numbers = [train_loss, loss, eigenvalue or 0.0, *(w for options in weights.values() for w in options)]
            if not all(map(math.isfinite, numbers)):
                self.failures[place] = (
                    f"the search diverged in epoch {self.epoch}: training loss {train_loss}, validation loss {loss}"
                )
                continue
            records[place] = record
            if not self._stops(place, record):
                rows.append(row)
        if len(rows) < len(self.places):
            self.places = [self.places[row] for row in rows]
            if rows:
                self._keep(torch.tensor(rows, device=self.inputs.device))
        return records

    def _stops(self, place: int, record: Epoch) -> bool:
        """Return whether a search stops early."""
        return False

    def _keep(self, which: Tensor) -> None:
        """Go on with some rows of the stack."""
        self.stack.keep(which)
        self.weight_optimizer.keep(which)
        self.normaliser = self.normaliser.keep(which)


def clipped(gradients: Sequence[Tensor], most: float) -> list[Tensor]:
    """Return stacked gradients `(R, ...)`, those of each network scaled to a joint norm of `most` if it is greater."""
    norms = torch.stack([g.reshape(len(g), -1).square().sum(1) for g in gradients]).sum(0).sqrt()  # R
    factors = (most / (norms + 1e-6)).clamp(max=1.0)
    return [gradient * factors.view(-1, *[1] * (gradient.dim() - 1)) for gradient in gradients]


def average_recall(logits: Tensor, labels: Tensor) -> float:
    """Return the unweighted average recall of logits `(N, classes)` over the classes that are there."""
    right = logits.argmax(1) == labels
    return float(torch.stack([right[labels == label].float().mean() for label in labels.unique()]).mean())
