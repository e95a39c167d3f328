"""A graph as a module: the supernet when its decisions are open, a network when none is."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from nas_mer.nn.attention import class_activation, pooled_to, spread
from nas_mer.space.graph import INPUT, Choice, Graph, Inputs, Module, Op, State, is_none
from nas_mer.space.ops import Shape
from nas_mer.space.shapes import build_op, combined_shape, module_shape

Mixture = Mapping[str, Tensor]
"""The weight of each option of every open decision: decision -> `(options,)`, options sorted by name."""


class Network(nn.Module):
    """The states of a graph, a pooling and a linear classifier.

    With open decisions it is the supernet: every option is computed, and the outputs are added, each times its weight
    in the mixture (paper Eq. 8). Modules are named by state and option (`states.conv.module.options.wide`), and so the
    `state_dict` of a supernet holds that of each of its networks.

    Args:
        graph: a network's graph, or a space's with its decisions open.
        classes: the number of classes.
    """

    def __init__(self, graph: Graph, classes: int = 3) -> None:
        super().__init__()
        self.graph = graph
        builder = _Builder(graph)
        self.states = nn.ModuleDict({_key(state.name): _State(state, builder) for state in graph.states})
        self.head = nn.Linear(graph.shapes[graph.output].channels * graph.pool**2, classes)

    def forward(self, x: Tensor, mixture: Mixture | None = None) -> Tensor:
        """Return logits `(N, classes)`.

        Args:
            x: `(N, C, H, W)` float, of the graph's input shape.
            mixture: the options' weights; a network without open decisions needs none.
        """
        return self.classify(self.values(x, mixture)[self.graph.output])

    def values(self, x: Tensor, mixture: Mixture | None = None) -> dict[str, Tensor]:
        """Return the feature map `(N, C, H, W)` of every state, and the input, by name; arguments as of `forward`."""
        mixture = mixture or {}
        values = {INPUT: x}
        attend = functools.cache(lambda source: class_activation(values[source], self.head.weight, self.graph.pool))
        for state in self.graph.states:
            values[state.name] = self.states[_key(state.name)](values, attend, mixture)
        return values

    def classify(self, output: Tensor) -> Tensor:
        """Return logits `(N, classes)` of the output state's feature map."""
        return cast("Tensor", self.head(pooled_to(output, self.graph.pool).flatten(1)))


class _State(nn.Module):
    """Inputs combined, a module applied, multiplied by attention maps."""

    def __init__(self, state: State, builder: _Builder) -> None:
        super().__init__()
        decisions = builder.graph.decisions
        self.pool = builder.graph.pool
        self.decision = state.inputs.decision
        self.inputs = nn.ModuleDict({_key(name): _Inputs(i, builder) for name, i in state.inputs.options.items()})
        before = combined_shape(next(iter(state.inputs.options.values())), builder.graph.shapes)
        self.module = _Mixed(state.module, before, builder)
        self.hops = [
            (hop.source, hop.decision, 0 if hop.decision is None else decisions[hop.decision].index(str(hop.option)))
            for hop in state.hops
        ]

    def forward(self, values: Mapping[str, Tensor], attend: Callable[[str], Tensor], mixture: Mixture) -> Tensor:
        if self.decision is None:
            (inputs,) = self.inputs.values()
            value = inputs(values, mixture)
        else:
            value = _total(
                w * i(values, mixture) for w, i in zip(mixture[self.decision], self.inputs.values(), strict=True)
            )
        value = cast("Tensor", self.module(value, mixture))
        size = (value.shape[-2], value.shape[-1])
        for decision in dict.fromkeys(decision for _, decision, _ in self.hops):
            hops = [
                (index, spread(attend(source), self.pool, size)) for source, of, index in self.hops if of == decision
            ]
            value = value * (_product(hop for _, hop in hops) if decision is None else _blend(hops, mixture[decision]))
        return value


class _Inputs(nn.Module):
    """The ways into a state, summed or concatenated."""

    def __init__(self, inputs: Inputs, builder: _Builder) -> None:
        super().__init__()
        shapes = builder.graph.shapes
        self.ways = nn.ModuleDict({_key(e.name): _Mixed(e.module, shapes[e.source], builder) for e in inputs.edges})
        self.sources = [edge.source for edge in inputs.edges]
        self.concat = inputs.combine == "concat"

    def forward(self, values: Mapping[str, Tensor], mixture: Mixture) -> Tensor:
        ends = [way(values[source], mixture) for source, way in zip(self.sources, self.ways.values(), strict=True)]
        return torch.cat(ends, dim=1) if self.concat else _total(ends)


class _Mixed(nn.Module):
    """The options of a module, weighted and summed."""

    def __init__(self, choice: Choice[Module], shape: Shape, builder: _Builder) -> None:
        super().__init__()
        self.options = nn.ModuleDict({_key(name): builder.sequence(ops, shape) for name, ops in choice.options.items()})
        self.decision = choice.decision
        # Zeros add nothing, whatever their weight.
        adding = [i for i, module in enumerate(choice.options.values()) if not is_none(module)]
        self.adding = adding or [0]

    def forward(self, x: Tensor, mixture: Mixture) -> Tensor:
        options = list(self.options.values())
        if self.decision is None:
            return cast("Tensor", options[0](x))
        weights = mixture[self.decision]
        return _total(weights[index] * options[index](x) for index in self.adding)


class _Builder:
    """Builds the modules of a graph; ops that share weights by name get the same parameters."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.shared: dict[str, nn.Module] = {}

    def sequence(self, module: Module, shape: Shape) -> nn.Sequential:
        layers: list[nn.Module] = []
        for op in module:
            layer = self._layer(op, shape)
            if isinstance(layer, nn.ReLU) and layers and isinstance(layers[-1], nn.BatchNorm2d):
                layer.inplace = True  # nobody else reads the norm's output
            layers.append(layer)
            shape = module_shape((op,), shape, self.graph.shapes)
        return nn.Sequential(*layers)

    def _layer(self, op: Op, shape: Shape) -> nn.Module:
        layer = build_op(op, shape, self.graph.shapes)
        if op.share is not None:
            first = self.shared.setdefault(op.share, layer)
            for (name, _), parameter in zip(list(layer.named_parameters()), first.parameters(), strict=True):
                owner = layer.get_submodule(name.rpartition(".")[0])
                setattr(owner, name.rpartition(".")[2], parameter)
        return layer


def one_hot(graph: Graph, choices: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the mixture in which one option of each decision has all the weight."""
    return {
        decision: torch.tensor([float(option == choices[decision]) for option in options])
        for decision, options in graph.decisions.items()
    }


def _blend(hops: Iterable[tuple[int, Tensor]], weights: Tensor) -> Tensor:
    """Return the mean attention map of a decision's options; an option without a hop here leaves the state as it is."""
    by_option: dict[int, list[Tensor]] = {}
    for index, attention in hops:
        by_option.setdefault(index, []).append(attention)
    attending = _total(weights[index] * _product(maps) for index, maps in by_option.items())
    return attending + (weights.sum() - _total(weights[index] for index in by_option))


def _total(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(operator.add, terms)


def _product(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(operator.mul, terms)


def _key(name: str) -> str:
    """Return a name as a key that `ModuleDict` takes: without dots, no attribute of its own (`half`, `training`)."""
    key = name.replace(".", "/")
    return f"{key}/" if key in _TAKEN else key


_TAKEN = frozenset(dir(nn.ModuleDict()))
