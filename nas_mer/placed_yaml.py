"""YAML read with the place of every value, so that a message can name it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from nas_mer.errors import UserError
from nas_mer.files import write_text
from nas_mer.words import did_you_mean

Key = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)

# Aliases may repeat a part of a file, but not blow it up without end.
_MAX_VALUES = 200_000


@dataclass(frozen=True)
class Node:
    """A value read from YAML that knows the file, line and key path where it stands.

    Attributes:
        value: the plain Python value (dict, list, str, int, float, bool or None).
        path: the keys that lead to it from the top of the file.
        file: the file's name as the user gave it.
        lines: the line (from 1) of every key path of the file.
    """

    value: Any
    path: Key
    file: str
    lines: Mapping[Key, int]

    def error(self, message: str) -> UserError:
        """Return (not raise) a `UserError` that names this place."""
        known = self.path
        while known and known not in self.lines:
            known = known[:-1]
        line = self.lines.get(known)
        where = f"{self.file}:{line}" if line else self.file
        return UserError(f"{where}: {key_path(self.path)}: {message}" if self.path else f"{where}: {message}")

    def at(self, key: str | int) -> Node:
        """Return the child under a key that exists."""
        return Node(self.value[key], (*self.path, key), self.file, self.lines)

    def get(self, key: str) -> Node | None:
        """Return the child under `key`, or None where there is none."""
        return self.at(key) if key in self.value else None

    def items(self) -> Iterator[tuple[str, Node]]:
        """Iterate over a mapping's children."""
        return ((key, self.at(key)) for key in self.value)

    def elements(self) -> Iterator[Node]:
        """Iterate over a list's children."""
        return (self.at(index) for index in range(len(self.value)))

    def mapping(self, allowed: Iterable[str] | None = None, required: Iterable[str] = ()) -> Node:
        """Return this node if it is a mapping with string keys that are all allowed.

        Raises:
            UserError: it is not a mapping, a key is unknown, or a required one is missing.
        """
        if not isinstance(self.value, dict):
            raise self.error(f"must be a mapping of keys to values, found {describe(self.value)}")
        for key in self.value:
            if not isinstance(key, str):
                raise self.error(f"the key {key!r} is not text; write it in quotes")
        if allowed is not None:
            allowed = list(allowed)
            for key in self.value:
                if key not in allowed:
                    raise self.at(key).error(f"unknown key '{key}'{did_you_mean(key, allowed)}")
        for key in required:
            if key not in self.value:
                raise self.error(f"the key '{key}' is missing")
        return self

    def text(self) -> str:
        """Return this node's value if it is text."""
        if not isinstance(self.value, str):
            raise self.error(f"must be text, found {describe(self.value)}")
        return self.value

    def integer(self, least: int) -> int:
        """Return this node's value if it is a whole number of at least `least`."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < least:
            raise self.error(f"must be a whole number of at least {least}, found {describe(self.value)}")
        return self.value

    def into(self, model: type[ModelT]) -> ModelT:
        """Validate this node as a pydantic model; every problem found is named with its line.

        Raises:
            UserError: the value does not fit the model.
        """
        try:
            return model.model_validate(self.value)
        except ValidationError as error:
            problems = []
            for item in error.errors():
                path = self._reachable(item["loc"])
                message = item["msg"].removeprefix("Value error, ")
                match item["type"]:
                    case "extra_forbidden":
                        fields = _fields_at(model, item["loc"][:-1])
                        message = f"unknown key '{item['loc'][-1]}'{did_you_mean(str(item['loc'][-1]), fields)}"
                    case "missing":
                        message = f"the key '{item['loc'][-1]}' is missing"
                    case _:
                        message = f"{message}, found {describe(item['input'])}"
                problems.append(str(Node(None, path, self.file, self.lines).error(message)))
            raise UserError("\n".join(problems)) from None

    def _reachable(self, loc: Iterable[str | int]) -> Key:
        """Return the part of a pydantic location that exists in the file (without the names of union members)."""
        value, path = self.value, self.path
        for part in loc:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                continue
            path = (*path, part)
        return path


def read_yaml(path: Path) -> Node:
    """Read a YAML file as plain data.

    The dialect is YAML 1.2's core: `1e-3` is a number, `no` is text, only `true` and `false` are booleans.
    Duplicate keys are errors; no code is evaluated.

    Raises:
        UserError: the file is missing, is not YAML, or has a duplicate key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as text ({error})") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, file: str) -> Node:
    """Read YAML from text; `file` is the name that messages give. See `read_yaml`."""
    try:
        root = _composed(text)
        lines: dict[Key, int] = {}
        value = None if root is None else _construct(_Loader(""), root, (), lines, file)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{file}{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{file}: not valid YAML: {error}") from None
    return Node(value, (), file, lines)


def read_shipped(name: str | Path, model: type[ModelT], folder: Path, kind: str) -> ModelT:
    """Read a model from a YAML file, or from the shipped one in `folder` that is called so.

    Raises:
        UserError: there is no such file, or a value in it is wrong (the message names file, line and key).
    """
    path = Path(name)
    shipped = {file.stem: file for file in folder.glob("*.yaml")}
    if not path.suffix and not path.is_file():
        if str(name) not in shipped:
            raise UserError(f"{name}: no such file, and no {kind} is called so{did_you_mean(str(name), shipped)}")
        path = shipped[str(name)]
    return read_yaml(path).mapping().into(model)


def write_yaml(path: Path, value: object, comment: str = "") -> None:
    """Write `value` to `path` atomically as YAML in its own key order, under an optional `# comment`."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    body = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)
    write_text(path, head + body)


def describe(value: object) -> str:
    """Return a value as an error message shows it."""
    match value:
        case None:
            return "nothing"
        case dict():
            return f"a mapping with {', '.join(map(repr, list(value)[:4])) or 'no keys'}"
        case list():
            return f"a list of {len(value)}"
        case _:
            return f"{value!r}"


def key_path(path: Key) -> str:
    """Return `("states", "r1", "from", 0)` as `states.r1.from[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _fields_at(model: type[BaseModel], loc: Iterable[str | int]) -> list[str]:
    """Return the field names of the model nested at `loc`."""
    for part in loc:
        field = model.model_fields.get(str(part))
        inside = (field.annotation, *get_args(field.annotation)) if field else ()  # a model, or a container of models
        models = [kind for kind in inside if isinstance(kind, type) and issubclass(kind, BaseModel)]
        model = models[0] if models else model
    return [field.alias or name for name, field in model.model_fields.items()]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's idea of what plain words mean."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own form


@lru_cache(maxsize=64)
def _composed(text: str) -> yaml.Node | None:
    """Return the nodes of a text, which nobody changes. The same few spaces and recipes are read time and again."""
    return _Loader(text).get_single_node()


class _Dumper(yaml.SafeDumper):
    """Writes text so that any YAML reader, of YAML 1.1 or of this dialect, reads the same text."""


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def _construct(loader: _Loader, node: yaml.Node, path: Key, lines: dict[Key, int], file: str) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if len(lines) > _MAX_VALUES:
        raise UserError(f"{file}: more than {_MAX_VALUES} values; do its aliases repeat each other?")
    match node:
        case yaml.MappingNode():
            mapping: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                here = key_node.start_mark.line + 1
                if not isinstance(key_node, yaml.ScalarNode):
                    kind = "mapping" if isinstance(key_node, yaml.MappingNode) else "list"
                    raise UserError(f"{file}:{here}: a key must be text, found a {kind}")
                key = _scalar(loader, key_node)
                if key in mapping:
                    first = lines[(*path, key)]
                    raise UserError(
                        f"{file}:{here}: {key_path((*path, key))}: duplicate key '{key}', on line {first} already"
                    )
                lines[(*path, key)] = here
                mapping[key] = _construct(loader, value_node, (*path, key), lines, file)
            return mapping
        case yaml.SequenceNode():
            return [_construct(loader, child, (*path, i), lines, file) for i, child in enumerate(node.value)]
        case _:
            return _scalar(loader, node)


def _scalar(loader: _Loader, node: yaml.Node) -> Any:
    try:
        match node.tag.rpartition(":")[2]:
            case "int":
                return int(node.value)
            case "float":
                return float(node.value.replace(".inf", "inf").replace(".nan", "nan"))
            case _:
                return loader.construct_object(node, deep=True)
    except (ValueError, LookupError, AttributeError):
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        raise yaml.MarkedYAMLError(problem=f"{node.value!r:.40} is not {tag}", problem_mark=node.start_mark) from None
