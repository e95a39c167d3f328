"""The parameter-free attention unit (paper Eq. 7)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def class_activation(source: Tensor, weight: Tensor, pool: int) -> Tensor:
    """Return how much each place of a state matters to the classes, by the classifier's own weights.

    The source is pooled to `K x K` and weighed by the classifier's weights, which gives one map a class; each is
    stretched to 0..1 per sample and their mean is the attention map (paper Eq. 7). Eq. 7 leaves the scale open; the
    stretch keeps it in 0..1. Where the source has other channels than the classifier's features, the weights are
    averaged over channels. A constant class map attends everywhere alike: it counts as ones.

    Args:
        source: `(N, C, H, W)`.
        weight: the classifier's weight, `(classes, M * K * K)`; gradients flow through it.
        pool: K.

    Returns:
        `(N, 1, K, K)` in 0..1.
    """
    classes = weight.shape[0]
    maps = weight.view(classes, -1, pool * pool)  # classes x M x K*K
    pooled = F.adaptive_avg_pool2d(source, pool).flatten(2)  # N x C x K*K
    if pooled.shape[1] != maps.shape[1]:
        maps = maps.mean(dim=1, keepdim=True).expand(-1, pooled.shape[1], -1)
    activation = (pooled.unsqueeze(1) * maps).sum(dim=2)  # N x classes x K*K
    low, high = activation.aminmax(dim=-1, keepdim=True)
    flat = high <= low
    stretched = (activation - low) / (high - low).masked_fill(flat, 1.0)
    return stretched.masked_fill(flat, 1.0).mean(dim=1).view(-1, 1, pool, pool)


def spread(attention: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize attention maps `(N, 1, K, K)` to `(N, 1, *size)` bilinearly."""
    return F.interpolate(attention, size, mode="bilinear", align_corners=False)
