"""What the paper reports: UAR and UF1 of its networks and of the methods it compares them with, and training times.

The numbers, the tables they stand in, and where the paper contradicts itself are in `published.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from nas_mer.placed_yaml import Node, read_yaml

COMPOSITE = "composite"

SAMPLES: Mapping[str, int] = {"smic": 164, "casme2": 145, "samm": 133}
"""The samples of each database of the MEGC2019 composite (section V-B)."""


class Measured(NamedTuple):
    """UAR and UF1 in 0..1; None where the paper has none."""

    uar: float | None
    uf1: float | None


class Published(BaseModel):
    """What the paper reports of one method at one setting.

    Attributes:
        tables: the numbers of the tables that report it.
        method: its name there.
        databases: what the composite consists of.
        size: height and width of the flow maps in pixels; None for a method that is not the paper's own.
        feature_maps: of each convolution; None likewise.
        pool: the side to which the last maps are pooled; None likewise.
        magnified: whether motion was magnified.
        scores: of `composite`, and of each database where that is reported.
        remark: where the paper contradicts itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: tuple[str, ...]
    method: str
    databases: tuple[str, ...] = tuple(SAMPLES)
    size: int | None = None
    feature_maps: int | None = None
    pool: int | None = None
    magnified: bool = False
    scores: dict[str, Measured]
    remark: str = ""

    @property
    def source(self) -> str:
        """The tables, as `Tab. II, V`."""
        return f"Tab. {', '.join(self.tables)}"


class PublishedTime(BaseModel):
    """How long the paper's training and test of one network took, over all folds of the composite (Table VI).

    Attributes:
        method: the network's name.
        size: height and width of the flow maps in pixels.
        feature_maps: of each convolution.
        pool: the side to which the last maps are pooled.
        hours: the time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    size: int
    feature_maps: int
    pool: int
    hours: float


@cache
def published() -> tuple[Published, ...]:
    """Return all scores that the paper reports."""
    return tuple(row.into(Published) for row in _read().at("scores").elements())


@cache
def published_times() -> tuple[PublishedTime, ...]:
    """Return all times that the paper reports."""
    return tuple(row.into(PublishedTime) for row in _read().at("times").elements())


def _read() -> Node:
    return read_yaml(Path(str(files("nas_mer.score").joinpath("published.yaml"))))


def find_published(
    method: str,
    samples: Mapping[str, int],
    size: int | None,
    feature_maps: int | None,
    pool: int | None,
    magnified: bool = False,
) -> Published | None:
    """Return what the paper reports of a method.

    Args:
        method: its name in any case, such as `rcn-f`.
        samples: how many samples of each database it is scored on. Only on all of the MEGC2019 composite's, or all of
            two of its databases, does a score stand beside the paper's.
        size: height and width of the flow maps; None for a method that is not the paper's own.
        feature_maps: of each convolution; None likewise.
        pool: the side to which the last maps are pooled; None likewise.
        magnified: whether motion is magnified.
    """
    wanted = (size, feature_maps, pool, magnified)
    return next(
        (
            row
            for row in published()
            if row.method.casefold() == method.casefold()
            and samples == _samples(row)
            and (row.size, row.feature_maps, row.pool, row.magnified) == wanted
        ),
        None,
    )


def find_published_hours(method: str, size: int | None, feature_maps: int | None, pool: int | None) -> float | None:
    """Return how many hours the paper's training and test of a network took; see `PublishedTime`."""
    wanted = (method, size, feature_maps, pool)
    times = published_times()
    return next((row.hours for row in times if (row.method, row.size, row.feature_maps, row.pool) == wanted), None)


def compared(samples: Mapping[str, int]) -> list[Published]:
    """Return what the paper reports of other methods on these samples (see `find_published`)."""
    return [row for row in published() if row.size is None and samples == _samples(row)]


def _samples(row: Published) -> dict[str, int]:
    return {name: SAMPLES[name] for name in row.databases}
