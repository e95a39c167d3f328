"""The JSON Schema of a search space's YAML, by which editors complete and check it.

It says what a file may look like. Whether its references, shapes and constraints hold together, only reading it tells
(`SearchSpace.load`). Keys, names and ops are those of the reader and of the registry; ops that a user's module
registers appear here as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter

from nas_mer.space import syntax
from nas_mer.space.ops import OPS, OpType

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DOTTED = rf"^{syntax.NAME.pattern}(\.{syntax.NAME.pattern})*$"


def json_schema() -> Schema:
    """Return the schema (JSON Schema 2020-12) of a space's YAML as plain data, with the ops registered by now."""
    properties = {
        "version": {"const": 1, "description": "The version of this form."},
        "name": _name("The space's name; genotypes carry it."),
        "title": {"type": "string", "description": "One line on what the space is."},
        "input": _object(
            syntax.INPUT_KEYS,
            {
                "channels": _whole(1, "Channels of the input maps: 3 for flow maps (u, v, strain)."),
                "size": _whole(1, "Side of the square input maps, in pixels; a dataset's maps are resized to it."),
            },
            required=syntax.INPUT_KEYS,
            description="The maps that the network takes.",
        ),
        "parameters": {
            "type": "object",
            "propertyNames": {"pattern": _whole_text(syntax.PARAMETER), "not": {"const": "size"}},
            "additionalProperties": {"type": ["number", "boolean"]},
            "description": "Sizes by name, referred to as `$name` or `$name * 2`; they can be set from outside.",
        },
        "tune": {
            "type": "object",
            "propertyNames": {"pattern": _whole_text(syntax.PARAMETER)},
            "additionalProperties": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": {"type": ["number", "boolean"]},
            },
            "description": "The values that `nas-mer search --tune NAME` tries of a parameter, or of `size`.",
        },
        "modules": _table(_ref("module"), "Modules by name, for use in several places."),
        "blocks": _table(_ref("block"), "Blocks of states by name, for use as states."),
        "states": _table(
            {"if": {"required": ["block"]}, "then": _ref("use"), "else": _ref("state")},
            "The states by name: each combines earlier states (or `input`) and applies a module.",
        ),
        "attention": _object(
            syntax.ATTENTION_KEYS,
            {
                "unit": {"enum": list(syntax.ATTENTION_UNITS), "description": "How an attention map is made."},
                "hops": {
                    "type": "object",
                    "propertyNames": {"pattern": _DOTTED},
                    "additionalProperties": _table(_ref("hops"), "The decision's options.", at_least=1),
                    "description": "Decision -> option -> its hops, each `source -> target`; none: `[]`.",
                },
            },
            required=["hops"],
            description="Attention maps of states that multiply later states.",
        ),
        "head": _object(
            syntax.HEAD_KEYS,
            {
                "from": _state("The state that is classified."),
                "pool": _or_reference(_whole(1), "Side K of the adaptive average pooling before the linear layer."),
            },
            required=syntax.HEAD_KEYS,
            description="Pooling and a linear classifier.",
        ),
        "constraints": _one_or_list(_ref("constraint"), "What every genotype keeps."),
        "genotypes": _table(
            {"type": "object", "additionalProperties": {"type": "string"}},
            "Genotypes by name: decision -> option. Edges of a state with `keep` that are not named are dropped.",
        ),
    }
    return {
        "$schema": DIALECT,
        "title": "A search space of nas-mer",
        **_object(syntax.TOP_KEYS, properties, required=("version", "name", "input", "states", "head")),
        "$defs": {**_definitions(), **{f"op.{name}": _op(kind) for name, kind in OPS.items()}},
    }


def _definitions() -> Schema:
    state = _object(
        syntax.STATE_KEYS,
        {
            "from": _or_choice(_ref("inputs"), "What it takes: a state, a list of states, or a choice of these."),
            "module": {**_ref("module"), "description": "What is applied to it; nothing by default."},
            "combine": {"enum": ["sum", "concat"], "default": "sum", "description": "How several inputs are combined."},
            "keep": _or_reference(_whole(1), "Of the inputs with a choice, this many take another option than `none`."),
        },
        required=["from"],
        description="One feature map of the network.",
    )
    use = _object(
        syntax.USE_KEYS,
        {
            "block": _name("The block that stands here."),
            "from": _one_or_list(_state("A state."), "The states that its inputs are, in the block's order."),
            "after": _name(
                "The block in use that it follows: its inputs are what a repetition of that one would read."
            ),
            "repeat": _or_reference(_whole(1), "How many times, one after the other.", default=1),
            "with": {
                "type": "object",
                "additionalProperties": _or_reference({"type": ["number", "boolean"]}, "A number."),
                "description": "Values of the block's parameters.",
            },
            "decisions": {
                "enum": ["shared", "own"],
                "default": "shared",
                "description": "Whether all repetitions and uses of the block choose alike.",
            },
        },
        required=["block"],
        description="A block in use; its name stands for the output of its last repetition.",
    )
    use["oneOf"] = [{"required": ["from"]}, {"required": ["after"]}]
    block = _object(
        syntax.BLOCK_KEYS,
        {
            "inputs": _one_or_list(_name("An input."), "What it calls its inputs.", at_least=1),
            "parameters": _one_or_list(
                {"type": "string", "pattern": _whole_text(syntax.PARAMETER)}, "Sizes that each use gives it by `with`."
            ),
            "states": _table(_ref("state"), "Its states; they see its inputs and each other."),
            "output": _name("The state that the block's name stands for."),
        },
        required=["inputs", "states", "output"],
        description="States that can be used several times.",
    )
    matches = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": _one_or_list({"type": "string"}, "An option, or several."),
        "description": "Decision -> the options that count.",
    }
    bounds = {key: _whole(0, f"{key.replace('_', ' ').capitalize()} this many match.") for key in syntax.BOUNDS}
    constraint = _object((*syntax.BOUNDS, "of", "forbid"), {**bounds, "of": matches, "forbid": matches})
    constraint["oneOf"] = [
        {"required": ["forbid"], "maxProperties": 1},
        {"required": ["of", "exactly"], "maxProperties": 2},
        {
            "required": ["of"],
            "anyOf": [{"required": ["at_least"]}, {"required": ["at_most"]}],
            "properties": {"exactly": False, "forbid": False},
        },
    ]
    hop = {"type": "string", "pattern": _whole_text(syntax.HOP), "description": "`source -> target`"}
    return {
        "reference": {
            "type": "string",
            "pattern": _whole_text(syntax.REFERENCE),
            "description": "A parameter: `$name` or `$name * 2`.",
        },
        "state": state,
        "use": use,
        "block": block,
        "constraint": constraint,
        "hops": {"anyOf": [{"type": "null"}, hop, {"type": "array", "items": hop}]},
        "inputs": _one_or_list(
            {
                "anyOf": [
                    _state("A state, or `input`."),
                    {
                        "type": "object",
                        "propertyNames": {"pattern": _DOTTED, "not": {"const": "choose"}},
                        "additionalProperties": _ref("module"),
                        "minProperties": 1,
                        "maxProperties": 1,
                        "description": "A state through a module.",
                    },
                ]
            },
            "A state, or a list of states and `{state: module}`.",
            at_least=1,
        ),
        "module": _or_choice(_ref("ops"), "An op, a list of ops, a module by name, or a choice of these."),
        "ops": {
            "anyOf": [
                {"enum": [name for name, kind in OPS.items() if not kind.required]},
                {**_name("A module of this file."), "not": {"enum": list(OPS)}},
                _ref("op"),
                {"type": "array", "items": _ref("ops")},
            ]
        },
        "op": {
            "type": "object",
            "required": ["op"],
            "properties": {"op": {"enum": list(OPS), "description": "Which op."}},
            "allOf": [{"if": {"properties": {"op": {"const": name}}}, "then": _ref(f"op.{name}")} for name in OPS],
        },
    }


def _op(kind: OpType) -> Schema:
    """Return the schema of `{op: name, ...}`."""
    properties = {
        "op": {"const": kind.name},
        **{name: _argument(kind, name) for name in kind.types},
        "share": {"type": "string", "description": "Ops with the same word here have the same weights."},
    }
    return _object(properties, properties, required=("op", *kind.required), description=kind.summary)


def _argument(kind: OpType, name: str) -> Schema:
    if name in kind.references:
        return _state("A state, after whose size the op goes.")
    schema = _with_references(TypeAdapter(kind.types[name]).json_schema())
    default = kind.defaults.get(name)
    return schema if default is None else {**schema, "default": default}


def _with_references(schema: Schema) -> Schema:
    """Return the schema of an argument in which `$name` may stand for every number."""
    if schema.get("type") == "array":
        return {**schema, "items": _with_references(schema.get("items", {}))}
    return {"anyOf": [*schema.get("anyOf", [schema]), _ref("reference")]}


def _object(
    keys: Iterable[str], properties: Mapping[str, Schema], required: Iterable[str] = (), description: str = ""
) -> Schema:
    """Return the schema of a mapping with exactly these keys."""
    schema: Schema = {
        "type": "object",
        "properties": {key: properties[key] for key in keys},
        "required": list(required),
        "additionalProperties": False,
    }
    return {**schema, "description": description} if description else schema


def _table(value: Schema, description: str, at_least: int = 0) -> Schema:
    """Return the schema of a mapping of names to values."""
    return {
        "type": "object",
        "propertyNames": {"pattern": _whole_text(syntax.NAME)},
        "additionalProperties": value,
        "minProperties": at_least,
        "description": description,
    }


def _or_choice(value: Schema, description: str) -> Schema:
    """Return the schema of a value or a choice of several."""
    choice = _object(
        syntax.CHOICE_KEYS,
        {
            "choose": _table(value, "The options by name, of which one survives.", at_least=1),
            "decision": _name("The decision's name; places with the same one choose alike."),
        },
        required=["choose"],
    )
    return {"if": {"type": "object", "required": ["choose"]}, "then": choice, "else": value, "description": description}


def _one_or_list(value: Schema, description: str, at_least: int = 0) -> Schema:
    """Return the schema of one value or a list of them."""
    return {"anyOf": [value, {"type": "array", "items": value, "minItems": at_least}], "description": description}


def _or_reference(value: Schema, description: str, **more: Any) -> Schema:
    return {"anyOf": [value, _ref("reference")], "description": description, **more}


def _whole(least: int, description: str = "") -> Schema:
    return {"type": "integer", "minimum": least, **({"description": description} if description else {})}


def _name(description: str) -> Schema:
    return {"type": "string", "pattern": _whole_text(syntax.NAME), "description": description}


def _state(description: str) -> Schema:
    """Return the schema of a state's name, also of a state inside a block in use (`stage1.2.n3`)."""
    return {"type": "string", "pattern": _DOTTED, "description": description}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _whole_text(pattern: Any) -> str:
    return f"^{pattern.pattern}$"
