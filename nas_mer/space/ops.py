"""The op registry: what a module in a search space can be made of.

An op is a function from the shape of its input map, `(channels, height, width)`, and named arguments to a
`torch.nn.Module` that takes `(N, C, H, W)` float tensors. Its signature *is* its schema: names, types and defaults
of the keyword arguments are what a YAML space may write. A module of the user's adds ops of its own:

    from nas_mer.space import Shape, op

    @op("blur")
    def blur(shape: Shape, *, kernel: int = 3) -> nn.Module:
        \"\"\"A fixed box filter.\"\"\"
        return nn.AvgPool2d(kernel, stride=1, padding=kernel // 2)

The command line reads such a module with `--ops FILE.py`, Python with `load_ops`; worker processes then know it too.

An argument annotated `Like` takes the name of a state and is handed that state's shape. Arguments are numbers, text,
true or false, and lists of these; bounds go into the annotation (`Annotated[float, Field(ge=0)]`).
"""

from __future__ import annotations

import importlib.util
import inspect
import struct
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from nas_mer.errors import UserError
from nas_mer.files import describe, did_you_mean


class Shape(NamedTuple):
    """Channels, height and width of a feature map."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


class Like(Shape):
    """The shape of another state, which the space names: `like: pre1`."""

    __slots__ = ()


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("must be odd")
    return kernel


Positive = Annotated[int, Field(ge=1)]
Odd = Annotated[int, Field(ge=1, json_schema_extra={"not": {"multipleOf": 2}}), AfterValidator(_odd)]


@dataclass(frozen=True)
class OpType:
    """A registered op: its name, its builder, and the types and defaults of its arguments.

    An argument without a default must be given.
    """

    name: str
    build: Callable[..., nn.Module]
    types: Mapping[str, Any]
    defaults: Mapping[str, Any]

    @property
    def summary(self) -> str:
        """The first line of the builder's docstring."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0]

    @property
    def references(self) -> frozenset[str]:
        """The arguments that name a state."""
        return frozenset(name for name, kind in self.types.items() if kind is Like or Like in typing.get_args(kind))

    @property
    def required(self) -> tuple[str, ...]:
        """The arguments without a default."""
        return tuple(name for name in self.types if name not in self.defaults)

    def argument(self, name: str) -> str:
        """An argument as Python writes it: `kernel: int = 3`."""
        kind = typing.get_type_hints(self.build)[name]
        parts = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
        text = " | ".join(inspect.formatannotation(part, Like.__module__) for part in parts).replace("NoneType", "None")
        return f"{name}: {text} = {self.defaults[name]!r}" if name in self.defaults else f"{name}: {text}"

    def check(self, args: Mapping[str, Any]) -> None:
        """Check argument names and types.

        Raises:
            ValueError: `(argument or None, message)` of the first one that is wrong.
        """
        for name, value in args.items():
            if name not in self.types:
                known = did_you_mean(name, [*self.types, *RESERVED])
                raise ValueError(name, f"op '{self.name}' has no argument '{name}'{known}")
            kind = str if name in self.references else self.types[name]
            try:
                TypeAdapter(kind, config=ConfigDict(strict=True)).validate_python(value)
            except ValidationError as error:
                problem = error.errors()[0]
                reason = problem["msg"].removeprefix("Input ").removeprefix("Value error, ")
                raise ValueError(name, f"op '{self.name}': {reason}, found {describe(problem['input'])}") from None
        for name in self.required:
            if name not in args:
                raise ValueError(None, f"op '{self.name}' needs the argument '{name}'")


OPS: dict[str, OpType] = {}
OPS_FILES: list[Path] = []  # what `load_ops` has run
RESERVED = ("op", "share")  # keys of every op in a space

Builder = typing.TypeVar("Builder", bound=Callable[..., nn.Module])


def op(name: str) -> Callable[[Builder], Builder]:
    """Register a builder `(shape, *, ...) -> nn.Module` as the op `name`.

    Raises:
        ValueError: the name is taken, or an argument lacks a type, stands before the `*` or is called `op` or `share`.
    """

    def register(build: Builder) -> Builder:
        if name in OPS:
            raise ValueError(f"op '{name}' is registered already, by {OPS[name].build.__module__}")
        hints = typing.get_type_hints(build, include_extras=True)
        _, *keywords = inspect.signature(build).parameters.values()
        for argument in keywords:
            if argument.kind is not argument.KEYWORD_ONLY:
                raise ValueError(f"op '{name}': the argument '{argument.name}' must stand after a `*`")
            if argument.name not in hints:
                raise ValueError(f"op '{name}': the argument '{argument.name}' needs a type")
            if argument.name in RESERVED:
                raise ValueError(f"op '{name}': an argument cannot be called '{argument.name}'")
        OPS[name] = OpType(
            name,
            build,
            types={p.name: hints[p.name] for p in keywords},
            defaults={p.name: p.default for p in keywords if p.default is not p.empty},
        )
        return build

    return register


def load_ops(path: Path) -> None:
    """Run a Python file that registers ops, here and in worker processes; each file is run once.

    Raises:
        UserError: it is not a Python file, or it fails.
    """
    path = path.resolve()
    if path in OPS_FILES:
        return
    name = f"nas_mer_ops_{len(OPS_FILES)}_{path.stem}"  # no other module's name
    spec = importlib.util.spec_from_file_location(name, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise UserError(f"--ops: {path}: {'not a Python file' if path.is_file() else 'no such file'}")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"--ops: {path}: {type(error).__name__}: {error}") from error
    OPS_FILES.append(path)


def same_ops() -> Callable[[], None]:
    """Return what gives another process the ops of this one."""
    return partial(_load_all, tuple(OPS_FILES))


def _load_all(paths: Sequence[Path]) -> None:
    for path in paths:
        load_ops(path)


# --- primitives ------------------------------------------------------------------------------------------------------


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
        text = str(super().extra_repr())  # type: ignore[no-untyped-call]
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
) -> nn.Module:
    """A convolution with "same" padding; several dilations share its output channels evenly.

    `channels` defaults to those of the input.
    """
    channels = shape.channels if channels is None else channels
    if channels < len(dilations):
        raise ValueError(f"{channels} channels cannot be split between {len(dilations)} dilations")
    if groups > 1 and len(dilations) > 1:
        raise ValueError("groups and several dilations do not go together")
    return Conv2d(shape.channels, channels, kernel, stride, tuple(dilations), groups, bias)


@op("batch_norm")
def batch_norm(shape: Shape, *, affine: bool = True) -> nn.Module:
    """Batch normalisation over samples and places, momentum 0.1."""
    return nn.BatchNorm2d(shape.channels, affine=affine)


@op("relu")
def relu(shape: Shape) -> nn.Module:
    """The rectified linear unit."""
    return nn.ReLU()


class Dropout(nn.Module):
    """Zeroes elements with probability `p`, `0 <= p < 1`, in training and scales the others by `1 / (1 - p)`.

    Which ones is a function of a 64-bit key and the tensor's shape alone (a counter-based generator: SplitMix64, Steele
    et al., 2014), so that the same key zeroes the same elements on every device, in any memory layout, and in one
    network or in many stacked ones. A module without a `key` draws one from torch's generator for each call. `p`
    is held to 2**-16.
    """

    key: Tensor | None

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        # As many random bits an element as p needs: one for 0.5.
        self.bits = next((bits for bits in (1, 2, 4, 8) if (p * 2**bits).is_integer()), 16)
        self.register_buffer("key", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape and memory format of `x`."""
        if not self.training or self.p == 0:
            return x
        key = torch.randint(2**62, (), device=x.device) if self.key is None else self.key
        if x.dim() != 4:
            return x * self._kept(key, x.shape, x)
        count, channels, height, width = x.shape
        # Numbered with channels last, whatever the layout of x.
        return x * self._kept(key, torch.Size((count, height, width, channels)), x).permute(0, 3, 1, 2)

    def _kept(self, key: Tensor, shape: torch.Size, like: Tensor) -> Tensor:
        """Return 0 or `1 / (1 - p)` for each element."""
        count, lanes = shape.numel(), 32 // self.bits
        words = _split_mix(key, -(-count // (2 * lanes)), like.device)
        shifts = torch.arange(0, 32, self.bits, dtype=torch.int32, device=like.device).unsqueeze(1)
        # Each lane of a word, brought to its top and down again with its sign: uniform in [-2^(bits-1), 2^(bits-1)).
        draws = (words << shifts).bitwise_right_shift_(32 - self.bits)
        if self.bits > 1:
            limit = round((1 - self.p) * 2**self.bits) - 2 ** (self.bits - 1)
            draws = draws.sub_(limit).bitwise_right_shift_(31)
        # All ones where the draw is below the limit, else zero; the bits of a float in it make that float, or 0.
        (scale,) = struct.unpack("<i", struct.pack("<f", 1 / (1 - self.p)))
        return draws.bitwise_and_(scale).view(torch.float32).flatten()[:count].view(shape).to(like.dtype)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def _split_mix(key: Tensor, count: int, device: torch.device) -> Tensor:
    """Return `2 * count` random int32 of a 64-bit key: SplitMix64's output function of `key + i * golden ratio`."""
    words = torch.arange(count, device=device) * -0x61C8864680B583EB + key
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        words = (words ^ (words >> shift & (1 << 64 - shift) - 1)) * factor
    return (words ^ (words >> 31 & (1 << 33) - 1)).view(torch.int32)


@op("dropout")
def dropout(shape: Shape, *, p: Annotated[float, Field(ge=0, lt=1)] = 0.5) -> nn.Module:
    """Dropout of single elements."""
    return Dropout(p)


@op("max_pool")
def max_pool(
    shape: Shape, *, kernel: Positive = 2, stride: Positive | None = None, padding: Annotated[int, Field(ge=0)] = 0
) -> nn.Module:
    """Maximum pooling; the stride defaults to the kernel."""
    return nn.MaxPool2d(kernel, stride, padding)


@op("avg_pool")
def avg_pool(
    shape: Shape, *, kernel: Positive = 2, stride: Positive | None = None, padding: Annotated[int, Field(ge=0)] = 0
) -> nn.Module:
    """Average pooling that does not count the padding; the stride defaults to the kernel."""
    return nn.AvgPool2d(kernel, stride, padding, count_include_pad=False)


# --- the ops of cell spaces (Liu et al., DARTS, ICLR 2019; Dong & Yang, NAS-Bench-201, ICLR 2020) --------------------


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
