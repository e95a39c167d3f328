"""Runs, how they are stopped in every way, and what a process leaves behind."""

import errno
import multiprocessing
import random
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from nas_mer.runs import Compute, load_run, resume, retrain, search

ALONE = Compute(workers=1, checkpoint_every=0.0)


class Stop(BaseException):
    """Stands for any error that a progress callback may raise."""


@pytest.fixture(scope="session")
def stop():
    return Stop


@pytest.fixture(scope="session")
def alone():
    """In this process, one network after the other: what every other way of computing is compared with."""
    return ALONE


@pytest.fixture(scope="session")
def genotypes(space):
    return [(space, space.genotype("rcn-f")), (space, space.genotype("rcn"))]


@pytest.fixture(scope="session")
def retrained(genotypes, tiny, recipe, tmp_path_factory):
    """Two genotypes, two seeds, four folds: 16 trainings that nothing has interrupted."""
    return retrain(genotypes, tiny, recipe, tmp_path_factory.mktemp("runs") / "retrained", seeds=2, compute=ALONE)


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
def forked():
    """Start processes with what they import loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nas_mer.runs", "optuna.storages", "sqlalchemy.dialects.sqlite"])
    first = context.Process(target=int)  # waits for the imports
    first.start()
    first.join()
    return context.Process


@pytest.fixture(scope="session")
def killed(forked):
    """Resume a run in another process and kill that without warning, some time after `ready()` has become true.

    Returns the processes that it had started.
    """

    def resume_and_kill(path, compute, ready, delay):
        process = forked(target=resume, args=(path, compute))
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


@pytest.fixture(scope="session")
def hunted(forked):
    """Kill a run that was begun at random moments from its beginning to its end, until that has happened often enough.

    `whole` is the same run uninterrupted, which tells how long it takes. A run is resumed after every kill. Whenever
    it is finished, `check(run)` is called and it starts again from where it was at first. `done(run)` says how much it
    holds: a kill may not make that less.
    """

    def hunt(run, whole, times, check, done, seed=0):
        rng, fresh = random.Random(seed), run.path.with_name("fresh")
        shutil.copytree(run.path, fresh)
        begun, ended = ((whole.path / name).stat().st_mtime for name in ("run.json", "result.json"))
        kills, before = 0, 0
        while kills < times:
            if load_run(run.path).finished:
                check(load_run(run.path))
                shutil.rmtree(run.path)
                shutil.copytree(fresh, run.path)
                before = done(run)
            process = forked(target=resume, args=(run.path, ALONE))
            process.start()
            process.join(rng.uniform(0, 0.3 + ended - begun))
            process.kill()
            process.join()
            assert process.exitcode in (0, -signal.SIGKILL)
            kills += process.exitcode != 0
            assert done(run) >= before
            before = done(run)
        check(resume(run.path, ALONE))
        assert not list(run.path.rglob(".*"))

    return hunt


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


@pytest.fixture
def full_disk(monkeypatch):
    """Return a context in which the disk has room for some files of tensors and a half of the next."""

    @contextmanager
    def full_disk(room):
        whole, written = Path.write_bytes, []

        def write(path, content):
            if len(written) >= room:
                whole(path, content[: len(content) // 2])
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            written.append(path)
            return whole(path, content)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", write)
            yield

    return full_disk


@pytest.fixture(scope="session")
def nested(space, tiny, search_recipe, tmp_path_factory):
    """A nested search with two seeds in four folds that nothing has interrupted."""
    path = tmp_path_factory.mktemp("runs") / "nested"
    return search(space, tiny, search_recipe, path, seeds=2, protocol="nested", compute=ALONE)
