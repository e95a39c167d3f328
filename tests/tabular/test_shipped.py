from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import nas_mer
from nas_mer.data import CLASSES
from nas_mer.errors import UserError
from nas_mer.tabular import find_benchmark, shipped, shipped_tables


class TestFinding:
    @pytest.fixture
    def folder(self, table, tmp_path, monkeypatch):
        larger = table.about.space.model_copy(update={"parameters": {"size": 20}})
        table.save(tmp_path / "drawn-rcn-16.npz")
        replace(table, about=table.about.model_copy(update={"space": larger})).save(tmp_path / "drawn-rcn-20.npz")
        monkeypatch.setattr(shipped, "TABLES", tmp_path)
        return tmp_path

    def test_by_name_and_size(self, folder):
        assert nas_mer.benchmark("drawn-rcn").name == "drawn-rcn-20"
        assert nas_mer.benchmark("drawn-rcn", size=16).size == 16
        assert nas_mer.benchmark(folder / "drawn-rcn-16.npz").name == "drawn-rcn-16"

    def test_what_is_not_there(self, folder):
        with pytest.raises(UserError, match=r"drawn: no benchmark is called so, and it is no .npz file; did you mean"):
            find_benchmark("drawn")
        with pytest.raises(UserError, match=r"drawn-rcn: has no table of size 28; there are: 16, 20"):
            find_benchmark("drawn-rcn", size=28)
        with pytest.raises(UserError, match=r"drawn-rcn-16.npz: its networks take maps of size 16, not 28"):
            find_benchmark(folder / "drawn-rcn-16.npz", size=28)


@pytest.mark.parametrize("name", shipped_tables())
def test_shipped_tables(name):
    base, _, size = name.rpartition("-")
    table = nas_mer.benchmark(base, int(size))
    assert table.name == name
    if base == "megc2019-rcn":
        assert (table.classes, len(table.genotypes), len(table.labels)) == (CLASSES, 56, 442)
        databases = Counter(subject.split("/")[0] for subject in table.subjects.tolist())
        assert databases == {"casme2": 145, "samm": 133, "smic": 164}
        assert len(set(table.subjects.tolist())) == 68
        assert np.bincount(table.labels).tolist() == [250, 109, 83]
        assert (table.uar > 0.5).all()
