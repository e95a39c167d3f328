"""The parameter-free attention unit (paper Eq. 7), and pooling and resizing as matrix products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_Matrix = Callable[[int, int, int, torch.device, torch.dtype], Tensor]


def class_activation(source: Tensor, weight: Tensor, pool: int) -> Tensor:
    """Return how much each place of a state matters to the classes, by the classifier's own weights.

    The source's class maps (see `class_maps`) are each stretched to 0..1 per sample, and their mean is the attention
    map (paper Eq. 7). Eq. 7 leaves the scale open; the stretch keeps it in 0..1. A class map that is constant (up to
    rounding) attends everywhere alike: it counts as ones.

    Args:
        source: `(N, C, H, W)`.
        weight: the classifier's weight, `(classes, M * K * K)`; gradients flow through it.
        pool: K.

    Returns:
        `(N, K * K)` in 0..1.
    """
    activation = class_maps(source, weight, pool)
    low, high = activation.amin(dim=-1, keepdim=True), activation.amax(dim=-1, keepdim=True)
    rounding = 100 * torch.finfo(activation.dtype).eps * torch.maximum(high.abs(), low.abs())
    flat = high - low <= rounding
    stretched: Tensor = (activation - low) / (high - low).masked_fill(flat, 1.0)
    return stretched.masked_fill(flat, 1.0).mean(dim=1)


def class_maps(source: Tensor, weight: Tensor, pool: int) -> Tensor:
    """Return a state pooled to `K x K` and weighed by the classifier's weights, which gives one map a class.

    Where the state has other channels than the classifier's features, the weights are averaged over channels.

    Args:
        source: `(N, C, H, W)`.
        weight: the classifier's weight, `(classes, M * K * K)`; gradients flow through it.
        pool: K.

    Returns:
        `(N, classes, K * K)`. Of the state that is classified, a class's map adds up to its logit less its bias.
    """
    maps = weight.unflatten(1, (-1, pool * pool))  # classes x M x K*K
    pooled = pooled_to(source, pool)  # N x C x K*K
    if pooled.shape[1] != maps.shape[1]:
        maps = maps.mean(dim=1, keepdim=True).expand(-1, pooled.shape[1], -1)
    activation: Tensor = (pooled.unsqueeze(1) * maps).sum(dim=2)
    return activation


def pooled_to(maps: Tensor, pool: int) -> Tensor:
    """Return maps `(N, C, H, W)` averaged over a `K x K` grid (adaptive average pooling), as `(N, C, K * K)`.

    A matrix product, because torch's own adaptive pooling gives its gradient back in another memory layout, which costs
    more than the pooling.
    """
    *_, height, width = maps.shape
    places = maps.permute(0, 2, 3, 1).flatten(1, 2)  # N x H*W x C
    return torch.matmul(_pooling(height, width, pool, maps.device, maps.dtype), places).transpose(1, 2)


def spread(attention: Tensor, pool: int, size: tuple[int, int]) -> Tensor:
    """Return attention maps `(N, K * K)` resized bilinearly to `(N, 1, *size)`."""
    return torch.matmul(attention, _resizing(pool, *size, attention.device, attention.dtype)).view(-1, 1, *size)


def _kept(make: _Matrix) -> _Matrix:
    """Keep what a function makes for later calls, but for what it makes while torch traces, which holds no numbers."""
    kept: dict[tuple[Any, ...], Tensor] = {}

    def get(*args: Any) -> Tensor:
        if args in kept:
            return kept[args]
        made = make(*args)
        if not torch.compiler.is_compiling():
            kept[args] = made
        return made

    return get


@_kept
def _pooling(height: int, width: int, pool: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the `(K * K, H * W)` matrix of adaptive average pooling."""
    with torch.inference_mode(False), torch.no_grad():
        rows, columns = (F.adaptive_avg_pool1d(torch.eye(side)[None], pool)[0].T for side in (height, width))
        return torch.kron(rows, columns).to(device, dtype)


@_kept
def _resizing(pool: int, height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the `(K * K, H * W)` matrix of bilinear resizing from `K x K`."""
    with torch.inference_mode(False), torch.no_grad():
        places = torch.eye(pool)[None]
        rows, columns = (F.interpolate(places, side, mode="linear", align_corners=False)[0] for side in (height, width))
        return torch.kron(rows, columns).to(device, dtype)
