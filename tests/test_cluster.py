import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("ray", reason="--engine ray needs Ray, the extra `cluster`")

import ray
from ray import cloudpickle, cluster_utils

import nas_mer.cluster
from nas_mer.cluster import GPUS_PER_TASK, each_on_ray
from nas_mer.compute import Compute
from nas_mer.errors import UserError
from nas_mer.runs import load_run, resume, retrain, search
from nas_mer.runs.tensors import read_tensors
from nas_mer.workers import Stopped

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
# A node that is killed is noticed after ten seconds instead of a quarter of a minute. With fewer a live one that other
# tests keep from answering would be taken for dead.
SYSTEM = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 10}
LOCAL = Compute(workers=1, device="cpu", checkpoint_every=3600)
RAY = Compute(engine="ray", device="cpu", checkpoint_every=3600)


@pytest.fixture(scope="module")
def nodes():
    """A cluster of two nodes with a core each, the second with a GPU that does not exist."""
    handler = signal.getsignal(signal.SIGTERM)  # which Ray replaces
    folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)  # sockets need a short path
    with folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder.name)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        found = cluster_utils.Cluster()
        try:
            found.add_node(**NODE, _system_config=SYSTEM)
            patch.setenv("RAY_ADDRESS", found.address)
            found.add_node(**NODE, num_gpus=1)
            yield found
        finally:
            ray.shutdown()
            found.shutdown()
            signal.signal(signal.SIGTERM, handler)


@pytest.fixture(autouse=True)
def _no_endless_waiting():
    def give_up(*_):
        raise TimeoutError(f"the cluster does not end; of {ray.cluster_resources()} free: {ray.available_resources()}")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def on_ray(nodes):
    """Do tasks on the CPUs of the cluster; functions of tests are sent as they are, since no node has them."""

    def do(function, tasks, *shared, **options):
        return each_on_ray(function, tasks, shared, device="cpu", **options)

    return do


class TestEach:
    def test_all_tasks_are_done_once_and_heard_in_order(self, on_ray):
        def chatty(task, report):
            for number in range(30 if task > 7 else 4):
                report((number, bytes(1_000_000 if task > 7 else 1)))
            return {str(index): torch.full((3,), float(task)) for index in range(20)}

        heard, done = {task: [] for task in range(10)}, {}
        for task, tensors in on_ray(chatty, range(10), heard=lambda task, what: heard[task].append(what[0])):
            assert task not in done
            assert heard[task] == list(range(30 if task > 7 else 4))
            done[task] = tensors
        assert sorted(done) == list(range(10))
        assert all(torch.equal(done[task]["19"], torch.full((3,), float(task))) for task in done)

    def test_a_process_is_set_up_once_and_computes_on_one_thread(self, on_ray):
        def setup():
            os.nas_mer_setups = getattr(os, "nas_mer_setups", 0) + 1

        def about(task, report):
            import cv2

            time.sleep(0.1)
            return os.getpid(), os.nas_mer_setups, torch.get_num_threads(), cv2.getNumThreads(), str(report.device)

        processes = set()
        for _, (pid, *told) in on_ray(about, range(8), setup=setup):
            assert told == [1, 1, 1, "cpu"]
            processes.add(pid)
        assert len(processes) == 2

    def test_arrays_can_be_written_to_at_both_ends(self, on_ray):
        def writes(task, report, shared):
            report(task + 1)
            return task.flags.writeable, shared.flags.writeable, task * 2

        heard = []
        ((_, (task, shared, result)),) = on_ray(
            writes, [np.zeros(100_000)], np.zeros(100_000), heard=lambda task, what: heard.append(what)
        )
        assert (task, shared) == (True, True)
        assert result.flags.writeable
        assert heard[0].flags.writeable

    def test_an_error_in_a_task_is_the_callers(self, on_ray):
        def refuses_two(task, report):
            if task == 2:
                raise UserError("file.yaml: no such thing")
            return task

        with pytest.raises(UserError, match=r"^file\.yaml: no such thing$") as told:
            list(on_ray(refuses_two, range(6)))
        assert type(told.value) is UserError

    @pytest.mark.parametrize("lost", [0, 1])
    def test_workers_stop_when_the_caller_does(self, on_ray, tmp_path, monkeypatch, lost):
        """Also where Ray loses the first words about it, as it does now and then with a task that is just starting."""

        def waits(task, report, folder):
            scratch = folder.with_name(f"{folder.name}-{task}")
            scratch.write_text(str(os.getpid()))
            scratch.replace(folder / str(task))  # whole from its first moment
            while task or len(list(folder.iterdir())) < 2:
                time.sleep(0.01)
            return task

        def cancel(ref, **options):
            asked[ref] += 1
            if asked[ref] > lost:
                really(ref, **options)

        asked, really = Counter(), ray.cancel
        results = on_ray(waits, range(5), tmp_path)
        assert next(results) == (0, 0)
        running = [int(file.read_text()) for file in tmp_path.iterdir() if file.name != "0"]
        monkeypatch.setattr(ray, "cancel", cancel)
        results.close()
        assert min(asked.values()) > lost
        waited_since = time.monotonic()
        while left := [pid for pid in running if Path(f"/proc/{pid}").exists()]:
            assert time.monotonic() - waited_since < 60, f"still there: {left}"
            time.sleep(0.05)

    def test_nothing_to_do_needs_no_cluster(self):
        assert list(each_on_ray(max, [], ())) == []


class TestLosses:
    def test_a_process_that_dies_costs_its_own_task(self, on_ray, tmp_path):
        def dies_once(task, report, folder):
            tries = len(list(folder.glob(f"{task}-*")))
            (folder / f"{task}-{tries}").touch()
            report(("begun", tries))
            if task == 2 and not tries:
                time.sleep(0.5)  # until that has been heard
                os.kill(os.getpid(), signal.SIGKILL)
            if task == 2:  # what the first start said may still come: a node that is taken for dead may go on
                mailbox = report.tell.__self__.mailbox
                mailbox.put.remote((2, 1), cloudpickle.dumps("stale")).future().result()
            report("done")
            return tries

        heard = {task: [] for task in range(5)}
        results = dict(on_ray(dies_once, range(5), tmp_path, heard=lambda task, what: heard[task].append(what)))
        assert results == {0: 0, 1: 0, 2: 1, 3: 0, 4: 0}
        assert heard.pop(2) == [("begun", 0), ("begun", 1), "done"]
        assert set(map(tuple, heard.values())) == {(("begun", 0), "done")}

    def test_a_task_that_kills_each_process_ends_the_call(self, on_ray, tmp_path, monkeypatch):
        def dies(task, report, folder):
            (folder / str(os.getpid())).touch()
            os._exit(1)

        monkeypatch.setattr(nas_mer.cluster, "ATTEMPTS", 2)
        with pytest.raises(ray.exceptions.WorkerCrashedError):
            list(on_ray(dies, [0], tmp_path))
        assert len(list(tmp_path.iterdir())) == 2


class TestInterrupt:
    def test_running_tasks_are_asked_to_end_and_the_others_do_not_begin(self, on_ray, tmp_path):
        def endless(task, report, folder):
            """The first that begins, whichever it is, ends when it is asked; the others never do."""
            try:
                (folder / "first").touch(exist_ok=False)
                first = True
            except FileExistsError:
                first = False
            report("begun")
            while not (first and report.stop()):
                time.sleep(0.01)
            report("kept")
            raise Stopped

        heard = []

        def hear(task, what):
            heard.append((task, what))
            if len(heard) == 2:
                os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(KeyboardInterrupt):
            list(on_ray(endless, range(20), tmp_path, heard=hear, grace=2))
        begun = {task for task, what in heard if what == "begun"}
        kept = [task for task, what in heard if what == "kept"]
        assert len(kept) == 1
        assert kept[0] in begun
        assert 2 <= len(begun) < 20


class TestRefusals:
    def test_no_ray(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "nas_mer.cluster")
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(UserError, match=r"--engine ray needs Ray, which is not installed: pip install "):
            RAY.each(max, [1], ())

    @pytest.fixture
    def unconnected(self, monkeypatch):
        monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def test_no_cluster(self, unconnected, monkeypatch):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        message = rf"cannot connect to a Ray cluster \(.*:{address[-5:]}: .* start one with `ray start --head`"
        with pytest.raises(UserError, match=message):
            next(each_on_ray(max, [1], ()))

    def test_without_a_cluster_no_run_is_made(
        self, unconnected, monkeypatch, tiny, space, recipe, search_recipe, tmp_path
    ):
        monkeypatch.setenv("RAY_ADDRESS", "nowhere")
        with pytest.raises(UserError, match="cannot connect to a Ray cluster"):
            retrain([(space, space.genotype("rcn"))], tiny, recipe, tmp_path / "runs" / "run", compute=RAY)
        with pytest.raises(UserError, match="cannot connect to a Ray cluster"):
            search(space, tiny, search_recipe, tmp_path / "runs" / "run", compute=RAY)
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize("address", ["local", "nowhere", "ray://127.0.0.1:10001"])
    def test_an_address_of_no_cluster(self, unconnected, monkeypatch, address):
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UserError, match=rf"cannot connect to a Ray cluster \({address}: "):
            next(each_on_ray(max, [1], ()))

    def test_another_version(self, on_ray, monkeypatch):
        monkeypatch.setattr(nas_mer.cluster, "_versions", lambda: {"nas-mer": nas_mer.__version__, "torch": "0.1"})
        with pytest.raises(
            UserError, match=rf"^node .* has torch {re.escape(torch.__version__)}, and the caller 0\.1; "
        ):
            next(on_ray(max, [1]))

    @pytest.mark.parametrize("device", ["cuda:0", "tpu"])
    def test_a_device_that_ray_does_not_deal_out(self, device):
        with pytest.raises(UserError, match=rf"--device: with --engine ray it must be .*, found '{device}'"):
            Compute(engine="ray", device=device)


class TestGPUs:
    def test_half_a_gpu_a_task(self, nodes, monkeypatch):
        def about(task, report):
            return str(report.device), ray.get_runtime_context().get_assigned_resources()

        monkeypatch.setenv(GPUS_PER_TASK, "0.5")
        for _, (device, resources) in each_on_ray(about, range(2), ()):
            assert device == "cuda"
            assert resources == {"CPU": 1, "GPU": 0.5}

    @pytest.mark.parametrize("told", ["0", "-1", "2", "all", "nan"])
    def test_no_part_of_a_gpu(self, nodes, monkeypatch, told):
        monkeypatch.setenv(GPUS_PER_TASK, told)
        with pytest.raises(UserError, match=rf"NAS_MER_GPUS_PER_TASK: must be above 0 and at most 1, found '{told}'"):
            next(each_on_ray(max, [1], ()))

    def test_a_cluster_without(self, monkeypatch):
        def has(*resources):
            monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": one} for one in resources])

        has({"CPU": 8.0})
        assert nas_mer.cluster._gpus("auto") == nas_mer.cluster._gpus("cpu") == 0
        with pytest.raises(UserError, match="no node of the Ray cluster has a core and 1 GPU to give"):
            nas_mer.cluster._gpus("cuda")
        has({"GPU": 1.0}, {"CPU": 8.0})
        with pytest.raises(UserError, match="no node of the Ray cluster has a core and 1 GPU to give"):
            nas_mer.cluster._gpus("auto")
        has({})
        with pytest.raises(UserError, match="no node of the Ray cluster has a core to give"):
            nas_mer.cluster._gpus("auto")


@pytest.fixture(scope="module")
def trainings(made, space, recipe, tmp_path_factory):
    """Three trainings of a second or two, so that there is a middle."""
    folder = tmp_path_factory.mktemp("data") / "three"
    made(subjects=[("alpha", "s01"), ("alpha", "s02"), ("beta", "s01")]).save(folder)
    return [(space, space.genotype("rcn-f"))], folder, recipe.model_copy(update={"epochs": 200})


@pytest.fixture(scope="module")
def retrained(trainings, tmp_path_factory):
    """What becomes of them in this process."""
    return retrain(*trainings, tmp_path_factory.mktemp("local") / "retrained", compute=LOCAL)


class Watch:
    """A progress callback that calls a function when two trainings are under way, which is one on each node."""

    def __init__(self, then):
        self.then, self.called = then, False
        self.begun, self.under_way = [], set()

    def __call__(self, done, total, text):
        training, _, epoch = text.partition(";")[0].partition(", epoch ")
        if epoch == "1":
            self.begun.append(training)
        (self.under_way.add if epoch else self.under_way.discard)(training)
        if len(self.under_way) == 2 and not self.called:
            self.called = True
            self.then()


def results(run):
    """All that a run gave, bit for bit, but for the order in which trainings ended."""
    files = [path for path in run.path.rglob("*") if path.is_file() and path.name not in ("run.json", "metrics.jsonl")]
    found = {str(file.relative_to(run.path)): content(file) for file in files}
    return found | {"metrics": sorted((run.path / "metrics.jsonl").read_text().splitlines())}


def content(file):
    if file.suffix != ".safetensors":
        return file.read_bytes()
    tensors, about = read_tensors(file)
    return about, {name: (tensor.dtype, tensor.shape, tensor.numpy().tobytes()) for name, tensor in tensors.items()}


class TestRuns:
    def test_a_search_is_the_same_as_on_one_machine(self, nodes, space, tiny, search_recipe, tmp_path):
        runs = [
            search(space, tiny, search_recipe, tmp_path / name / "run", seeds=2, compute=compute)
            for name, compute in {"local": LOCAL, "ray": RAY}.items()
        ]
        here, there = map(results, runs)
        assert len(here) > 4
        assert here == there

    def test_an_interrupted_training_keeps_its_last_epoch(self, nodes, trainings, tmp_path, retrained):
        watch = Watch(lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            retrain(*trainings, tmp_path / "run", compute=RAY, progress=watch)
        run = load_run(tmp_path / "run")
        kept = list((run.path / "checkpoints").rglob("*.safetensors"))
        assert 1 <= len(kept) <= 2
        assert all(1 <= len(read_tensors(file)[0]["losses"]) < 200 for file in kept)
        assert len(kept) + len(list((run.path / "replicas").rglob("*.safetensors"))) == len(watch.begun)
        assert results(resume(run.path, LOCAL)) == results(retrained)

    def test_a_node_that_dies_costs_its_own_training(self, nodes, trainings, tmp_path, retrained):
        (lost,) = nodes.worker_nodes
        watch = Watch(lambda: nodes.remove_node(lost, allow_graceful=False))
        try:
            run = retrain(*trainings, tmp_path / "run", compute=RAY, progress=watch)
        finally:
            nodes.add_node(**NODE, num_gpus=1)
        assert watch.called
        assert (len(set(watch.begun)), len(watch.begun)) == (3, 4)  # one of them twice
        assert results(run) == results(retrained)
