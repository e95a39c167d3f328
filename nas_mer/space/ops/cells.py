"""The ops of cell spaces (Liu et al., DARTS, ICLR 2019; Dong & Yang, NAS-Bench-201, ICLR 2020)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_mer.space.ops.registry import Like, Odd, Positive, Shape, op


class Zero(nn.Module):
    """Zeros of the input's shape, every `stride`-th place."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return `(N, C, ceil(H / stride), ceil(W / stride))` of zeros."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])

    def extra_repr(self) -> str:
        return f"stride={self.stride}"


@op("none")
def none(shape: Shape, *, stride: Positive = 1) -> nn.Module:
    """Zeros: an edge that is not there."""
    return Zero(stride)


class FactorizedReduce(nn.Module):
    """Halves the size: two 1x1 convolutions of stride 2, one pixel apart, concatenated and normalised."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.even = nn.Conv2d(channels_in, channels // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(channels_in, channels - channels // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(N, out, ceil(H / 2), ceil(W / 2))`."""
        x = self.relu(x)
        shifted = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        reduced: Tensor = self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))
        return reduced


@op("skip")
def skip(shape: Shape, *, stride: Literal[1, 2] = 1) -> nn.Module:
    """The identity; with stride 2 a factorised reduction."""
    return nn.Identity() if stride == 1 else FactorizedReduce(shape.channels, shape.channels)


def _relu_conv_norm(channels_in: int, channels: int, kernel: int, stride: int, dilation: int) -> list[nn.Module]:
    """Return ReLU, a depthwise and a pointwise convolution, and batch normalisation."""
    padding = dilation * (kernel // 2)
    depthwise = nn.Conv2d(channels_in, channels_in, kernel, stride, padding, dilation, groups=channels_in, bias=False)
    return [nn.ReLU(), depthwise, nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels)]


@op("sep_conv")
def sep_conv(shape: Shape, *, kernel: Odd = 3, stride: Positive = 1) -> nn.Module:
    """Two depthwise-separable convolutions, each ReLU, depthwise, pointwise, batch normalisation."""
    channels = shape.channels
    return nn.Sequential(
        *_relu_conv_norm(channels, channels, kernel, stride, 1), *_relu_conv_norm(channels, channels, kernel, 1, 1)
    )


@op("dil_conv")
def dil_conv(shape: Shape, *, kernel: Odd = 3, stride: Positive = 1, dilation: Positive = 2) -> nn.Module:
    """A dilated depthwise-separable convolution: ReLU, depthwise, pointwise, batch normalisation."""
    return nn.Sequential(*_relu_conv_norm(shape.channels, shape.channels, kernel, stride, dilation))


@op("project")
def project(shape: Shape, *, channels: Positive, like: Like | None = None) -> nn.Module:
    """ReLU, 1x1 convolution, batch normalisation; a factorised reduction where state `like` is half as large."""
    if like is None or (shape.height, shape.width) == (like.height, like.width):
        return nn.Sequential(nn.ReLU(), nn.Conv2d(shape.channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
    if (-(-shape.height // 2), -(-shape.width // 2)) == (like.height, like.width):
        return FactorizedReduce(shape.channels, channels)
    raise ValueError(f"a map of {shape} is neither as large as {like} nor twice as large")
