"""Where and how a run is computed: what changes its time, and never its result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch

from nas_mer.errors import UserError
from nas_mer.workers import cores, each

Task = TypeVar("Task")
Result = TypeVar("Result")
Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Compute:
    """Where and how a run is computed.

    Attributes:
        workers: processes; one a core or a GPU if None.
        device: `auto` (all GPUs, or else the CPU), `cpu`, `cuda` (all GPUs) or `cuda:N`.
        group: how many networks are trained as one program; None picks: one on a CPU; on a GPU as many as are quickest,
            and of supernets all, if there are several GPUs an equal part on each.
        checkpoint_every: seconds between two checkpoints, at least; 0 keeps every epoch. None is every epoch of a
            search with a supernet, and every 10 seconds of a retraining, whose replicas take a few seconds each. In a
            choice and in a search that trains networks one by one trainings have none.
        engine: `local` processes, or an existing `ray` cluster.

    Raises:
        UserError: there is no such device.
    """

    workers: int | None = None
    device: str = "auto"
    group: int | None = None
    checkpoint_every: float | None = None
    engine: Engine = "local"

    def __post_init__(self) -> None:
        for name, value in (("workers", self.workers), ("group", self.group)):
            if value is not None and value < 1:
                raise UserError(f"--{name}: must be at least 1, found {value}")
        if self.engine == "local":
            _ = self.devices
        elif self.device not in ("auto", "cpu", "cuda"):
            raise UserError(f"--device: with --engine ray it must be auto, cpu or cuda, found '{self.device}'")

    @property
    def devices(self) -> list[torch.device]:
        """The devices of this machine that it means; it may lack the GPUs that a cluster has."""
        return devices("auto" if (self.engine, self.device) == ("ray", "cuda") else self.device)

    def part(self, count: int) -> int:
        """Return how many of some networks fall to each device of this machine."""
        return math.ceil(count / len(self.devices))

    def check(self) -> None:
        """Check that what is to compute is there, before anything is made.

        Raises:
            UserError: there is no Ray cluster. (A device that is not there is refused when this object is made.)
        """
        if self.engine == "ray":
            from nas_mer.cluster import connect

            connect()

    def each(
        self,
        function: Callable[..., Result],
        tasks: Sequence[Task],
        shared: tuple[Any, ...],
        heard: Callable[[Task, Any], None] | None = None,
        setup: Callable[[], None] | None = None,
    ) -> Iterator[tuple[Task, Result]]:
        """Call `function(task, report, *shared)` for every task; see `nas_mer.workers.each`."""
        if self.engine == "ray":
            from nas_mer.cluster import each_on_ray

            return each_on_ray(function, tasks, shared, heard, setup, self.device, GRACE)
        found = self.devices
        workers = self.workers or (cores() if found[0].type == "cpu" else len(found))
        return each(function, tasks, shared, workers, heard, setup, found, GRACE)


GRACE = 10.0
"""Seconds that a training has to end its epoch and be kept when a run is interrupted."""


def devices(name: str) -> list[torch.device]:
    """Return the devices that `auto`, `cpu`, `cuda` or `cuda:1` names.

    Raises:
        UserError: there is no such device.
    """
    count = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if count else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"--device: must be auto, cpu, cuda or cuda:N, found '{name}'")
    if device.type == "cpu":
        return [device]
    if (device.index or 0) >= count:
        raise UserError(f"--device: '{name}' is not there; torch sees {count} GPUs")
    return [device] if device.index is not None else [torch.device("cuda", number) for number in range(count)]
