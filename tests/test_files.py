import json
from pathlib import Path

import pytest

from nas_mer.errors import UserError
from nas_mer.files import SCRATCH, check_replaceable, held, read_json, replacing, sweep, write_json, write_text


def only(folder, *names):
    """Nothing else is left in the folder, hidden or not."""
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


class TestReplacing:
    def test_makes_a_file_and_its_parents(self, tmp_path):
        with replacing(tmp_path / "a" / "b.txt") as fresh:
            fresh.write_text("new")
        assert (tmp_path / "a" / "b.txt").read_text() == "new"
        assert only(tmp_path / "a", "b.txt")

    def test_the_old_file_is_there_until_the_end(self, tmp_path):
        path = tmp_path / "b.txt"
        path.write_text("old")
        with replacing(path) as fresh:
            fresh.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"

    @pytest.mark.parametrize("name", ["folder", "replaced", "folder.replaced"])
    def test_a_folder_is_replaced_whole(self, tmp_path, name):
        path = tmp_path / name
        path.mkdir()
        (path / "stale").write_text("old")
        with replacing(path) as fresh:
            fresh.mkdir()
            (fresh / "new").write_text("new")
        assert only(path, "new")
        assert only(tmp_path, name)

    def test_a_file_does_not_take_a_folders_place(self, tmp_path):
        """Who names a folder for a picture does not mean to lose it."""
        path = tmp_path / "thing"
        path.mkdir()
        (path / "old").write_text("old")
        with pytest.raises(UserError, match="thing: is a folder; a file cannot be written there"):
            write_text(path, "new")
        assert (path / "old").read_text() == "old"
        assert only(tmp_path, "thing")

    @staticmethod
    def break_off(path, kind, error):
        with replacing(path) as fresh:
            if kind == "file":
                fresh.write_text("half")
            else:
                fresh.mkdir()
                (fresh / "inside").write_text("half")
            raise error

    @pytest.mark.parametrize("old", ["file", "folder", None])
    @pytest.mark.parametrize("new", ["file", "folder"])
    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_an_error_leaves_everything_as_it_was(self, tmp_path, old, new, error):
        path = tmp_path / "thing"
        if old == "file":
            path.write_text("old")
        elif old == "folder":
            path.mkdir()
            (path / "inside").write_text("old")
        with pytest.raises(error):
            self.break_off(path, new, error)
        assert only(tmp_path, *(["thing"] if old else []))
        if old == "file":
            assert path.read_text() == "old"
        elif old == "folder":
            assert (path / "inside").read_text() == "old"

    @pytest.mark.parametrize("old", ["file", "folder"])
    def test_what_was_there_stays_if_the_block_makes_nothing(self, tmp_path, old):
        path = tmp_path / "thing"
        if old == "file":
            path.write_text("old")
        else:
            path.mkdir()
        with pytest.raises(FileNotFoundError), replacing(path):
            pass
        assert only(tmp_path, "thing")

    def test_the_working_directory(self, tmp_path, monkeypatch):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        with replacing(Path()) as fresh:
            fresh.mkdir()
            (fresh / "new").write_text("new")
        assert only(tmp_path / "here", "new")
        assert only(tmp_path, "here")


class TestReplaceable:
    @staticmethod
    def check(path):
        check_replaceable(path, "a nest", "in/eggs", ("in", "twigs"))

    def test_nothing_and_what_is_known_by_its_mark(self, tmp_path):
        self.check(tmp_path / "nothing")
        (tmp_path / f".in.x{SCRATCH}").mkdir()
        self.check(tmp_path)
        write_text(tmp_path / "in" / "eggs", "")
        write_text(tmp_path / "twigs", "")
        self.check(tmp_path)

    def test_anything_else(self, tmp_path):
        write_text(tmp_path / "twigs", "")
        for path in (tmp_path, tmp_path / "twigs"):
            with pytest.raises(UserError) as caught:
                self.check(path)
            assert str(caught.value) == f"{path}: exists and is not a nest, so it is not replaced; choose another place"

    def test_strangers_in_it_are_named(self, tmp_path):
        for name in ("in/eggs", "thesis.txt", "photos/1.jpg"):
            write_text(tmp_path / name, "")
        with pytest.raises(UserError) as caught:
            self.check(tmp_path)
        assert str(caught.value) == (
            f"{tmp_path}: holds more than a nest, so it is not replaced: photos, thesis.txt; choose another place"
        )


def test_what_a_killed_process_left_is_swept_away_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    (tmp_path / "run.unfinished").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("nas_mer.files.shutil.rmtree", lambda *_, **__: None)  # it is killed before it clears up
        write_text(tmp_path / "run" / "thing", "whole")
    assert len(list((tmp_path / "run").iterdir())) == 2
    sweep(tmp_path)
    assert only(tmp_path / "run", "thing")
    assert only(tmp_path, ".git", "run", "run.unfinished")


class TestJson:
    def test_round_trip(self, tmp_path):
        value = {"a": [1, 0.1, None, True, "é"], "b": {}}
        write_json(tmp_path / "x.json", value)
        assert read_json(tmp_path / "x.json") == value == json.loads((tmp_path / "x.json").read_text())

    @pytest.mark.parametrize("content", [b'{"a": [1, 2', b"", b"\xff\xfe\x00"])
    def test_damaged(self, tmp_path, content):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(UserError, match=r"x\.json: not readable as JSON .*cut short"):
            read_json(tmp_path / "x.json")

    def test_missing(self, tmp_path):
        with pytest.raises(UserError, match=r"x\.json: no such file"):
            read_json(tmp_path / "x.json")

    def test_what_is_no_json_is_not_written(self, tmp_path):
        with pytest.raises(TypeError):
            write_json(tmp_path / "x.json", {"a": object()})
        assert only(tmp_path)


class TestHeld:
    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_by_one_at_a_time(self, tmp_path, kind):
        path = tmp_path / "it"
        path.mkdir() if kind == "folder" else path.touch()
        for _ in range(2):
            with held(path, "busy"), pytest.raises(UserError, match="busy"), held(path, "busy"):
                raise AssertionError("two have it")

    def test_an_error_frees_it(self, tmp_path):
        with pytest.raises(OSError, match="else"), held(tmp_path, "busy"):
            raise OSError("something else")
        with held(tmp_path, "busy"):
            pass

    def test_what_cannot_be_locked_is_not(self, tmp_path):
        with held(tmp_path / "gone", "busy"), held(tmp_path / "gone", "busy"):
            assert not (tmp_path / "gone").exists()
