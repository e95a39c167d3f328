import math
import random
from collections import Counter
from urllib.parse import parse_qsl

import numpy as np
import pytest
from matplotlib.bezier import BezierSegment
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch

from nas_mer.errors import UserError
from nas_mer.space import SearchSpace
from nas_mer.view import architecture, architecture_figure, decidedness, draw_architecture
from nas_mer.view.architecture import panels
from nas_mer.view.canvas import METER
from nas_mer.view.chain import Chain
from nas_mer.view.figures import number
from nas_mer.view.style import Style


@pytest.fixture(scope="module")
def rcn():
    return SearchSpace.load("rcn")


@pytest.mark.parametrize("mode", ["space", "weights", "genotype"])
def test_texts_are_large_enough_on_the_page_and_clear_of_each_other(space, mode, random_weights, check_legible):
    kinds = {
        "space": {},
        "weights": {"weights": random_weights(space)},
        "genotype": {"genotype": space.sample(random.Random(2))},
    }
    check_legible(architecture_figure(space, **kinds[mode]))


def test_equal_weights_are_legible(rcn, check_legible):
    flat = {decision: dict.fromkeys(options, 1 / len(options)) for decision, options in rcn.decisions.items()}
    check_legible(architecture_figure(rcn, flat))


@pytest.mark.parametrize(("name", "genotype"), [("rcn", "rcn-f"), ("rcn", "rcn"), ("darts_cnn", "darts-v2")])
def test_named_genotypes_are_legible(load, name, genotype, check_legible):
    space = load(name)
    check_legible(architecture_figure(space, genotype=space.genotype(genotype)))


def test_a_space_shows_every_option_of_every_decision(space, words):
    shown = set(words(architecture_figure(space)))
    labels = " ".join(shown)
    for options in space.decisions.values():
        assert all(option in shown or option in labels for option in options)


def test_weights_stand_at_their_hops_and_in_the_decisions_cards(rcn, random_weights, words):
    weights = random_weights(rcn)
    shown = Counter(words(architecture_figure(rcn, weights)))
    expected = Counter(number(weight) for weight in weights["attention"].values())  # once in the card
    expected.update(number(weight) for option, weight in weights["attention"].items() if option != "none")
    expected.update(number(weight) for weight in [*weights["conv"].values(), *weights["recurrent"].values()])
    assert expected <= shown
    for option, weight in weights["recurrent"].items():
        assert shown[f"{option} {number(weight)}"] == 2  # into in2 and into in3


def test_a_genotype_alone_shows_its_options_and_no_others(rcn, words):
    shown = words(architecture_figure(rcn, genotype=rcn.genotype("rcn-f")))
    assert {"rcn-f", "wide", "shortcut", "length 1"} <= set(shown)
    assert not {"standard", "plain", "length 2", "none"} & set(shown)


def test_lines_are_as_thick_and_as_dark_as_their_weight(rcn, random_weights):
    weights = random_weights(rcn)
    graph = architecture(rcn, weights)
    (panel,) = panels(graph)
    chain = Chain(panel.graph, Style(graph))
    hops = {link.ways[0]["attention"]: link for link in chain.links if link.hop}
    assert hops.keys() == weights["attention"].keys() - {"none"}
    *others, best = sorted(hops, key=weights["attention"].__getitem__)
    assert [link for link in hops.values() if link.chosen] == [hops[best]]
    for look in ("width", "opacity"):
        shown = [getattr(hops[name], look) for name in (*others, best)]
        assert shown == sorted(shown)
        assert shown[0] < shown[-2]
    steps = np.diff([hops[name].width for name in others]) / np.diff([weights["attention"][name] for name in others])
    assert steps == pytest.approx(steps[0])  # in proportion


def test_hops_of_different_lengths_have_different_dashes(rcn, random_weights):
    for graph in (architecture(rcn), architecture(rcn, random_weights(rcn))):
        chain = Chain(panels(graph)[0].graph, Style(graph))
        lengths = {(s, t): min(d["length"], 4) for s, t, d in graph.edges(data=True) if d["kind"] == "hop"}
        looks = {(lengths[link.source, link.target], link.dashes) for link in chain.links if link.hop}
        assert len(looks) == len({dashes for _, dashes in looks}) == 4


def test_the_legend_shows_the_colours_and_dashes_of_the_hops(rcn):
    figure = architecture_figure(rcn)
    drawn = [line for line in figure.findobj(PathPatch) if line.get_capstyle() == "butt"]
    looks = {(to_hex(line.get_edgecolor()), dashes(line)) for line in drawn}
    (height,) = [text.get_position()[1] for text in figure.axes[0].texts if text.get_text().startswith("attention hop")]
    samples = [line for line in figure.findobj(PathPatch) if abs(line.get_path().vertices[0, 1] - height) < 0.1]
    assert len(samples) == 4
    assert {(to_hex(line.get_edgecolor()), dashes(line)) for line in samples} <= looks | {("#d55e00", ())}


def dashes(line):
    """The dashes of a drawn line in points."""
    _, parts = line.get_linestyle() if isinstance(line.get_linestyle(), tuple) else (0, ())
    return tuple(round(part * line.get_linewidth(), 3) for part in parts)


@pytest.fixture(scope="module", params=["rcn", "nasbench201", "mixed", "branches"])
def drawn(request, load, random_weights):
    """A space, its weights and their picture."""
    space = load(request.param)
    weights = random_weights(space)
    return space, weights, architecture_figure(space, weights)


class TestMarks:
    def test_names_are_unique(self, drawn):
        figure = drawn[-1]
        names = [artist.get_gid() for artist in figure.findobj() if artist.get_gid()]
        assert len(names) == len(set(names)) > 5

    def test_every_option_has_its_weight_and_its_frame(self, drawn):
        space, weights, figure = drawn
        best = space.top(weights, 1)[0].choices
        values, frames = named(figure, "value"), named(figure, "frame")
        for decision, options in weights.items():
            for option, weight in options.items():
                way = (Way({decision: option}),)
                assert {text.get_text().split()[-1] for text in values[way]} == {number(weight)}
                assert {frame.get_alpha() == 1 for frame in frames[way]} == {best[decision] == option}

    def test_bars_are_as_long_as_their_weight(self, drawn):
        _, weights, figure = drawn
        for ways, bars in named(figure, "meter").items():
            weight = sum(math.prod(weights[d][o] for d, o in way.items()) for way in ways)
            assert {round(bar.get_width() / METER, 6) for bar in bars} == {round(weight, 6)}

    def test_every_decision_says_how_decided_it_is(self, drawn):
        space, weights, figure = drawn
        found = {ways[0]: text for ways, (text, *_) in named(figure, "decided").items()}
        assert len(found) == len(space.decisions)
        for way, text in found.items():
            ((decision, _),) = way.items()
            assert text.get_text() == f"{decidedness(weights[decision].values()):.0%} decided"

    def test_the_joint_weight_is_that_of_the_genotype(self, drawn):
        space, weights, figure = drawn
        ((text,),) = named(figure, "joint").values()
        assert text.get_text().split()[-1] == f"{space.top(weights, 1)[0].weight:.2g}"

    def test_places_do_not_depend_on_the_weights(self, drawn, random_weights):
        space, _, figure = drawn
        figures = [figure, architecture_figure(space, random_weights(space, 1))]
        first, second = ([(text.get_gid(), text.get_position()) for text in f.axes[0].texts] for f in figures)
        assert first == second

    def test_without_weights_nothing_is_named(self, rcn):
        assert not any(artist.get_gid() for artist in architecture_figure(rcn).findobj())


class Way(dict):
    """Choices that can be a key."""

    def __hash__(self):
        return hash(frozenset(self.items()))


def named(figure, role):
    """The artists of a role: the ways that they show -> artists."""
    found = {}
    for artist in figure.findobj():
        kind, *rest = (artist.get_gid() or "").split("|")
        if kind == role:
            ways = tuple(Way(parse_qsl(way, keep_blank_values=True)) for way in rest[0].split(";"))
            found.setdefault(ways, []).append(artist)
    return found


@pytest.mark.parametrize("name", ["rcn", "rcn_hops", "rcn_placements"])
def test_labels_stand_on_their_own_line_and_on_no_other(load, name, random_weights):
    graph = architecture(load(name), random_weights(load(name)))
    chain = Chain(panels(graph)[0].graph, Style(graph))
    lines = {link: BezierSegment(points)(np.linspace(0, 1, 3000)) for link, points in chain.curves.items()}
    assert len(chain.labels) == sum(bool(link.label) for link in chain.links) > 10
    for link, middle in chain.labels.items():
        near = [
            other for other, line in lines.items() if (abs(line - middle) < np.array(link.size) / 2).all(axis=1).any()
        ]
        assert near == [link]


def test_what_a_state_reads_stands_left_of_it(space):
    graph = architecture(space)
    chain = Chain(panels(graph)[0].graph, Style(graph))
    for link in chain.links:
        source, target = chain.centres[link.source], chain.centres[link.target]
        assert source[0] + chain.boxes[link.source].width / 2 < target[0] - chain.boxes[link.target].width / 2


def test_an_option_has_one_colour_in_all_pictures_of_a_space(space, random_weights):
    genotype = space.sample(random.Random(5))
    whole = Style(architecture(space)).colours
    assert Style(architecture(space, random_weights(space))).colours == whole
    alone = Style(architecture(space, genotype=genotype)).colours
    acting = [item for item in genotype.choices.items() if item[1] != "none"]
    assert {item: alone[item] for item in acting} == {item: whole[item] for item in acting}


@pytest.mark.parametrize(
    ("suffix", "magic"),
    [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("dot", b"digraph"), ("graphml", b"<"), ("json", b"{")],
)
def test_equal_pictures_are_equal_files(rcn, tmp_path, suffix, magic):
    files = [tmp_path / name / f"graph.{suffix}" for name in ("one", "two")]
    for file in files:
        draw_architecture(rcn, file, genotype=rcn.genotype("rcn-p"))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes().startswith(magic)


def test_an_unknown_suffix_is_an_error_that_names_the_known_ones(rcn, tmp_path):
    known = r"\.pdf, \.png, \.svg, and for other tools as \.dot, \.graphml, \.json; found '\.jpg'"
    with pytest.raises(UserError, match=rf"graph\.jpg: pictures are written as {known}"):
        draw_architecture(rcn, tmp_path / "graph.jpg")
    assert list(tmp_path.iterdir()) == []
