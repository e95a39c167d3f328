"""Independent tasks on all cores: one single-threaded process a core, results as they come."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import Queue
from typing import Any, TypeVar

import cv2
import torch

Task = TypeVar("Task")
Result = TypeVar("Result")
Report = Callable[[Any], None]


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
) -> Iterator[tuple[Task, Result]]:
    """Call `function(task, report, *shared)` for every task and yield (task, result) as they finish.

    Each call runs on one thread, in one of `workers` processes (in this one if `workers` is 1), so a result does not
    depend on how many there are. `shared` is sent to each process once. What a call hands to `report` reaches
    `heard(task, what)` in this process, in order, and is lost if the task ends before it does. `setup` is called once
    in each new process. When the caller stops early, the workers are stopped too.
    """
    heard = heard or (lambda task, what: None)
    workers = min(workers, len(tasks))
    if workers <= 1:
        with one_thread():
            for task in tasks:
                yield task, function(task, partial(heard, task), *shared)
        return
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, _prepare, (reports, shared, setup))
    try:
        with _deaf():
            futures = {pool.submit(_call, function, index, task): index for index, task in enumerate(tasks)}
        while futures:
            done, _ = wait(futures, timeout=0.1, return_when=FIRST_COMPLETED)
            running = set(futures.values())
            while not reports.empty():
                index, what = reports.get()
                if index in running:
                    heard(tasks[index], what)
            for future in done:
                yield tasks[futures.pop(future)], pickle.loads(future.result())
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _deaf() -> Iterator[None]:
    """Ignore Ctrl-C within the block: processes that start in it do so from their first moment on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


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


@dataclass
class _Worker:
    """What a worker process keeps between its tasks."""

    reports: Queue[Any]
    shared: tuple[Any, ...]


_worker: _Worker


def _prepare(reports: Queue[Any], shared: tuple[Any, ...], setup: Callable[[], None] | None) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and stops its workers
    reports.cancel_join_thread()  # at the end nobody hears what is left; a worker must not wait for that
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if setup:
        setup()
    _worker = _Worker(reports, shared)


def _end_with_parent() -> None:
    """End this process when its parent does: one that is killed cannot stop its workers."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _call(function: Callable[..., object], index: int, task: Any) -> bytes:
    def report(what: Any) -> None:
        _worker.reports.put((index, what))

    # Pickled here, because the pool would send each tensor as shared memory, which keeps a file open for each.
    return pickle.dumps(function(task, report, *_worker.shared))
