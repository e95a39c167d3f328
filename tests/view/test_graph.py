import random
from collections import Counter

import numpy as np
import pytest
from matplotlib.bezier import BezierSegment
from matplotlib.colors import to_rgb

from nas_mer.errors import UserError
from nas_mer.space import SearchSpace
from nas_mer.view import architecture, architecture_figure, draw_architecture
from nas_mer.view.architecture import panels
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
    graph = architecture(rcn, random_weights(rcn))
    (panel,) = panels(graph)
    chain = Chain(panel.graph, Style(graph))
    hops = sorted((link for link in chain.links if link.hop), key=lambda link: link.weight)
    widths = [link.width for link in hops]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    assert sum(link.weight for link in hops) == pytest.approx(1 - random_weights(rcn)["attention"]["none"])
    lightness = {link.weight: sum(to_rgb(link.colour)) for link in hops if (link.source, link.target) in _LENGTH_ONE}
    assert list(lightness.values()) == sorted(lightness.values(), reverse=True)
    assert [link.label for link in chain.links if link.chosen and link.hop] == [number(hops[-1].weight)]


_LENGTH_ONE = {("input", "conv"), ("conv", "r0"), ("r0", "r1"), ("r1", "r2"), ("r2", "r3")}


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


@pytest.mark.parametrize(("suffix", "magic"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_equal_pictures_are_equal_files(rcn, tmp_path, suffix, magic):
    files = [tmp_path / name / f"graph.{suffix}" for name in ("one", "two")]
    for file in files:
        draw_architecture(rcn, file, genotype=rcn.genotype("rcn-p"))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes().startswith(magic)


def test_an_unknown_suffix_is_an_error_that_names_the_known_ones(rcn, tmp_path):
    with pytest.raises(UserError, match=r"graph\.jpg: figures are written as \.pdf, \.png, \.svg, found '\.jpg'"):
        draw_architecture(rcn, tmp_path / "graph.jpg")
    assert list(tmp_path.iterdir()) == []
