"""The median of 5x5 pixels, by minima and maxima of whole images.

A window's columns, and then its rows of sorted columns, are merged two and two by Batcher's odd-even merge (1968). Two
neighbouring columns are merged once for all windows that hold them, and nothing is calculated that the median does not
need: 57 minima and 57 maxima are left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

_CACHED = 2**14  # Values that a processor treats at a time, so that its cache holds what is calculated of them.


def median(images: Tensor) -> Tensor:
    """Return images `(N, C, H, W)` with each value the median of the 5x5 around it; borders are repeated."""
    height = images.shape[-2]
    rows = max(1, _CACHED // images[..., 0, :].numel()) if images.device.type == "cpu" else height
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    strips = [padded[..., top : top + rows + 4, :] for top in range(0, height, rows)]
    return torch.cat([_median(strip) for strip in strips], -2)


def _median(padded: Tensor) -> Tensor:
    values: dict[_Value, Tensor] = {}
    for value, forgotten in _plan():
        operands = [values[operand] for operand in value.operands]
        values[value] = value.of(*operands) if operands else padded
        for operand in forgotten:
            del values[operand]
    return values[value]


@dataclass(frozen=True, eq=False)
class _Value:
    """What is calculated of other values, or, of none, the image."""

    operands: tuple[_Value, ...] = ()
    of: Callable[..., Tensor] = torch.clone


_Sorted = list[_Value]


@cache
def _plan() -> list[tuple[_Value, list[_Value]]]:
    """Return the values of which the last is the median, and with each those that nothing after it needs."""
    order: list[_Value] = []

    def visit(value: _Value) -> None:
        if value not in order:
            for operand in value.operands:
                visit(operand)
            order.append(value)

    visit(_window(_window([_Value()], -2), -1)[12])
    last = {operand: value for value in order for operand in value.operands}
    return [(value, [operand for operand in order if last.get(operand) is value]) for value in order]


def _window(values: _Sorted, dim: int) -> _Sorted:
    """Return all values of five neighbours along `dim`, sorted, given the sorted values of each."""
    pairs = _merged(_part(values, dim, 0, 1), _part(values, dim, 1, 1))
    three = _merged(_part(pairs, dim, 2, 3), _part(values, dim, 4, 4))
    return _merged(_part(pairs, dim, 0, 3), three)


def _part(values: _Sorted, dim: int, start: int, less: int) -> _Sorted:
    """Return images without some rows or columns: `start` of them at the beginning, `less` in all."""

    def part(image: Tensor) -> Tensor:
        return image.narrow(dim, start, image.shape[dim] - less)

    return [_Value((value,), part) for value in values]


def _merged(one: _Sorted, other: _Sorted) -> _Sorted:
    """Merge two sorted lists into one."""
    if not one or not other:
        return one + other
    if len(one) == len(other) == 1:
        return _exchanged(one[0], other[0])
    first, *even = _merged(one[::2], other[::2])
    odd = _merged(one[1::2], other[1::2])
    both = [value for pair in zip(odd, even, strict=False) for value in _exchanged(*pair)]
    return [first, *both, *odd[len(even) :], *even[len(odd) :]]


def _exchanged(one: _Value, other: _Value) -> _Sorted:
    return [_Value((one, other), torch.minimum), _Value((one, other), torch.maximum)]
