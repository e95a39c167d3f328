"""Maps in memory, made ready for training: normalised, augmented, indexed in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas_mer.train.recipe import Augment, Normalise
from nas_mer.train.streams import stream


@dataclass(frozen=True)
class Maps:
    """A dataset's maps and labels in memory.

    Attributes:
        maps: `(N, C, H, W)` float32.
        labels: `(N,)` int64.
        classes: the number of classes.
        u_mirror: a horizontal flip turns u into `u_mirror - u`.
    """

    maps: Tensor
    labels: Tensor
    classes: int
    u_mirror: float


@dataclass(frozen=True)
class Normaliser:
    """How maps are brought to one scale, channel by channel.

    Attributes:
        kind: `standardise` by the training samples' mean and deviation; `instance`, each map by its own; `stretch` each
            map to 0..1; `none`.
        mean, scale: what `standardise` subtracts and divides by, broadcast over maps; `(C, 1, 1)` for one network.
    """

    kind: Normalise
    mean: Tensor | None = None
    scale: Tensor | None = None

    @classmethod
    def fit(cls, kind: Normalise, maps: Tensor) -> Normaliser:
        """Learn from training maps `(N, C, H, W)` what a kind has to learn."""
        if kind != "standardise":
            return cls(kind)
        deviation, mean = torch.std_mean(maps, dim=(0, 2, 3))
        return cls(kind, mean.view(-1, 1, 1), deviation.clamp_min(_SMALL).view(-1, 1, 1))

    @property
    def learned(self) -> dict[str, Tensor]:
        """What was learned of training samples, by name."""
        return {} if self.mean is None or self.scale is None else {"mean": self.mean, "scale": self.scale}

    def keep(self, which: Tensor) -> Normaliser:
        """Return that of some networks of a stack, by their places."""
        return Normaliser(self.kind, **{name: value[which] for name, value in self.learned.items()})

    def __call__(self, maps: Tensor) -> Tensor:
        """Normalise maps `(..., C, H, W)`."""
        match self.kind:
            case "standardise":
                return (maps - self.learned["mean"]) / self.learned["scale"]
            case "instance":
                deviation, mean = torch.std_mean(maps, dim=(-2, -1), keepdim=True)
                return (maps - mean) / deviation.clamp_min(_SMALL)
            case "stretch":
                low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
                return (maps - low) / (high - low).clamp_min(_SMALL)
            case "none":
                return maps


_SMALL = 1e-12
PLAIN = Augment()
"""Maps as they are."""


@dataclass(frozen=True)
class Inputs:
    """All maps of a dataset on a device, as batches are taken from them.

    Attributes:
        pool: `(P, H + 2 * reach, W + 2 * reach, C)`: the N maps, then their mirror images if there are flips; with
            their borders repeated as far as shifts reach. Normalised already where that needs no training samples.
        labels: `(N,)` int64.
        classes: the number of classes.
        normalise: how batches are normalised.
        augment: how batches are augmented.
    """

    pool: Tensor
    labels: Tensor
    classes: int
    normalise: Normalise
    augment: Augment = PLAIN

    @classmethod
    def of(cls, data: Maps, normalise: Normalise, augment: Augment = PLAIN) -> Inputs:
        """Prepare a dataset, on its device."""
        maps = data.maps
        if augment.flip:
            maps = torch.cat([maps, flipped(maps, data.u_mirror)])
        if normalise != "standardise":
            maps = Normaliser(normalise)(maps)
        if augment.shift:
            maps = F.pad(maps, (augment.shift,) * 4, mode="replicate")
        return cls(maps.permute(0, 2, 3, 1).contiguous(), data.labels, data.classes, normalise, augment)

    def to(self, device: torch.device) -> Inputs:
        """Return the same on another device."""
        return Inputs(self.pool.to(device), self.labels.to(device), self.classes, self.normalise, self.augment)

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.pool.device

    def batch(self, index: Tensor, shift: Tensor | None = None) -> Tensor:
        """Return maps `(..., C, H, W)`, their channels last in memory, as convolutions like it best.

        Args:
            index: `(...)` places in the pool.
            shift: `(2, ...)` rows and columns in `0..2 * reach` where the map's window begins; the middle without.
        """
        reach = self.augment.shift
        samples, rows, columns, channels = self.pool.shape
        strides = self.pool.stride()
        windows = self.pool.as_strided(  # every window of every map, without a copy
            (samples, 2 * reach + 1, 2 * reach + 1, rows - 2 * reach, (columns - 2 * reach) * channels),
            (strides[0], strides[1], strides[2], strides[1], 1),
        )
        row, column = (reach, reach) if shift is None else shift
        maps: Tensor = windows[index, row, column].unflatten(-1, (-1, channels))
        return maps.movedim(-1, -3)

    @property
    def channels(self) -> int:
        """The number of channels of a map."""
        return self.pool.shape[-1]

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of a map."""
        rows, columns = self.pool.shape[1:3]
        return rows - 2 * self.augment.shift, columns - 2 * self.augment.shift

    def changed(self, maps: Tensor, factor: Tensor, hole: Tensor) -> Tensor:
        """Return normalised maps `(..., C, H, W)` with the magnitudes and erased squares of a training step.

        Args:
            maps: a batch.
            factor: `(..., C)`; see `Plan`.
            hole: `(2, ...)`; see `Plan`.
        """
        if self.augment.magnitude:
            maps = maps * factor[..., None, None]
        if self.augment.erase:
            rows, columns = (
                _within(length, last, self.augment.erase) for length, last in zip(self.size, hole, strict=True)
            )
            maps = maps * ~(rows[..., None, :, None] & columns[..., None, None, :])
        return maps

    def fit(self, parts: list[np.ndarray]) -> Normaliser:
        """Return what normalises batches `(R, N, C, H, W)` of R networks, each by its own training samples."""
        if self.normalise != "standardise":
            return Normaliser("none")
        fitted = [Normaliser.fit("standardise", self.batch(torch.from_numpy(part).to(self.device))) for part in parts]
        mean, scale = (
            torch.stack([getattr(one, name) for one in fitted]).unsqueeze(1) for name in ("mean", "scale")
        )  # R x 1 x C x 1 x 1
        return Normaliser("standardise", mean, scale)


@dataclass(frozen=True)
class Plan:
    """What the steps of one epoch are made of, for one network.

    All is drawn from streams of the epoch's own, so that an epoch needs nothing of those before it but the weights.

    Attributes:
        index: `(steps, batch)` places in the pool of `Inputs`.
        shift: `(2, steps, batch)`; see `Inputs.batch`.
        factor: `(steps, batch, C)` float32, what each channel is multiplied by.
        hole: `(2, steps, batch)` row and column of the erased square's last corner, which may be past the border.
        keys: `(steps, dropouts)` int64; see `Stack.draw`.
    """

    index: Tensor
    shift: Tensor
    factor: Tensor
    hole: Tensor
    keys: Tensor


def steps_and_batch(count: int, batch_size: int) -> tuple[int, int]:
    """Return how many steps an epoch over `count` samples has, and how many samples a step.

    All batches of an epoch are full: what is left over, other samples each epoch, waits for the next. Fewer samples
    than a batch are one batch.
    """
    return max(1, count // batch_size), min(count, batch_size)


def plan(samples: np.ndarray, inputs: Inputs, batch_size: int, dropouts: int, about: tuple[str | int, ...]) -> Plan:
    """Draw an epoch.

    Args:
        samples: indices of the samples to train on.
        inputs: what they index; how they are augmented.
        batch_size: samples a step.
        dropouts: how many keys a step needs.
        about: what the draws depend on: seed, genotype, fold, epoch, ...
    """
    augment, shape = inputs.augment, steps_and_batch(len(samples), batch_size)
    steps, batch = shape
    order = torch.randperm(len(samples), generator=stream(*about, "order"))[: steps * batch]
    draws = stream(*about, "augment")
    flips = torch.rand(shape, generator=draws) < augment.flip
    shift = torch.randint(0, 2 * augment.shift + 1, (2, *shape), generator=draws)
    factor = torch.exp(augment.magnitude * (2 * torch.rand((*shape, inputs.channels), generator=draws) - 1))
    last = (torch.randint(0, side + max(augment.erase, 1) - 1, shape, generator=draws) for side in inputs.size)
    hole = torch.stack([*last])
    keys = torch.randint(2**62, (steps, dropouts), generator=stream(*about, "dropout"))
    index = torch.from_numpy(samples)[order].view(shape) + len(inputs.labels) * flips
    return Plan(index, shift, factor, hole, keys)


def joined(plans: Sequence[Plan], device: torch.device) -> Plan:
    """Return the plans of R networks as one, on a device, step by step.

    `index` is `(steps, R, batch)`, `shift` and `hole` `(steps, 2, R, batch)`, `factor` `(steps, R, batch, C)`, `keys`
    `(steps, dropouts, R)`.
    """
    index, factor = (torch.stack([getattr(one, name) for one in plans], dim=1) for name in ("index", "factor"))
    shift, hole = (
        torch.stack([getattr(one, name) for one in plans], dim=2).transpose(0, 1) for name in ("shift", "hole")
    )
    keys = torch.stack([one.keys for one in plans], dim=2)
    return Plan(*(part.to(device) for part in (index, shift, factor, hole, keys)))


def _within(length: int, last: Tensor, side: int) -> Tensor:
    """Return which of the places `0..length - 1` are among the `side` ones that end with `last`, `(..., length)`."""
    before = last.unsqueeze(-1) - torch.arange(length, device=last.device)
    return (before >= 0) & (before < side)


def flipped(maps: Tensor, u_mirror: float) -> Tensor:
    """Return horizontally flipped maps `(N, C, H, W)`, whose horizontal flow becomes `u_mirror - u`."""
    maps = maps.flip(-1)
    maps[:, 0] = u_mirror - maps[:, 0]
    return maps
