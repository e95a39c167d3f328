"""The run folder: all that one command produced, as plain files that are readable without the library.

    run.json            what was asked for: kind, configuration, versions, machine
    metrics.jsonl       one JSON object a line, as training went on
    result.json         what came out; it exists when the run is finished

A run that was killed has everything but `result.json`; continuing it does what is missing. One process at a time
computes a run (`by_one_process`).
"""

from __future__ import annotations

import functools
import json
import os
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from nas_mer import __version__
from nas_mer.data import Dataset
from nas_mer.errors import UserError
from nas_mer.files import beside, held, read_json, sweep, write_json, write_text
from nas_mer.placed_yaml import Node
from nas_mer.score.grid import Column, Grid
from nas_mer.space import INPUT, SearchSpace
from nas_mer.train import Maps

Kind = Literal["search", "choose", "retrain"]
ConfigT = TypeVar("ConfigT", bound="Config")
P = ParamSpec("P")
Progress = Callable[[float, float, str], None]
"""Told how much is done, of how much, and a few words on the state of things."""


class DatasetReference(BaseModel):
    """Which dataset a run uses, and the fingerprint by which it is known again; that of its clips, if it uses these.

    `magnified` tells how many times the motion of its maps was magnified.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    name: str
    fingerprint: str
    databases: tuple[str, ...] | None = None
    clips: str | None = None
    magnified: float = 1.0

    @classmethod
    def of(cls, path: Path, databases: Iterable[str] | None = None) -> tuple[DatasetReference, Dataset]:
        """Load a dataset, or some of its databases, and return it with its reference."""
        dataset = Dataset.load(path)
        if databases is not None:
            dataset = dataset.select(list(databases))
        reference = cls(
            path=path.resolve(),
            name=dataset.name,
            fingerprint=dataset.fingerprint,
            databases=None if databases is None else tuple(databases),
            magnified=dataset.magnified,
        )
        return reference, dataset

    def load(self) -> Dataset:
        """Load the dataset again.

        Raises:
            UserError: it is gone, damaged or not what it was.
        """
        try:
            found, dataset = self.of(self.path, self.databases)
        except UserError as error:
            raise UserError(f"{error}\nit is the dataset of this run, which needs it back to go on") from None
        if found.fingerprint != self.fingerprint:
            raise UserError(
                f"{self.path}: is not the dataset of this run any more (fingerprint {found.fingerprint}, the run was "
                f"started with {self.fingerprint}); start a new run"
            )
        if self.clips not in (None, dataset.clips_fingerprint):
            raise UserError(f"{self.path}: its clips are not those of this run any more; start a new run")
        return dataset


class Config(BaseModel):
    """What a command was asked for, completely; a run's result is a function of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: DatasetReference
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal[1]
    kind: Kind
    created: datetime
    command: list[str]
    versions: dict[str, str]
    machine: dict[str, str | int]
    config: dict[str, Any]


@dataclass(frozen=True)
class Run(Generic[ConfigT]):
    """A run folder that exists.

    Attributes:
        path: the folder.
        kind: the command that made it.
        created: when.
        config: what was asked for.
        about: the rest of `run.json`: command line, versions, machine.
    """

    path: Path
    kind: Kind
    created: datetime
    config: ConfigT
    about: dict[str, Any]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def finished(self) -> bool:
        """Whether it has its result."""
        return (self.path / "result.json").is_file()

    @property
    def result(self) -> Any:
        """What came out.

        Raises:
            UserError: the run is not finished.
        """
        if not self.finished:
            raise UserError(f"{self.path}: is not finished; continue it with: nas-mer runs resume {self.path}")
        return read_json(self.path / "result.json")

    def _repr_html_(self) -> str:
        rows = {
            "kind": self.kind,
            "dataset": self.config.dataset.name,
            "seeds": ", ".join(map(str, self.config.seeds)),
            "started": f"{self.created:%Y-%m-%d %H:%M} UTC",
            "finished": "yes" if self.finished else "no",
            "command": shlex.join(self.about["command"]),
        }
        return Grid("", (Column("run", words=True), Column(self.name, words=True)), [[*rows.items()]]).html()

    def finish(self, result: object) -> None:
        """Write the result, which makes the run finished."""
        write_json(self.path / "result.json", result)

    def write_metrics(self, lines: Iterable[dict[str, Any]]) -> None:
        """Write `metrics.jsonl` anew."""
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))

    def add_metric(self, line: dict[str, Any]) -> None:
        """Append a line to `metrics.jsonl`."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of `metrics.jsonl`."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return []
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except json.JSONDecodeError as error:
            raise UserError(f"{path}: not readable as JSON lines ({error}); it may have been cut short") from None


def create_run(path: Path, kind: Kind, config: ConfigT, fill: Callable[[Path], None]) -> Run[ConfigT]:
    """Make a run folder, whole or not at all.

    Args:
        path: where; nothing may be there yet.
        kind: the command.
        config: what was asked for.
        fill: writes what else the run needs (spaces, genotypes) into the folder it is given.

    Raises:
        UserError: something is there already.
    """
    taken = UserError(f"{path}: exists already; continue it with: nas-mer runs resume {path}, or choose another --out")
    if path.exists():
        raise taken
    created = datetime.now(UTC).replace(microsecond=0)
    about = {"command": ["nas-mer", *sys.argv[1:]], "versions": _versions(), "machine": _machine()}
    with beside(path) as folder:
        folder.mkdir()
        fill(folder)
        value = {
            "format": 1,
            "kind": kind,
            "created": created.isoformat(),
            **about,
            "config": config.model_dump(mode="json"),
        }
        write_json(folder / "run.json", value)
        try:
            folder.rename(path)
        except OSError:
            if path.exists():
                raise taken from None
            raise
    return Run(path, kind, created, config, about)


def open_run(path: Path, configs: dict[Kind, type[Config]]) -> Run[Any]:
    """Open a run folder.

    Raises:
        UserError: it is no run folder, or its `run.json` is damaged.
    """
    file = path / "run.json"
    if not file.is_file():
        raise UserError(f"{path}: {'no run.json in it, so it is not a run' if path.is_dir() else 'no such run'}")
    info = Node(read_json(file), (), str(file), {}).mapping().into(_File)
    config = Node(info.config, ("config",), str(file), {}).into(configs[info.kind])
    about = {"command": info.command, "versions": info.versions, "machine": info.machine}
    return Run(path, info.kind, info.created, config, about)


def by_one_process(
    go_on: Callable[Concatenate[Run[ConfigT], P], Run[ConfigT]],
) -> Callable[Concatenate[Run[ConfigT], P], Run[ConfigT]]:
    """Let a function that does what a run lacks have the run for itself, without what a killed process left in it.

    Its `run.json` is locked until the function returns or the process ends, however it does. A finished run stays as
    it is.

    Raises:
        UserError: another process computes the run.
    """

    @functools.wraps(go_on)
    def alone(run: Run[ConfigT], /, *args: P.args, **kwargs: P.kwargs) -> Run[ConfigT]:
        busy = f"{run.path}: is being computed by another process; wait for its end, or stop it first"
        with held(run.path / "run.json", busy):
            sweep(run.path)
            return run if run.finished else go_on(run, *args, **kwargs)

    return alone


def new_run_path(kind: Kind, what: str, folder: Path = Path("runs")) -> Path:
    """Return a path for a new run, with the time and what it is about in its name."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]  # milliseconds: a script may start two at once
    return folder / f"{stamp}-{kind}-{what}"


def distinct_names(runs: Sequence[Run[Any]]) -> list[str]:
    """Return what to call each of some runs: its folder's name, or its path where several folders are called so."""
    times = Counter(path.name for path in {run.path.resolve() for run in runs})
    return [run.name if times[run.name] == 1 else str(run.path) for run in runs]


def maps_of(dataset: Dataset, size: int) -> Maps:
    """Return a dataset's maps, resized to `size x size`."""
    return Maps(dataset.resized(size), torch.from_numpy(dataset.labels), len(dataset.classes), dataset.u_mirror)


def check_input(space: SearchSpace, dataset: Dataset) -> None:
    """Check that a space takes a dataset's maps.

    Raises:
        UserError: it is for maps of other channels.
    """
    expected, found = space.graph.shapes[INPUT].channels, dataset.maps.shape[1]
    if expected != found:
        raise UserError(f"{space.file}: input.channels is {expected}, but the maps of '{dataset.name}' have {found}")


def _versions() -> dict[str, str]:
    return {
        "nas-mer": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _machine() -> dict[str, str | int]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"system": platform.platform(), "cores": os.cpu_count() or 1, "gpu": gpu}
