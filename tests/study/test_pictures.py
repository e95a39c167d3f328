import pytest
from matplotlib.text import Text

from nas_mer.study.pictures import PICTURES, ranks_figure, regret_figure, tau_figure
from nas_mer.view import Page


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


@pytest.mark.parametrize("name", PICTURES)
def test_every_run_is_named_and_legible(found, name):
    for width in (None, 3.5):
        with Page(width).applied():
            figure = PICTURES[name](found)
            shown = texts(figure)
            assert {"darts", "warm", "random", "nested"} <= set(shown)
            assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7


def points(axes, marker):
    """The coordinates of all points of one kind."""
    lines = [line for line in axes.get_lines() if line.get_marker() == marker]
    return [(float(x), float(y)) for line in lines for x, y in zip(*line.get_data(), strict=True)]


def test_ranks_are_those_of_the_search(found, drawn):
    figure = ranks_figure(found)
    means = drawn.uar.mean(axis=1)
    for result, axes in zip(found.results, figure.axes[1:], strict=True):
        shown = sorted(points(axes, "s") + points(axes, "o"))
        assert shown == [(rank, means[place]) for rank, place in enumerate(result.ranking.places, 1)]
        assert [x for x, _ in points(axes, "s")] == [1, 2, 3]


def test_tau_of_each_search_and_the_band(found):
    axes = tau_figure(found).axes[1]
    for row, result in enumerate(found.results):
        single = [x for x, y in points(axes, ".") if y == row]
        assert single == [result.over_seeds(lambda one: one.tau, [seed]).mean for seed in result.alone]
    assert [x for x, _ in points(axes, "o")] == [one.over_seeds(lambda o: o.tau).mean for one in found.results]
    assert [x for x, _ in points(axes, "D")] == [one.together.tau for one in found.results]
    (band,) = axes.patches
    ceiling = found.truth.ceilings["uar"]
    assert sorted((band.get_x(), band.get_x() + band.get_width())) == pytest.approx(tuple(ceiling.attainable_interval))
    upright = [line.get_xdata()[0] for line in axes.get_lines() if list(line.get_ydata()) == [0, 1]]
    assert upright == [ceiling.attainable, 0, ceiling.split_half]


def test_regret_beside_that_of_random_draws(found):
    axes = regret_figure(found).axes[1]
    assert [y for _, y in points(axes, "D")] == [one.together.first.regret for one in found.results]
    curve = axes.get_lines()[0]
    assert curve.get_ydata().tolist() == found.random_regret.tolist()
    assert curve.get_xdata()[0] == pytest.approx(found.training)
