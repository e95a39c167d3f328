"""Alternating bilevel search: weights on one half of the subjects, architecture weights on the other (DARTS)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas_mer.nn import Stack, stacked
from nas_mer.search.hypergradient import HYPERGRADIENTS, Tensors
from nas_mer.search.recipe import SearchRecipe
from nas_mer.search.relaxation import RELAXATIONS, uniform_noise
from nas_mer.space import Graph
from nas_mer.train.batches import PLAIN, Inputs, Plan, joined, plan, steps_and_batch
from nas_mer.train.optimizers import Adam, Momentum
from nas_mer.train.replica import fresh
from nas_mer.train.states import Named, part, prefixed, restacked, unstacked
from nas_mer.train.streams import stream


@dataclass(frozen=True)
class Epoch:
    """What one epoch of a search left.

    Attributes:
        epoch: its number, from 1.
        train_loss: the mean loss of the weight steps (with dropout).
        valid_loss: the mean loss that the alpha steps saw on their half (without dropout, with batch statistics).
        valid_uar: the unweighted average recall there.
        weights: decision -> the options' weights, options sorted by name.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    valid_uar: float
    weights: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class SearchReplica:
    """What one search is to do. Its random streams depend on `about` alone.

    Attributes:
        weights: indices of the samples that train the weights.
        alphas: indices of those that train the architecture weights; disjoint in subjects.
        about: the seed; a nested search adds its fold.
    """

    weights: np.ndarray
    alphas: np.ndarray
    about: tuple[str | int, ...]

    def alike(self, recipe: SearchRecipe) -> tuple[int, ...]:
        """Return what searches of one space must have in common to run together: steps and samples a step."""
        halves = (steps_and_batch(len(half), recipe.batch_size) for half in (self.weights, self.alphas))
        return tuple(number for half in halves for number in half)


class BilevelSearch:
    """Searches of one space, run as one program: supernets, their alphas and optimisers.

    Each epoch alternates alpha steps and weight steps. An alpha step sees the supernet without dropout and with the
    statistics of its batch; it changes no weight and no batch-norm buffer. A weight step changes no alpha. What one
    search does depends on no other; one that diverges leaves.

    Args:
        graph: the space's graph.
        inputs: the maps.
        replicas: what to search; `alike`.
        recipe: how.

    Attributes:
        places: which of the replicas are still searched.
        failures: why each other one stopped.
        alphas: decision -> `(R, options)`, for the R that are still searched.
        epoch: how many epochs are done.
    """

    def __init__(self, graph: Graph, inputs: Inputs, replicas: Sequence[SearchReplica], recipe: SearchRecipe) -> None:
        self.graph, self.inputs, self.recipe = graph, inputs, recipe
        self.replicas = tuple(replicas)
        self.places = list(range(len(replicas)))
        self.failures: dict[int, str] = {}
        self.epoch = 0
        self.relaxation = RELAXATIONS[recipe.relaxation]
        self.stack = Stack([fresh(graph, inputs.classes, one.about) for one in replicas], inputs.device)
        self.normaliser = inputs.fit([np.concatenate([r.weights, r.alphas]) for r in replicas])
        starts = [stream(*replica.about, "start") for replica in replicas]
        self.alphas = {
            decision: (
                self.relaxation.start
                + recipe.noise * torch.stack([torch.randn(len(options), generator=start) for start in starts])
            )
            .clamp_(min=self.relaxation.least)
            .to(inputs.device)
            .requires_grad_()
            for decision, options in graph.decisions.items()
        }
        self.weight_optimizer = Momentum(recipe.weights, self.stack.parameters)
        adam = recipe.alphas
        self.alpha_optimizer = Adam(adam.learning_rate, adam.betas, adam.weight_decay, self.alphas)
        self._seen: list[tuple[Tensor, Tensor]] = []  # logits and labels of this epoch's alpha steps

    def run_epoch(self) -> dict[int, Epoch]:
        """Search for one epoch; return what it left of each replica that goes on, by place."""
        recipe = self.recipe
        rate = recipe.schedule.at(self.epoch, recipe.epochs, recipe.weights.learning_rate)
        epoch = self._plan("weights")
        ours, keys, theirs = epoch.index, epoch.keys, self._plan("alphas").index
        noise, alpha_noise = (self._noise(name, len(ours)) for name in ("weight noise", "alpha noise"))
        total = torch.zeros(len(self.places), device=self.inputs.device)
        self._seen.clear()
        for step in range(len(ours)):
            if self.epoch >= recipe.warm_up:
                valid = theirs[step % len(theirs)]
                self.alpha_step(ours[step], valid, rate, alpha_noise[step])
            total += self.weight_step(ours[step], keys[step], rate, noise[step])
        self.epoch += 1
        if not self._seen:
            self._look(theirs, alpha_noise[-1])
        return self._part((total / len(ours)).tolist())

    def weight_step(self, batch: Tensor, keys: Tensor, rate: float, noise: Tensors) -> Tensor:
        """Train the weights on samples of their half.

        Args:
            batch: `(R, N)` indices of samples.
            keys: of the dropout layers; see `Stack.draw`.
            rate: the learning rate.
            noise: of the relaxation, `(R, options)` each.

        Returns:
            the losses `(R,)`.
        """
        parameters = list(self.stack.parameters.values())
        self.stack.draw(keys)
        with torch.no_grad():
            mixture = self._mixture(tuple(self.alphas.values()), noise)
        losses = self._losses(self.stack(self._maps(batch), mixture), batch)
        gradients = torch.autograd.grad(losses.sum(), parameters, materialize_grads=True)
        self.weight_optimizer.step(self.stack.parameters, clipped(gradients, self.recipe.clip), rate)
        return losses.detach()

    def alpha_step(self, train: Tensor, valid: Tensor, rate: float, noise: Tensors) -> None:
        """Train the alphas on samples of their half, `valid`.

        `train` and `rate` are those of the weight step to be unrolled.
        """
        self.alpha_optimizer.step(self.alphas, self.hypergradient(train, valid, rate, noise))
        with torch.no_grad():
            for alpha in self.alphas.values():
                alpha.clamp_(min=self.relaxation.least)

    def hypergradient(self, train: Tensor, valid: Tensor, rate: float, noise: Tensors) -> Tensors:
        """Return the gradient of the validation loss with respect to each alpha, in the recipe's order."""
        sgd = self.recipe.weights
        train_maps, valid_maps = self._maps(train), self._maps(valid)

        def logits(maps: Tensor, w: Tensors, a: Tensors) -> Tensor:
            return self.stack(maps, self._mixture(a, noise), dict(zip(self.stack.parameters, w, strict=True)))

        def train_loss(w: Tensors, a: Tensors) -> Tensor:
            return self._losses(logits(train_maps, w, a), train).sum()

        def valid_loss(w: Tensors, a: Tensors) -> Tensor:
            out = logits(valid_maps, w, a)
            self._seen.append((out.detach(), self.inputs.labels[valid]))
            return self._losses(out, valid).sum()

        def unroll(gradients: Tensors) -> Tensors:
            """One step of the weights' optimiser (DARTS's unrolled model): momentum, decay, gradient."""
            direction, _ = self.weight_optimizer.direction(self.stack.parameters, gradients)
            moved = zip(self.stack.parameters.values(), direction, strict=True)
            return tuple(parameter.detach() - rate * change for parameter, change in moved)

        with self.stack.measuring():
            return HYPERGRADIENTS[self.recipe.order](
                train_loss,
                valid_loss,
                tuple(parameter.detach() for parameter in self.stack.parameters.values()),
                tuple(self.alphas.values()),
                unroll,
                rate * (1 + sgd.momentum * sgd.nesterov),
            )

    def weights(self) -> list[dict[str, tuple[float, ...]]]:
        """Return, of each search, the ranking weight of each decision's options, which sum to 1."""
        with torch.no_grad():
            ranking = {name: self.relaxation.weights(alpha).tolist() for name, alpha in self.alphas.items()}
        return [{name: tuple(rows[row]) for name, rows in ranking.items()} for row in range(len(self.places))]

    def states(self) -> dict[int, dict[str, Tensor]]:
        """Return, of each search that goes on by its place, copies (on the CPU) of what the next epoch depends on."""
        tensors = prefixed("network", self.stack.state()) | prefixed("alpha", self.alphas)
        tensors |= prefixed("weight_optimizer", self.weight_optimizer.state())
        tensors |= prefixed("alpha_optimizer", self.alpha_optimizer.state())
        found = dict(zip(self.places, unstacked(tensors, len(self.places)), strict=True))
        for state in found.values():
            state |= {"epoch": torch.tensor(self.epoch), "alpha_steps": torch.tensor(self.alpha_optimizer.count)}
        return found

    def restore(self, states: Sequence[Named]) -> None:
        """Go back to states of the same searches, all after the same number of epochs.

        The epochs that follow are those that followed then.
        """
        tensors = restacked(states)
        self.stack.restore(part(tensors, "network"))
        with torch.no_grad():
            for name, alpha in self.alphas.items():
                alpha.copy_(tensors[f"alpha.{name}"])
        self.weight_optimizer.restore(part(tensors, "weight_optimizer"))
        self.alpha_optimizer.restore(part(tensors, "alpha_optimizer"))
        (self.epoch,) = set(tensors["epoch"].tolist())
        (self.alpha_optimizer.count,) = set(tensors["alpha_steps"].tolist())

    def _plan(self, half: str) -> Plan:
        """Return the plan of an epoch over one half, for all that are searched."""
        samples, size = len(self.inputs.labels), self.recipe.batch_size
        replicas = [self.replicas[place] for place in self.places]
        return joined(
            [
                plan(getattr(one, half), samples, size, PLAIN, self.stack.dropouts, (*one.about, half, self.epoch))
                for one in replicas
            ],
            self.inputs.device,
        )

    def _noise(self, name: str, steps: int) -> list[Tensors]:
        """Return the relaxation's noise of each step: `(R, options)` for each decision."""
        if not self.relaxation.noisy:
            return [tuple(self.alphas.values())] * steps
        draws = [stream(*self.replicas[place].about, name, self.epoch) for place in self.places]
        device = self.inputs.device
        return [
            tuple(
                torch.stack([uniform_noise(alpha.shape[1:], draw) for draw in draws]).to(device)
                for alpha in self.alphas.values()
            )
            for _ in range(steps)
        ]

    def _maps(self, batch: Tensor) -> Tensor:
        return self.normaliser(self.inputs.batch(batch))

    def _losses(self, logits: Tensor, batch: Tensor) -> Tensor:
        return stacked(F.cross_entropy, self.stack.count)(logits, self.inputs.labels[batch])

    def _mixture(self, alphas: Tensors, noise: Tensors) -> dict[str, Tensor]:
        parts = (self.relaxation.mixture(alpha, one) for alpha, one in zip(alphas, noise, strict=True))
        return dict(zip(self.alphas, parts, strict=True))

    def _look(self, batches: Tensor, noise: Tensors) -> None:
        """See the alphas' half in an epoch without alpha steps."""
        with torch.no_grad(), self.stack.measuring():
            mixture = self._mixture(tuple(self.alphas.values()), noise)
            for batch in batches:
                self._seen.append((self.stack(self._maps(batch), mixture), self.inputs.labels[batch]))

    def _part(self, train_losses: Sequence[float]) -> dict[int, Epoch]:
        """Return the epoch's records, and go on without those that diverged."""
        logits, labels = (torch.cat(parts, dim=1).cpu() for parts in zip(*self._seen, strict=True))
        records, rows = {}, []
        for row, (place, train_loss, weights) in enumerate(zip(self.places, train_losses, self.weights(), strict=True)):
            loss = float(F.cross_entropy(logits[row], labels[row]))
            record = Epoch(self.epoch, train_loss, loss, average_recall(logits[row], labels[row]), weights)
            if all(map(math.isfinite, [train_loss, loss, *(w for options in weights.values() for w in options)])):
                records[place] = record
                rows.append(row)
            else:
                self.failures[place] = (
                    f"the search diverged in epoch {self.epoch}: training loss {train_loss}, validation loss {loss}"
                )
        if len(rows) < len(self.places):
            self._keep(rows)
        return records

    def _keep(self, rows: Sequence[int]) -> None:
        self.places = [self.places[row] for row in rows]
        if not rows:
            return
        which = torch.tensor(rows, device=self.inputs.device)
        self.stack.keep(which)
        self.alphas = {name: alpha.detach()[which].requires_grad_() for name, alpha in self.alphas.items()}
        self.weight_optimizer.keep(which)
        self.alpha_optimizer.keep(which)
        self.normaliser = self.normaliser.keep(which)


def clipped(gradients: Tensors, most: float) -> list[Tensor]:
    """Return stacked gradients `(R, ...)`, those of each network scaled to a joint norm of `most` if it is greater."""
    norms = torch.stack([g.reshape(len(g), -1).square().sum(1) for g in gradients]).sum(0).sqrt()  # R
    factors = (most / (norms + 1e-6)).clamp(max=1.0)
    return [gradient * factors.view(-1, *[1] * (gradient.dim() - 1)) for gradient in gradients]


def average_recall(logits: Tensor, labels: Tensor) -> float:
    """Return the unweighted average recall of logits `(N, classes)` over the classes that are there."""
    right = logits.argmax(1) == labels
    return float(torch.stack([right[labels == label].float().mean() for label in labels.unique()]).mean())
