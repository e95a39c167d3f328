from pathlib import Path

import pytest

from nas_mer import demo
from nas_mer.data.synthetic.releases import MARK
from nas_mer.files import write_text


class FilmingError(Exception):
    """It begins to film."""


def test_one_in_the_working_directory_is_made_anew(tmp_path, monkeypatch):
    def film(folder, **_):
        raise FilmingError(folder)

    for name in (f"frames/{MARK}", "data/maps.npy", "report.html"):
        write_text(tmp_path / "demo" / name, "old")
    write_text(tmp_path / "kept" / "pair.npz", "dear")
    (tmp_path / "demo" / "data.kept").symlink_to(tmp_path / "kept")
    monkeypatch.setattr(demo, "write_releases", film)
    monkeypatch.chdir(tmp_path / "demo")
    with pytest.raises(FilmingError, match="frames"):
        demo.demo(Path(), 1, print)
    assert Path.cwd() == tmp_path / "demo"
    assert not any(Path.cwd().iterdir())
    assert (tmp_path / "kept" / "pair.npz").read_text() == "dear"
