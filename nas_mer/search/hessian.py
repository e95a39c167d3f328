"""The curvature of the validation loss in the architecture weights, and when it says that a search should stop.

Zela et al. (Understanding and Robustifying Differentiable Architecture Search, 2020) saw that architectures generalise
badly once the largest eigenvalue of the Hessian of the validation loss with respect to all alphas grows fast.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]


def hessians(losses: Callable[[Tensors], Tensor], alphas: Tensors) -> Tensor:
    """Return the Hessian of each of R independent losses, `(R, n, n)`, exactly: a backward pass for each row.

    Args:
        losses: of tensors `(R, options)`, one for each decision, to `(R,)`; each depends on its own rows alone.
        alphas: where; n is the number of all options.
    """
    leaves = tuple(alpha.detach().requires_grad_() for alpha in alphas)
    gradients = torch.autograd.grad(losses(leaves).sum(), leaves, create_graph=True, materialize_grads=True)
    gradient = torch.cat(gradients, dim=1)  # R x n
    rows = [
        torch.cat(torch.autograd.grad(one.sum(), leaves, retain_graph=True, materialize_grads=True), dim=1)
        for one in gradient.unbind(1)
    ]
    return torch.stack(rows, dim=1)


def dominant_eigenvalues(losses: Callable[[Tensors], Tensor], alphas: Tensors) -> Tensor:
    """Return the largest eigenvalue of the Hessian of each loss, `(R,)`; NaN where it is not finite.

    Arguments are those of `hessians`.
    """
    found = hessians(losses, alphas)
    finite = found.isfinite().all(-1).all(-1)
    symmetric = torch.where(finite[:, None, None], (found + found.mT) / 2, 0.0)
    return torch.where(finite, torch.linalg.eigvalsh(symmetric)[:, -1], torch.nan)
