"""A genotype: one option for each decision of a space, as a value and as a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from nas_mer.errors import UserError
from nas_mer.placed_yaml import read_yaml, write_yaml

if TYPE_CHECKING:
    from nas_mer.space.space import SearchSpace


@dataclass(frozen=True)
class Genotype:
    """One option for each decision of the space whose content hash it carries.

    Attributes:
        space: the name of its space.
        space_hash: the content hash of its space; another space refuses it.
        choices: decision -> option.
        parameters: the space's parameters (and input size) where they differ from the space's file.
        name: what it is called, if anything.
        weight: its joint architecture weight in the search that found it, 0..1.
        rank: its rank in that search, from 1.
        origin: where it came from, for people.
        space_file: the space's file as seen from the genotype's file, if it is not a shipped one.
    """

    space: str
    space_hash: str
    choices: Mapping[str, str]
    parameters: Mapping[str, int | float | bool] = field(default_factory=dict)
    name: str | None = None
    weight: float | None = None
    rank: int | None = None
    origin: str = ""
    space_file: str | None = None

    @property
    def digest(self) -> str:
        """A hash of what it is (space, choices, parameters), not of what it is called or where it came from."""
        content = [self.space_hash, dict(self.choices), dict(self.parameters)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Its name, or a short form of its digest."""
        return self.name or self.digest[:8]

    @property
    def text(self) -> str:
        """Its choices in words."""
        return in_words(self.choices)

    def save(self, path: Path) -> None:
        """Write the genotype as YAML, whole or not at all."""
        value: dict[str, Any] = {
            "format": 1,
            "name": self.name,
            "space": {"name": self.space, "hash": self.space_hash, "file": self.space_file},
            "choices": dict(self.choices),
            "parameters": dict(self.parameters) or None,
            "weight": self.weight,
            "rank": self.rank,
            "origin": self.origin or None,
        }
        value["space"] = {key: part for key, part in value["space"].items() if part is not None}
        value = {key: part for key, part in value.items() if part is not None}
        write_yaml(path, value, comment="A genotype: one option for each decision of its space.")

    @classmethod
    def load(cls, path: Path) -> Genotype:
        """Read a genotype's YAML.

        Raises:
            UserError: the file is missing or not a genotype; whether it fits a space, the space says.
        """
        file = read_yaml(path).mapping().into(_File)
        return cls(
            file.space.name,
            file.space.hash,
            file.choices,
            file.parameters,
            file.name,
            file.weight,
            file.rank,
            file.origin,
            file.space.file,
        )

    def _repr_svg_(self) -> str | None:
        from nas_mer.view import architecture_figure, svg_of

        if (space := self._shipped()) is None:
            return None
        return svg_of(architecture_figure(space, genotype=self), f"genotype-{self.digest}", f"genotype {self.label}")

    def _repr_html_(self) -> str | None:
        if self._shipped() is not None:
            return None  # a notebook would prefer it to the drawing
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(to)}</td></tr>" for name, to in self.choices.items())
        return f"<table><caption>genotype {escape(self.label)} of {escape(self.space)}</caption>{rows}</table>"

    def _shipped(self) -> SearchSpace | None:
        """Return its space, at its sizes, if that is a shipped one: what it was read from it does not know."""
        from nas_mer.space.space import SearchSpace, shipped_spaces

        try:
            return SearchSpace.load(shipped_spaces()[self.space]).accept(self)
        except (KeyError, UserError):
            return None


class _Space(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    hash: str
    file: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal[1]
    space: _Space
    choices: dict[str, str]
    parameters: dict[str, int | float | bool] = {}
    name: str | None = None
    weight: float | None = None
    rank: int | None = None
    origin: str = ""


def in_words(values: Mapping[str, object]) -> str:
    """Return `name: value, name: value`, as of decisions and their options."""
    return ", ".join(f"{name}: {value}" for name, value in values.items())
