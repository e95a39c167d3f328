"""A network as plain values: an ordered graph of states whose parts may be choices.

The same form describes a whole search space (choices with several options) and one network of it (`freeze`: every
choice has one option left). Nothing here knows of tensors; `nas_mer.nn` turns a graph into a module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from nas_mer.space.ops import Shape

T = TypeVar("T")

INPUT = "input"


@dataclass(frozen=True)
class Op:
    """One op with its arguments. Ops with the same `share` have the same weights."""

    name: str
    args: tuple[tuple[str, Any], ...] = ()
    share: str | None = None

    def __str__(self) -> str:
        args = ", ".join(f"{key}={value}" for key, value in self.args)
        return f"{self.name}({args})" if args else self.name


Module = tuple[Op, ...]
"""Ops applied one after the other; an empty one is the identity."""


@dataclass(frozen=True)
class Choice(Generic[T]):
    """Named options of which one survives.

    Attributes:
        options: the options by name.
        decision: the decision that picks one; None where there is one option only.
    """

    options: Mapping[str, T]
    decision: str | None = None

    @property
    def only(self) -> T:
        """The one option of a fixed choice."""
        (option,) = self.options.values()
        return option

    def pick(self, choices: Mapping[str, str]) -> Choice[T]:
        """Return the choice with only its chosen option left, under its name."""
        if self.decision is None:
            return self
        name = choices[self.decision]
        return Choice({name: self.options[name]})


@dataclass(frozen=True)
class Edge:
    """A way from an earlier state (or the input) into a state, through a module.

    Attributes:
        source: the state's name in the graph.
        module: what the way leads through.
        name: the state's name where the edge was written, in a block another one than in the graph; no two edges into a
            state have the same.
    """

    source: str
    module: Choice[Module]
    name: str


@dataclass(frozen=True)
class Inputs:
    """Edges whose ends are summed or concatenated."""

    edges: tuple[Edge, ...]
    combine: Literal["sum", "concat"] = "sum"


@dataclass(frozen=True)
class Hop:
    """An attention map of state `source` that multiplies the state it belongs to, if `decision` takes `option`.

    After freezing, both are None and the hop is there.
    """

    source: str
    decision: str | None = None
    option: str | None = None


@dataclass(frozen=True)
class State:
    """One named feature map: inputs combined, a module applied, multiplied by attention maps."""

    name: str
    inputs: Choice[Inputs]
    module: Choice[Module]
    hops: tuple[Hop, ...] = ()

    @property
    def edges(self) -> Iterator[Edge]:
        """All edges of all input options."""
        for inputs in self.inputs.options.values():
            yield from inputs.edges

    @property
    def sources(self) -> frozenset[str]:
        """All states that this one may read."""
        return frozenset(edge.source for edge in self.edges) | {hop.source for hop in self.hops}


@dataclass(frozen=True)
class Repetition:
    """One repetition of a block: where its inputs and states stand in the graph.

    Attributes:
        block: the block's name.
        use: the name of its use; the output of the last repetition is called so.
        inputs: the block's inputs: name in the block -> name in the graph.
        states: the block's states: name in the block -> name in the graph.
    """

    block: str
    use: str
    inputs: Mapping[str, str]
    states: Mapping[str, str]


@dataclass(frozen=True)
class Graph:
    """An ordered graph of states.

    Attributes:
        states: in an order in which each reads only earlier ones.
        output: the state that the head pools and classifies.
        pool: the side K of the pooled map; the linear layer sees `channels * K * K` features.
        shapes: the shape of every state, the input's too; `freeze` leaves them as they are, because an op may be sized
            after a state that it does not read.
        decisions: the options, sorted by name, of every decision that is still open.
        repetitions: how blocks were expanded to states; `freeze` leaves them as they are.
    """

    states: tuple[State, ...]
    output: str
    pool: int
    shapes: Mapping[str, Shape]
    decisions: Mapping[str, tuple[str, ...]]
    repetitions: tuple[Repetition, ...] = ()

    def freeze(self, choices: Mapping[str, str]) -> Graph:
        """Return the graph that one option for each decision leaves, without the states that no longer matter."""
        frozen = {state.name: _freeze(state, choices) for state in self.states}
        needed: set[str] = set()
        pending = [self.output]
        while pending:
            name = pending.pop()
            if name not in needed:
                needed.add(name)
                pending.extend(frozen[name].sources - {INPUT} if name != INPUT else ())
        states = tuple(state for name, state in frozen.items() if name in needed)
        return replace(self, states=states, decisions={})


def is_none(module: Module) -> bool:
    """Return whether a module is nothing but zeros."""
    return len(module) > 0 and all(op.name == "none" for op in module)


def _freeze(state: State, choices: Mapping[str, str]) -> State:
    ((name, inputs),) = state.inputs.pick(choices).options.items()
    edges = tuple(replace(edge, module=edge.module.pick(choices)) for edge in inputs.edges)
    if inputs.combine == "sum":
        # A zero edge is no edge; one must stay to give the zeros their shape.
        edges = tuple(edge for edge in edges if not is_none(edge.module.only)) or edges[:1]
    hops = tuple(Hop(h.source) for h in state.hops if h.decision is None or choices[h.decision] == h.option)
    return State(state.name, Choice({name: replace(inputs, edges=edges)}), state.module.pick(choices), hops)
