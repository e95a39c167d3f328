import numpy as np
import pytest

from nas_mer.search import Trial, front, ranked
from nas_mer.view import Page, pareto_figure

ALL = ("uar", "parameters", "flops", "latency")


@pytest.fixture(scope="module")
def judged(load):
    """Genotypes of random sizes and values, so many of each objective as are told apart."""
    space, draws = load("rcn"), np.random.default_rng(0)
    choices = [space.genotype(name).choices for name in space.named]
    trials = [
        Trial(
            choices[number % 7], float(draws.random()), 1.0, None, {}, {"epochs": number + 1},
            {"parameters": float(p), "flops": float(1000 * f), "latency": float(m)},
        )
        for number, (p, f, m) in enumerate(draws.lognormal(8, 2, size=(30, 3)))
    ]  # fmt: skip
    return ranked(space, [trials])


@pytest.mark.parametrize("objectives", [ALL[:2], ("latency", "uar"), ALL])
@pytest.mark.parametrize("width", [None, 3.5, 0.5])
def test_it_is_legible(judged, objectives, width, check_legible):
    with Page(width).applied():
        check_legible(pareto_figure(judged, objectives))


def test_every_network_and_the_front_are_there(judged):
    objectives = ("uar", "parameters", "flops")
    figure = pareto_figure(judged, objectives)
    unbeaten = front(judged, objectives)
    assert len(figure.axes) == 3
    for axes, name in zip(figure.axes[1:], objectives[1:], strict=True):
        everything, line, *marks = axes.lines
        points = sorted(zip(*everything.get_data(), strict=True))
        assert points == sorted((one.measured[name], one.valid_uar) for one in judged)
        assert [(*mark.get_xdata(), *mark.get_ydata()) for mark in marks] == [
            (one.measured[name], one.valid_uar) for one in unbeaten
        ]
        # At every value the line is as high as the best network that is no dearer.
        values, uars = line.get_data()
        assert line.get_drawstyle() == "steps-post"
        for value, uar in zip(values, uars, strict=True):
            assert uar == max(one.valid_uar for one in judged if one.measured[name] <= value)
        assert {text.get_text() for text in axes.texts} <= {str(one.genotype.rank) for one in unbeaten}
    written = " ".join(text.get_text() for text in figure.axes[0].texts)
    for one in unbeaten:
        assert f"epochs: {one.recipe['epochs']}; UAR .{one.valid_uar:.3f}"[:-6] in written


def test_one_network_is_a_front(judged, check_legible):
    check_legible(pareto_figure(judged[:1], ALL))
