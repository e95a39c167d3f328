"""Which genotypes are the same network: frozen graphs up to the names of their states.

A frozen graph is reduced to what it computes (identities are no nodes, zeros no terms of a sum, sums of sums are one
sum), hashed, and compared exactly with the graphs of the same hash.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import cast

import networkx as nx

from nas_mer.space.graph import INPUT, Graph, Inputs, Module, is_none
from nas_mer.space.ops import Shape
from nas_mer.space.shapes import combined_shape, module_shape

Reduced = nx.MultiDiGraph  # nodes carry `label`; edges carry `slot`, which tells ordered inputs apart


class Distinct:
    """Remembers networks and tells whether another one is new."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[int, Reduced[int]]]] = {}
        self._count = 0

    def add(self, graph: Graph) -> bool:
        """Remember a frozen graph; return False where an isomorphic one was added before."""
        known = self._count
        return self.number(graph) == known

    def number(self, graph: Graph) -> int:
        """Remember a frozen graph; return its number, from 0, which is that of all isomorphic ones."""
        reduced = reduce(graph)
        alike = self._seen.setdefault(_hash(reduced), [])
        for number, other in alike:
            if _isomorphic(reduced, other):
                return number
        alike.append((self._count, reduced))
        self._count += 1
        return self._count - 1


def reduce(graph: Graph) -> Reduced[int]:
    """Return what a frozen graph computes as a labelled directed acyclic multigraph.

    Nodes are numbered in an order of computation; the last one is the head.
    """
    reduced: Reduced[int] = nx.MultiDiGraph()

    def node(label: str, inputs: Sequence[tuple[int, str]]) -> int:
        number = reduced.number_of_nodes()
        reduced.add_node(number, label=label)
        for source, slot in inputs:
            reduced.add_edge(source, number, slot=slot)
        return number

    def applied(module: Module, source: int, before: Shape) -> int:
        ops = [op for op in module if not (op.name == "skip" and dict(op.args).get("stride", 1) == 1)]
        if not ops:
            return source
        if is_none(module):
            shape = module_shape(module, before, graph.shapes)
            return zeros[shape] if shape in zeros else zeros.setdefault(shape, node(f"zeros {shape}", []))
        text = " ".join(f"{op}/{op.share}" if op.share else str(op) for op in ops)
        return node(text, [(source, "")])

    def total(terms: list[int]) -> int:
        """Return the node of a sum, the sums among its terms dissolved, the zeros left out."""
        flat: list[int] = []
        for term in terms:
            if term in sums.values():
                flat.extend(source for source, _, _ in reduced.in_edges(term, keys=True))
            elif term not in zeros.values():
                flat.append(term)
        addends = tuple(sorted(flat or terms[:1]))
        if len(addends) > 1 and addends not in sums:
            sums[addends] = node("sum", [(term, "") for term in addends])
        return sums.get(addends, addends[0])

    def combined(inputs: Inputs) -> int:
        ends = [applied(edge.module.only, values[edge.source], graph.shapes[edge.source]) for edge in inputs.edges]
        if inputs.combine == "sum":
            return total(ends)
        return node("concat", [(end, str(slot)) for slot, end in enumerate(ends)])

    zeros: dict[Shape, int] = {}
    sums: dict[tuple[int, ...], int] = {}  # terms -> their sum
    values = {INPUT: node(f"input {graph.shapes[INPUT]}", [])}
    for state in graph.states:
        inputs = state.inputs.only
        value = applied(state.module.only, combined(inputs), combined_shape(inputs, graph.shapes))
        if state.hops:
            value = node("attended", [(value, "target"), *((values[hop.source], "source") for hop in state.hops)])
        values[state.name] = value
    head = node(f"head {graph.pool}", [(values[graph.output], "")])
    alive = nx.ancestors(reduced, head) | {head}
    return cast("Reduced[int]", nx.MultiDiGraph(reduced.subgraph(sorted(alive))))


def _hash(graph: Reduced[int]) -> str:
    """Return a hash that is equal for isomorphic graphs: of every node's label and the hashes that it reads."""
    hashes: dict[int, str] = {}
    for node in sorted(graph):  # an order of computation
        inputs = sorted(f"{data['slot']}:{hashes[source]}" for source, _, data in graph.in_edges(node, data=True))
        hashes[node] = hashlib.sha256(repr((graph.nodes[node]["label"], inputs)).encode()).hexdigest()
    return hashlib.sha256(repr(sorted(Counter(hashes.values()).items())).encode()).hexdigest()


def _isomorphic(one: Reduced[int], other: Reduced[int]) -> bool:
    def slots(edges: dict[int, dict[str, str]]) -> list[str]:
        return sorted(edge["slot"] for edge in edges.values())

    return bool(
        nx.is_isomorphic(
            one,
            other,
            node_match=lambda a, b: a["label"] == b["label"],
            edge_match=lambda a, b: slots(a) == slots(b),
        )
    )
