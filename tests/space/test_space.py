import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from nas_mer import build
from nas_mer.errors import UserError
from nas_mer.space import OPS, SearchSpace, find_genotype, load_genotype, shipped_spaces

SPACE = """\
version: 1
name: own
input: {channels: 3, size: 8}
parameters: {times: 2, rate: 0.5}
blocks:
  cell: {inputs: x, output: y, states: {y: {from: x, module: {choose: {a: relu, b: {op: dropout, p: $rate}}}}}}
states:
  cells: {block: cell, from: input, repeat: $times, decisions: own}
head: {from: cells, pool: 1}
"""


def test_the_papers_networks_are_named():
    space = SearchSpace.load("rcn")
    expected = {  # conv, recurrent, attention
        "rcn": ("standard", "plain", "none"),
        "rcn-w": ("wide", "plain", "none"),
        "rcn-s": ("standard", "shortcut", "none"),
        "rcn-a": ("standard", "plain", "parallel"),
        "rcn-c": ("wide", "shortcut", "input-conv"),
        "rcn-f": ("wide", "shortcut", "conv-r0"),
        "rcn-p": ("wide", "shortcut", "parallel"),
    }
    for name, options in expected.items():
        found, genotype = find_genotype(name)
        assert found.hash == space.hash
        assert tuple(genotype.choices[d] for d in ("conv", "recurrent", "attention")) == options
        assert genotype.label == name
    assert space.named.keys() == expected.keys()


def test_iterating_gives_every_genotype_once():
    space = SearchSpace.load("rcn_hops")
    assert len({genotype.digest for genotype in space}) == space.size == 768


def test_drawing_is_repeatable():
    space = SearchSpace.load("darts_cnn")
    assert space.sample(random.Random(5)) == space.sample(random.Random(5)) != space.sample(random.Random(6))


def test_top_gives_fewer_where_there_are_fewer():
    space = SearchSpace.load("rcn")
    even = {decision: dict.fromkeys(options, 1.0) for decision, options in space.decisions.items()}
    assert len(space.top(even, 100)) == 56
    assert space.top(even, 0) == []


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_a_space_is_built_at_other_sizes():
    space = SearchSpace.load("rcn", feature_maps=8, size=30)
    assert space.graph.shapes["conv"] == (8, 10, 10)
    assert space.parameters == {"feature_maps": 8, "pool": 5, "dropout": 0.5}
    assert space.overrides == {"feature_maps": 8, "size": 30}
    again = space.with_parameters(pool=2, size=60)
    assert again.overrides == {"feature_maps": 8, "pool": 2}
    assert again.graph.pool == 2
    assert SearchSpace.load("rcn", dropout=0).parameters["dropout"] == 0.0


def test_a_parameter_may_be_called_anything():
    text = SPACE.replace("times", "path").replace("rate", "self")
    assert SearchSpace.parse(text, path=3).overrides == {"path": 3}
    assert SearchSpace.parse(text).with_parameters(self=0.25).overrides == {"self": 0.25}
    for name in ("cls", "path", "text", "file", "self", "genotype"):
        with pytest.raises(UserError, match=f"the space has no parameter '{name}'"):
            SearchSpace.load("rcn", **{name: 1})
        with pytest.raises(UserError, match=f"the space has no parameter '{name}'"):
            build("rcn", **{name: 1})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"pol": 3}, "the space has no parameter 'pol'; did you mean 'pool'?"),
        ({"pool": 2.5}, "parameter 'pool' is like 5, found 2.5"),
        ({"pool": True}, "parameter 'pool' is like 5, found True"),
        ({"dropout": True}, "parameter 'dropout' is like 0.5, found True"),
        ({"size": 30.0}, "parameter 'size' is like 60, found 30.0"),
        ({"size": 0}, "the size of the input is at least 1, found 0"),
        ({"pool": 0}, "head.pool: must be a whole number of at least 1, found 0"),
        ({"dropout": 1.0}, "states.conv.module.choose.standard[3].p: op 'dropout': should be less than 1, found 1.0"),
        ({"feature_maps": 2}, "states.conv: conv(channels=2, dilations=(1, 2, 3), kernel=3, stride=3) does not fit"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(UserError) as caught:
        SearchSpace.load("rcn", **sizes)
    assert re.search(rf"rcn\.yaml(:\d+)?: {re.escape(message)}", str(caught.value))


# --- genotypes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ("rcn-x", "rcn.yaml: names no genotype 'rcn-x'; did you mean"),
        ({"cnov": "wide"}, "no decision is called 'cnov'; did you mean 'conv'?"),
        ({"conv": "wid"}, "decision 'conv' has no option 'wid'; did you mean 'wide'?"),
        ({"conv": "wide"}, "no option for attention, recurrent"),
    ],
)
def test_what_is_no_genotype_of_the_space_is_refused(choices, message):
    with pytest.raises(UserError) as caught:
        SearchSpace.load("rcn").genotype(choices)
    assert message in str(caught.value)


CONSTRAINED = (
    SPACE
    + """\
constraints:
  - {at_least: 1, of: {cells.1.y: [a, b], cells.2.y: a}}
  - {forbid: {cells.1.y: a, cells.2.y: a}}
  - {exactly: 1, of: {cells.1.y: b, cells.2.y: b}}
"""
)


def test_constraints_hold_for_every_genotype():
    space = SearchSpace.parse(CONSTRAINED)
    assert [tuple(genotype.choices.values()) for genotype in space] == [("a", "b"), ("b", "a")]
    with pytest.raises(UserError, match=re.escape("breaks the constraint at most 1 of {cells.1.y: a, cells.2.y: a}")):
        space.genotype({"cells.1.y": "a", "cells.2.y": "a"})
    # A constraint is no `keep`: decisions that it mentions are not filled in.
    with pytest.raises(UserError, match=r"no option for cells\.1\.y"):
        space.genotype({"cells.2.y": "a"})


def test_edges_that_are_not_mentioned_are_dropped():
    space = SearchSpace.load("darts_cnn")
    choices = space.named["darts-v2"]
    assert sum(option != "none" for option in choices.values()) == 16
    assert space.genotype({name: option for name, option in choices.items() if option != "none"}).choices == choices
    some = {name: option for name, option in choices.items() if option != "none" and name != "normal.n2.c0"}
    with pytest.raises(UserError, match=r"breaks the constraint exactly 2 of the edges normal\.n2\.c0, normal\.n2\.c1"):
        space.genotype(some)


def test_a_file_need_not_mention_the_edges_that_are_dropped(tmp_path):
    space = SearchSpace.load("darts_cnn")
    whole = space.genotype("darts-v2")
    short = replace(whole, choices={name: option for name, option in whole.choices.items() if option != "none"})
    short.save(tmp_path / "short.yaml")
    loaded = load_genotype(tmp_path / "short.yaml")[1]
    assert loaded == whole
    assert loaded.digest == whole.digest
    assert space.freeze(short) == space.freeze(whole)
    assert short._repr_svg_().startswith("<svg ")


def test_a_genotype_belongs_to_its_space():
    rcn, hops = SearchSpace.load("rcn"), SearchSpace.load("rcn_hops")
    with pytest.raises(UserError, match=rf"mine.yaml: belongs to space 'rcn' \({rcn.hash}\), not to 'rcn_hops' as in"):
        hops.accept(rcn.genotype("rcn"), "mine.yaml")
    with pytest.raises(UserError, match="belongs to space"):
        hops.freeze(rcn.genotype("rcn"))
    broken = replace(rcn.genotype("rcn"), choices={"conv": "wide"})
    with pytest.raises(UserError, match=r"mine.yaml: .* no option for attention, recurrent"):
        rcn.accept(broken, "mine.yaml")
    with pytest.raises(UserError, match=r"mine.yaml: .*no parameter 'pol'; did you mean 'pool'\?"):
        rcn.accept(replace(rcn.genotype("rcn"), parameters={"pol": 1}), "mine.yaml")


def test_accepting_a_genotype_takes_its_sizes():
    small = SearchSpace.load("rcn", feature_maps=4, pool=2)
    plain = SearchSpace.load("rcn")
    assert plain.accept(small.genotype("rcn")).overrides == {"feature_maps": 4, "pool": 2}
    assert small.accept(plain.genotype("rcn")).overrides == {}
    assert small.accept(small.genotype("rcn")) is small
    # Sizes may decide how many decisions there are.
    three = SearchSpace.parse(SPACE, times=3)
    genotype = three.genotype({f"cells.{i}.y" if i < 3 else "cells.3.y": "b" for i in (1, 2, 3)})
    assert len(SearchSpace.parse(SPACE).freeze(genotype).states) == 3


def test_a_frozen_graph_holds_what_matters():
    space = SearchSpace.load("nasbench201", cells=1)
    choices = dict.fromkeys(space.decisions, "none") | {"cell.n1.n0": "conv1x1", "cell.n3.n1": "skip"}
    graph = space.freeze(space.genotype(choices))
    assert [state.name for state in graph.states if state.name.startswith("stage2")] == ["stage2.n1", "stage2"]
    assert graph.decisions == {}
    zeros = space.freeze(space.genotype(dict.fromkeys(space.decisions, "none")))
    (stage,) = (state for state in zeros.states if state.name == "stage1")
    assert [edge.source for edge in stage.edges] == ["stem"]  # which gives the zeros their shape


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_genotypes_file_finds_its_space(tmp_path):
    space = SearchSpace.load("rcn", pool=3)
    space.genotype("rcn-f").save(tmp_path / "f.yaml")
    found, genotype = load_genotype(tmp_path / "f.yaml")
    assert found.overrides == {"pool": 3}
    assert genotype == space.genotype("rcn-f")

    replace(space.genotype("rcn-f"), name=None).save(tmp_path / "nameless.yaml")
    assert load_genotype(tmp_path / "nameless.yaml")[1].name == "nameless"


def test_a_genotypes_file_points_to_its_space(tmp_path):
    file = tmp_path / "spaces" / "own.yaml"
    file.parent.mkdir()
    file.write_text(SPACE)
    genotype = SearchSpace.load(file).sample(random.Random(0))
    genotype.save(tmp_path / "lost.yaml")
    with pytest.raises(UserError, match=r"lost.yaml: its space 'own' is not a shipped one; .* with --space"):
        load_genotype(tmp_path / "lost.yaml")
    assert load_genotype(tmp_path / "lost.yaml", file)[1].choices == genotype.choices

    replace(genotype, space_file="../spaces/own.yaml").save(tmp_path / "run" / "one.yaml")
    assert load_genotype(tmp_path / "run" / "one.yaml")[0].name == "own"
    replace(genotype, space_file="own.yaml").save(tmp_path / "run" / "one.yaml")
    with pytest.raises(UserError, match=r"one.yaml: its space .*run/own.yaml is not there; .* with --space"):
        load_genotype(tmp_path / "run" / "one.yaml")

    file.write_text(SPACE.replace("a: relu", "c: relu"))
    with pytest.raises(UserError, match=r"lost.yaml: belongs to space 'own'"):
        load_genotype(tmp_path / "lost.yaml", file)


def test_spaces_are_found_by_name_and_by_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rcn").mkdir()  # a folder is no space
    assert SearchSpace.load("rcn").name == "rcn"
    Path("own").write_text(SPACE)
    assert SearchSpace.load("own").name == "own"
    with pytest.raises(UserError, match=r"rcm: no such file, and no shipped space is called so; did you mean 'rcn'\?"):
        SearchSpace.load("rcm")
    with pytest.raises(UserError, match=r"absent\.yaml: no such file"):
        SearchSpace.load("absent.yaml")
    assert {"rcn", "rcn_hops", "rcn_placements", "nasbench201", "darts_cnn"} <= shipped_spaces().keys()


def test_named_genotypes_are_looked_for_in_given_files_first(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(SPACE + "genotypes: {rcn: {cells.1.y: a, cells.2.y: b}}\n")
    assert find_genotype("rcn", [str(file)])[0].name == "own"
    assert find_genotype("darts-v2")[0].name == "darts_cnn"
    with pytest.raises(UserError, match="no genotype is called 'rcn-g'; did you mean 'rcn"):
        find_genotype("rcn-g")


# --- the guide --------------------------------------------------------------------------------------------------------


def test_the_spaces_in_the_guide_are_spaces():
    guide = Path(__file__).parents[2] / "docs" / "search-spaces.md"
    text = guide.read_text(encoding="utf-8")
    snippets = re.findall(r"```(\w+)\n(.*?)```", text, flags=re.DOTALL)
    before = dict(OPS)
    try:
        for kind, code in snippets:
            if kind == "python":
                exec(compile(code, str(guide), "exec"), {})
        spaces = [SearchSpace.parse(code, "guide") for kind, code in snippets if kind == "yaml" and "version:" in code]
    finally:
        OPS.clear()
        OPS.update(before)
    assert len(spaces) >= 5
    for space in spaces:
        stated = re.search(rf"`{space.name}` has ([\d,]+)\s+genotypes?", text)
        assert stated, space.name
        assert space.size == int(stated[1].replace(",", ""))


def test_a_notebook_shows_its_graph():
    svg = SearchSpace.load("rcn")._repr_svg_()
    assert svg.startswith("<svg ")
    assert all(f">{text}<" in svg for text in ("rcn", "wide", "shortcut", "conv-r0", "parallel"))
