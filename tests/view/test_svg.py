import re
from xml.etree import ElementTree

import numpy as np
import pytest

from nas_mer.space import SearchSpace
from nas_mer.view import architecture_figure, history_figure, svg_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def figure():
    space = SearchSpace.load("rcn")
    weights = {decision: dict.fromkeys(options, 1 / len(options)) for decision, options in space.decisions.items()}
    return architecture_figure(space, weights)


@pytest.fixture(scope="module")
def element(figure):
    return svg_of(figure, "figure1", "weights & <all> that")


def test_it_is_one_element_without_prolog(element):
    assert element.startswith("<svg ")
    assert ElementTree.fromstring(element).tag == f"{SVG}svg"
    assert "<!DOCTYPE" not in element
    assert "<metadata" not in element


def test_it_has_a_role_a_title_and_a_view_box_but_no_fixed_height(element, figure):
    root = ElementTree.fromstring(element)
    assert (root.get("id"), root.get("role")) == ("figure1", "img")
    title = root[0]
    assert (title.tag, title.text, title.get("id")) == (
        f"{SVG}title",
        "weights & <all> that",
        root.get("aria-labelledby"),
    )
    assert [float(part) for part in root.get("viewBox").split()] == pytest.approx(
        [0, 0, *figure.get_size_inches() * 72]
    )
    assert "height" not in root.attrib


def test_text_is_text(element, words, figure):
    found = ["".join(text.itertext()).strip() for text in ElementTree.fromstring(element).iter(f"{SVG}text")]
    assert sorted(found) == sorted(words(figure))


def test_all_ids_are_its_own_and_all_references_lead_somewhere(element):
    root = ElementTree.fromstring(element)
    ids = [node.get("id") for node in root.iter() if "id" in node.attrib]
    assert len(ids) == len(set(ids))
    assert all(name == "figure1" or name.startswith("figure1-") for name in ids)
    values = [value for node in root.iter() for value in node.attrib.values()]
    references = {name for value in values for name in re.findall(r"url\(#(.*?)\)", value)}
    references |= {value[1:] for value in values if value.startswith("#figure1")}
    assert references
    assert references <= set(ids)


def test_its_style_is_for_itself_alone(element):
    styles = [style.text for style in ElementTree.fromstring(element).iter(f"{SVG}style")]
    assert styles
    assert all(rule.strip().startswith("#figure1 ") for style in styles for rule in style.split("}") if rule.strip())


def test_curves_refer_to_their_own_markers():
    figure = history_figure({"conv": np.array([[[0.4, 0.6]]])}, {"conv": ["a", "b"]})
    root = ElementTree.fromstring(svg_of(figure, "history", "one epoch"))
    ids = {node.get("id") for node in root.iter()}
    links = [node.get("{http://www.w3.org/1999/xlink}href") for node in root.iter(f"{SVG}use")]
    assert links
    assert {link.removeprefix("#") for link in links} <= ids


def test_equal_figures_are_equal_elements(figure, element):
    assert svg_of(figure, "figure1", "weights & <all> that") == element
