"""One independent training: a network, a fold, a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas_mer.nn import Network
from nas_mer.space import Graph
from nas_mer.train.batches import Normaliser, flipped, shifted, shuffled
from nas_mer.train.recipe import Recipe
from nas_mer.train.streams import stream, stream_seed
from nas_mer.workers import Report


@dataclass(frozen=True)
class Maps:
    """A dataset's maps and labels in memory.

    Attributes:
        maps: `(N, 3, H, W)` float32.
        labels: `(N,)` int64.
        classes: the number of classes.
        u_mirror: a horizontal flip turns u into `u_mirror - u`.
    """

    maps: Tensor
    labels: Tensor
    classes: int
    u_mirror: float

    def to(self, device: torch.device) -> Maps:
        """Return the same on another device."""
        return Maps(self.maps.to(device), self.labels.to(device), self.classes, self.u_mirror)


@dataclass(frozen=True)
class Replica:
    """What one training is to do. Its random streams depend on genotype, fold and seed alone.

    Attributes:
        genotype: the genotype's digest.
        graph: its network's graph.
        fold: the fold's name (its held-out subject).
        train: indices of the training samples.
        test: indices of the held-out subject's samples.
        seed: the seed.
    """

    genotype: str
    graph: Graph
    fold: str
    train: np.ndarray
    test: np.ndarray
    seed: int


@dataclass(frozen=True)
class Trained:
    """What one training gave.

    Attributes:
        logits: `(len(test), classes)` float32 for the held-out samples, from the last epoch's network.
        losses: the mean training loss of each epoch.
        weights: the network's parameters and buffers, and the normaliser's mean and scale.
        failure: why it stopped without a result, or None.
    """

    logits: np.ndarray
    losses: tuple[float, ...]
    weights: Mapping[str, Tensor]
    failure: str | None = None


def train(replica: Replica, report: Report, data: Maps, recipe: Recipe) -> Trained:
    """Train one network from scratch and apply it to its held-out samples, once, at the end.

    `report` is told the number of epochs done.

    On a CPU the result is a function of the arguments alone if torch runs on one thread. A loss that is not finite ends
    the training with `failure` set; so do logits that are not finite at its end.
    """
    device = data.maps.device
    name = f"seed {replica.seed}, fold {replica.fold}"
    about = (replica.seed, replica.genotype, replica.fold)
    torch.manual_seed(stream_seed(*about, "network"))  # initial weights and dropout
    order = stream(*about, "order")
    draws = stream(*about, "augment")
    network = Network(replica.graph, data.classes).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    train_index = torch.from_numpy(replica.train).to(device)
    labels = data.labels[train_index]
    normaliser = Normaliser.fit(recipe.normalise, data.maps[train_index])
    maps = normaliser(data.maps[train_index])
    if recipe.augment.flip:  # flips are made once; a batch takes each sample's map from one half or the other
        maps = torch.cat([maps, flipped(maps, normaliser.mirrored_u(data.u_mirror))])
    class_weights = _class_weights(labels, data.classes) if recipe.balance else None
    optimizer = torch.optim.SGD(
        network.parameters(),
        recipe.optimizer.learning_rate,
        recipe.optimizer.momentum,
        weight_decay=recipe.optimizer.weight_decay,
        nesterov=recipe.optimizer.nesterov,
        fused=True,
    )
    losses: list[float] = []
    network.train()
    for epoch in range(recipe.epochs):
        for group in optimizer.param_groups:
            group["lr"] = recipe.schedule.at(epoch, recipe.epochs, recipe.optimizer.learning_rate)
        total = torch.zeros((), device=device)
        for batch in shuffled(len(labels), recipe.batch_size, order):
            flips = torch.rand(len(batch), generator=draws) < recipe.augment.flip
            inputs = maps[(batch + len(labels) * flips).to(device)]
            if recipe.augment.shift:
                inputs = shifted(inputs, recipe.augment.shift, draws)
            target = labels[batch.to(device)]
            loss = F.cross_entropy(network(inputs), target, class_weights, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
        losses.append(float(total) / len(labels))
        report(epoch + 1)
        if not math.isfinite(losses[-1]):
            return _failed(losses, data.classes, f"{name}: the training loss became {losses[-1]} in epoch {epoch + 1}")
        if recipe.stop_loss is not None and losses[-1] <= recipe.stop_loss:
            break
    network.eval()
    with torch.inference_mode():
        logits = network(normaliser(data.maps[torch.from_numpy(replica.test).to(device)])).float().cpu().numpy()
    if not np.isfinite(logits).all():
        return _failed(losses, data.classes, f"{name}: the network's outputs are not finite after epoch {len(losses)}")
    weights = {name: value.detach().cpu().contiguous() for name, value in _unshared_state(network).items()}
    if normaliser.mean is not None and normaliser.scale is not None:
        weights |= {"normaliser.mean": normaliser.mean.cpu(), "normaliser.scale": normaliser.scale.cpu()}
    return Trained(logits, tuple(losses), weights)


def _failed(losses: Sequence[float], classes: int, failure: str) -> Trained:
    return Trained(np.zeros((0, classes), np.float32), tuple(losses), {}, failure)


def _unshared_state(network: Network) -> dict[str, Tensor]:
    """Return parameters and buffers, each shared parameter once."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _class_weights(labels: Tensor, classes: int) -> Tensor:
    """Return the weight of each class: the inverse of its share, 1 on average over samples; 0 where it is absent."""
    counts = torch.bincount(labels, minlength=classes).float()
    return torch.where(counts > 0, len(labels) / (classes * counts.clamp_min(1)), 0.0)
