import json
import shutil
from dataclasses import replace

import pytest

from nas_mer.errors import UserError
from nas_mer.study.searches import open_searches
from nas_mer.tabular import Benchmark, shipped


@pytest.fixture
def edited(runs, tmp_path):
    """Copy a run, changed by a function of its folder."""

    def copied(name, change, to="copy"):
        path = tmp_path / to / name
        shutil.copytree(runs[name], path)
        change(path)
        return path

    return copied


def changed(file, **values):
    """Change the JSON of a file."""

    def change(path):
        document = json.loads((path / file).read_text())
        part = document["config"] if file == "run.json" else document
        part |= values
        (path / file).write_text(json.dumps(document))

    return change


class TestNames:
    def test_runs_of_one_name_are_called_by_their_paths(self, runs, edited, file):
        other = edited("darts", lambda path: None)
        searches, _ = open_searches([runs["darts"], other], str(file))
        assert [one.name for one in searches] == [str(runs["darts"]), str(other)]

    def test_settings_are_what_is_not_the_default(self, runs, file):
        searches, _ = open_searches([runs["darts"], runs["warm"], runs["random"]], str(file))
        assert [one.settings for one in searches] == [
            {"epochs": 3, "batch_size": 4},
            {"epochs": 3, "batch_size": 4, "warm_up": 1},
            {"epochs": 2, "batch_size": 8, "trials": 6},
        ]

    def test_other_objectives_are_other_settings(self, runs, file):
        (one,), _ = open_searches([runs["random"]], str(file))
        config = one.run.config.model_copy(update={"objectives": ("uar", "parameters")})
        other = replace(one, run=replace(one.run, config=config))
        assert other.settings == one.settings | {"objectives": "uar, parameters"}


class TestRefused:
    def refused(self, paths, table, size=None):
        with pytest.raises(UserError) as told:
            open_searches(paths, None if table is None else str(table), size)
        return str(told.value)

    def test_what_is_no_finished_search(self, edited, file, tmp_path):
        assert "no such run" in self.refused([tmp_path / "gone"], file)
        path = edited("darts", lambda path: (path / "result.json").unlink())
        assert f"{path}: is not finished; continue it with: nas-mer runs resume {path}" in self.refused([path], file)

    def test_a_search_that_failed(self, edited, file):
        path = edited("darts", changed("result.json", failures={"seed 1": "seed 1: the search diverged"}))
        told = self.refused([path], file)
        assert told.startswith(f"{path}: seed 1 failed (seed 1: the search diverged)")
        assert "search again with another recipe" in told

    def test_twice_the_same(self, runs, file):
        assert "is named twice" in self.refused([runs["darts"], runs["darts"] / "." / ".." / "darts"], file)

    def test_another_size_space_or_dataset(self, runs, edited, file):
        larger = edited("darts", changed("run.json", parameters={"size": 20, "feature_maps": 4, "pool": 2}))
        told = self.refused([runs["darts"], larger], file)
        assert f"{larger}: has searched rcn (" in told
        assert "size 20" in told
        assert "but the table made-rcn-16 is of rcn" in told
        assert len(told.splitlines()) == 1
        elsewhere = edited("warm", lambda path: None)
        document = json.loads((elsewhere / "run.json").read_text())
        document["config"]["dataset"] |= {"name": "other", "fingerprint": "f" * 16}
        (elsewhere / "run.json").write_text(json.dumps(document))
        told = self.refused([elsewhere], file)
        assert f"{elsewhere}: has searched on 'other' (ffffffffffffffff)" in told

    def test_a_partial_table(self, runs, file, tmp_path):
        table = Benchmark.load(file)
        replace(table, about=table.about.model_copy(update={"partial": True})).save(tmp_path / "some.npz")
        assert "some: is partial; a study needs every network of rcn" in self.refused(
            [runs["darts"]], tmp_path / "some.npz"
        )

    def test_no_table(self, runs, file, tmp_path, monkeypatch):
        monkeypatch.setattr(shipped, "TABLES", tmp_path)
        told = self.refused([runs["darts"]], None)
        assert "no table that comes with nas_mer is of rcn at size 16 on 'tiny' (there are: none)" in told
        assert "--table" in told
        assert "take maps of size 16, not 20" in self.refused([runs["darts"]], file, size=20)

    def test_the_shipped_table_that_fits(self, runs, file, tmp_path, monkeypatch):
        monkeypatch.setattr(shipped, "TABLES", tmp_path)
        shutil.copy(file, tmp_path / "made-rcn-16.npz")
        for name in (None, "made-rcn"):
            _, table = open_searches([runs["darts"]], name)
            assert table.name == "made-rcn-16"
