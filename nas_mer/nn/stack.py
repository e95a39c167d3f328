"""Networks of one graph stacked along a new first axis, and run as one program."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from nas_mer.nn.network import Mixture, Network
from nas_mer.space.ops import Dropout

Tensors = Mapping[str, Tensor]


class Stack:
    """R networks of one graph: the same module code serves one and hundreds (`torch.func`).

    Nothing that one network computes depends on the others: batch normalisation sees the samples of its own network,
    and dropout draws by the network's own key.

    Args:
        networks: at least one, all of one graph and on the CPU; their tensors are copied.
        device: where the stack lives.

    Attributes:
        parameters: name -> `(R, ...)`, leaves that gradients are taken of; a shared parameter occurs once.
        buffers: name -> `(R, ...)`, changed by each call in training mode.
    """

    def __init__(self, networks: Sequence[Network], device: torch.device) -> None:
        self.count = len(networks)
        graph = networks[0].graph  # plain values that nobody changes
        self._module = copy.deepcopy(networks[0], {id(graph): graph}).to(device).train()
        self._dropouts = {name: m for name, m in self._module.named_modules() if isinstance(m, Dropout)}
        self.parameters = _stacked([dict(network.named_parameters()) for network in networks], device)
        self.buffers = _stacked([dict(network.named_buffers()) for network in networks], device)
        for parameter in self.parameters.values():
            parameter.requires_grad_()
        for dropout in self._dropouts.values():
            dropout.key = torch.zeros((), dtype=torch.int64, device=device)
        self._keys = {
            f"{name}.key": torch.zeros(self.count, dtype=torch.int64, device=device) for name in self._dropouts
        }

    @property
    def dropouts(self) -> int:
        """How many dropout layers a network has, each with a key."""
        return len(self._dropouts)

    def draw(self, keys: Tensor) -> None:
        """Set what the dropout layers of the next calls zero: `(dropouts, R)` int64 keys, on the stack's device."""
        self._keys = dict(zip(self._keys, keys, strict=True))

    def __call__(self, x: Tensor, mixture: Mixture | None = None, parameters: Tensors | None = None) -> Tensor:
        """Return logits `(R, N, classes)`.

        Args:
            x: `(R, N, C, H, W)`, a batch for each network.
            mixture: decision -> `(R, options)`; see `Network`.
            parameters: name -> `(R, ...)`, instead of the stack's own.
        """
        state = {**(parameters or self.parameters), **self.buffers, **self._keys}
        return stacked(self._call, self.count)(state, x, dict(mixture or {}))

    def _call(self, state: Tensors, x: Tensor, mixture: Mixture) -> Tensor:
        return cast("Tensor", functional_call(self._module, dict(state), (x, mixture)))

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Look at networks in training: no dropout, statistics of the batch, and no buffer changed."""
        with measuring(self._module):
            yield

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Look at trained networks: no dropout, running statistics, no gradients."""
        self._module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self._module.train()

    def state(self) -> dict[str, Tensor]:
        """Return the networks' weights: parameters and buffers by name, `(R, ...)` each."""
        return {**self.parameters, **self.buffers}

    def restore(self, tensors: Tensors) -> None:
        """Go back to the weights that `state` returned."""
        with torch.no_grad():
            for name, value in self.state().items():
                value.copy_(tensors[name])

    def keep(self, which: Tensor) -> None:
        """Leave only some of the networks, by their places `(R',)`."""
        self.count = len(which)
        self.parameters = {
            name: value.detach().index_select(0, which).requires_grad_() for name, value in self.parameters.items()
        }
        self.buffers = {name: value.index_select(0, which) for name, value in self.buffers.items()}
        self._keys = {name: keys.index_select(0, which) for name, keys in self._keys.items()}


def stacked(function: Callable[..., Tensor], count: int) -> Callable[..., Tensor]:
    """Return a function of arguments stacked along a first axis of length `count` (tensors, and mappings of them).

    A single one is not put through `vmap`, whose grouped convolutions are slower than plain ones.
    """
    if count > 1:
        return cast("Callable[..., Tensor]", vmap(function, randomness="different"))
    return lambda *arguments: function(*map(_first, arguments)).unsqueeze(0)


def _first(argument: Any) -> Any:
    return {name: value[0] for name, value in argument.items()} if isinstance(argument, dict) else argument[0]


def _stacked(tensors: Sequence[Tensors], device: torch.device) -> dict[str, Tensor]:
    return {name: torch.stack([one[name].detach() for one in tensors]).to(device) for name in tensors[0]}


@contextmanager
def measuring(network: nn.Module) -> Iterator[None]:
    """Let a network in training mode be looked at: no dropout, batch statistics, and no buffer changed."""
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    dropouts = [m for m in network.modules() if isinstance(m, Dropout)]
    for norm in norms:
        norm.track_running_stats = False
    for dropout in dropouts:
        dropout.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
        for dropout in dropouts:
            dropout.train()
