"""Architectures as graphs for other tools: GraphML, DOT and node-link JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import networkx as nx

from nas_mer.files import write_text
from nas_mer.search.decided import decidedness
from nas_mer.view.architecture import Architecture, Option

FORMATS = (".dot", ".graphml", ".json")


def write_architecture(graph: Architecture, path: Path) -> None:
    """Write a graph of `architecture` as DOT, GraphML or node-link JSON, by the suffix of `path`, one of `FORMATS`.

    JSON holds what `plain` returns. GraphML and DOT hold no lists and mappings: there these are JSON text, and what is
    None is left out. In DOT all but `label` is called `nas_...`, because `shape`, `size` and others mean something else
    to Graphviz, and all values are text.
    """
    found = plain(graph)
    match path.suffix.lower():
        case ".json":
            text = json.dumps(nx.node_link_data(found, edges="edges"), indent=1)
        case ".graphml":
            text = "\n".join(nx.generate_graphml(flat(found)))
        case _:
            text = _dot(flat(found))
    write_text(path, text.rstrip() + "\n")


def plain(graph: Architecture) -> Architecture:
    """Return a graph of `architecture` with attributes that are numbers, texts, booleans, None, or lists and mappings.

    Nodes and edges have the attributes that `architecture` describes; edges are called `e1`, `e2` and so on. The
    graph has `space`, `title`, `size`, `input` and `weighed`; `genotype`, the choices of the genotype that is marked or
    alone, or None; `joint`, its joint weight, or None; `decisions`: decision -> options, each with `name`, `weight`,
    `chosen` and `zero`, whether it cuts an edge; `decided`: decision -> how decided it is, 0..1, where weights are
    shown; and `repetitions` of blocks.
    """
    about, zeros = graph.graph, graph.graph["zeros"]
    decisions = {
        decision: [asdict(option) | {"zero": (decision, option.name) in zeros} for option in options]
        for decision, options in about["decisions"].items()
    }
    plainly = {name: about[name] for name in ("space", "title", "size", "input", "weighed", "joint")} | {
        "genotype": None if about["genotype"] is None else dict(about["genotype"].choices),
        "decisions": decisions,
        "decided": {name: decidedness(option["weight"] for option in options) for name, options in decisions.items()}
        if about["weighed"]
        else {},
        "repetitions": [asdict(repetition) for repetition in about["repetitions"]],
    }
    named: Architecture = nx.MultiDiGraph()
    named.add_nodes_from(graph.nodes(data=True))
    for index, (source, target, data) in enumerate(graph.edges(data=True), start=1):
        named.add_edge(source, target, key=f"e{index}", **data)
    return _changed(named, plainly, lambda data: {name: _plain(value) for name, value in data.items()})


def flat(graph: Architecture) -> Architecture:
    """Return a graph of `plain` without None and with lists and mappings as JSON text.

    The size of a space is text, too: it may be greater than what GraphML's numbers hold.
    """
    return _changed(graph, _flat(graph.graph | {"size": str(graph.graph["size"])}), _flat)


def _changed(
    graph: Architecture, about: Mapping[str, Any], change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> Architecture:
    """Return a graph with other attributes, and with the changed ones of its nodes and edges."""
    found: Architecture = nx.MultiDiGraph(**about)
    for node, data in graph.nodes(data=True):
        found.add_node(node, **change(data))
    for source, target, key, data in graph.edges(keys=True, data=True):
        found.add_edge(source, target, key=key, **change(data))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return asdict(value) if isinstance(value, Option) else value


def _flat(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
        for name, value in data.items()
        if value is not None
    }


def _dot(graph: Architecture) -> str:
    def named(data: Mapping[str, Any]) -> dict[str, str]:
        return {name if name == "label" else f"nas_{name}": _quoted(value) for name, value in data.items()}

    return str(nx.nx_pydot.to_pydot(_changed(graph, {"graph": named(graph.graph)}, named)).to_string())


def _quoted(value: Any) -> str:
    """Return a value as a quoted text of DOT, whose rules are JSON's."""
    return json.dumps(value if isinstance(value, str) else json.dumps(value), ensure_ascii=False)
