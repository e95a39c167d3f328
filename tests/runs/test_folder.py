import errno
import fcntl
import glob
import json
import os
import re
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError

from nas_mer.data import Dataset
from nas_mer.errors import UserError
from nas_mer.files import SCRATCH
from nas_mer.runs import Compute, choose, find_runs, load_run, new_run_path, resume, retrain, search
from nas_mer.runs.folder import Config, DatasetReference, create_run, open_run

KINDS = {"search": Config, "retrain": Config}


@pytest.fixture
def config(tiny):
    return Config(dataset=DatasetReference.of(tiny)[0], seeds=(0, 1))


@pytest.fixture
def run(tmp_path, config):
    return create_run(tmp_path / "mine", "search", config, lambda folder: (folder / "note").write_text("hello"))


class TestCreate:
    def test_what_was_asked_for_is_read_again(self, run):
        found = open_run(run.path, KINDS)
        assert (found.path, found.kind, found.created, found.config) == (run.path, run.kind, run.created, run.config)
        assert found.about == run.about
        assert not found.finished

    def test_the_folder_holds_what_it_should_and_nothing_else(self, run, content):
        assert content(run.path.parent).keys() == {"mine", "mine/run.json", "mine/note"}

    def test_run_json_says_enough_to_repeat_the_run(self, run):
        about = json.loads((run.path / "run.json").read_text())
        assert about["versions"].keys() >= {"nas-mer", "python", "torch", "numpy"}
        assert about["machine"]["cores"] == os.cpu_count()
        assert about["command"][0] == "nas-mer"
        assert about["config"]["dataset"]["fingerprint"] == run.config.dataset.load().fingerprint

    def test_what_is_there_stays(self, run, config, content):
        before = content(run.path)
        with pytest.raises(UserError, match=r"mine: exists already; .* runs resume .*mine, or choose another --out"):
            create_run(run.path, "retrain", config, lambda folder: None)
        assert content(run.path) == before

    def test_of_two_that_begin_at_once_the_first_stays(self, tmp_path, config, content):
        path, made = tmp_path / "mine", []

        def fill(folder):
            create_run(path, "search", config, lambda other: (other / "note").write_text("hello"))
            made.append(content(tmp_path / "mine"))

        with pytest.raises(UserError, match=r"mine: exists already; .* runs resume .*mine, or choose another --out"):
            create_run(path, "search", config, fill)
        assert [content(tmp_path / "mine")] == made
        assert [file.name for file in tmp_path.iterdir()] == ["mine"]

    def test_an_error_leaves_nothing(self, tmp_path, config):
        def fill(folder):
            (folder / "note").write_text("half")
            raise RuntimeError("full disk")

        with pytest.raises(RuntimeError, match="full disk"):
            create_run(tmp_path / "runs" / "mine", "search", config, fill)
        assert list((tmp_path / "runs").iterdir()) == []

    def test_a_run_without_seeds_is_not_made(self, tiny):
        with pytest.raises(ValidationError, match="seeds"):
            Config(dataset=DatasetReference.of(tiny)[0], seeds=())


@pytest.fixture
def started(space, tiny, search_recipe, recipe, tmp_path):
    """Start a run of some kind."""
    genotypes, path = [(space, space.genotype("rcn"))], tmp_path / "mine"
    ways = {
        "search": lambda **how: search(space, tiny, search_recipe, path, seeds=2, **how),
        "choose": lambda **how: choose(genotypes, {"plain": recipe}, tiny, path, groups=3, **how),
        "retrain": lambda **how: retrain(genotypes, tiny, recipe, path, seeds=2, **how),
    }
    return lambda kind, **how: ways[kind](**how)


class TestByOneProcess:
    @pytest.mark.parametrize("kind", ["search", "choose", "retrain"])
    def test_another_that_would_compute_it_too_is_refused(self, started, tmp_path, alone, kind):
        """It may look at the run, and leaves all that is being written."""
        written = tmp_path / "mine" / f".being{SCRATCH}"
        told = []

        def progress(*_):
            written.mkdir(exist_ok=True)
            with pytest.raises(UserError, match=r"mine: is being computed by another process; wait for its end, or"):
                resume(tmp_path / "mine", alone)
            assert written.is_dir()
            told.append([run.name for run in find_runs(tmp_path)[0]])

        run = started(kind, compute=alone, progress=progress)
        assert told
        assert all(names == ["mine"] for names in told)
        assert resume(run.path, alone).finished
        assert not written.exists()

    @pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
    def test_no_worker_holds_it(self, started, tmp_path):
        """One that outlives the process that started it for a moment would."""

        def holders():
            for link in glob.iglob("/proc/[0-9]*/fd/*"):  # noqa: PTH207 - pathlib stumbles over those that vanish
                with suppress(OSError):
                    if os.readlink(link) == str(tmp_path / "mine" / "run.json"):  # noqa: PTH115
                        yield int(link.split("/")[2])

        found = []
        started("retrain", compute=Compute(workers=2), progress=lambda *_: found.append([*holders()]))
        assert found[0] == [os.getpid()]
        assert [*holders()] == []

    def test_one_that_was_killed_frees_it(self, started, tmp_path, killed, stopping, stop, alone):
        with pytest.raises(stop):
            started("retrain", compute=alone, progress=stopping(1))
        held = tmp_path / "mine" / "replicas"
        killed(tmp_path / "mine", Compute(workers=2), held.is_dir, delay=0)
        assert resume(tmp_path / "mine", alone).finished

    @pytest.mark.parametrize("error", [PermissionError, OSError(errno.EOPNOTSUPP, "no locks")])
    def test_a_file_system_that_cannot_lock_is_computed_on_all_the_same(self, started, alone, monkeypatch, error):
        def refuse(*_):
            raise error

        monkeypatch.setattr(fcntl, "flock", refuse)
        assert started("retrain", compute=alone).finished


class TestOpen:
    def test_no_run(self, tmp_path):
        with pytest.raises(UserError, match=r"nowhere: no such run"):
            open_run(tmp_path / "nowhere", KINDS)
        with pytest.raises(UserError, match=r"no run\.json in it, so it is not a run"):
            open_run(tmp_path, KINDS)

    def test_run_json_cut_short_anywhere(self, run):
        file = run.path / "run.json"
        whole = file.read_bytes().rstrip()
        for length in range(0, len(whole), 7):
            file.write_bytes(whole[:length])
            with pytest.raises(UserError, match=r"run\.json: .*it may have been cut short"):
                open_run(run.path, KINDS)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"kind": "serch"}, r"kind: .*'search', 'choose' or 'retrain', found 'serch'"),
            ({"format": 2}, r"format: .*found 2"),
            ({"created": "yesterday"}, r"created: .*found 'yesterday'"),
            ({"color": "red"}, r"color: unknown key 'color'"),
            ({"config": {"seeds": [0]}}, r"the key 'dataset' is missing"),
        ],
    )
    def test_a_wrong_value_is_named(self, run, change, message):
        file = run.path / "run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        with pytest.raises(UserError, match=rf"run\.json: .*{message}"):
            open_run(run.path, KINDS)

    def test_something_else_in_json(self, run):
        (run.path / "run.json").write_text("[1, 2]")
        with pytest.raises(UserError, match=r"run\.json: must be a mapping"):
            open_run(run.path, KINDS)


class TestResult:
    def test_a_run_is_finished_by_its_result(self, run):
        with pytest.raises(UserError, match=r"mine: is not finished; continue it with: nas-mer runs resume"):
            _ = run.result
        run.finish({"score": 0.1 + 0.2})
        assert run.finished
        assert run.result == {"score": 0.1 + 0.2}

    def test_a_result_cut_short(self, run):
        run.finish({"score": 1})
        (run.path / "result.json").write_text('{"sco')
        with pytest.raises(UserError, match=r"result\.json: not readable as JSON"):
            _ = run.result


class TestDataset:
    @pytest.fixture
    def copy(self, tiny, tmp_path):
        Dataset.load(tiny).save(tmp_path / "copy")
        return tmp_path / "copy"

    def test_it_is_found_from_anywhere(self, copy, monkeypatch, tmp_path):
        monkeypatch.chdir(copy.parent)
        reference, dataset = DatasetReference.of(copy.relative_to(copy.parent))
        monkeypatch.chdir("/")
        assert reference.load().fingerprint == dataset.fingerprint

    def test_some_databases(self, tiny):
        reference, dataset = DatasetReference.of(tiny, ["beta"])
        assert set(dataset.databases) == set(reference.load().databases) == {"beta"}

    def test_gone(self, copy):
        reference, _ = DatasetReference.of(copy)
        copy.rename(copy.with_name("moved"))
        with pytest.raises(UserError, match=r"copy: not a dataset: no such folder\n.* needs it back"):
            reference.load()

    def test_another_one_in_its_place(self, copy, made):
        reference, _ = DatasetReference.of(copy)
        made(size=17).save(copy)
        with pytest.raises(UserError, match=r"copy: is not the dataset of this run any more .*; start a new run"):
            reference.load()

    def test_a_database_gone(self, copy, made):
        reference, _ = DatasetReference.of(copy, ["beta"])
        made(subjects=[("alpha", "s01"), ("alpha", "s02")]).save(copy)
        with pytest.raises(UserError, match=r"no database 'beta'"):
            reference.load()


def test_a_notebook_shows_what_it_is(run):
    table = replace(run, path=run.path.with_name("<b>"))._repr_html_()
    assert "&lt;b&gt;" in table
    cells = re.findall(r">([^<>]*)</td>", table)
    told = dict(zip(cells[::2], cells[1::2], strict=True))
    assert (told["kind"], told["dataset"], told["seeds"], told["finished"]) == ("search", "tiny", "0, 1", "no")


class TestFind:
    def test_oldest_first_and_what_is_wrong_with_the_others(self, tmp_path, search_recipe, tiny):
        from nas_mer.runs import SearchConfig

        config = SearchConfig(dataset=DatasetReference.of(tiny)[0], seeds=(0,), recipe=search_recipe, parameters={})
        for name in ("b", "deep/a", "broken"):
            create_run(tmp_path / name, "search", config, lambda folder: None)
        later = json.loads((tmp_path / "b" / "run.json").read_text())
        later["created"] = str(load_run(tmp_path / "b").created + timedelta(days=1))
        (tmp_path / "b" / "run.json").write_text(json.dumps(later))
        (tmp_path / "broken" / "run.json").write_text("{")
        found, problems = find_runs(tmp_path)
        assert [run.name for run in found] == ["a", "b"]
        assert len(problems) == 1
        assert str(tmp_path / "broken" / "run.json") in str(problems[0])
        with pytest.raises(UserError, match=r"b: is a search run; this needs a retrain run"):
            load_run(tmp_path / "b", "retrain")

    def test_nothing(self, tmp_path):
        assert find_runs(tmp_path / "nowhere") == ([], [])

    def test_a_new_path_says_what_it_is_about(self, tmp_path):
        path = new_run_path("retrain", "rcn-f", tmp_path)
        assert path.parent == tmp_path
        assert path.name.endswith("-retrain-rcn-f")
        assert not path.exists()
