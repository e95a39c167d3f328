"""Maps in memory, made ready for training: normalised, augmented, indexed in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Normaliser:
    """A channel-wise affine map learned on training samples, or a stretch of each map by itself.

    Attributes:
        mean: `(3, 1, 1)`; None stretches each channel of each map to 0..1.
        scale: `(3, 1, 1)`, what the difference to the mean is divided by.
    """

    mean: Tensor | None
    scale: Tensor | None

    @classmethod
    def fit(cls, kind: str, maps: Tensor) -> Normaliser:
        """Learn `standardise`, `stretch` or `none` from training maps `(N, 3, H, W)`."""
        match kind:
            case "standardise":
                deviation, mean = torch.std_mean(maps, dim=(0, 2, 3))
                return cls(mean.view(-1, 1, 1), deviation.clamp_min(1e-12).view(-1, 1, 1))
            case "stretch":
                return cls(None, None)
            case _:
                return cls(maps.new_zeros(maps.shape[1], 1, 1), maps.new_ones(maps.shape[1], 1, 1))

    def __call__(self, maps: Tensor) -> Tensor:
        """Normalise maps `(N, 3, H, W)`; the result has its channels last in memory, as convolutions like it best."""
        if self.mean is None or self.scale is None:
            low, high = maps.flatten(2).aminmax(dim=2)
            out = (maps - low[..., None, None]) / (high - low).clamp_min(1e-12)[..., None, None]
        else:
            out = (maps - self.mean) / self.scale
        return out.contiguous(memory_format=torch.channels_last)

    def mirrored_u(self, u_mirror: float) -> float:
        """Return c such that `c - u` is the horizontal flow of the flipped map, after normalisation."""
        if self.mean is None or self.scale is None:
            return 1.0
        return float((u_mirror - 2 * self.mean[0]) / self.scale[0])


def shuffled(count: int, batch_size: int, order: torch.Generator) -> Iterator[Tensor]:
    """Iterate over the batches of one epoch: indices `0..count-1` in random order."""
    return iter(torch.randperm(count, generator=order).split(batch_size))


def flipped(maps: Tensor, mirrored_u: float) -> Tensor:
    """Return horizontally flipped maps `(N, 3, H, W)`, whose horizontal flow becomes `mirrored_u - u`."""
    maps = maps.flip(-1)
    maps[:, 0] = mirrored_u - maps[:, 0]
    return maps


def shifted(maps: Tensor, reach: int, draws: torch.Generator) -> Tensor:
    """Return maps `(N, 3, H, W)` moved by up to `reach` pixels along each axis, the border repeated."""
    count, _, height, width = maps.shape
    start = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=draws)
    rows, columns = (begin + torch.arange(side) for begin, side in zip(start, (height, width), strict=True))
    padded = F.pad(maps, (reach,) * 4, mode="replicate").permute(0, 2, 3, 1)  # N x H+2r x W+2r x 3
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
