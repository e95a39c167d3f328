import warnings
from dataclasses import replace

import numpy as np
import pytest

from nas_mer.view import Look, look_figure, save

HOP = ("conv", "r0")


@pytest.fixture
def look():
    """A clip that networks got right, and changes to it."""

    def make(**changes):
        rng = np.random.default_rng(0)
        grids = {name: rng.normal(size=(5, 5)) for name in ("negative", "positive", "surprise")}
        found = Look(
            name="casme2/sub01/EP02_01f",
            flow_map=rng.normal(size=(3, 20, 20)).astype(np.float32),
            u_mirror=0.0,
            frames=rng.integers(0, 255, (2, 30, 30, 3), np.uint8),
            predicted="positive",
            label="positive",
            probabilities={"negative": 0.2, "positive": 0.7, "surprise": 0.1},
            class_maps=grids,
            attention={HOP: np.linspace(0.25, 0.75, 25).reshape(5, 5)},
            networks=3,
        )
        return replace(found, **changes)

    return make


def images(figure):
    """The pictures of a figure's rows, by the centre of each in inches, and what they show."""
    found = {}
    for image in figure.axes[0].images:
        left, right, bottom, top = image.get_extent()
        found[round((left + right) / 2, 3), round((top + bottom) / 2, 3)] = np.asarray(image.get_array())
    return found


def columns(figure, *headings):
    """The pictures below each heading, from above."""
    places = {text.get_text(): text.get_position()[0] for text in figure.axes[0].texts}
    return [
        [shown for (x, _), shown in sorted(images(figure).items(), key=lambda item: item[0][1]) if abs(x - at) < 0.01]
        for at in (places[heading] for heading in headings)
    ]


def luminance(picture):
    return np.asarray(picture)[..., :3] @ (0.299, 0.587, 0.114)


def test_says_what_was_predicted_and_whether_it_is_right(look, words):
    right = words(look_figure([look()], "A title"))
    assert {"A title", "casme2/sub01/EP02_01f", "predicted positive .70", "right", "3 networks"} <= set(right)
    assert "true class" not in right
    wrong = words(look_figure([look(label="surprise")], "A title"))
    assert {"wrong: is surprise", "true class", "positive .70", "surprise .10"} <= set(wrong)
    unknown = words(look_figure([look(label=None, networks=1)], "A title"))
    assert "1 network" in unknown
    assert not {"right", "true class"} & set(unknown)


def test_shows_frames_flow_and_strain(look):
    one = look()
    onset, apex, flow, strain = columns(look_figure([one], ""), "onset", "apex", "flow", "strain")
    np.testing.assert_array_equal(onset[0], one.frames[0][..., ::-1])
    np.testing.assert_array_equal(apex[0], one.frames[1][..., ::-1])
    rest = look(flow_map=np.zeros((3, 20, 20), np.float32))
    flow, strain = columns(look_figure([rest], ""), "flow", "strain")
    assert (flow[0] == 1).all()
    assert luminance(strain[0]).max() < 0.02


def test_a_map_is_brightest_where_it_speaks_most_for_the_class(look):
    grids = {name: np.zeros((5, 5)) for name in ("negative", "positive", "surprise")}
    grids["positive"][0, 4], grids["surprise"][4, 0] = 2.0, 7.0
    grey = np.full((2, 30, 30), 90, np.uint8)
    figure = look_figure([look(class_maps=grids, label="surprise", frames=grey)], "")
    predicted, true = (luminance(column[0]) for column in columns(figure, "predicted class", "true class"))
    side = predicted.shape[0]
    assert np.unravel_index(predicted.argmax(), predicted.shape) == pytest.approx((0, side - 1), abs=side / 5)
    assert np.unravel_index(true.argmax(), true.shape) == pytest.approx((side - 1, 0), abs=side / 5)
    assert predicted.max() > predicted[-1, 0] + 0.3


def test_attention_is_shown_with_its_hop_and_range(look, words):
    figure = look_figure([look()], "")
    assert {"attention", "conv \u2192 r0", ".25 to .75"} <= set(words(figure))
    (shown,) = columns(figure, "attention")
    assert len(shown) == 1


def test_rows_may_differ(look, check_legible, words):
    """A nested search's genotypes have their own hops, and a picture may mix right and wrong ones."""
    two = {("input", "r2"): np.ones((5, 5)), ("r1", "pooled"): np.zeros((5, 5))}
    rows = [look(), look(label="negative", attention={}), look(attention=two)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = look_figure(rows, "Several")
    check_legible(figure)
    assert len(images(figure)) == (2 + 2 + 1 + 1) + (2 + 2 + 2) + (2 + 2 + 1 + 2) + 1  # and the wheel


@pytest.mark.parametrize("stretched", [0.0, 1.0])
@pytest.mark.parametrize("framed", [True, False])
def test_is_legible(look, check_legible, stretched, framed):
    rows = [
        look(u_mirror=stretched, label=label, **({} if framed else {"frames": None})) for label in ("negative", None)
    ]
    figure = look_figure(rows, "What a_network_of_a_rather_long_name looks at (run)")
    check_legible(figure)
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert ("onset" in shown) == framed
    assert any("median" in text for text in shown) == bool(stretched)


def test_a_long_name_of_a_run_is_not_cut_off(look, check_legible):
    """As it is called by default where many genotypes are retrained."""
    title = "What rcn looks at (20261126-130102-123-retrain-rcn-rcn-w-rcn-s-rcn-a-rcn-c-rcn-f-rcn-p)"
    check_legible(look_figure([look(frames=None)], title))


def test_names_that_are_long_keep_clear_of_the_pictures(look, check_legible):
    grids = {"a class of many words": np.eye(5), "b": np.eye(5)}
    hop = {("cell1.node2", "cell1.reduction.node3"): np.eye(5)}
    one = look(name="mylab/participant_017/a-recording-with-a-long-name", class_maps=grids, attention=hop)
    one = replace(
        one, probabilities={"a class of many words": 0.6, "b": 0.4}, predicted="a class of many words", label="b"
    )
    check_legible(look_figure([one], ""))


def test_is_written(look, tmp_path):
    save(look_figure([look()], "Title"), tmp_path / "look.svg")
    text = (tmp_path / "look.svg").read_text()
    assert text.count("<image") == 7  # two frames, flow, strain, a class, attention, the wheel
