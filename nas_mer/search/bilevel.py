"""Alternating bilevel search: weights on one half of the subjects, architecture weights on the other (DARTS)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from nas_mer.nn import Network
from nas_mer.search.hypergradient import HYPERGRADIENTS, Tensors
from nas_mer.search.recipe import SearchRecipe
from nas_mer.search.relaxation import RELAXATIONS, uniform_noise
from nas_mer.space import Graph
from nas_mer.space.ops import Dropout
from nas_mer.train.batches import Normaliser, shuffled
from nas_mer.train.replica import Maps
from nas_mer.train.streams import stream, stream_seed


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


class DivergedError(Exception):
    """A loss or an architecture weight of a search is not finite any more."""


class BilevelSearch:
    """One search: a supernet, its alphas, their optimisers and random streams.

    Each epoch alternates alpha steps and weight steps. An alpha step sees the supernet without dropout and with the
    statistics of its batch; it changes no weight, no batch-norm buffer and no random state of the weight steps. A
    weight step changes no alpha.

    Args:
        graph: the space's graph.
        data: the maps.
        halves: indices of the samples that train the weights, and of those that train the alphas; disjoint in subjects.
        recipe: how.
        about: what the random streams depend on, the seed first (a nested search adds its fold).
    """

    def __init__(
        self,
        graph: Graph,
        data: Maps,
        halves: tuple[np.ndarray, np.ndarray],
        recipe: SearchRecipe,
        about: tuple[str | int, ...],
    ) -> None:
        self.graph = graph
        self.recipe = recipe
        self.relaxation = RELAXATIONS[recipe.relaxation]
        self.epoch = 0
        self._seen: list[tuple[Tensor, Tensor]] = []  # logits and labels of this epoch's alpha steps
        self.generators = {name: stream(*about, name) for name in ("weights", "alphas", "weight noise", "alpha noise")}
        device = data.maps.device
        torch.manual_seed(stream_seed(*about, "network"))  # initial weights and dropout
        network = Network(graph, data.classes)
        self.network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        start = stream(*about, "start")
        self.alphas = {
            decision: (self.relaxation.start + recipe.noise * torch.randn(len(options), generator=start))
            .clamp_(min=self.relaxation.least)
            .to(device)
            .requires_grad_()
            for decision, options in graph.decisions.items()
        }
        ours, theirs = (torch.from_numpy(half).to(device) for half in halves)
        normaliser = Normaliser.fit(recipe.normalise, data.maps[torch.cat([ours, theirs])])
        self.train_maps, self.train_labels = normaliser(data.maps[ours]), data.labels[ours]
        self.valid_maps, self.valid_labels = normaliser(data.maps[theirs]), data.labels[theirs]
        self.parameters = dict(self.network.named_parameters())
        self.weight_optimizer = torch.optim.SGD(
            self.parameters.values(),
            recipe.weights.learning_rate,
            recipe.weights.momentum,
            weight_decay=recipe.weights.weight_decay,
            nesterov=recipe.weights.nesterov,
            fused=True,
        )
        self.alpha_optimizer = torch.optim.Adam(
            self.alphas.values(),
            recipe.alphas.learning_rate,
            recipe.alphas.betas,
            weight_decay=recipe.alphas.weight_decay,
        )

    def run_epoch(self) -> Epoch:
        """Train for one epoch.

        Raises:
            DivergedError: a loss or an alpha is not finite.
        """
        recipe = self.recipe
        rate = recipe.schedule.at(self.epoch, recipe.epochs, recipe.weights.learning_rate)
        for group in self.weight_optimizer.param_groups:
            group["lr"] = rate
        ours = list(shuffled(len(self.train_labels), recipe.batch_size, self.generators["weights"]))
        theirs = shuffled(len(self.valid_labels), recipe.batch_size, self.generators["alphas"])
        total = 0.0
        self._seen.clear()
        for train, valid in zip(ours, itertools.cycle(list(theirs)), strict=False):
            if self.epoch >= recipe.warm_up:
                self.alpha_step(train, valid, rate)
            total += self.weight_step(train) * len(train)
        self.epoch += 1
        logits, labels = map(torch.cat, zip(*(self._seen or self._look()), strict=True))
        loss, uar = float(F.cross_entropy(logits, labels)), _average_recall(logits, labels)
        record = Epoch(self.epoch, total / len(self.train_labels), loss, uar, self.weights())
        if not all(map(math.isfinite, [record.train_loss, loss, *itertools.chain(*record.weights.values())])):
            raise DivergedError(
                f"the search diverged in epoch {self.epoch}: training loss {record.train_loss}, validation loss {loss}"
            )
        return record

    def weights(self) -> dict[str, tuple[float, ...]]:
        """Return the ranking weight of each decision's options, which sum to 1."""
        with torch.no_grad():
            return {name: tuple(self.relaxation.weights(alpha).tolist()) for name, alpha in self.alphas.items()}

    def weight_step(self, batch: Tensor) -> float:
        """Train the weights on samples of their half; return the loss."""
        with torch.no_grad():
            mixture = self._mixture(tuple(self.alphas.values()), self._noise("weight noise"))
        loss = F.cross_entropy(self.network(self.train_maps[batch], mixture), self.train_labels[batch])
        self.weight_optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.clip, foreach=True)
        self.weight_optimizer.step()
        return float(loss.detach())

    def alpha_step(self, train: Tensor, valid: Tensor, rate: float) -> None:
        """Train the alphas on samples of their half; `train` and `rate` are those of the weight step to be unrolled."""
        gradients = self.hypergradient(train, valid, rate)
        for alpha, gradient in zip(self.alphas.values(), gradients, strict=True):
            alpha.grad = gradient
        self.alpha_optimizer.step()
        with torch.no_grad():
            for alpha in self.alphas.values():
                alpha.clamp_(min=self.relaxation.least)

    def hypergradient(self, train: Tensor, valid: Tensor, rate: float) -> Tensors:
        """Return the gradient of the validation loss with respect to each alpha, in the recipe's order."""
        noise = self._noise("alpha noise")
        sgd = self.recipe.weights

        def logits(maps: Tensor, w: Tensors, a: Tensors) -> Tensor:
            parameters = dict(zip(self.parameters, w, strict=True))
            return cast("Tensor", functional_call(self.network, parameters, (maps, self._mixture(a, noise))))

        def train_loss(w: Tensors, a: Tensors) -> Tensor:
            return F.cross_entropy(logits(self.train_maps[train], w, a), self.train_labels[train])

        def valid_loss(w: Tensors, a: Tensors) -> Tensor:
            out, labels = logits(self.valid_maps[valid], w, a), self.valid_labels[valid]
            self._seen.append((out.detach(), labels))
            return F.cross_entropy(out, labels)

        def unroll(gradients: Tensors) -> Tensors:
            """One step of the weights' optimiser (DARTS's unrolled model): momentum, decay, gradient."""
            moved = []
            for parameter, gradient in zip(self.parameters.values(), gradients, strict=True):
                buffer = self.weight_optimizer.state[parameter].get("momentum_buffer", 0.0)
                step = sgd.momentum * buffer + gradient + sgd.weight_decay * parameter.detach()
                if sgd.nesterov:
                    step = gradient + sgd.weight_decay * parameter.detach() + sgd.momentum * step
                moved.append(parameter.detach() - rate * step)
            return tuple(moved)

        with _measuring(self.network):
            return HYPERGRADIENTS[self.recipe.order](
                train_loss,
                valid_loss,
                tuple(parameter.detach() for parameter in self.parameters.values()),
                tuple(self.alphas.values()),
                unroll,
                rate * (1 + sgd.momentum * sgd.nesterov),
            )

    def _look(self) -> list[tuple[Tensor, Tensor]]:
        """Return logits and labels of the alphas' half, for an epoch without alpha steps."""
        with torch.no_grad(), _measuring(self.network):
            mixture = self._mixture(tuple(self.alphas.values()), self._noise("alpha noise"))
            parts = self.valid_maps.split(self.recipe.batch_size), self.valid_labels.split(self.recipe.batch_size)
            return [(self.network(maps, mixture), labels) for maps, labels in zip(*parts, strict=True)]

    def state(self) -> dict[str, Tensor]:
        """Return a copy of all that the next epoch depends on."""
        tensors = {f"network.{name}": value.detach() for name, value in self._network_state().items()}
        tensors |= {f"alpha.{name}": alpha.detach() for name, alpha in self.alphas.items()}
        for name, _, state in self._optimizer_states():
            tensors |= {f"{name}.{key}": value for key, value in state.items() if value is not None}
        tensors |= {f"random.{name}": generator.get_state() for name, generator in self.generators.items()}
        tensors["random"] = self._dropout_state()
        tensors["epoch"] = torch.tensor(self.epoch)
        layout = torch.contiguous_format
        return {name: tensor.to("cpu", memory_format=layout, copy=True) for name, tensor in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back to a state: the epochs that follow are those that followed it."""
        with torch.no_grad():
            for name, value in self._network_state().items():
                value.copy_(tensors[f"network.{name}"])
            for name, alpha in self.alphas.items():
                alpha.copy_(tensors[f"alpha.{name}"])
        for name, parameter, state in self._optimizer_states():
            state.clear()
            for path, tensor in tensors.items():
                owner, _, key = path.rpartition(".")
                if owner == name:
                    # A fused step walks through memory: a moment must lie there as its parameter does.
                    state[key] = torch.empty_like(parameter).copy_(tensor) if tensor.dim() else tensor.clone()
        for name, generator in self.generators.items():
            generator.set_state(tensors[f"random.{name}"])
        if self.valid_maps.is_cuda:
            torch.cuda.set_rng_state(tensors["random"], self.valid_maps.device)
        else:
            torch.set_rng_state(tensors["random"])
        self.epoch = int(tensors["epoch"])

    def _dropout_state(self) -> Tensor:
        """Return the state of the generator that dropout draws from."""
        return torch.cuda.get_rng_state(self.valid_maps.device) if self.valid_maps.is_cuda else torch.get_rng_state()

    def _network_state(self) -> dict[str, Tensor]:
        return {**self.parameters, **dict(self.network.named_buffers())}

    def _optimizer_states(self) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        for kind, named, optimizer in (
            ("weight_optimizer", self.parameters, self.weight_optimizer),
            ("alpha_optimizer", self.alphas, self.alpha_optimizer),
        ):
            for name, parameter in named.items():
                yield f"{kind}.{name}", parameter, optimizer.state[parameter]

    def _mixture(self, alphas: Tensors, noise: Tensors) -> dict[str, Tensor]:
        parts = (self.relaxation.mixture(alpha, part) for alpha, part in zip(alphas, noise, strict=True))
        return dict(zip(self.alphas, parts, strict=True))

    def _noise(self, name: str) -> Tensors:
        if not self.relaxation.noisy:
            return tuple(self.alphas.values())
        draws = self.generators[name]
        return tuple(uniform_noise(alpha.shape, draws).to(alpha.device) for alpha in self.alphas.values())


def _average_recall(logits: Tensor, labels: Tensor) -> float:
    right = logits.argmax(1) == labels
    return float(torch.stack([right[labels == label].float().mean() for label in labels.unique()]).mean())


@contextmanager
def _measuring(network: Network) -> Iterator[None]:
    """Let a network in training mode be looked at: no dropout, batch statistics, and no buffer changed."""
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    dropouts = [m for m in network.modules() if isinstance(m, Dropout | _DropoutNd)]
    for norm in norms:
        norm.track_running_stats = False
    for dropout in dropouts:
        dropout.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
        for dropout in dropouts:
            dropout.train()
