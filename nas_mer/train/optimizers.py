"""Optimisers of named, stacked tensors, element by element, with a state that can be kept, restored and parted.

They take the steps of `torch.optim.SGD` and `torch.optim.Adam`, which load torch's compiler when they are made: over a
second in each worker process.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nas_mer.train.recipe import Sgd
from nas_mer.train.states import Named


class Momentum:
    """Stochastic gradient descent with momentum and weight decay.

    Attributes:
        moments: the momentum of each parameter.
    """

    def __init__(self, settings: Sgd, parameters: Named) -> None:
        self.settings = settings
        self.moments = {name: torch.zeros_like(value, requires_grad=False) for name, value in parameters.items()}

    @torch.no_grad()
    def step(self, parameters: Named, gradients: Sequence[Tensor], rate: float) -> None:
        """Move parameters, in place, against their gradients."""
        direction, moments = self.direction(parameters, gradients)
        torch._foreach_add_(list(parameters.values()), direction, alpha=-rate)
        self.moments = dict(zip(self.moments, moments, strict=True))

    @torch.no_grad()
    def direction(self, parameters: Named, gradients: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return what a step subtracts, but for the learning rate, and the moments after it."""
        settings = self.settings
        decayed = torch._foreach_add(list(gradients), list(parameters.values()), alpha=settings.weight_decay)
        moments = torch._foreach_add(decayed, list(self.moments.values()), alpha=settings.momentum)
        ahead = torch._foreach_add(decayed, moments, alpha=settings.momentum) if settings.nesterov else moments
        return list(ahead), list(moments)

    def state(self) -> dict[str, Tensor]:
        """Return what the next step depends on, by name."""
        return dict(self.moments)

    def restore(self, state: Named) -> None:
        """Go back to a state."""
        for name, moment in self.moments.items():
            moment.copy_(state[name])

    def keep(self, which: Tensor) -> None:
        """Leave some networks of a stack, by their places."""
        self.moments = {name: moment[which] for name, moment in self.moments.items()}


class Adam:
    """Adam (Kingma & Ba, 2015) with weight decay added to the gradient.

    Attributes:
        means, squares: the running means of each parameter's gradient and of its square.
        count: how many steps were taken.
    """

    def __init__(self, rate: float, betas: tuple[float, float], weight_decay: float, parameters: Named) -> None:
        self.rate, self.betas, self.weight_decay = rate, betas, weight_decay
        self.means = {name: torch.zeros_like(value, requires_grad=False) for name, value in parameters.items()}
        self.squares = {name: torch.zeros_like(value) for name, value in self.means.items()}
        self.count = 0

    @torch.no_grad()
    def step(self, parameters: Named, gradients: Sequence[Tensor]) -> None:
        """Move parameters, in place, against their gradients."""
        self.count += 1
        first, second = self.betas
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
            decayed = gradient + self.weight_decay * parameter
            mean = self.means[name].lerp_(decayed, 1 - first)
            square = self.squares[name].mul_(second).addcmul_(decayed, decayed, value=1 - second)
            scale = (square / (1 - second**self.count)).sqrt_().add_(1e-8)
            parameter.addcdiv_(mean, scale, value=-self.rate / (1 - first**self.count))

    def state(self) -> dict[str, Tensor]:
        """Return what the next step depends on besides `count`, by name."""
        tensors = {f"mean.{name}": value for name, value in self.means.items()}
        tensors |= {f"square.{name}": value for name, value in self.squares.items()}
        return tensors

    def restore(self, state: Named) -> None:
        """Go back to a state."""
        for name in self.means:
            self.means[name].copy_(state[f"mean.{name}"])
            self.squares[name].copy_(state[f"square.{name}"])

    def keep(self, which: Tensor) -> None:
        """Leave some networks of a stack, by their places."""
        self.means = {name: value[which] for name, value in self.means.items()}
        self.squares = {name: value[which] for name, value in self.squares.items()}
