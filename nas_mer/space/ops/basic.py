"""Convolutions, pooling, dense layers and what else most networks are made of."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nas_mer.space.ops.registry import NotNegative, Odd, Positive, Shape, op

# With so few input channels one convolution with a mostly empty kernel is quicker than one for each dilation.
_FEW = 4


class Conv2d(nn.Conv2d):
    """A convolution whose output channels are split between several dilations (paper Eq. 5).

    One weight of shape `(out, in / groups, k, k)` serves all of them, the first channels at the first dilation and
    so on, so a wide convolution has exactly the parameters of a standard one.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int,
        stride: int,
        dilations: tuple[int, ...],
        groups: int,
        bias: bool,
    ) -> None:
        super().__init__(channels_in, channels, kernel, stride, groups=groups, bias=bias)
        self.dilations = dilations
        self.parts = [len(part) for part in torch.arange(channels).tensor_split(len(dilations))]

    def forward(self, x: Tensor) -> Tensor:
        """Return `(N, out, ceil(H / stride), ceil(W / stride))`."""
        reach = self.kernel_size[0] // 2
        if len(self.dilations) == 1:
            dilation = self.dilations[0]
            return F.conv2d(x, self.weight, self.bias, self.stride, dilation * reach, dilation, self.groups)
        if self.in_channels <= _FEW:
            return F.conv2d(x, self._dense(reach), self.bias, self.stride, max(self.dilations) * reach)
        parts = zip(
            torch.split(self.weight, self.parts),
            [None] * len(self.parts) if self.bias is None else torch.split(self.bias, self.parts),
            self.dilations,
            strict=True,
        )
        return torch.cat([F.conv2d(x, w, b, self.stride, d * reach, d) for w, b, d in parts], dim=1)

    def _dense(self, reach: int) -> Tensor:
        """Return one kernel, as large as the largest dilation's, that holds each channel's kernel at its dilation."""
        far = max(self.dilations) * reach
        kernels = []
        for weight, dilation in zip(torch.split(self.weight, self.parts), self.dilations, strict=True):
            kernel = weight.new_zeros(*weight.shape[:2], 2 * far + 1, 2 * far + 1)
            taps = slice(far - dilation * reach, far + dilation * reach + 1, dilation)
            kernel[:, :, taps, taps] = weight
            kernels.append(kernel)
        return torch.cat(kernels)

    def extra_repr(self) -> str:
        text = str(nn.Conv2d.extra_repr(self))
        return text if self.dilations == (1,) else f"{text}, dilations={self.dilations}"


@op("conv")
def conv(
    shape: Shape,
    *,
    channels: Positive | None = None,
    kernel: Odd = 3,
    stride: Positive = 1,
    dilations: Annotated[list[Positive], Field(min_length=1)] = [1],  # noqa: B006 - never changed; part of the schema
    groups: Positive = 1,
    bias: bool = True,
    padding: NotNegative | None = None,
) -> nn.Module:
    """A convolution with "same" padding, unless another is given; several dilations share its output channels evenly.

    `channels` defaults to those of the input.
    """
    channels = shape.channels if channels is None else channels
    if channels < len(dilations):
        raise ValueError(f"{channels} channels cannot be split between {len(dilations)} dilations")
    if groups > 1 and len(dilations) > 1:
        raise ValueError("groups and several dilations do not go together")
    if padding is not None:
        if len(dilations) > 1:
            raise ValueError("each of several dilations has a padding of its own; leave 'padding' out")
        return nn.Conv2d(shape.channels, channels, kernel, stride, padding, dilations[0], groups, bias)
    return Conv2d(shape.channels, channels, kernel, stride, tuple(dilations), groups, bias)


@op("batch_norm")
def batch_norm(shape: Shape, *, affine: bool = True) -> nn.Module:
    """Batch normalisation over samples and places, momentum 0.1."""
    return nn.BatchNorm2d(shape.channels, affine=affine)


@op("relu")
def relu(shape: Shape) -> nn.Module:
    """The rectified linear unit."""
    return nn.ReLU()


@op("tanh")
def tanh(shape: Shape) -> nn.Module:
    """The hyperbolic tangent."""
    return nn.Tanh()


@op("max_pool")
def max_pool(
    shape: Shape, *, kernel: Positive = 2, stride: Positive | None = None, padding: NotNegative = 0
) -> nn.Module:
    """Maximum pooling; the stride defaults to the kernel."""
    return nn.MaxPool2d(kernel, stride, padding)


@op("avg_pool")
def avg_pool(
    shape: Shape, *, kernel: Positive = 2, stride: Positive | None = None, padding: NotNegative = 0
) -> nn.Module:
    """Average pooling that does not count the padding; the stride defaults to the kernel."""
    return nn.AvgPool2d(kernel, stride, padding, count_include_pad=False)


@op("adaptive_avg_pool")
def adaptive_avg_pool(shape: Shape, *, size: Positive) -> nn.Module:
    """Average pooling to `size x size`, as the head does it; a smaller map is repeated."""
    return nn.AdaptiveAvgPool2d(size)


@op("linear")
def linear(shape: Shape, *, units: Positive) -> nn.Module:
    """A dense layer on all of the map: `units x 1 x 1`."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(shape.channels * shape.height * shape.width, units), nn.Unflatten(1, (-1, 1, 1))
    )


class Select(nn.Module):
    """Some of the channels, in a given order."""

    def __init__(self, indices: tuple[int, ...]) -> None:
        super().__init__()
        self.indices = indices

    def forward(self, x: Tensor) -> Tensor:
        """Return `(N, len(indices), H, W)`."""
        return x[:, list(self.indices)]

    def extra_repr(self) -> str:
        return f"indices={self.indices}"


@op("select")
def select(shape: Shape, *, indices: Annotated[list[NotNegative], Field(min_length=1)]) -> nn.Module:
    """Some of the channels, by their numbers from 0; of a flow map 0 is u, 1 is v, 2 the strain."""
    for index in indices:
        if index >= shape.channels:
            raise ValueError(f"its channels are 0 to {shape.channels - 1}, there is no {index}")
    return Select(tuple(indices))


class Half(nn.Module):
    """The upper or the lower rows; the middle one of an odd number is the lower half's."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        """Return `(N, C, H // 2, W)` or `(N, C, H - H // 2, W)`."""
        middle = x.shape[-2] // 2
        return x[..., :middle, :] if self.part == "upper" else x[..., middle:, :]

    def extra_repr(self) -> str:
        return f"part={self.part}"


@op("half")
def half(shape: Shape, *, part: Literal["upper", "lower"]) -> nn.Module:
    """The upper or the lower half of the map's rows; the middle one of an odd number is the lower half's."""
    if shape.height < 2:
        raise ValueError("a map of one row has no halves")
    return Half(part)
