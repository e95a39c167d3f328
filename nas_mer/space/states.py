"""The states of a space file, blocks expanded and `$parameters` replaced, as a graph.

Each part of the file becomes a value of `graph`; then the states are put in an order, and the shape of every state is
worked out. Nothing depends on the order in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import networkx as nx

from nas_mer.placed_yaml import Node, describe
from nas_mer.space.decisions import Rule
from nas_mer.space.graph import INPUT, Choice, Edge, Graph, Hop, Inputs, Module, Op, Repetition, State, is_none
from nas_mer.space.ops import OPS, Shape
from nas_mer.space.shapes import check_shared, referenced, state_shape
from nas_mer.space.syntax import (
    ATTENTION_KEYS,
    ATTENTION_UNITS,
    BLOCK_KEYS,
    CHOICE_KEYS,
    HEAD_KEYS,
    HOP,
    PARAMETER,
    REFERENCE,
    STATE_KEYS,
    USE_KEYS,
    Parameters,
    is_use,
    name_of,
    number_of,
    parts_of,
)
from nas_mer.words import did_you_mean

T = TypeVar("T")


@dataclass(frozen=True)
class _Scope:
    """Where a part of the file is being read: which names it sees and how its own names are told apart."""

    arguments: Parameters = field(default_factory=dict)  # of the block, which go before the file's parameters
    names: Mapping[str, str] = field(default_factory=dict)  # local state -> expanded state; empty at the top
    prefix: str = ""  # of shared weights
    decisions: str = ""  # prefix of decisions without a name of their own
    named_decisions: str = ""  # prefix of decisions with one
    owner: str = ""  # of decisions with a prefix


class StateReader:
    """Reads the states, blocks and hops of a file.

    Args:
        root: the file.
        parameters: the values of its parameters.
    """

    def __init__(self, root: Node, parameters: Parameters) -> None:
        self.root = root
        self.parameters = parameters
        self.modules = root.at("modules").mapping().value if "modules" in root.value else {}
        self.blocks = root.at("blocks").mapping().value if "blocks" in root.value else {}
        self.states: dict[str, State] = {}
        self.places: dict[str, Node] = {INPUT: root.at("input")}
        self.decisions: dict[str, tuple[str, ...]] = {}
        self.owners: dict[str, str] = {}  # of decisions
        self.keep_rules: tuple[Rule, ...] = ()
        self.repetitions: list[Repetition] = []
        self.windows: dict[str, list[str]] = {}  # use of a block -> the last states, as its next repetition sees them
        self.expanding: list[str] = []
        self.references: list[tuple[Node, str]] = []  # where a state is referred to, and its expanded name
        self.hiding: set[str] = set()  # the parameters of blocks in use
        self.unused = {
            (section, name) for section in ("parameters", "modules", "blocks") for name in root.value.get(section, {})
        }

    # --- the file's parts ---------------------------------------------------------------------------------------------

    def graph(self, size: int) -> Graph:
        """Return the graph of all states, for an input of `size x size`.

        Raises:
            UserError: a state, block or hop is wrong, or they do not fit each other.
        """
        for name in self.modules:
            if name in OPS:
                raise self.root.at("modules").at(name).error(f"'{name}' is an op already; take another name")
        scope = _Scope()
        for name, node in self.root.at("states").mapping().items():
            name_of(node, name)
            if name == INPUT:
                raise node.error(f"'{INPUT}' is the network's input; take another name")
            if is_use(node.value):
                self._expand(name)
            else:
                self._state(name, name, node, scope)
        for node, name in self.references:
            self._known(replace(node, value=name))
        hops = self._hops(self.root.get("attention"))
        for name, found in hops.items():
            self.states[name] = replace(self.states[name], hops=tuple(found))
        head = self.root.at("head").mapping(HEAD_KEYS, required=HEAD_KEYS)
        output = self._known(head.at("from"))
        pool = self._integer(head.at("pool"), scope, least=1)
        order = self._order(output)
        decisions = self._ordered_decisions(order)
        states = tuple(self.states[name] for name in order)
        # Ordered by their outputs, the last of their states.
        repetitions = sorted(self.repetitions, key=lambda repetition: max(map(order.index, repetition.states.values())))
        graph = Graph(states, output, pool, self._shapes(order, size), decisions, tuple(repetitions))
        try:
            check_shared(graph)
        except ValueError as error:
            raise self.root.at("states").error(str(error)) from None
        for section, name in sorted(self.unused):
            hidden = section == "parameters" and name in self.hiding
            why = "; in a block that has a parameter of that name, the block's own is meant" if hidden else ""
            raise self.root.at(section).at(name).error(f"nothing uses the {section.removesuffix('s')} '{name}'{why}")
        return graph

    def _state(self, name: str, local: str, node: Node, scope: _Scope) -> None:
        """Read one state; `name` is its expanded name, `local` the one that stands in the file."""
        node.mapping(STATE_KEYS, required=("from",))
        combine: Literal["sum", "concat"] = "sum"
        if (found := node.get("combine")) is not None:
            if found.value not in ("sum", "concat"):
                raise found.error(f"must be sum or concat, found {describe(found.value)}")
            combine = found.value
        inputs = self._choice(
            node.at("from"), scope, f"{local}.from", lambda part: self._inputs(part, local, combine, scope)
        )
        module: Choice[Module] = Choice({"plain": ()})
        if (found := node.get("module")) is not None:
            module = self._module_choice(found, scope, local)
        self.places[name] = node
        self.states[name] = State(name, inputs, module)
        if (found := node.get("keep")) is not None:
            self._keep(found, inputs, scope)

    def _inputs(self, node: Node, state: str, combine: Literal["sum", "concat"], scope: _Scope) -> Inputs:
        """Read `name`, or a list of `name` and `{name: module}`."""
        edges: dict[str, Edge] = {}
        for item in parts_of(node):
            match item.value:
                case str() as source:
                    module: Choice[Module] = Choice({"plain": ()})
                case {"choose": _}:
                    raise item.error(
                        "a choice of inputs stands for all inputs of a state: 'from: {choose: {option: [state, ...]}}'"
                    )
                case {**entries} if len(entries) == 1:
                    ((source, part),) = item.mapping().items()
                    module = self._module_choice(part, scope, f"{state}.{source}")
                case _:
                    raise item.error(
                        f"an input is the name of a state, or one '{{state: module}}', found {describe(item.value)}"
                    )
            if source in edges:
                raise item.error(f"'{source}' is an input of this state already")
            edges[source] = Edge(self._source(item, source, scope), module, source)
        if not edges:
            raise node.error("a state needs at least one input")
        # A sum does not depend on the order in the file, and so neither do its rounding errors.
        ordered = sorted(edges.values(), key=lambda edge: edge.name) if combine == "sum" else edges.values()
        return Inputs(tuple(ordered), combine)

    def _module_choice(self, node: Node, scope: _Scope, default: str) -> Choice[Module]:
        module = self._module(node.value) if isinstance(node.value, str) and node.value in self.modules else node
        return self._choice(module, scope, default, lambda part: tuple(self._ops(part, scope)), node)

    def _module(self, name: str) -> Node:
        self.unused.discard(("modules", name))
        return self.root.at("modules").at(name)

    def _ops(self, node: Node, scope: _Scope, within: tuple[str, ...] = ()) -> Iterator[Op]:
        """Read an op by name, an op with arguments, a module of the file by name, or a list of these.

        `within` are the named modules that are being read.
        """
        match node.value:
            case list():
                for part in node.elements():
                    yield from self._ops(part, scope, within)
            case str() as name if name in within:
                raise node.error(f"the modules {' -> '.join([*within, name])} contain each other in a circle")
            case str() as name if name in self.modules:
                yield from self._ops(self._module(name), scope, (*within, name))
            case str() as name:
                yield self._op(node, name, {}, scope)
            case {"choose": _}:
                raise node.error(
                    "a choice stands for a whole module; it cannot be one of several ops or lie in another"
                )
            case {"op": str() as name, **args}:
                yield self._op(node.mapping(), name, {str(key): value for key, value in args.items()}, scope)
            case _:
                raise node.error(
                    f"a module is an op's name, '{{op: name, ...}}', a list of these or '{{choose: ...}}', "
                    f"found {describe(node.value)}"
                )

    def _op(self, node: Node, name: str, args: Mapping[str, Any], scope: _Scope) -> Op:
        kind = OPS.get(name)
        if name in self.modules:
            raise node.error(f"'{name}' is a module of this file; write its name alone, it takes no arguments")
        if kind is None:
            known = did_you_mean(name, [*OPS, *self.modules])
            raise node.error(f"no op or module is called '{name}'{known} (--ops FILE.py adds ops of your own)")
        share = args.get("share")
        if share is not None and not isinstance(share, str):
            raise node.at("share").error(f"must be the name of a set of weights, found {describe(share)}")
        values = {key: self._value(node.at(key), scope) for key in args if key != "share"}
        try:
            kind.check(values)
        except ValueError as error:
            key, message = error.args
            raise (node.at(key) if key in args else node).error(message) from None
        for key in kind.references & values.keys():
            values[key] = self._source(node.at(key), node.at(key).text(), scope)
        arguments = tuple((key, _frozen(value)) for key, value in sorted(values.items()))
        return Op(name, arguments, None if share is None else scope.prefix + share)

    def _choice(
        self, node: Node, scope: _Scope, default: str, read: Callable[[Node], T], place: Node | None = None
    ) -> Choice[T]:
        """Read `{choose: {option: part, ...}, decision: name}`, or a part that is no choice.

        `place` is where it is used, if it stands elsewhere.
        """
        if not (isinstance(node.value, dict) and "choose" in node.value):
            return Choice({"plain": read(node)})
        node.mapping(CHOICE_KEYS)
        table = node.at("choose").mapping()
        if not table.value:
            raise table.error("a choice needs at least one option")
        options = {name_of(part, name): read(part) for name, part in sorted(table.items())}
        named = node.get("decision")
        prefix, local = (scope.decisions, default) if named is None else (scope.named_decisions, name_of(named))
        decision, owner = prefix + local, scope.owner if prefix else "a state"
        first = self.owners.setdefault(decision, owner)
        if owner != first:
            raise (place or node).error(
                f"decision '{decision}' would be that of {first} and that of {owner}; give one of them another name"
            )
        before = self.decisions.setdefault(decision, tuple(options))
        if before != tuple(options):
            raise table.error(
                f"decision '{decision}' has the options {', '.join(before)} elsewhere, but {', '.join(options)} here; "
                "places that share a decision have the same options"
            )
        return Choice(options, decision)

    def _keep(self, node: Node, inputs: Choice[Inputs], scope: _Scope) -> None:
        """Read "keep the best k edges": exactly k edges take an option that is not `none`."""
        if inputs.decision is not None:
            raise node.error("'keep' needs one list of inputs, not a choice of lists")
        edges = [edge for edge in inputs.only.edges if edge.module.decision is not None]
        kept = self._integer(node, scope, least=1)
        matches: dict[str, frozenset[str]] = {}
        for edge in edges:
            zeros = [name for name, module in edge.module.options.items() if is_none(module)]
            if len(zeros) != 1:
                raise node.error(
                    f"the edge from '{edge.name}' needs exactly one option whose module is the op 'none' "
                    "(a dropped edge takes it)"
                )
            matches[str(edge.module.decision)] = frozenset(edge.module.options) - {zeros[0]}
        if len(matches) < len(edges):
            raise node.error("the edges of a state with 'keep' cannot share a decision")
        if kept > len(edges):
            raise node.error(f"cannot keep {kept} of {len(edges)} edges that have a choice")
        rule = Rule(matches, kept, kept, keeps=True)
        if rule not in self.keep_rules:  # the repetitions of a block state the same rule again
            self.keep_rules = (*self.keep_rules, rule)

    # --- blocks -------------------------------------------------------------------------------------------------------

    def _expand(self, name: str) -> list[str]:
        """Expand the use `name` of a block, once, and return the states that a repetition after it reads."""
        if name in self.windows:
            return self.windows[name]
        node = self.root.at("states").at(name)
        if name in self.expanding:
            raise node.error(f"the blocks {' -> '.join([*self.expanding, name])} follow each other in a circle")
        self.expanding.append(name)
        node.mapping(USE_KEYS, required=("block",))
        block_name = node.at("block").text()
        if block_name not in self.blocks:
            raise node.at("block").error(f"no block is called '{block_name}'{did_you_mean(block_name, self.blocks)}")
        self.unused.discard(("blocks", block_name))
        block = self.root.at("blocks").at(block_name)
        block.mapping(BLOCK_KEYS, required=("inputs", "states", "output"))
        if not parts_of(block.at("inputs")):
            raise block.at("inputs").error("a block needs at least one input")
        scope = _Scope()
        window = self._window(node, block, scope)
        repeat = self._integer(node.at("repeat"), scope, least=1) if "repeat" in node.value else 1
        arguments = self._arguments(node, block, scope)
        own = node.get("decisions")
        if own is not None and own.value not in ("shared", "own"):
            raise own.error(f"must be shared or own, found {describe(own.value)}")
        for index in range(1, repeat + 1):
            instance = f"{name}.{index}" if repeat > 1 else name
            # The name of the use means its last output.
            output = name if index == repeat else instance
            if own is not None and own.value == "own":
                naming = (f"{instance}.", f"{instance}.", f"the use '{name}'")
            else:
                naming = (f"{block_name}.", "", f"the block '{block_name}'")
            within = _Scope(arguments, {}, f"{instance}.", *naming)
            self._repetition(block_name, name, window, output, within)
            window = [*window[1:], output]
        self.expanding.pop()
        self.windows[name] = window
        return window

    def _repetition(self, block_name: str, use: str, window: list[str], output: str, scope: _Scope) -> None:
        """Read a block's states once, under the expanded names of its inputs (the window) and output."""
        block = self.root.at("blocks").at(block_name)
        locals_ = [name_of(part) for part in parts_of(block.at("inputs"))]
        states = block.at("states").mapping()
        last = block.at("output").text()
        if last not in states.value:
            raise block.at("output").error(f"the block has no state '{last}'{did_you_mean(last, states.value)}")
        names = {local: f"{scope.prefix}{local}" for local in sorted(states.value)} | {last: output}
        if len(set(locals_)) < len(locals_):
            raise block.at("inputs").error("two inputs of the block have the same name")
        inputs = dict(zip(locals_, window, strict=True))
        self.repetitions.append(Repetition(block_name, use, inputs, names))
        scope = replace(scope, names=names | inputs)
        for local, part in states.items():
            name_of(part, local)
            if is_use(part.value):
                raise part.error("a block's states cannot use blocks; use the block at the top")
            if local in locals_:
                raise part.error(f"'{local}' is an input of the block already")
            self._state(names[local], local, part, scope)

    def _window(self, node: Node, block: Node, scope: _Scope) -> list[str]:
        """Return the states that the first repetition of a block reads."""
        if ("from" in node.value) == ("after" in node.value):
            raise node.error("a block in use needs either 'from' (its inputs) or 'after' (the block that it follows)")
        if "after" in node.value:
            uses = [name for name, part in self.root.at("states").items() if is_use(part.value)]
            if node.at("after").text() not in uses:
                known = did_you_mean(node.at("after").text(), uses)
                raise node.at("after").error(f"no block in use is called '{node.value['after']}'{known}")
            window = self._expand(node.value["after"])
        else:
            window = [self._source(part, part.text(), scope) for part in parts_of(node.at("from"))]
        if len(window) != (wanted := len(parts_of(block.at("inputs")))):
            raise node.error(f"block '{node.value['block']}' has {wanted} inputs, found {len(window)}")
        return window

    def _arguments(self, node: Node, block: Node, scope: _Scope) -> dict[str, Any]:
        """Return the values that a use of a block gives to the block's parameters."""
        name = node.value["block"]
        declared = parts_of(block.at("parameters")) if "parameters" in block.value else []
        known = [name_of(part, pattern=PARAMETER) for part in declared]
        self.hiding.update(known)
        values = {}
        for key, part in node.at("with").mapping().items() if "with" in node.value else ():
            if key not in known:
                raise part.error(f"block '{name}' has no parameter '{key}'{did_you_mean(key, known)}")
            values[key] = number_of(part, self._value(part, scope))
        if missing := [key for key in known if key not in values]:
            raise node.error(f"block '{name}' needs 'with: {{{missing[0]}: ...}}'")
        return values

    # --- attention ----------------------------------------------------------------------------------------------------

    def _hops(self, node: Node | None) -> dict[str, list[Hop]]:
        """Read the table of hops: decision -> option -> hops, each written `source -> target`."""
        hops: dict[str, list[Hop]] = {}
        if node is None:
            return hops
        node.mapping(ATTENTION_KEYS, required=("hops",))
        if (unit := node.get("unit")) is not None and unit.value not in ATTENTION_UNITS:
            raise unit.error(f"must be one of {', '.join(ATTENTION_UNITS)}, found {describe(unit.value)}")
        # Sorted, so that products of several hops do not depend on the order in the file.
        for decision, table in sorted(node.at("hops").mapping().items()):
            for word in decision.split("."):
                name_of(table, word)
            if decision in self.decisions:
                raise table.error(f"decision '{decision}' is made elsewhere already; hops need one of their own")
            self.decisions[decision] = tuple(sorted(table.mapping().value))
            if not table.value:
                raise table.error("a decision needs at least one option")
            for option, part in sorted(table.items()):
                name_of(part, option)
                written = [] if part.value is None else parts_of(part)
                for item in sorted(written, key=Node.text):
                    match = HOP.fullmatch(item.text())
                    if match is None:
                        raise item.error(f"a hop is written 'source -> target', found {describe(item.value)}")
                    source, target = (self._known(replace(item, value=end)) for end in match.groups())
                    if target == INPUT:
                        raise item.error("a hop cannot lead to the input")
                    hops.setdefault(target, []).append(Hop(source, decision, option))
        return hops

    # --- values -------------------------------------------------------------------------------------------------------

    def _value(self, node: Node, scope: _Scope) -> Any:
        """Return a value with `$parameter` and `$parameter * 2` replaced."""
        match node.value:
            case str() as text if text.startswith("$"):
                match = REFERENCE.fullmatch(text)
                if match is None:
                    raise node.error(f"must read '$name' or '$name * 2', found {text!r}")
                name, factor = match.groups()
                values = {**self.parameters, **scope.arguments}
                if name not in values:
                    raise node.error(f"no parameter is called '{name}'{did_you_mean(name, values)}")
                if name not in scope.arguments:
                    self.unused.discard(("parameters", name))
                value = values[name]
                return value if factor is None else value * int(factor)
            case list():
                return [self._value(part, scope) for part in node.elements()]
            case _:
                return node.value

    def _integer(self, node: Node, scope: _Scope, least: int) -> int:
        return replace(node, value=self._value(node, scope)).integer(least)

    def _source(self, node: Node, name: str, scope: _Scope) -> str:
        """Return the expanded name of a state that is referred to; inside a block only its own names can be."""
        if scope.names and name not in scope.names:
            raise node.error(f"the block has no state or input '{name}'{did_you_mean(name, scope.names)}")
        expanded = scope.names.get(name, name)
        self.references.append((node, expanded))
        return expanded

    def _known(self, node: Node) -> str:
        """Return the name of a state when all states are read."""
        name = node.text()
        if name != INPUT and name not in self.states:
            raise node.error(f"no state is called '{name}'{did_you_mean(name, [INPUT, *self.states])}")
        return name

    # --- order and shapes ---------------------------------------------------------------------------------------------

    def _order(self, output: str) -> list[str]:
        """Return the states in an order of computation that does not depend on their order in the file."""
        graph: nx.DiGraph[Any] = nx.DiGraph()
        graph.add_nodes_from([INPUT, *self.states])
        for name, state in self.states.items():
            for source in state.sources | {value for op in _ops(state) for value in referenced(op)}:
                graph.add_edge(source, name)
        if not nx.is_directed_acyclic_graph(graph):
            cycle = [edge[0] for edge in nx.find_cycle(graph)]
            circle = " -> ".join([*cycle, cycle[0]])
            raise self.places[cycle[-1]].error(
                f"the states {circle} read each other in a circle; a state, and a hop into it, reads states before it"
            )
        idle = set(self.states) - nx.ancestors(graph, output) - {output}
        if idle:
            name = min(idle)
            raise self.places[name].error(
                f"the state '{name}' leads nowhere: no way from it reaches the head ('{output}')"
            )
        return [name for name in nx.lexicographical_topological_sort(graph, key=_natural) if name != INPUT]

    def _ordered_decisions(self, order: list[str]) -> dict[str, tuple[str, ...]]:
        """Return the decisions in the order in which the states meet them."""
        met: dict[str, None] = {}
        for name in order:
            state = self.states[name]
            choices: list[Choice[Any]] = [*(edge.module for edge in state.edges), state.inputs, state.module]
            for decision in [
                *(choice.decision for choice in choices),
                *sorted(str(hop.decision) for hop in state.hops),
            ]:
                if decision is not None:
                    met.setdefault(decision)
        return {name: self.decisions[name] for name in [*met, *sorted(set(self.decisions) - set(met))]}

    def _shapes(self, order: list[str], size: int) -> dict[str, Shape]:
        shapes = {INPUT: Shape(self.root.at("input").at("channels").integer(1), size, size)}
        for name in order:
            try:
                shapes[name] = state_shape(self.states[name], shapes)
            except ValueError as error:
                place = self.places[name]
                # A state of a block stands in the file once, but in the graph in each of its repetitions.
                which = "" if place.path[0] == "states" else f"as '{name}': "
                raise place.error(f"{which}{error}") from None
        return shapes


def _ops(state: State) -> Iterator[Op]:
    for module in [*state.module.options.values(), *(m for e in state.edges for m in e.module.options.values())]:
        yield from module


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return a sort key under which `cell.2` comes before `cell.10`."""
    parts = [part for part in re.split(r"([0-9]+)", name) if part]
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts], name
