"""The gradient of the validation loss with respect to the architecture weights.

The bilevel problem (DARTS, Eq. 3 and 4): minimise L_val(w*(a), a) over a, where w*(a) minimises L_train(w, a). One
unrolled step stands for the inner minimum, w'(a) = w - xi * grad_w L_train(w, a) + terms without a. Then (DARTS, Eq. 7)

    d/da L_val(w'(a), a)  =  grad_a L_val(w', a)  -  xi * grad_a (grad_w L_train(w, a) . v),    v = grad_w' L_val(w', a)

Losses are functions of (weights, alphas), both tuples of tensors; nothing here knows of networks. The first axis of all
tensors counts independent problems, whose losses are summed: the gradient of the sum is that of each.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Loss = Callable[[Tensors, Tensors], Tensor]
Hypergradient = Callable[[Loss, Loss, Tensors, Tensors, Callable[[Tensors], Tensors], float], Tensors]


def first_order(
    train: Loss, valid: Loss, w: Tensors, a: Tensors, unroll: Callable[[Tensors], Tensors], xi: float
) -> Tensors:
    """Return grad_a L_val(w, a): the weights are taken for the inner minimum (xi = 0)."""
    return _gradient(valid(w, a), a)


def second_order(
    train: Loss, valid: Loss, w: Tensors, a: Tensors, unroll: Callable[[Tensors], Tensors], xi: float
) -> Tensors:
    """Return the unrolled hypergradient with the mixed term by finite differences (DARTS, Eq. 8).

    grad_a (grad_w L_train . v) is about (grad_a L_train(w + e v, a) - grad_a L_train(w - e v, a)) / (2 e) with
    e = 0.01 / ||v||.
    """
    direct, v = _outer(train, valid, w, a, unroll)
    norm = torch.stack([part.reshape(len(part), -1).square().sum(1) for part in v]).sum(0).sqrt()  # one a problem
    step = 0.01 / norm.clamp_min(1e-12)
    ahead = _gradient(train(_moved(w, v, step), a), a)
    back = _gradient(train(_moved(w, v, -step), a), a)
    return tuple(g - xi * (p - m) / (2 * _along(step, g)) for g, p, m in zip(direct, ahead, back, strict=True))


def exact(train: Loss, valid: Loss, w: Tensors, a: Tensors, unroll: Callable[[Tensors], Tensors], xi: float) -> Tensors:
    """Return the unrolled hypergradient with the mixed term exactly, by a second backward pass."""
    differentiable = _leaves(w)
    gradient = torch.autograd.grad(train(differentiable, a), differentiable, create_graph=True, materialize_grads=True)
    direct, v = _valid_gradients(valid, unroll(tuple(g.detach() for g in gradient)), a)
    product = torch.stack([(g * part).sum() for g, part in zip(gradient, v, strict=True)]).sum()
    mixed = torch.autograd.grad(product, a, materialize_grads=True)
    return tuple(g - xi * m for g, m in zip(direct, mixed, strict=True))


HYPERGRADIENTS: dict[str, Hypergradient] = {"first": first_order, "second": second_order, "exact": exact}


def _outer(
    train: Loss, valid: Loss, w: Tensors, a: Tensors, unroll: Callable[[Tensors], Tensors]
) -> tuple[Tensors, Tensors]:
    """Return grad_a L_val(w', a) and v = grad_w' L_val(w', a)."""
    leaves = _leaves(w)
    return _valid_gradients(valid, unroll(_gradient(train(leaves, a), leaves)), a)


def _valid_gradients(valid: Loss, unrolled: Tensors, a: Tensors) -> tuple[Tensors, Tensors]:
    leaves = _leaves(unrolled)
    gradients = _gradient(valid(leaves, a), (*a, *leaves))
    return gradients[: len(a)], gradients[len(a) :]


def _gradient(loss: Tensor, of: Tensors) -> Tensors:
    return torch.autograd.grad(loss, of, materialize_grads=True)


def _leaves(tensors: Tensors) -> Tensors:
    return tuple(tensor.detach().requires_grad_() for tensor in tensors)


def _moved(w: Tensors, v: Tensors, step: Tensor) -> Tensors:
    return tuple(part + _along(step, change) * change for part, change in zip(w, v, strict=True))


def _along(step: Tensor, tensor: Tensor) -> Tensor:
    """Return one number a problem, shaped to multiply a tensor."""
    return step.view(-1, *[1] * (tensor.dim() - 1))
