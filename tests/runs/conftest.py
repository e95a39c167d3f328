"""Runs that are stopped in every way, and what a process leaves behind."""

import multiprocessing
import time
from pathlib import Path

import pytest

from nas_mer.runs import resume


class Stop(BaseException):
    """Stands for any error that a progress callback may raise."""


@pytest.fixture(scope="session")
def stop():
    return Stop


@pytest.fixture
def stopping():
    """A progress callback that raises when it has been told something for the n-th time."""

    def make(times, error=Stop):
        told = []

        def progress(done, total, text):
            told.append((done, total, text))
            if len(told) == times:
                raise error

        progress.told = told
        return progress

    return make


@pytest.fixture(scope="session")
def killed():
    """Resume a run in another process and kill that without warning, some time after `ready()` has become true.

    Returns the processes that it had started.
    """
    context = multiprocessing.get_context("forkserver")  # imports torch once
    context.set_forkserver_preload(["nas_mer.runs"])

    def resume_and_kill(path, workers, ready, delay):
        process = context.Process(target=resume, args=(path, workers))
        process.start()
        try:
            waited_since = time.monotonic()
            while not ready():
                assert process.is_alive(), "the run ended before it could be killed"
                assert time.monotonic() - waited_since < 300, "the run does not begin"
                time.sleep(0.005)
            time.sleep(delay)
            return children(process.pid)
        finally:
            process.kill()
            process.join()

    return resume_and_kill


def children(pid):
    """The processes that a process has started."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listing.read_text().split()] if listing.exists() else []


@pytest.fixture(scope="session")
def gone():
    """Wait until processes have ended."""

    def wait(pids):
        waited_since = time.monotonic()
        while left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
            assert time.monotonic() - waited_since < 120, f"processes that outlive their run: {left}"
            time.sleep(0.05)

    return wait
