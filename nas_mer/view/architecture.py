"""Architectures as graphs to look at: a space, its architecture weights or one genotype, before anything is drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import networkx as nx

from nas_mer.errors import UserError
from nas_mer.space import OPS, Genotype, SearchSpace, Shape
from nas_mer.space.graph import INPUT, Edge, Graph, Module, Op, Repetition, State, is_none

Weights = Mapping[str, Mapping[str, float]]
"""The architecture weight, 0..1, of each option of each decision."""

Architecture: TypeAlias = "nx.MultiDiGraph[str]"

HEAD = "(head)"  # no state can be called so

_SPELT = {"batch_norm": "BN", "relu": "ReLU"}


@dataclass(frozen=True)
class Option:
    """An option of a decision.

    Attributes:
        name: its name.
        weight: its architecture weight, 0..1; None where no weights are shown.
        chosen: whether the genotype that is shown takes it.
    """

    name: str
    weight: float | None = None
    chosen: bool = False


@dataclass(frozen=True)
class Panel:
    """A part of an architecture that is drawn by itself.

    Attributes:
        title: the block's name; empty for the whole network.
        places: where the block is used, `stage1 x5, stage2 x5`; empty for the whole network.
        graph: its nodes, by their names in the block, and their edges; as `architecture` describes them. In the
            network's panel each use of a block is one node: `kind` is "use", `block` its block and `repeat` how many
            times it is repeated. In a block's panel the nodes that are read from outside have `output` set.
    """

    title: str
    places: str
    graph: Architecture


def architecture(space: SearchSpace, weights: Weights | None = None, genotype: Genotype | None = None) -> Architecture:
    """Return a space, a searched space or a genotype as a graph.

    Without weights and genotype the graph holds all that the space has. With weights it holds the same, weighed, and
    the genotype, by default the one of the greatest joint weight, is marked as chosen. With a genotype alone it holds
    only what the genotype leaves.

    Graph attributes: `space` (its name), `title`, `size`, `input` (text), `genotype` (or None), `weighed` (bool),
    `decisions` (decision -> tuple of `Option`), `joint` (the product of the weights of the chosen options, or None),
    `free` (the (decision, option) that do not count in it), `zeros` (those that cut an edge) and `repetitions`.

    Node attributes: `kind` ("input", "state" or "head"); `label`; `shape` (`16x20x20`); `layer`, the longest way from
    the input; `combine` ("sum" or "concat"); `ops`, what the module does whatever is chosen; `decision` and `options`
    (of `Option`), what is chosen of it; `details` (option -> what sets it apart); `shared`, the names of weights that
    it shares.

    Edge attributes: `kind`, "flow" or "hop" (an attention hop); `name`, the source's name where the edge was written;
    `choices`, decision -> option, under which the edge is there; `label`, these options' names; `weight`, the product
    of their weights, or None where no weights are shown; `chosen`; `zero`, whether it passes nothing on; `ops`, what
    its module does; `length`, of a hop: how many states that compute something it jumps.

    Raises:
        UserError: the genotype is not one of the space, or a decision's weights are missing.
    """
    if weights is not None:
        _check(space, weights)
        genotype = genotype or space.top(weights, 1)[0]
    if genotype is not None:
        space = space.accept(genotype)
        genotype = space.completed(genotype)
    return _Architecture(space, weights, genotype).graph


def panels(graph: Architecture) -> list[Panel]:
    """Return the parts to draw: the network with its blocks as single nodes, then each block once.

    A block whose repetitions decide for themselves has a panel for each set of decisions.
    """
    repetitions: tuple[Repetition, ...] = graph.graph["repetitions"]
    places = {name: repetition for repetition in repetitions for name in repetition.states.values() if name in graph}
    alike: dict[tuple[str, frozenset[str]], list[Repetition]] = {}
    for repetition in repetitions:
        states = {name for name in repetition.states.values() if name in graph}
        if states:
            alike.setdefault((repetition.block, _decisions(graph, states)), []).append(repetition)
    found = [Panel("", "", _outline(graph, places))]
    for (block, _), group in alike.items():
        found.append(Panel(block, _places(group, repetitions), _inside(graph, group[0])))
    return found


def ordered(graph: Architecture) -> list[str]:
    """Return the nodes so that each comes after those it reads, otherwise as they come."""
    if not nx.is_directed_acyclic_graph(graph):  # blocks that attend to each other's insides
        return list(graph)
    place = {name: index for index, name in enumerate(graph)}
    return list(nx.lexicographical_topological_sort(graph, key=lambda name: place[name]))


class _Architecture:
    """Builds the graph of `architecture`."""

    def __init__(self, space: SearchSpace, weights: Weights | None, genotype: Genotype | None) -> None:
        self.weights = weights
        self.choices = None if genotype is None else genotype.choices
        self.only = weights is None and genotype is not None
        whole = space.graph
        self.left = whole.freeze(genotype.choices) if self.only and genotype is not None else whole
        self.states = {state.name: {edge.name for edge in state.edges} for state in self.left.states}
        self.depths = {INPUT: 0}
        self.graph: Architecture = nx.MultiDiGraph(
            space=space.name,
            title=space.title,
            size=space.size,
            input=_times(whole.shapes[INPUT]),
            genotype=genotype,
            weighed=weights is not None,
            decisions={name: self._options(name, options) for name, options in whole.decisions.items()},
            joint=None if weights is None or genotype is None else space.combinations.joint(genotype.choices, weights),
            free=space.combinations.free,
            zeros=frozenset(_zeros(whole)),
            repetitions=whole.repetitions,
        )
        self._node(INPUT, kind="input", label=INPUT, shape=_times(whole.shapes[INPUT]), layer=0)
        for state in whole.states:
            if state.name in self.states:
                self._state(state, _times(whole.shapes[state.name]))
        ops = (f"avg pool {whole.pool}\u00d7{whole.pool}", "linear")
        self._node(HEAD, kind="head", label="head", ops=ops, layer=self.graph.nodes[whole.output]["layer"] + 1)
        self._edge(whole.output, HEAD, {}, ())

    def _state(self, state: State, shape: str) -> None:
        decision = state.module.decision
        options = () if decision is None else self._options(decision, tuple(state.module.options))
        common, details = _tell_apart({option: list(_ops(ops)) for option, ops in state.module.options.items()})
        shares = [op.share for ops in state.module.options.values() for op in ops if op.share is not None]
        self._node(
            state.name,
            kind="state",
            label=state.name,
            shape=shape,
            combine=next(iter(state.inputs.options.values())).combine,
            ops=tuple(common),
            decision=decision,
            options=tuple(option for option in options if self._shown({str(decision): option.name})),
            details={name: text for name, text in details.items() if self._shown({str(decision): name})},
            shared=tuple(dict.fromkeys(shares)),
        )
        for edge, choices, module in _ways(state):
            if edge.name in self.states[state.name] and self._shown(choices):
                self._edge(edge.source, state.name, choices, module, name=edge.name)
        sources = {source for source, _ in self.graph.in_edges(state.name)}
        self.graph.nodes[state.name]["layer"] = 1 + max(self.graph.nodes[source]["layer"] for source in sources)
        computes = any(state.module.options.values())
        self.depths[state.name] = computes + max(self.depths[source] for source in sources)
        for hop in state.hops:
            taken = {} if hop.decision is None else {hop.decision: str(hop.option)}
            if self._shown(taken):
                length = max(self.depths[state.name] - self.depths[hop.source], 1)
                self._edge(hop.source, state.name, taken, (), kind="hop", name=hop.source, length=length)

    def _node(self, node: str, **about: Any) -> None:
        self.graph.add_node(node, **_NODE | about)

    def _edge(self, source: str, target: str, choices: dict[str, str], module: Module, **about: Any) -> None:
        about = {"kind": "flow", "name": source, "length": 0} | about
        self.graph.add_edge(
            source,
            target,
            key=str((about["kind"], about["name"], choices)),
            choices=choices,
            label=", ".join(choices.values()),
            weight=None if self.weights is None else _product(self.weights, choices),
            chosen=self._chosen(choices),
            zero=is_none(module),
            ops=tuple(_ops(module)),
            **about,
        )

    def _options(self, decision: str, names: tuple[str, ...]) -> tuple[Option, ...]:
        return tuple(
            Option(name, None if self.weights is None else self.weights[decision][name], self._chosen({decision: name}))
            for name in names
        )

    def _chosen(self, choices: Mapping[str, str]) -> bool:
        return self.choices is not None and all(
            self.choices[decision] == option for decision, option in choices.items()
        )

    def _shown(self, choices: Mapping[str, str]) -> bool:
        return not self.only or self._chosen(choices)


# What a node has that does not say otherwise.
_NODE: dict[str, Any] = {
    "shape": "", "combine": "sum", "ops": (), "decision": None, "options": (), "details": {}, "shared": (),
}  # fmt: skip


def _zeros(graph: Graph) -> Iterator[tuple[str, str]]:
    """Iterate over the options that cut an edge, with their decisions."""
    for edge in (edge for state in graph.states for edge in state.edges):
        for option, module in edge.module.options.items():
            if edge.module.decision is not None and is_none(module):
                yield edge.module.decision, option


def _ways(state: State) -> Iterator[tuple[Edge, dict[str, str], Module]]:
    """Iterate over the ways into a state: the edge, the choices under which there is such a way, and its module."""
    ways: list[tuple[Edge, list[str]]] = []  # each edge with the options of the inputs that have it
    for name, inputs in state.inputs.options.items():
        for edge in inputs.edges:
            names = next((names for other, names in ways if other == edge), None)
            if names is None:
                ways.append((edge, [name]))
            else:
                names.append(name)
    for edge, names in ways:
        always = len(names) == len(state.inputs.options)
        conditions = [{}] if always else [{str(state.inputs.decision): name} for name in names]
        for option, module in edge.module.options.items():
            own = {} if edge.module.decision is None else {edge.module.decision: option}
            for condition in conditions:
                choices = condition | own
                if choices | condition == choices:  # one decision may pick both the inputs and the module
                    yield edge, choices, module


def _outline(graph: Architecture, places: Mapping[str, Repetition]) -> Architecture:
    """Return the network with each use of a block as one node."""
    repeats = Counter(repetition.use for repetition in graph.graph["repetitions"])
    outline: Architecture = nx.MultiDiGraph(**graph.graph)

    def outer(name: str) -> str:
        return places[name].use if name in places else name

    for name, data in graph.nodes(data=True):
        if name in places:
            use, block = places[name].use, places[name].block
            about = {"kind": "use", "label": use, "shape": data["shape"], "block": block, "repeat": repeats[use]}
            outline.add_node(use, **_NODE | about)
        else:
            outline.add_node(name, **data)
    for source, target, key, data in graph.edges(keys=True, data=True):
        if outer(source) == outer(target):
            continue
        if target in places and data["kind"] == "flow":
            key, data = "", data | {"choices": {}, "label": "", "weight": None, "ops": (), "zero": False}
        outline.add_edge(outer(source), outer(target), key=key, **data)
    return outline


def _places(group: Sequence[Repetition], repetitions: Sequence[Repetition]) -> str:
    """Return where some repetitions of a block stand: `stage1 x5, stage2 x5`, or `stage1.2` where others differ."""
    texts = []
    for use in dict.fromkeys(repetition.use for repetition in group):
        every = [repetition for repetition in repetitions if repetition.use == use]
        here = [index for index, repetition in enumerate(every, start=1) if repetition in group]
        if len(here) == len(every):
            texts.append(f"{use} \u00d7{len(here)}" if len(here) > 1 else use)
        else:
            texts += [f"{use}.{index}" for index in here]
    return ", ".join(texts)


def _inside(graph: Architecture, repetition: Repetition) -> Architecture:
    """Return one repetition of a block, its states and what it reads, by their names in the block."""
    states = {name: local for local, name in repetition.states.items() if name in graph}
    inside: Architecture = nx.MultiDiGraph(**graph.graph)
    edges = [(s, t, key, data) for s, t, key, data in graph.edges(keys=True, data=True) if t in states]
    for local in repetition.inputs:
        if any(data["name"] == local for _, _, _, data in edges):
            inside.add_node(local, **_NODE | {"kind": "input", "label": local})
    for name, local in states.items():
        output = any(target not in states for _, target in graph.out_edges(name))
        inside.add_node(local, **graph.nodes[name] | {"label": local, "shape": "", "output": output})
    for source, target, key, data in edges:
        local = states.get(source, data["name"])
        if local in inside:
            inside.add_edge(local, states[target], key=key, **data)
    return inside


def _decisions(graph: Architecture, states: set[str]) -> frozenset[str]:
    """Return the decisions made in some states."""
    own = {graph.nodes[name]["decision"] for name in states} - {None}
    return frozenset(own.union(*(data["choices"] for _, _, data in graph.in_edges(states, data=True))))


def _tell_apart(modules: Mapping[str, list[str]]) -> tuple[list[str], dict[str, str]]:
    """Return the texts that all options of a module have, and of each option those that it has alone."""
    first, *others = modules.values()
    common = [text for text in first if all(text in other for other in others)]
    own = {option: ", ".join(text for text in texts if text not in common) for option, texts in modules.items()}
    return common, {option: text for option, text in own.items() if text}


def _ops(module: Module) -> Iterator[str]:
    """Iterate over short texts for what a module does: `conv 3x3`, `stride 3`, `BN`."""
    for op in module:
        yield from _op(op)


def _op(op: Op) -> Iterator[str]:
    kind = OPS[op.name]
    args = dict(kind.defaults) | dict(op.args)
    name = _SPELT.get(op.name, op.name.replace("_", " "))
    if isinstance(kernel := args.get("kernel"), int):
        name = f"{name} {kernel}\u00d7{kernel}"
    # What the map's shape shows, or hardly anyone asks, is left out.
    silent = {"channels", "bias", "kernel", "padding", *kind.references}
    shown = {key: value for key, value in op.args if key not in silent and value != kind.defaults.get(key)}
    texts = {key: ", ".join(map(str, value)) if isinstance(value, tuple) else value for key, value in shown.items()}
    if len(kind.types) == 1 and texts:
        yield f"{name} {next(iter(texts.values()))}"
        return
    yield name
    for key, text in texts.items():
        yield f"{key} {text}"


def _product(weights: Weights, choices: Mapping[str, str]) -> float:
    return math.prod((weights[decision][option] for decision, option in choices.items()), start=1.0)


def _times(shape: Shape) -> str:
    return "\u00d7".join(map(str, shape))


def _check(space: SearchSpace, weights: Weights) -> None:
    missing = [
        f"{decision}: {option}"
        for decision, options in space.decisions.items()
        for option in options
        if option not in weights.get(decision, {})
    ]
    if missing:
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise UserError(f"architecture weights of {space.name}: none for {', '.join(missing[:10])}{more}")
