"""The words of a space file: its keys, its patterns, and how names, numbers and lists are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nas_mer.placed_yaml import Node, describe

Parameters = Mapping[str, int | float | bool]

TOP_KEYS = (
    "version", "name", "title", "input", "parameters", "tune", "modules", "blocks", "states", "attention", "head",
    "constraints", "genotypes",
)  # fmt: skip
INPUT_KEYS = ("channels", "size")
STATE_KEYS = ("from", "module", "combine", "keep")
CHOICE_KEYS = ("choose", "decision")
BLOCK_KEYS = ("inputs", "parameters", "states", "output")
USE_KEYS = ("block", "from", "after", "repeat", "with", "decisions")
ATTENTION_KEYS = ("unit", "hops")
ATTENTION_UNITS = ("class_activation",)
HEAD_KEYS = ("from", "pool")
BOUNDS = ("at_least", "at_most", "exactly")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+-]*")
PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
REFERENCE = re.compile(rf"\$({PARAMETER.pattern})(?:\s*\*\s*([0-9]+))?")
HOP = re.compile(r"(\S+)\s*->\s*(\S+)")


def is_use(state: Any) -> bool:
    """Return whether what stands for a state is a block in use."""
    return isinstance(state, dict) and "block" in state


def name_of(node: Node, name: str | None = None, pattern: re.Pattern[str] = NAME) -> str:
    """Return a name, the node's own or that of its key, if it is made of what names are made of."""
    text = node.text() if name is None else name
    if not pattern.fullmatch(text):
        made = "letters, digits, '_', '-' and '+'" if pattern is NAME else "letters, digits and '_', no digit first"
        raise node.error(f"a name is made of {made}, found {text!r}")
    return text


def number_of(node: Node, value: Any) -> int | float | bool:
    """Return a parameter's value if it is one."""
    if not isinstance(value, int | float):
        raise node.error(f"a parameter is a number, true or false, found {describe(value)}")
    return value


def parts_of(node: Node) -> list[Node]:
    """Return the elements of a list, or the one value that stands without brackets."""
    return list(node.elements()) if isinstance(node.value, list) else [node]
