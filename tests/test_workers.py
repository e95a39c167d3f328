import multiprocessing
import os
import resource
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
import torch

from nas_mer.workers import Report, Stopped, cores, each, keep_memory, one_thread


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


def test_workers_stop_when_one_of_them_is_killed(tasks):
    """As a system does that is short of memory."""
    pids = []
    with pytest.raises(BrokenProcessPool):
        list(each(tasks.is_killed, range(3), (), 2, lambda task, pid: pids.append(pid), grace=1e6))
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


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


@pytest.mark.usefixtures("two_threads")
def test_tasks_compute_on_one_thread_and_the_caller_keeps_his(tasks):
    def own():
        return torch.get_num_threads(), cv2.getNumThreads()

    for workers in (1, 2):
        assert sorted(each(tasks.threads, range(2), (), workers)) == [(0, (1, 1)), (1, (1, 1))]
        assert own() == (2, 2)
    with one_thread():
        assert own() == (1, 1)
    assert own() == (2, 2)
    results = each(tasks.threads, range(2), (), 1)
    next(results)
    results.close()
    assert own() == (2, 2)


def test_devices_are_dealt_out_in_turn(tasks, tmp_path):
    """One for each process, whichever tasks it has; here they are only names."""
    devices = [torch.device("cuda", 0), torch.device("cuda", 1)]
    found = [result for _, result in each(tasks.device, range(5), (tmp_path,), 2, devices=devices)]
    assert set(dict.fromkeys(found)) == {(name, pid) for name, pid in found}
    by_process = {pid: {name for name, other in found if other == pid} for _, pid in found}
    assert sorted(by_process.values(), key=str) == [{"cuda:0"}, {"cuda:1"}]


def test_one_device_serves_this_process(tasks):
    devices = [torch.device("cuda", 1), torch.device("cuda", 0)]
    assert list(each(lambda task, report: str(report.device), range(2), (), 1, devices=devices)) == [
        (0, "cuda:1"),
        (1, "cuda:1"),
    ]
    assert list(each(lambda task, report: str(report.device), [0], (), 3)) == [(0, "cpu")]


class TestAsked:
    """To stop, by a signal, and with some grace."""

    @pytest.fixture(autouse=True)
    def _handlers_are_as_before(self):
        numbers = signal.SIGINT, signal.SIGTERM
        before = [signal.getsignal(number) for number in numbers]
        yield
        assert [signal.getsignal(number) for number in numbers] == before

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_task_in_this_process_ends_by_itself(self, number):
        heard = []

        def work(task, report):
            while not report.stop():
                report("on my way")
                os.kill(os.getpid(), number)
            report("kept")
            raise Stopped

        with pytest.raises(KeyboardInterrupt):
            list(each(work, range(3), (), 1, lambda task, what: heard.append((task, what)), grace=60))
        assert heard == [(0, "on my way"), (0, "kept")]

    def test_a_task_that_comes_to_its_end_counts(self):
        done = []

        def work(task, report):
            os.kill(os.getpid(), signal.SIGTERM)
            return task

        with pytest.raises(KeyboardInterrupt):
            done.extend(each(work, range(3), (), 1, grace=60))
        assert done == [(0, 0)]

    def test_twice_is_at_once(self):
        reached = []

        def work(task, report):
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("after the first")
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("after the second")

        with pytest.raises(KeyboardInterrupt):
            list(each(work, [0], (), 1, grace=60))
        assert reached == ["after the first"]

    def test_without_grace_an_interrupt_is_one(self):
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                list(each(lambda task, report: os.kill(os.getpid(), signal.SIGINT), [0], (), 1))
        finally:
            signal.signal(signal.SIGINT, before)

    def test_tasks_in_processes_end_by_themselves(self, tasks):
        """All that they told before is heard, however much it is; a result that one comes to counts."""
        heard, done, asked = {task: [] for task in range(6)}, [], []

        def hear(task, what):
            heard[task].append(what)
            if not asked and len(heard[0]) > 2 and len(heard[1]) > 2:
                asked.append(signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(KeyboardInterrupt):
            done.extend(each(tasks.ends_when_asked, range(6), (3_000_000,), 2, hear, grace=60))
        assert [task for task, told in heard.items() if told] == [0, 1]  # none is begun any more
        assert done == [(0, "result")]
        assert heard[1][-1][0] == "last"
        assert [rounds for rounds, _ in heard[1][:-2]] == list(range(1, heard[1][-1][1] + 1))
        assert len(heard[1][-2][1]) == 3_000_000

    def test_it_is_heard_while_processes_start(self, tasks, monkeypatch):
        class Interrupted(ProcessPoolExecutor):
            def submit(self, *call):
                future = super().submit(*call)
                if not asked:
                    asked.append(signal.SIGINT)
                    os.kill(os.getpid(), signal.SIGINT)
                return future

        def hear(task, what):
            assert what[0] == "last" or what[0] < 1000, "it was not heard"

        asked = []
        monkeypatch.setattr("nas_mer.workers.ProcessPoolExecutor", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(each(tasks.ends_when_asked, range(1, 5), (1,), 2, hear, grace=60))

    @pytest.mark.parametrize("times", [1, 2])
    def test_tasks_that_do_not_hear_are_ended(self, tasks, times):
        """After the grace, or when they are asked again."""
        running = []

        def hear(task, pid):
            running.append(pid)
            if len(running) == 2:
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(KeyboardInterrupt):
            list(each(tasks.never_stops, range(5), (), 2, hear, grace=0.3 if times == 1 else 1e6))
        assert len(running) == 2
        for pid in running:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


def test_a_report_tells_hears_and_has_a_place():
    told = []
    report = Report(told.append)
    report("something")
    assert told == ["something"]
    assert not report.stop()
    assert report.device == torch.device("cpu")


def test_memory_may_be_kept():
    """Twice, too; what is computed stays the same."""
    before = torch.arange(1 << 18).double().sum()
    keep_memory()
    keep_memory()
    assert torch.equal(torch.arange(1 << 18).double().sum(), before)


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
