"""What exported Python files hold besides the network itself: each gets the source of those parts that it uses.

They need nothing but torch and compute what the package's own modules do, without their shortcuts. They are laid out so
that any formatter leaves them as they are: no line is longer than 88 characters, and none could be joined to the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WideConv2d(nn.Conv2d):
    """A convolution whose output channels are split evenly between dilations."""

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int,
        stride: int,
        dilations: tuple[int, ...],
        bias: bool = True,
    ) -> None:
        super().__init__(channels_in, channels, kernel, stride, bias=bias)
        self.dilations = dilations

    def forward(self, x: Tensor) -> Tensor:
        """Return `(N, channels, ceil(H / stride), ceil(W / stride))`."""
        count, reach = len(self.dilations), self.kernel_size[0] // 2
        weights = self.weight.tensor_split(count)
        biases = [None] * count if self.bias is None else self.bias.tensor_split(count)
        parts = []
        for weight, bias, dilation in zip(weights, biases, self.dilations, strict=True):
            padding = dilation * reach
            parts.append(F.conv2d(x, weight, bias, self.stride, padding, dilation))
        return torch.cat(parts, dim=1)


class FactorizedReduce(nn.Module):
    """Halves the size: two 1x1 convolutions of stride 2, one pixel apart, side by side."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.even = nn.Conv2d(channels_in, half, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(channels_in, channels - half, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(N, channels, ceil(H / 2), ceil(W / 2))`."""
        x = x.relu()
        shifted = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        reduced: Tensor = self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))
        return reduced


def vectors_of(x: Tensor, dimensions: int) -> Tensor:
    """Return the capsules of maps `(N, C, H, W)`: `(N, C / dimensions, H, W, dimensions)`."""
    vectors: Tensor = x.unflatten(1, (-1, dimensions))
    return vectors.movedim(2, -1)


def squashed(vectors: Tensor) -> Tensor:
    """Bring the length n of vectors along the last axis to n^2 / (1 + n^2)."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors * (length / (1 + length**2))


class Squash(nn.Module):
    """Brings the lengths of capsules into 0..1 and keeps their directions."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`."""
        return squashed(vectors_of(x, self.dimensions)).movedim(-1, 2).flatten(1, 2)


class Capsules(nn.Module):
    """Capsules by dynamic routing between a map's (Sabour et al., 2017, Procedure 1)."""

    def __init__(
        self,
        count: int,
        voters: int,
        dimensions: int,
        dimensions_in: int,
        routings: int,
    ) -> None:
        super().__init__()
        self.dimensions_in, self.routings = dimensions_in, routings
        weight = 0.01 * torch.randn(count, voters, dimensions, dimensions_in)
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(N, count * dimensions, 1, 1)`."""
        voters = vectors_of(x, self.dimensions_in).flatten(1, -2)
        votes = torch.einsum("cvdi,nvi->ncvd", self.weight, voters)
        fixed = votes.detach()
        agreement = torch.zeros_like(fixed[..., 0])  # N x count x voters
        for _ in range(self.routings - 1):
            found = squashed(torch.einsum("ncv,ncvd->ncd", agreement.softmax(1), fixed))
            agreement = agreement + torch.einsum("ncvd,ncd->ncv", fixed, found)
        found = squashed(torch.einsum("ncv,ncvd->ncd", agreement.softmax(1), votes))
        return found.flatten(1)[..., None, None]


class Lengths(nn.Module):
    """The lengths of capsules."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions

    def forward(self, x: Tensor) -> Tensor:
        """Return `(N, C / dimensions, H, W)`."""
        vectors = vectors_of(x, self.dimensions)
        lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
        return lengths


class Ensemble(nn.Module):
    """Networks of one form: the softmax of its output is the mean of theirs."""

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, maps: Tensor) -> Tensor:
        """Return log-probabilities `(N, classes)`."""
        each = torch.stack([network(maps).log_softmax(1) for network in self.networks])
        return each.logsumexp(0) - math.log(len(self.networks))


def standardised(maps: Tensor) -> Tensor:
    """Bring each channel of each map to mean 0 and deviation 1: `(N, C, H, W)`."""
    deviation, mean = torch.std_mean(maps, dim=(2, 3), keepdim=True)
    return (maps - mean) / deviation.clamp_min(1e-12)


def stretched(maps: Tensor) -> Tensor:
    """Stretch each channel of each map to 0..1: `(N, C, H, W)`."""
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-12)


def attended(state: Tensor, source: Tensor, weight: Tensor, pool: int) -> Tensor:
    """Multiply a state `(N, C, H, W)` by the attention map of a source state.

    The source, averaged over a `pool x pool` grid, is weighed by the classifier's
    weights `(classes, channels * pool * pool)`, which gives one map a class. Each is
    stretched to 0..1 per sample; their mean, resized to the state, is the attention
    map (Xia et al., 2020, Eq. 7). Where the source has other channels than the
    classifier's features, the weights are averaged over channels. A class map that is
    constant attends everywhere alike.
    """
    grid = F.adaptive_avg_pool2d(source, pool)
    weight = weight.unflatten(1, (-1, pool, pool))
    if grid.shape[1] != weight.shape[1]:
        weight = weight.mean(1, keepdim=True)
    maps = (grid.unsqueeze(1) * weight).sum(2)  # N x classes x pool x pool
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    rounding = 100 * torch.finfo(maps.dtype).eps * torch.maximum(high.abs(), low.abs())
    constant = high - low <= rounding
    maps = (maps - low) / (high - low).masked_fill(constant, 1.0)
    attention = maps.masked_fill(constant, 1.0).mean(1, keepdim=True)
    size = (state.shape[2], state.shape[3])
    return state * F.interpolate(attention, size, mode="bilinear", align_corners=False)


def share_weights(module: nn.Module, owner: nn.Module) -> None:
    """Let a module use the parameters of another, which are of the same shapes."""
    names = [name for name, _ in module.named_parameters()]
    for name, parameter in zip(names, owner.parameters(), strict=True):
        place, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(place), attribute, parameter)
