"""Independent tasks on a Ray cluster: what `nas_mer.workers.each` does, across machines (`docs/cluster.md`)."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import cv2
import torch

from nas_mer import __version__
from nas_mer.errors import UserError
from nas_mer.workers import CPU, Report, Stopped, asking, keep_memory

try:
    import ray
    from ray import cloudpickle, exceptions
    from ray._private.services import canonicalize_bootstrap_address
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ModuleNotFoundError as error:
    raise UserError("--engine ray needs Ray, which is not installed: pip install 'nas-mer[cluster]'") from error

Task = TypeVar("Task")
Result = TypeVar("Result")
_Letter = tuple[tuple[int, int], bytes | None]  # of which task and which start of it; None: it has begun

ATTEMPTS = 5
"""How often a task is started at most, if it loses its process or node each time."""
ASK_EVERY = 0.5
"""Seconds after which a task that is about to look whether it should stop asks anew."""
PATIENCE = 60
"""Seconds for which tasks are told that they are over, until they are."""
GPUS_PER_TASK = "NAS_MER_GPUS_PER_TASK"
"""The environment variable with the part of a GPU that a task reserves."""
_LOST = (
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.OutOfMemoryError,
    exceptions.ObjectLostError,
)


def each_on_ray(
    function: Callable[..., Result],
    tasks: Sequence[Task],
    shared: tuple[Any, ...],
    heard: Callable[[Task, Any], None] | None = None,
    setup: Callable[[], None] | None = None,
    device: str = "auto",
    grace: float = 0.0,
) -> Iterator[tuple[Task, Result]]:
    """Call `function(task, report, *shared)` for every task and yield (task, result) as they finish.

    As `nas_mer.workers.each`, in processes of an existing cluster: each call has one core and one thread, and a GPU or
    a part of one where the cluster has some. All that a call hands to `report` reaches `heard` before its result is
    yielded. A task whose process or node dies is started again, and tells again what it told before; nothing more is
    heard of the lost one.

    Raises:
        UserError: there is no cluster, it has no room for a task, or a node has other versions than this process.
    """
    if not tasks:
        return
    connect()
    gpus = _gpus(device)
    heard = heard or (lambda task, what: None)
    mailbox = _mailbox()
    run: Any = ray.remote(_run).options(num_cpus=1, num_gpus=gpus, max_retries=0)
    # Whatever is sent is pickled here: the arrays in what Ray itself unpickles cannot be written to.
    work = cloudpickle.dumps((function, shared, torch.device("cuda") if gpus else CPU))
    common = ray.put(cloudpickle.dumps((setup, work)))
    name, versions = common.hex(), _versions()
    running: dict[Any, int] = {}
    attempts = [0] * len(tasks)
    begun: set[int] = set()
    deadline = float("inf")

    def start(index: int) -> None:
        attempts[index] += 1
        sender, task = (index, attempts[index]), cloudpickle.dumps(tasks[index])
        running[run.remote(versions, name, common, task, mailbox, sender)] = index

    def listen() -> None:
        for (index, attempt), content in ray.get(mailbox.take.remote()):
            if attempt != attempts[index]:
                continue  # of a process that is given up
            begun.add(index)
            if content is not None:
                heard(tasks[index], cloudpickle.loads(content))

    with asking(grace > 0) as asked:
        try:
            for index in range(len(tasks)):
                start(index)
            while running and time.monotonic() < deadline:
                done, _ = ray.wait(list(running), timeout=0.1)
                listen()
                for ref in done:
                    index = running.pop(ref)
                    try:
                        content = ray.get(ref)
                    except _LOST:
                        if asked.is_set():
                            continue
                        if attempts[index] == ATTEMPTS:
                            raise
                        begun.discard(index)
                        start(index)
                    except exceptions.TaskCancelledError:
                        continue
                    except exceptions.RayTaskError as error:
                        if not isinstance(error.cause, Stopped):
                            raise error.cause from error
                    else:
                        yield tasks[index], cloudpickle.loads(content)
                if asked.is_set() and deadline == float("inf"):
                    deadline = time.monotonic() + grace
                    ray.get(mailbox.stop.remote())
                    listen()  # who has begun by now
                    for ref, index in running.items():
                        if index not in begun:
                            ray.cancel(ref)
            if asked.is_set():
                raise KeyboardInterrupt
        finally:
            _end(list(running))
            ray.kill(mailbox)


def connect() -> None:
    """Connect to the cluster that RAY_ADDRESS names, or else to the one of this machine, unless it is done already.

    Raises:
        UserError: there is none, or it does not take this process.
    """
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS") or "auto"
    try:
        if address == "local" or "://" in address:
            raise ValueError("RAY_ADDRESS must be HOST:PORT")
        address = canonicalize_bootstrap_address(address) or address
        host, _, port = address.rpartition(":")
        # Looked at first, because Ray tries for a quarter of an hour to reach a cluster that is gone.
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, ValueError, RuntimeError, exceptions.RayError) as error:
        raise UserError(
            f"--engine ray: cannot connect to a Ray cluster ({address}: {error}); start one with `ray start --head` on "
            "this machine, or add this machine to one with `ray start --address=HOST:PORT`"
        ) from error


def _gpus(device: str) -> float:
    """Return the GPUs that a task reserves: none on the CPU, where `auto` is, too, if the cluster has no GPU.

    Raises:
        UserError: the environment asks for an impossible part, or no node has a core and what is asked for.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = 0.0
    if device != "cpu" and (device != "auto" or any("GPU" in node for node in nodes)):
        told = os.environ.get(GPUS_PER_TASK, "1")
        try:
            gpus = float(told)
        except ValueError:
            gpus = 0.0
        if not 0 < gpus <= 1:
            raise UserError(f"{GPUS_PER_TASK}: must be above 0 and at most 1, found '{told}'")
    if not any(node.get("CPU", 0) >= 1 and node.get("GPU", 0) >= gpus for node in nodes):
        wanted = f"a core and {gpus:g} GPU" if gpus else "a core"
        raise UserError(f"--engine ray: no node of the Ray cluster has {wanted} to give; add one with `ray start`")
    return gpus


def _end(refs: list[Any]) -> None:
    """End tasks that run or wait."""
    deadline = time.monotonic() + PATIENCE
    while refs and time.monotonic() < deadline:
        for ref in refs:
            ray.cancel(ref, force=True)  # again and again: Ray loses what is asked of a task that is just starting
        ended, refs = ray.wait(refs, num_returns=len(refs), timeout=1)
        for ref in ended:
            with suppress(Exception):
                ray.get(ref)  # Ray prints errors that nobody has looked at


def _versions() -> dict[str, str]:
    return {"nas-mer": __version__, "torch": str(torch.__version__)}


def _mailbox() -> Any:
    """Return an actor between the tasks and their caller, on the caller's node, so that it lives as long.

    It holds what the tasks tell until it is fetched, and whether they should stop.
    """

    class Mailbox:  # not of this module, which would have its process import torch
        def __init__(self) -> None:
            self.letters: list[_Letter] = []
            self.stopping = False

        def put(self, sender: tuple[int, int], content: bytes | None) -> None:
            self.letters.append((sender, content))

        def take(self) -> list[_Letter]:
            letters, self.letters = self.letters, []
            return letters

        def stop(self) -> None:
            self.stopping = True

        def stops(self) -> bool:
            return self.stopping

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()


class _Line:
    """What one task tells and asks through.

    It never waits in `ray.get`: Ray would take the core for free meanwhile and start another task on it.
    """

    def __init__(self, mailbox: Any, sender: tuple[int, int]) -> None:
        self.mailbox, self.sender = mailbox, sender
        self.stops, self.asked = False, -ASK_EVERY
        self.sent = mailbox.put.remote(sender, None)  # it has begun

    def tell(self, what: Any) -> None:
        self.sent = self.mailbox.put.remote(self.sender, cloudpickle.dumps(what))

    def stop(self) -> bool:
        if time.monotonic() - self.asked >= ASK_EVERY:
            self.stops = self.mailbox.stops.remote().future().result()
            self.asked = time.monotonic()
        return self.stops

    def end(self) -> None:
        """Wait until all is delivered, in order, as Ray does it."""
        self.sent.future().result()


_prepared: dict[str, tuple[Callable[..., Any], tuple[Any, ...], torch.device]] = {}
"""What this process was prepared for: the one call of `each_on_ray` whose tasks it has."""


def _prepare(name: str, common: bytes) -> tuple[Callable[..., Any], tuple[Any, ...], torch.device]:
    """Prepare this process for the tasks of a call, once, and return its function, what they share and the device."""
    if name not in _prepared:
        _prepared.clear()
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        keep_memory()
        setup, work = cloudpickle.loads(common)
        if setup:
            setup()
        _prepared[name] = cloudpickle.loads(work)
    return _prepared[name]


def _run(
    versions: Mapping[str, str], name: str, common: bytes, task: bytes, mailbox: Any, sender: tuple[int, int]
) -> bytes:
    """Do a task, in a process of the cluster."""
    for package, version in _versions().items():
        if version != versions[package]:
            raise UserError(
                f"node {socket.gethostname()} has {package} {version}, and the caller {versions[package]}; all nodes "
                "need the same, or results would depend on where they are computed"
            )
    function, shared, device = _prepare(name, common)
    line = _Line(mailbox, sender)
    try:
        result = function(cloudpickle.loads(task), Report(line.tell, line.stop, device), *shared)
        content: bytes = cloudpickle.dumps(result)
        return content
    finally:
        line.end()
