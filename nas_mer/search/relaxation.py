"""How architecture weights become the weights of a mixture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Relaxation:
    """A way from a decision's alphas `(..., options)` to its mixture.

    Attributes:
        start: the value around which alphas start.
        mixture: alphas and uniform noise in (0, 1) of their shape to the options' weights in the supernet.
        weights: alphas to the options' weights for ranking: at least 0, summing to 1.
        least: the least value that an alpha may take; a start or a step that goes below is cut there.
        noisy: whether the mixture depends on the noise.
    """

    start: float
    mixture: Callable[[Tensor, Tensor], Tensor]
    weights: Callable[[Tensor], Tensor]
    least: float = -math.inf
    noisy: bool = False


def _softmax(alpha: Tensor, noise: Tensor) -> Tensor:
    return alpha.softmax(-1)


def _share(alpha: Tensor, noise: Tensor) -> Tensor:
    return alpha / alpha.sum(-1, keepdim=True)


def _sigmoid(alpha: Tensor, noise: Tensor) -> Tensor:
    return alpha.sigmoid()


def _gumbel(alpha: Tensor, noise: Tensor) -> Tensor:
    return (alpha - (-noise.log()).log()).softmax(-1)


RELAXATIONS: dict[str, Relaxation] = {
    # DARTS (Liu et al., 2019), section 2.2.
    "softmax": Relaxation(0.0, _softmax, lambda alpha: alpha.softmax(-1)),
    # Paper Eq. 8: a_i / sum(a), which needs positive alphas.
    "sum": Relaxation(1.0, _share, lambda alpha: alpha / alpha.sum(-1, keepdim=True), least=1e-6),
    # Options that do not compete (Chu et al., Fair DARTS, 2020).
    "sigmoid": Relaxation(0.0, _sigmoid, lambda alpha: alpha.sigmoid() / alpha.sigmoid().sum(-1, keepdim=True)),
    # A softmax of temperature 1 over alphas with Gumbel noise (Xie et al., SNAS, 2019).
    "gumbel": Relaxation(0.0, _gumbel, lambda alpha: alpha.softmax(-1), noisy=True),
}


def uniform_noise(shape: torch.Size, draws: torch.Generator) -> Tensor:
    """Return uniform noise in (0, 1), never 0 or 1 themselves."""
    return torch.rand(shape, generator=draws).clamp_(1e-6, 1 - 1e-6)
