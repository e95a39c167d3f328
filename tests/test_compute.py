import pickle

import pytest
import torch

from nas_mer.compute import GRACE, Compute, devices
from nas_mer.errors import UserError
from nas_mer.workers import cores


@pytest.fixture
def gpus(monkeypatch):
    """Let torch say that it sees some GPUs."""
    return lambda count: monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


class TestDevices:
    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_by_name(self, gpus, count):
        gpus(count)
        cpu, all_of_them = [torch.device("cpu")], [torch.device("cuda", number) for number in range(count)]
        assert devices("cpu") == cpu
        assert devices("auto") == (all_of_them or cpu)
        for number, device in enumerate(all_of_them):
            assert devices(f"cuda:{number}") == [device]
        if count:
            assert devices("cuda") == all_of_them

    @pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "mps", "meta", "cuda:-1", "CPU"])
    def test_no_device(self, name):
        with pytest.raises(UserError, match=rf"--device: must be auto, cpu, cuda or cuda:N, found '{name}'"):
            devices(name)

    @pytest.mark.parametrize(("count", "name"), [(0, "cuda"), (0, "cuda:0"), (2, "cuda:2"), (2, "cuda:99")])
    def test_a_gpu_that_is_not_there(self, gpus, count, name):
        gpus(count)
        with pytest.raises(UserError, match=rf"--device: '{name}' is not there; torch sees {count} GPUs"):
            devices(name)


class TestCompute:
    @pytest.mark.parametrize("name", ["workers", "group"])
    @pytest.mark.parametrize("value", [0, -1])
    def test_less_than_one(self, name, value):
        with pytest.raises(UserError, match=f"--{name}: must be at least 1, found {value}"):
            Compute(**{name: value})
        assert getattr(Compute(**{name: 1}), name) == 1

    def test_a_device_that_is_not_there(self):
        with pytest.raises(UserError, match="--device: 'cuda:99' is not there"):
            Compute(device="cuda:99")
        with pytest.raises(UserError, match="--device: must be auto, cpu, cuda or cuda:N, found 'tpu'"):
            Compute(device="tpu")

    @pytest.mark.parametrize(
        ("count", "device", "parts"), [(0, "auto", [1, 4, 9]), (3, "auto", [1, 2, 3]), (3, "cuda:1", [1, 4, 9])]
    )
    def test_each_device_has_its_part(self, gpus, count, device, parts):
        gpus(count)
        assert [Compute(device=device).part(networks) for networks in (1, 4, 9)] == parts

    def test_it_may_be_sent_to_another_process(self):
        compute = Compute(2, "cpu", 3, 60.0)
        assert pickle.loads(pickle.dumps(compute)) == compute

    @pytest.mark.parametrize(
        ("count", "compute", "workers"),
        [
            (0, {}, cores()),
            (0, {"workers": 5}, 5),
            (3, {}, 3),
            (3, {"device": "cuda:1"}, 1),
            (3, {"device": "cpu"}, cores()),
            (3, {"workers": 5}, 5),
        ],
    )
    def test_a_process_for_each_core_or_gpu(self, gpus, monkeypatch, count, compute, workers):
        asked = []
        monkeypatch.setattr("nas_mer.compute.each", lambda *arguments: asked.append(arguments) or iter(()))
        gpus(count)
        made = Compute(**compute)
        assert list(made.each(len, ["task"], ("shared",), print, int)) == []
        assert asked == [(len, ["task"], ("shared",), workers, print, int, made.devices, GRACE)]

    def test_tasks_are_done(self):
        heard = []

        def work(task, report, shared):
            report(f"{task} on {report.device}")
            return task + shared

        found = Compute(workers=1, device="cpu").each(work, [1, 2], (10,), lambda task, what: heard.append(what))
        assert list(found) == [(1, 11), (2, 12)]
        assert heard == ["1 on cpu", "2 on cpu"]
