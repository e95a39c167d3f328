import multiprocessing
import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from nas_mer.workers import cores, each, one_thread


@pytest.fixture
def tasks(monkeypatch):
    """The module of functions that spawned processes can import."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import worker_tasks

    return worker_tasks


@pytest.fixture(autouse=True)
def _no_endless_waiting():
    """A deadlock ends as a failure; ten minutes are an age for these tests, also on a busy machine."""

    def give_up(*_):
        for child in multiprocessing.active_children():
            child.kill()
        raise TimeoutError("the workers do not end")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(600)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert not multiprocessing.active_children()


@contextmanager
def open_files(most):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("workers", [1, 2])
def test_all_tasks_are_done_once_and_heard_in_order(tasks, workers):
    """However much they report and return: neither full pipes nor open files (one a shared tensor) stop them."""
    heard, done = {task: [] for task in range(15)}, {}

    def hear(task, what):
        assert task not in done
        heard[task].append(what[0])

    with open_files(most=200):
        for task, tensors in each(tasks.chatty, range(15), (13,), workers, hear):
            assert task not in done
            done[task] = tensors
    assert sorted(done) == list(range(15))
    for task, tensors in done.items():
        assert len(tensors) == 20
        assert all(torch.equal(value, torch.full((3,), float(task))) for value in tensors.values())
        assert heard[task] == list(range(len(heard[task])))
        assert workers > 1 or len(heard[task]) == (4 if task < 13 else 60)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_task_is_the_callers(tasks, workers):
    done = []
    with pytest.raises(ValueError, match="two is one too many"):
        done.extend(task for task, _ in each(tasks.refuses_two, range(2000), (), workers))
    assert len(done) < 1999


def test_workers_stop_when_the_caller_does(tasks, tmp_path):
    results = each(tasks.waits, range(5), (tmp_path,), 2)
    assert next(results) == (0, 0)
    running = [int(file.read_text()) for file in tmp_path.iterdir()]
    assert len(running) >= 2
    results.close()
    for pid in running:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_caller_who_stops_leaves_tasks_undone_in_this_process():
    started = []
    results = each(lambda task, report: started.append(task), range(5), (), 1)
    next(results)
    results.close()
    assert started == [0]


def test_nothing_to_do_needs_no_worker(tasks):
    assert list(each(tasks.threads, [], (), 4)) == []


def test_tasks_compute_on_one_thread_and_the_caller_keeps_his(tasks):
    torch.set_num_threads(2)
    try:
        assert list(each(tasks.threads, range(2), (), 1)) == [(0, 1), (1, 1)]
        assert torch.get_num_threads() == 2
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        results = each(tasks.threads, range(2), (), 1)
        next(results)
        results.close()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_cores_are_those_that_this_process_may_use():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity on this system")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert cores() == len(before)
