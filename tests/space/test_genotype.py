from dataclasses import replace

import pytest
import yaml

from nas_mer.errors import UserError
from nas_mer.space import Genotype, SearchSpace

GENOTYPE = Genotype(
    "rcn", "0123456789ab", {"conv": "wide", "attention": "none"}, {"pool": 3, "rate": 0.5}, "mine", 0.25, 2, "by hand"
)


@pytest.mark.parametrize("genotype", [GENOTYPE, Genotype("no", "1e3", {"yes": "no", "on": "1e-3"})])
def test_a_file_gives_back_what_was_saved(tmp_path, genotype):
    file = tmp_path / "folder" / "genotype.yaml"
    genotype.save(file)
    assert Genotype.load(file) == genotype
    # Any other YAML reader reads the same.
    assert yaml.safe_load(file.read_text())["choices"] == genotype.choices


def test_the_digest_is_of_what_it_is_not_of_what_it_is_called():
    assert replace(GENOTYPE, name=None, weight=None, rank=None, origin="", space_file="x").digest == GENOTYPE.digest
    for change in (
        {"choices": {"conv": "wide", "attention": "parallel"}},
        {"space_hash": "0123456789ac"},
        {"parameters": {}},
    ):
        assert replace(GENOTYPE, **change).digest != GENOTYPE.digest
    turned = dict(reversed(GENOTYPE.choices.items()))
    assert replace(GENOTYPE, choices=turned).digest == GENOTYPE.digest


def test_the_label_is_the_name_or_the_digest():
    assert GENOTYPE.label == "mine"
    assert replace(GENOTYPE, name=None).label == GENOTYPE.digest[:8]


def test_sizes_as_in_the_file_are_no_difference():
    plain, same, other = (
        SearchSpace.load("rcn", **sizes).genotype("rcn-f")
        for sizes in ({}, {"pool": 5, "dropout": 0.5, "size": 60}, {"pool": 4})
    )
    assert same == plain
    assert plain.parameters == {}
    assert other.parameters == {"pool": 4}
    assert other.digest != plain.digest
    assert (
        SearchSpace.load("rcn", dropout=0).genotype("rcn").digest
        == SearchSpace.load("rcn", dropout=0.0).genotype("rcn").digest
    )


FILE = """\
format: 1
name: mine
space: {name: rcn, hash: 0123456789ab}
choices: {conv: wide}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format: 1", "format: 2", "1: format: "),
        ("format: 1\n", "", "1: the key 'format' is missing"),
        ("hash: 0123456789ab", "hsah: x", "3: space.hsah: unknown key 'hsah'; did you mean 'hash'?"),
        ("hash: 0123456789ab", "hash: 12", "3: space.hash: "),
        ("conv: wide", "conv: [wide]", "4: choices.conv: "),
        ("name: mine", "wieght: 1", "2: wieght: unknown key 'wieght'; did you mean 'weight'?"),
        ("name: mine", "parameters: {pool: wide}", "2: parameters.pool: "),
        (FILE, "- 1", "1: must be a mapping"),
    ],
)
def test_a_file_that_is_no_genotype_is_refused(tmp_path, old, new, message):
    file = tmp_path / "genotype.yaml"
    file.write_text(FILE)
    assert Genotype.load(file).choices == {"conv": "wide"}
    assert FILE.count(old) == 1
    file.write_text(FILE.replace(old, new))
    with pytest.raises(UserError) as caught:
        Genotype.load(file)
    assert f"{file}:{message}" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.yaml: no such file"):
        Genotype.load(tmp_path / "absent.yaml")


class TestInANotebook:
    def test_a_genotype_of_a_shipped_space_is_drawn(self):
        genotype = SearchSpace.load("rcn", size=32, feature_maps=8).genotype("rcn-f")
        svg = genotype._repr_svg_()
        assert svg.startswith("<svg ")
        assert all(f">{text}<" in svg for text in ("rcn-f", "shared: recurrent", "8\u00d711\u00d711"))
        assert genotype._repr_html_() is None  # it would be preferred

    @pytest.mark.parametrize("other", [{"space": "mine"}, {"space_hash": "0" * 12}])
    def test_another_one_is_a_table(self, other):
        genotype = replace(SearchSpace.load("rcn").genotype("rcn-f"), name="<b>", **other)
        assert genotype._repr_svg_() is None
        table = genotype._repr_html_()
        assert "genotype &lt;b&gt; of" in table
        assert "<tr><th>attention</th><td>conv-r0</td></tr>" in table
