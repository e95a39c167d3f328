"""Independent tasks on all cores or GPUs: one single-threaded process a core, results as they come."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import BaseContext
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

import cv2
import torch

Task = TypeVar("Task")
Result = TypeVar("Result")

CPU = torch.device("cpu")
AHEAD = 3
"""How many tasks for each worker are handed over at a time; waiting looks at all of them."""


@dataclass(frozen=True)
class Report:
    """What a task is given to tell of itself and to hear where and whether it should go on.

    Attributes:
        tell: hands something to the process that waits for the task.
        stop: whether the task is asked to end soon: it tells what it would lose, and raises `Stopped`.
        device: where it computes.
    """

    tell: Callable[[Any], None]
    stop: Callable[[], bool] = lambda: False
    device: torch.device = CPU

    def __call__(self, what: Any) -> None:
        """Hand something to the process that waits."""
        self.tell(what)


class Stopped(Exception):  # noqa: N818 - no error, but what was asked for
    """A task has ended early because it was asked to."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(
    function: Callable[..., Result],
    tasks: Sequence[Task],
    shared: tuple[Any, ...],
    workers: int,
    heard: Callable[[Task, Any], None] | None = None,
    setup: Callable[[], None] | None = None,
    devices: Sequence[torch.device] = (CPU,),
    grace: float = 0.0,
) -> Iterator[tuple[Task, Result]]:
    """Call `function(task, report, *shared)` for every task and yield (task, result) as they finish.

    Each call runs on one thread, in one of `workers` processes (in this one if `workers` is 1), so a result does not
    depend on how many there are. `shared` is sent to each process once. What a call hands to `report` reaches
    `heard(task, what)` in this process, in order, and is lost if the task ends before it does. `setup` is called once
    in each new process. When the caller stops early, the workers are stopped too.

    With a `grace` of some seconds, an interrupt (Ctrl-C) or SIGTERM first asks the running tasks to end by themselves
    (`Report.stop`), waits that long, and then is the `KeyboardInterrupt` that it is otherwise; a second one is it at
    once. The workers' devices are dealt out in turn.
    """
    heard = heard or (lambda task, what: None)
    workers = min(workers, len(tasks))
    with asking(grace > 0) as asked:
        if workers <= 1:
            with one_thread():
                for task in tasks:
                    report = Report(partial(heard, task), asked.is_set, devices[0])
                    try:
                        yield task, function(task, report, *shared)
                    except Stopped:
                        raise KeyboardInterrupt from None
                    if asked.is_set():
                        raise KeyboardInterrupt
            return
        yield from _in_processes(function, tasks, shared, workers, heard, setup, devices, asked, grace)


def _in_processes(
    function: Callable[..., Result],
    tasks: Sequence[Task],
    shared: tuple[Any, ...],
    workers: int,
    heard: Callable[[Task, Any], None],
    setup: Callable[[], None] | None,
    devices: Sequence[torch.device],
    asked: threading.Event,
    grace: float,
) -> Iterator[tuple[Task, Result]]:
    context = _context(function.__module__)
    reports, places, stop = context.Queue(), context.SimpleQueue(), context.Event()
    for number in range(workers):
        places.put(devices[number % len(devices)])
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, _prepare, (reports, places, stop, shared, setup))
    deadline = float("inf")
    telling = set(range(len(tasks)))  # the tasks of which there is more to hear

    def listen() -> None:
        while not reports.empty():
            index, what, has_stopped = reports.get()
            if has_stopped:
                telling.discard(index)
            elif index in telling:
                heard(tasks[index], what)

    waiting = deque(enumerate(tasks))
    futures: dict[Future[bytes], int] = {}

    def submit() -> None:
        while waiting and len(futures) < AHEAD * workers:
            index, task = waiting.popleft()
            with _deaf():
                futures[pool.submit(_call, function, index, task)] = index

    try:
        while telling:
            submit()
            done, _ = wait(futures, timeout=0.1, return_when=FIRST_COMPLETED)
            listen()
            for future in done:
                index = futures.pop(future)
                if not future.cancelled() and isinstance(future.exception(), Stopped):
                    continue  # what it told last may still be on its way
                telling.discard(index)
                if not future.cancelled():
                    yield tasks[index], pickle.loads(future.result())
            if asked.is_set() and not stop.is_set():
                stop.set()
                deadline = time.monotonic() + grace
                telling.difference_update(index for index, _ in waiting)
                waiting.clear()
                for future in futures:
                    future.cancel()
            if time.monotonic() > deadline:
                break
        if stop.is_set():
            raise KeyboardInterrupt
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _context(module: str) -> BaseContext:
    """Return how processes are started: none inherits what this one computes with, its threads and GPUs.

    On Linux a server that has imported torch and a module once makes them, so that only its first one takes seconds.
    Elsewhere libraries do not bear that.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, module])
    return context


@contextmanager
def asking(wanted: bool) -> Iterator[threading.Event]:
    """Yield an event that an interrupt or SIGTERM within the block sets; the second one is a `KeyboardInterrupt`."""
    asked = threading.Event()
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def _deaf() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM until the block ends, and for good from processes that start in it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and OpenCV compute on one thread within the block."""
    before, before_cv2 = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(before_cv2)


def keep_memory() -> None:
    """Let this process keep the memory that it frees, where its C library is glibc.

    Training allocates and frees the same tensors at each step. By default glibc gives larger ones back to the system
    every time, and a step spends a tenth of its time on getting them again, page by page.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "gnu_get_libc_version"):
            trim_threshold, mmap_threshold = -1, -3
            if libc.mallopt(mmap_threshold, 2**25):  # the most that every glibc takes
                libc.mallopt(trim_threshold, 2**30)


@dataclass
class _Worker:
    """What a worker process keeps between its tasks."""

    reports: Queue[Any]
    stop: Event
    shared: tuple[Any, ...]
    device: torch.device


_worker: _Worker


def _prepare(
    reports: Queue[Any],
    places: multiprocessing.queues.SimpleQueue[torch.device],
    stop: Event,
    shared: tuple[Any, ...],
    setup: Callable[[], None] | None,
) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent hears them and stops its workers
        signal.signal(number, signal.SIG_IGN)
    reports.cancel_join_thread()  # at the end nobody hears what is left; a worker must not wait for that
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keep_memory()
    if setup:
        setup()
    _worker = _Worker(reports, stop, shared, places.get())


def _end_with_parent() -> None:
    """End this process when its parent does: one that is killed cannot stop its workers."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _call(function: Callable[..., object], index: int, task: Any) -> bytes:
    def tell(what: Any) -> None:
        _worker.reports.put((index, what, False))

    report = Report(tell, _worker.stop.is_set, _worker.device)
    try:
        if report.stop():
            raise Stopped
        # Pickled here, because the pool would send each tensor as shared memory, which keeps a file open for each.
        return pickle.dumps(function(task, report, *_worker.shared))
    except Stopped:
        _worker.reports.put((index, None, True))  # behind all that it told
        raise
