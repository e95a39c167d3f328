"""What a table is of, and how it was made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from nas_mer.train import Recipe

FORMAT: Literal[1] = 1
"""The format of the files that are written and read."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SpaceSource(_Part):
    """The search space.

    Attributes:
        name: its name.
        hash: its content hash.
        source: its YAML.
        parameters: the sizes it was built with, where they differ from its YAML.
    """

    name: str
    hash: str
    source: str
    parameters: dict[str, int | float | bool]


class DatasetSource(_Part):
    """The dataset.

    Attributes:
        name: its name.
        fingerprint: what it is known by; whoever has it has the clips' names, in the same order.
        databases: those that were used; None for all.
    """

    name: str
    fingerprint: str
    databases: tuple[str, ...] | None = None


class About(_Part):
    """What a table is of, and how it was made.

    Attributes:
        format: of the file.
        space, dataset, recipe: what was retrained, on what, and how.
        protocol: how it was tested.
        classes: the C names of the classes.
        seeds: the K seeds.
        genotypes: the G genotypes, one option for each decision of the space.
        partial: whether the space has others.
        versions: of the programs that trained them.
        command: what trains them again.
    """

    format: Literal[1]
    space: SpaceSource
    dataset: DatasetSource
    recipe: Recipe
    protocol: Literal["loso"]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    genotypes: Annotated[tuple[dict[str, str], ...], Field(min_length=1)]
    partial: bool = False
    versions: dict[str, str]
    command: str
