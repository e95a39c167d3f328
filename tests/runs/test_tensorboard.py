"""TensorBoard's own reader against what the run says."""

import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nas_mer.errors import UserError
from nas_mer.runs import resume, retrain, search
from nas_mer.runs.tensorboard import scalars


def curves(folder):
    """Tag -> [(step, value)] of one folder of events."""
    found = EventAccumulator(str(folder), {"scalars": 0}).Reload()
    return {tag: [(point.step, point.value) for point in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def as_told(run, seed, options):
    """The same from the run's lines."""
    expected = {}
    for line in run.metrics():
        if line["seed"] == seed:
            for tag, value, step in scalars(line, options):
                expected.setdefault(tag, []).append((step, pytest.approx(value, rel=1e-6)))
    return expected


class TestSearch:
    def test_each_seed_has_its_curves(self, space, tiny, search_recipe, tmp_path, alone):
        run = search(space, tiny, search_recipe, tmp_path / "run", seeds=2, compute=alone, tensorboard=True)
        assert {path.name for path in (run.path / "tensorboard").iterdir()} == {"seed-0", "seed-1"}
        found = curves(run.path / "tensorboard" / "seed-1")
        assert found == as_told(run, 1, space.decisions)
        assert [step for step, _ in found["loss/train"]] == [1, 2, 3]
        names = {f"weights/{decision}/{option}" for decision, options in space.decisions.items() for option in options}
        decided = {f"decided/{decision}" for decision in space.decisions}
        assert found.keys() == {"loss/train", "loss/valid", "uar/valid"} | names | decided

    def test_a_resumed_search_has_no_step_twice(self, space, tiny, search_recipe, tmp_path, alone, stop, stopping):
        with pytest.raises(stop):
            search(
                space, tiny, search_recipe, tmp_path / "run",
                compute=alone, progress=stopping(2), tensorboard=True,
            )  # fmt: skip
        run = resume(tmp_path / "run", alone)
        assert curves(run.path / "tensorboard" / "seed-0") == as_told(run, 0, space.decisions)
        assert [step for step, _ in curves(run.path / "tensorboard" / "seed-0")["uar/valid"]] == [1, 2, 3]

    def test_who_does_not_ask_gets_none(self, space, tiny, search_recipe, tmp_path, alone):
        run = search(space, tiny, search_recipe, tmp_path / "run", compute=alone)
        assert not (run.path / "tensorboard").exists()


def test_retraining(space, tiny, recipe, tmp_path, alone):
    pairs = [(space, space.genotype(name)) for name in ("rcn-f", "rcn")]
    run = retrain(pairs, tiny, recipe, tmp_path / "run", compute=alone, tensorboard=True)
    found = curves(run.path / "tensorboard" / "rcn-f" / "seed-0")
    (score,) = [row for row in run.result["scores"] if row["genotype"] == "rcn-f"]
    assert found["uar/composite"] == [(0, pytest.approx(score["uar"], rel=1e-6))]
    assert found["uf1/beta"] == [(0, pytest.approx(score["databases"]["beta"]["uf1"], rel=1e-6))]
    losses = {line["fold"]: line["losses"] for line in run.metrics() if line["genotype"] == "rcn-f"}
    assert len(losses) == 4
    for fold, values in losses.items():
        assert [value for _, value in found[f"loss/{fold}"]] == pytest.approx(values, rel=1e-6)


def test_decidedness_is_that_of_the_verdict():
    line = {"seed": 0, "epoch": 4, "train_loss": 1.0, "valid_loss": 2.0, "valid_uar": 0.5, "weights": {"d": [0.9, 0.1]}}
    (point,) = [one for one in scalars(line, {"d": ("a", "b")}) if one.tag == "decided/d"]
    assert point.value == pytest.approx(0.531, abs=1e-3)  # 1 + .9 log2 .9 + .1 log2 .1
    assert point.step == 4


def test_without_the_package_no_run_is_made(space, tiny, search_recipe, tmp_path, alone, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"--tensorboard needs TensorBoard, .* pip install 'nas-mer\[tensorboard\]'"):
        search(space, tiny, search_recipe, tmp_path / "run", compute=alone, tensorboard=True)
    assert not list(tmp_path.iterdir())
