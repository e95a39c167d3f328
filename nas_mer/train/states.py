"""Named tensors of stacked networks: taken apart to be kept, and stacked again to go on, in any other group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Named = Mapping[str, Tensor]


def prefixed(prefix: str, tensors: Named) -> dict[str, Tensor]:
    """Return tensors under names that begin with `prefix.`."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def part(tensors: Named, prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix.`, without it."""
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def unstacked(tensors: Named, count: int) -> list[dict[str, Tensor]]:
    """Return copies, on the CPU, of what each of `count` networks has of tensors `(count, ...)`."""
    moved = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    return [
        {name: tensor[row].clone(memory_format=torch.contiguous_format) for name, tensor in moved.items()}
        for row in range(count)
    ]


def restacked(states: Sequence[Named]) -> dict[str, Tensor]:
    """Return the tensors that `unstacked` took apart, those of one shape."""
    shared = [name for name in states[0] if len({state[name].shape for state in states}) == 1]
    return {name: torch.stack([state[name] for state in states]) for name in shared}
