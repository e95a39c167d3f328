import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.optimize import minimize

from nas_mer.errors import UserError
from nas_mer.view.figures import Page, apart, number, save, text_width, tint, wrap

POSITIONS = st.lists(st.floats(0, 10), min_size=1, max_size=8)


@given(POSITIONS, st.floats(0.05, 1))
def test_labels_moved_apart_keep_their_order_gap_and_bounds(positions, gap):
    moved = np.array(apart(positions, gap, 0, 10))
    order = np.argsort(positions, kind="stable")
    assert (np.diff(moved[order]) >= gap - 1e-9).all()
    assert moved.min() >= -1e-9
    assert moved.max() <= 10 + 1e-9


@settings(max_examples=20)
@given(st.lists(st.integers(0, 40).map(lambda value: value / 4), min_size=2, max_size=5))
def test_labels_move_as_little_as_possible(positions):
    gap, order = 1.5, np.argsort(positions, kind="stable")
    sorted_positions = np.array(positions)[order]
    count = len(positions)
    start = np.linspace(0, gap * (count - 1), count)
    rules = {"type": "ineq", "fun": lambda x: np.diff(x) - gap}
    best = minimize(
        lambda x: ((x - sorted_positions) ** 2).sum(),
        start,
        bounds=[(0, 10)] * count,
        constraints=rules,
        method="SLSQP",
    )
    assert np.array(apart(positions, gap, 0, 10))[order] == pytest.approx(best.x, abs=1e-3)


def test_labels_without_room_share_what_there_is():
    assert apart([5, 5, 5], gap=4, low=3, high=6) == pytest.approx([3, 4.5, 6])


@given(st.lists(st.sampled_from(["a", "wide", "shortcut", "MMMMMMMMMMMMMMMM"]), min_size=1, max_size=12))
def test_wrapped_lines_fit_and_lose_nothing(words):
    text = " ".join(words)
    lines = wrap(text, 0.8, 7)
    assert " ".join(lines) == text
    assert all(text_width(line, 7) <= 0.8 or " " not in line for line in lines)


@pytest.mark.parametrize(
    ("text", "bold"), [("attention .07", False), ("max_pool_3x3", True), ("conv 3\u00d73, BN", False)]
)
def test_text_is_as_wide_as_it_is_drawn(text, bold):
    figure = Figure(dpi=288)
    drawn = figure.text(0, 0, text, size=7, weight="bold" if bold else "normal")
    box = drawn.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert text_width(text, 7, bold) == pytest.approx(box.width / 288, rel=0.05)


@pytest.mark.parametrize(("weight", "text"), [(0.07, ".07"), (0.004, ".00"), (1.0, "1.00"), (0.996, "1.00")])
def test_weights_have_two_decimals_and_no_leading_zero(weight, text):
    assert number(weight) == text


def test_tints_run_from_white_to_the_colour():
    assert tint("#0072B2", 0) == (1, 1, 1)
    assert tint("#0072B2", 1) == pytest.approx((0, 0x72 / 255, 0xB2 / 255))


def drawn_width(text, size):
    figure = Figure(dpi=288)
    drawn = figure.text(0, 0, text, size=size)
    return drawn.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width / 288


def test_text_widths_are_those_of_the_font_that_is_set():
    text = "in the paper, same network"
    widths = {"before": text_width(text, 9)}
    for font in ("serif", "sans"):
        with Page(font=font).applied():
            widths[font] = text_width(text, 9)
            assert widths[font] == pytest.approx(drawn_width(text, 9), rel=0.05)
    assert widths["serif"] < 0.9 * widths["sans"]
    assert text_width(text, 9) == widths["before"]


def test_a_page_ends_with_its_block_also_by_an_error(tmp_path):
    with Page(3.5, "serif").applied():
        assert Page.current() == Page(3.5, "serif")
        assert Page.current().room == 3.5
    with pytest.raises(UserError), Page(3.5, "serif").applied():
        save(Figure(), tmp_path / "a.bmp")
    assert Page.current() == Page()
    assert Page.current().room == 7.16


def wide_figure(size=7.0):
    figure = Figure(figsize=(10, 5))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.text(0.5, 0.5, "text", size=size)
    axes.plot([0, 1], [0, 1], linewidth=2)
    return figure


def test_a_drawing_is_scaled_down_with_its_text_and_lines(tmp_path):
    figure = wide_figure()
    with Page(8.0).applied():
        save(figure, tmp_path / "a.svg")
    assert tuple(figure.get_size_inches()) == pytest.approx((8, 4))
    (axes,) = figure.axes
    assert axes.texts[0].get_fontsize() == pytest.approx(0.8 * 7)
    assert axes.lines[0].get_linewidth() == pytest.approx(0.8 * 2)
    assert 'width="576pt"' in (tmp_path / "a.svg").read_text()


def test_a_drawing_is_never_blown_up(tmp_path):
    figure = wide_figure()
    with Page(20.0).applied():
        save(figure, tmp_path / "a.svg")
    assert figure.get_figwidth() == 10


def test_text_that_would_be_too_small_to_read_is_refused(tmp_path):
    with Page(3.5).applied(), pytest.raises(UserError, match=r"8\.9 cm .* 2\.4 points; it needs 18\.2 cm"):
        save(wide_figure(), tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []
    with Page(18.2 / 2.54).applied():  # as wide as it says
        save(wide_figure(), tmp_path / "a.pdf")


def test_text_stays_text_in_a_pdf_in_a_font_that_is_embedded(tmp_path):
    with Page(font="serif").applied():
        save(wide_figure(), tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    assert b"STIXGeneral" in content
    assert b"/FontFile2" in content
    assert b"DejaVu" not in content
