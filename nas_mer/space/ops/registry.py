"""The registry: how an op is made of a function, and what its arguments may be."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from torch import nn

from nas_mer.errors import UserError
from nas_mer.placed_yaml import describe
from nas_mer.words import did_you_mean


class Shape(NamedTuple):
    """Channels, height and width of a feature map."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


class Like(Shape):
    """The shape of another state, which the space names: `like: pre1`."""

    __slots__ = ()


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("must be odd")
    return kernel


Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Odd = Annotated[int, Field(ge=1, json_schema_extra={"not": {"multipleOf": 2}}), AfterValidator(_odd)]


@dataclass(frozen=True)
class OpType:
    """A registered op: its name, its builder, and the types and defaults of its arguments.

    An argument without a default must be given.
    """

    name: str
    build: Callable[..., nn.Module]
    types: Mapping[str, Any]
    defaults: Mapping[str, Any]

    @property
    def summary(self) -> str:
        """The first line of the builder's docstring."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0]

    @property
    def references(self) -> frozenset[str]:
        """The arguments that name a state."""
        return frozenset(name for name, kind in self.types.items() if kind is Like or Like in typing.get_args(kind))

    @property
    def required(self) -> tuple[str, ...]:
        """The arguments without a default."""
        return tuple(name for name in self.types if name not in self.defaults)

    def argument(self, name: str) -> str:
        """An argument as Python writes it: `kernel: int = 3`."""
        kind = typing.get_type_hints(self.build)[name]
        parts = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
        text = " | ".join(inspect.formatannotation(part, Like.__module__) for part in parts).replace("NoneType", "None")
        return f"{name}: {text} = {self.defaults[name]!r}" if name in self.defaults else f"{name}: {text}"

    @cached_property
    def _adapters(self) -> dict[str, TypeAdapter[Any]]:
        """What checks the value of each argument; made once, since large spaces have thousands of values."""
        kinds = {name: str if name in self.references else kind for name, kind in self.types.items()}
        return {name: TypeAdapter(kind, config=ConfigDict(strict=True)) for name, kind in kinds.items()}

    def check(self, args: Mapping[str, Any]) -> None:
        """Check argument names and types.

        Raises:
            ValueError: `(argument or None, message)` of the first one that is wrong.
        """
        for name, value in args.items():
            if name not in self.types:
                known = did_you_mean(name, [*self.types, *RESERVED])
                raise ValueError(name, f"op '{self.name}' has no argument '{name}'{known}")
            try:
                self._adapters[name].validate_python(value)
            except ValidationError as error:
                problem = error.errors()[0]
                reason = problem["msg"].removeprefix("Input ").removeprefix("Value error, ")
                raise ValueError(name, f"op '{self.name}': {reason}, found {describe(problem['input'])}") from None
        for name in self.required:
            if name not in args:
                raise ValueError(None, f"op '{self.name}' needs the argument '{name}'")


OPS: dict[str, OpType] = {}
OPS_FILES: list[Path] = []  # what `load_ops` has run
RESERVED = ("op", "share")  # keys of every op in a space

Builder = typing.TypeVar("Builder", bound=Callable[..., nn.Module])


def op(name: str) -> Callable[[Builder], Builder]:
    """Register a builder `(shape, *, ...) -> nn.Module` as the op `name`.

    Raises:
        ValueError: the name is taken, or an argument lacks a type, stands before the `*` or is called `op` or `share`.
    """

    def register(build: Builder) -> Builder:
        if name in OPS:
            raise ValueError(f"op '{name}' is registered already, by {OPS[name].build.__module__}")
        hints = typing.get_type_hints(build, include_extras=True)
        _, *keywords = inspect.signature(build).parameters.values()
        for argument in keywords:
            if argument.kind is not argument.KEYWORD_ONLY:
                raise ValueError(f"op '{name}': the argument '{argument.name}' must stand after a `*`")
            if argument.name not in hints:
                raise ValueError(f"op '{name}': the argument '{argument.name}' needs a type")
            if argument.name in RESERVED:
                raise ValueError(f"op '{name}': an argument cannot be called '{argument.name}'")
        OPS[name] = OpType(
            name,
            build,
            types={p.name: hints[p.name] for p in keywords},
            defaults={p.name: p.default for p in keywords if p.default is not p.empty},
        )
        return build

    return register


def load_ops(path: Path) -> None:
    """Run a Python file that registers ops, here and in worker processes; each file is run once.

    Raises:
        UserError: it is not a Python file, or it fails.
    """
    path = path.resolve()
    if path in OPS_FILES:
        return
    name = f"nas_mer_ops_{len(OPS_FILES)}_{path.stem}"  # no other module's name
    spec = importlib.util.spec_from_file_location(name, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise UserError(f"--ops: {path}: {'not a Python file' if path.is_file() else 'no such file'}")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"--ops: {path}: {type(error).__name__}: {error}") from error
    OPS_FILES.append(path)


def same_ops() -> Callable[[], None]:
    """Return what gives another process the ops of this one."""
    return partial(_load_all, tuple(OPS_FILES))


def _load_all(paths: Sequence[Path]) -> None:
    for path in paths:
        load_ops(path)
