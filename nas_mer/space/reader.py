"""From the YAML of a search space to what it describes.

What is wrong is reported with file, line and key path. `docs/search-spaces.md` describes the form for users,
`schema.py` for editors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nas_mer.errors import UserError
from nas_mer.placed_yaml import Node, describe
from nas_mer.space.decisions import Rule
from nas_mer.space.graph import Graph
from nas_mer.space.states import StateReader
from nas_mer.space.syntax import (
    BOUNDS,
    INPUT_KEYS,
    PARAMETER,
    TOP_KEYS,
    Parameters,
    is_use,
    name_of,
    number_of,
    parts_of,
)
from nas_mer.words import did_you_mean


@dataclass(frozen=True)
class Description:
    """What a space file says, read and checked."""

    name: str
    title: str
    graph: Graph
    rules: tuple[Rule, ...]
    genotypes: Mapping[str, Mapping[str, str]]
    parameters: Parameters
    overrides: Parameters
    tune: Mapping[str, tuple[int | float | bool, ...]]
    digest: str


def read(root: Node, overrides: Parameters) -> Description:
    """Read a space from its YAML, with some of its parameters (and `size`, the input's side) set to other values.

    Raises:
        UserError: anything in the file does not fit; the message names file, line and key.
    """
    root.mapping(TOP_KEYS, required=("version", "name", "input", "states", "head"))
    if root.value["version"] != 1:
        raise root.at("version").error(f"this toolkit reads version 1, found {describe(root.value['version'])}")
    name = name_of(root.at("name"))
    title = node.text() if (node := root.get("title")) else name
    parameters, size, changed = _sizes(root, overrides)
    reader = StateReader(root, parameters)
    graph = reader.graph(size)
    names = list(graph.decisions)
    keep_rules = sorted(reader.keep_rules, key=lambda rule: min(map(names.index, rule.matches)))
    rules = (*keep_rules, *_constraints(root.get("constraints"), graph.decisions))
    genotypes = dict(_genotypes(root.get("genotypes"), graph.decisions, rules))
    tune = dict(_tune(root.get("tune"), {"size": size, **parameters}))
    return Description(name, title, graph, rules, genotypes, parameters, changed, tune, digest(root.value))


def digest(value: Mapping[str, Any]) -> str:
    """Return the content hash of a space: of all that decides what its genotypes mean.

    The order of keys, summed inputs, hops and constraints does not count, nor do names, titles and sizes: the same
    choices at 32 feature maps or 100 pixels are the same genotype.
    """
    without = ("name", "title", "parameters", "tune", "genotypes")
    kept = {key: part for key, part in value.items() if key not in without}
    kept["input"] = {key: part for key, part in value["input"].items() if key != "size"}
    kept["states"] = _orderless(value["states"])
    blocks = value.get("blocks", {})
    kept["blocks"] = {name: block | {"states": _orderless(block["states"])} for name, block in blocks.items()}
    for key in kept.keys() & {"attention", "constraints"}:
        kept[key] = _as_sets(kept[key])
    return hashlib.sha256(_text(kept).encode()).hexdigest()[:12]


def _orderless(states: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table of states in which the inputs that are summed are sorted."""
    return {
        name: state if is_use(state) or state.get("combine") == "concat" else state | {"from": _sorted(state["from"])}
        for name, state in states.items()
    }


def _sorted(inputs: Any) -> Any:
    match inputs:
        case list():
            return sorted(inputs, key=_text)
        case {"choose": options, **rest}:
            return {"choose": {name: _sorted(part) for name, part in options.items()}, **rest}
        case _:
            return inputs


def _as_sets(value: Any) -> Any:
    """Return a value in which every list is sorted."""
    match value:
        case list():
            return sorted(map(_as_sets, value), key=_text)
        case dict():
            return {name: _as_sets(part) for name, part in value.items()}
        case _:
            return value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def complete(choices: Mapping[str, str], rules: tuple[Rule, ...], decisions: Mapping[str, Any]) -> dict[str, str]:
    """Return choices in which the edges of keeping states that are not mentioned are dropped."""
    dropped = {
        name: next(option for option in decisions[name] if option not in kept)
        for rule in rules
        if rule.keeps
        for name, kept in rule.matches.items()
    }
    return {name: choices.get(name, dropped.get(name, "")) for name in decisions}


def _sizes(root: Node, overrides: Parameters) -> tuple[Parameters, int, Parameters]:
    """Return the parameters, the input's side, and the overrides that differ from the file."""
    node = root.get("parameters")
    written: dict[str, int | float | bool] = {
        "size": root.at("input").mapping(INPUT_KEYS, required=INPUT_KEYS).at("size").integer(1)
    }
    for name, part in node.mapping().items() if node is not None else ():
        if name == "size":
            raise part.error("'size' is the side of the input; take another name")
        written[name_of(part, name, PARAMETER)] = number_of(part, part.value)
    values = dict(written)
    for name, value in overrides.items():
        if name not in written:
            raise UserError(f"{root.file}: the space has no parameter '{name}'{did_you_mean(name, written)}")
        if not _alike(value, written[name]):
            raise UserError(f"{root.file}: parameter '{name}' is like {written[name]!r}, found {value!r}")
        values[name] = type(written[name])(value)
    if values["size"] < 1:
        raise UserError(f"{root.file}: the size of the input is at least 1, found {values['size']}")
    changed = {name: value for name, value in values.items() if value != written[name]}
    return values, int(values.pop("size")), changed


def _alike(value: Any, written: float) -> bool:
    """Return whether a value is of the kind of a parameter's in the file; a whole number is a fraction, too."""
    kind = type(written)
    return type(value) in ((float, int) if kind is float else (kind,))


def _tune(node: Node | None, parameters: Parameters) -> Iterator[tuple[str, tuple[int | float | bool, ...]]]:
    """Read `{parameter: [value, ...]}`."""
    for name, part in node.mapping(parameters).items() if node is not None else ():
        if not isinstance(part.value, list) or not part.value:
            raise part.error(f"must be a list of values, found {describe(part.value)}")
        for one in part.elements():
            if not _alike(one.value, parameters[name]):
                raise one.error(f"parameter '{name}' is like {parameters[name]!r}, found {describe(one.value)}")
        values = tuple(type(parameters[name])(value) for value in part.value)
        if len(set(values)) < len(values):
            raise part.error("a value is there twice")
        yield name, values


def _constraints(node: Node | None, decisions: Mapping[str, tuple[str, ...]]) -> Iterator[Rule]:
    """Read `{at_most: 1, of: {decision: option}}`, `at_least`, `exactly`, and `{forbid: {decision: option, ...}}`."""
    if node is None:
        return
    for item in parts_of(node):
        item.mapping((*BOUNDS, "of", "forbid"))
        match item.value:
            case {"forbid": _, **rest} if not rest:
                matches = _matches(item.at("forbid"), decisions)
                yield Rule(matches, 0, len(matches) - 1)
            case {"of": _, **rest} if rest.keys() in ({"exactly"}, {"at_least"}, {"at_most"}, {"at_least", "at_most"}):
                matches = _matches(item.at("of"), decisions)
                bounds = {key: item.at(key).integer(0) for key in BOUNDS if key in rest}
                low = bounds.get("exactly", bounds.get("at_least", 0))
                high = bounds.get("exactly", bounds.get("at_most", len(matches)))
                if not low <= min(high, len(matches)):
                    raise item.error(f"cannot hold: at least {low} and at most {high} of {len(matches)} decisions")
                yield Rule(matches, low, high)
            case _:
                raise item.error(
                    "a constraint is {at_most: n, of: {decision: option}}, the same with at_least or exactly, "
                    "or {forbid: {decision: option, ...}}"
                )


def _matches(node: Node, decisions: Mapping[str, tuple[str, ...]]) -> dict[str, frozenset[str]]:
    matches = {}
    for decision, part in node.mapping().items():
        _check_decision(part, decision, decisions)
        options = parts_of(part)
        for option in options:
            _check_option(option, decision, decisions)
        matches[decision] = frozenset(option.value for option in options)
    if not matches:
        raise node.error("name at least one decision")
    return matches


def _genotypes(
    node: Node | None, decisions: Mapping[str, tuple[str, ...]], rules: tuple[Rule, ...]
) -> Iterator[tuple[str, dict[str, str]]]:
    for name, table in node.mapping().items() if node is not None else ():
        name_of(table, name)
        for decision, part in table.mapping().items():
            _check_decision(part, decision, decisions)
            _check_option(part, decision, decisions)
        choices = complete(table.value, rules, decisions)
        for decision, option in choices.items():
            if not option:
                raise table.error(
                    f"the decision '{decision}' is missing; its options: {', '.join(decisions[decision])}"
                )
        yield name, choices


def _check_decision(node: Node, decision: str, decisions: Mapping[str, tuple[str, ...]]) -> None:
    if decision not in decisions:
        raise node.error(f"no decision is called '{decision}'{did_you_mean(decision, decisions)}")


def _check_option(node: Node, decision: str, decisions: Mapping[str, tuple[str, ...]]) -> None:
    if node.value not in decisions[decision]:
        known = did_you_mean(str(node.value), decisions[decision])
        raise node.error(f"decision '{decision}' has no option {describe(node.value)}{known}")
