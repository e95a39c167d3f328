import shutil
from dataclasses import replace

import optuna
import pytest

from nas_mer.data import Dataset
from nas_mer.errors import UserError
from nas_mer.reproduce import Factor, plan, reproduce, reproduced, train
from nas_mer.runs import load_run
from nas_mer.train import Recipe, load_recipe

POSSIBLE = {"rcn-s16-m3-k2", "rcn-s16-m4-k2", "rcn-w-s16-m3-k2", "rcn-w-s16-m4-k2"}


ONE = Factor("feature maps", {"3": {"feature_maps": 3}})
WILD = load_recipe("default", Recipe).optimizer.model_copy(update={"learning_rate": 1e30})


class Stop(BaseException):
    """Stands for a kill."""


def stop_at(number):
    """A progress that stops the training when so many settings are done and one is under way."""

    def progress(done, total, text):
        if done > number:
            raise Stop

    return progress


def states(planned):
    """How the trials of a folder's study stand."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{planned.folder / 'study.db'}")
    return sorted(trial.state.name for trial in study.trials)


def ours(found):
    return {entry.labels: entry.ours for entry in found.entries}


def test_a_grid_is_trained_but_for_what_is_impossible(small, alone):
    planned = small()
    assert {setting.name for setting in planned.impossible} == {"rcn-s16-m2-k2", "rcn-w-s16-m2-k2"}
    (reason,) = set(planned.impossible.values())
    assert "2 channels cannot be split between 3 dilations" in reason
    assert not planned.folder.exists()  # told before anything is made
    found = reproduce(planned, alone)
    assert {path.name for path in planned.folder.iterdir() if path.is_dir()} == POSSIBLE
    for entry in found.entries:
        if entry.setting in planned.impossible:
            assert (entry.ours, entry.reason) == (None, reason)
        else:
            (score,) = load_run(planned.run_path(entry.setting)).result["scores"]
            assert (entry.ours, entry.interval) == (score["uar"], score["uar_interval"])
    assert states(planned) == ["COMPLETE"] * 4 + ["PRUNED"] * 2


def test_handcrafted_descriptors_are_scored_where_the_dataset_has_what_they_describe(small, alone):
    methods = {name: {"method": name, "genotype": name.lower()} for name in ("LBP-TOP", "Bi-WOOF")}
    planned = small(seeds=2, changed={"rows": Factor("model", methods), "columns": Factor("", {"": {}}), "common": {}})
    found = reproduce(planned, alone)
    lbp_top, bi_woof = found.entries
    assert (lbp_top.ours, lbp_top.reason[:51]) == (None, "lbp-top describes clips, and it keeps none; make it")
    (score,) = load_run(planned.run_path(bi_woof.setting)).result["scores"]
    assert (score["genotype"], score["seed"], score["uar"]) == ("bi-woof", 0, bi_woof.ours)


def test_several_seeds_are_averaged(small, alone):
    planned = small(seeds=2, quick=True, changed={"columns": ONE})
    (entry,) = reproduce(planned, alone).entries
    (mean,) = load_run(planned.run_path(entry.setting)).result["means"]
    assert mean["seeds"] == [0, 1]
    assert (entry.ours, entry.spread) == (mean["uar"], mean["uar_spread"])


def test_what_is_finished_stays_and_what_was_interrupted_goes_on(small, alone, content, tmp_path):
    whole = reproduce(small(quick=True, folder=tmp_path / "whole"), alone)
    planned = small(quick=True)
    with pytest.raises(Stop):
        reproduce(planned, alone, stop_at(2))  # one is impossible, one is done
    begun = {path.name for path in planned.folder.iterdir() if path.is_dir()}
    (first,) = (path for path in planned.folder.iterdir() if (path / "result.json").is_file())
    assert len(begun) == 2
    before = content(first)
    known = [set(outcomes) for outcomes in train(planned, alone)]
    assert [len(one) for one in known] == [2, 3]
    assert {first.name, *(setting.name for setting in known[1] - known[0])} == begun
    assert content(first) == before
    assert ours(reproduce(planned, alone, stop_at(0))) == ours(whole)  # with nothing left to train


def test_one_process_at_a_time(small, alone):
    """Another would train what this one is at anew, and delete what this one has of it."""
    planned = small(quick=True)
    training = train(planned, alone)
    next(training)
    with pytest.raises(UserError, match="is being trained by another process; wait for its end, or stop it first"):
        next(train(planned, alone))
    training.close()
    next(train(planned, alone))


def test_a_kill_between_the_end_of_a_run_and_the_study(small, alone, content, monkeypatch):
    planned = small(quick=True)
    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "tell", lambda *_: (_ for _ in ()).throw(Stop))
        with pytest.raises(Stop):
            reproduce(planned, alone)
    (run,) = planned.folder.glob("rcn-*")
    before = content(run)
    assert states(planned) == ["RUNNING"]
    reproduce(planned, alone)
    assert content(run) == before
    assert states(planned) == ["COMPLETE", "COMPLETE", "PRUNED"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3}, "was begun with recipe.epochs 1, not 3; give the same arguments"),
        ({"seeds": 2, "quick": True}, "was begun with quick False, not True, seeds 1, not 2;"),
    ],
)
def test_other_arguments_are_refused(small, alone, content, changes, message):
    planned = small()
    next(train(planned, alone))
    before = (planned.folder / "study.db").read_bytes()
    with pytest.raises(UserError, match=message):
        reproduce(small(**changes), alone)
    assert (planned.folder / "study.db").read_bytes() == before


def test_another_experiment_is_refused(small, alone, planned):
    first = small(quick=True)
    next(train(first, alone))
    other = replace(planned("fig7", quick=True), folder=first.folder, asked=first.asked | {"experiment": "fig7"})
    with pytest.raises(UserError, match="was begun with experiment small, not fig7;"):
        reproduce(other, alone)


def test_a_damaged_study_is_named(small, alone):
    planned = small(quick=True)
    planned.folder.mkdir()
    (planned.folder / "study.db").write_text("no database" * 100)
    with pytest.raises(UserError, match=r"study\.db: not readable as a study"):
        reproduce(planned, alone)


def test_a_folder_with_something_else_is_refused(small, tmp_path):
    (tmp_path / "small").mkdir()
    small()  # an empty one is none
    (tmp_path / "small" / "notes.txt").touch()
    with pytest.raises(UserError, match="small: exists and holds no reproduction; choose another --out"):
        small()


def test_what_fails_is_told_and_not_tried_again(small, alone):
    wild = small(quick=True, optimizer=WILD)
    found = reproduce(wild, alone)
    assert {entry.ours for entry in found.entries} == {None}
    assert ["no training succeeded" in entry.reason for entry in found.entries] == [False, True, True]
    assert states(wild) == ["FAIL", "FAIL", "PRUNED"]
    again = reproduce(wild, alone, stop_at(0))
    assert again.reasons == found.reasons


class TestTimes:
    @pytest.fixture
    def timed(self, small):
        def timed():
            return small(quick=True, changed={"common": {"size": 16, "pool": 2, "measure": "hours"}})

        return timed

    def test_each_is_measured(self, timed, alone):
        found = reproduce(timed(), alone)
        assert [entry.ours is not None and 0 < entry.ours < 1 / 60 for entry in found.entries] == [False, True, True]
        assert ours(reproduce(timed(), alone)) == ours(found)

    def test_what_was_interrupted_is_trained_anew(self, timed, alone):
        with pytest.raises(Stop):
            reproduce(timed(), alone, stop_at(1.5))
        (run,) = timed().folder.glob("rcn-*")
        assert [*run.rglob("*.safetensors")]
        mark = run / "of the interrupted one"
        mark.touch()
        reproduce(timed(), alone)
        assert load_run(run).finished
        assert not mark.exists()


class TestDatabases:
    def test_one_that_is_not_there(self, made, recipe, tmp_path):
        made([(name, f"s{number}") for name in ("smic", "samm") for number in (1, 2)]).save(tmp_path / "two")
        planned = plan("table4", tmp_path / "two", recipe, tmp_path / "out", 1, quick=True)
        assert {setting.databases for setting in planned.impossible} == {("smic", "casme2"), ("casme2", "samm")}
        assert set(planned.impossible.values()) == {"dataset 'tiny' has no database 'casme2'; known: samm, smic"}


class TestMagnified:
    @pytest.fixture
    def datasets(self, made, tmp_path):
        """Save the same clips with motion as it is and magnified, as `prepare` would."""

        def save(name, factor, **changes):
            tiny = made(**changes)
            how = {"made_by": "prepare", "magnify": factor}
            Dataset(name, tiny.maps + factor, tiny.samples, provenance=how).save(tmp_path / name)
            return tmp_path / name

        return (
            save("plain", 1.0),
            save("strong", 10.0),
            save("less", 10.0, subjects=[("alpha", "s01"), ("beta", "s01")]),
        )

    @pytest.fixture
    def table3(self, datasets, recipe, tmp_path):
        def table3(data, magnified):
            return plan("table3", data, recipe, tmp_path / "out", 1, quick=True, magnified=magnified)

        return table3

    def test_flow_maps_without_frames(self, table3, tiny):
        found = table3(tiny, None)
        assert {setting.name for setting in found.impossible} == {
            "rcn-s60-m16-k5-magnified", "rcn-f-s60-m16-k5-magnified",
        }  # fmt: skip
        assert set(found.impossible.values()) == {
            "the dataset was not made from frames, and in flow maps motion cannot be magnified any more"
        }
        assert not reproduced(found, {}).at("60", "RCN", "as it is").setting.magnified

    def test_frames_without_a_magnified_dataset(self, table3, datasets):
        (reason,) = set(table3(datasets[0], None).impossible.values())
        assert "data prepare --magnify" in reason

    def test_each_is_trained_on_its_own_maps(self, table3, datasets, alone):
        found = table3(datasets[0], datasets[1])
        assert not found.impossible
        reproduce(found, alone)
        used = {path.name: load_run(path).config.dataset for path in found.folder.glob("rcn*")}
        assert {name: (data.path.name, data.magnified) for name, data in used.items()} == {
            "rcn-s60-m16-k5": ("plain", 1), "rcn-f-s60-m16-k5": ("plain", 1),
            "rcn-s60-m16-k5-magnified": ("strong", 10), "rcn-f-s60-m16-k5-magnified": ("strong", 10),
        }  # fmt: skip

    def test_wrong_datasets(self, table3, datasets):
        plain, strong, less = datasets
        with pytest.raises(UserError, match=r"--magnified: the motion in .*plain is not magnified"):
            table3(plain, plain)
        with pytest.raises(UserError, match=r"--data: the motion in .*strong is magnified, 10 times"):
            table3(strong, None)
        with pytest.raises(UserError, match=r"must have the same clips, one alone has alpha/s02/again"):
            table3(plain, less)

    def test_where_it_has_no_place(self, datasets, recipe, tmp_path):
        with pytest.raises(UserError, match="--magnified: table2 does not compare magnified motion"):
            plan("table2", datasets[0], recipe, tmp_path / "out", 1, magnified=datasets[1])


def test_an_unknown_experiment(tiny, recipe, tmp_path):
    with pytest.raises(UserError, match="no experiment is called 'table1'; did you mean 'table"):
        plan("table1", tiny, recipe, tmp_path, 1)


def test_a_run_that_somebody_removed(small, alone):
    planned = small(quick=True)
    reproduce(planned, alone)
    shutil.rmtree(planned.folder / "rcn-s16-m3-k2")
    assert reproduce(planned, alone).at("", "RCN", "3").reason.endswith("rcn-s16-m3-k2: no such run")
