"""Dropout whose choice is a function of a key."""

from __future__ import annotations

import struct
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from nas_mer.space.ops.registry import Shape, op


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
