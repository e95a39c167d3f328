import numpy as np
import pytest

from nas_mer.errors import UserError
from nas_mer.view import Page, course, decidedness, draw_history, history_figure


@pytest.fixture
def history():
    """A search of some seeds and epochs over decisions with few and with many options."""

    def make(seeds, epochs, options=None):
        rng = np.random.default_rng(0)
        options = options or {"conv": ("standard", "wide"), "attention": ("none", *(f"hop-{i}" for i in range(13)))}
        weights = {}
        for name, names in options.items():
            values = np.exp(rng.normal(size=(seeds, epochs, len(names))).cumsum(axis=1) / 5)
            weights[name] = values / values.sum(axis=-1, keepdims=True)
        losses = {"train_loss": rng.random((seeds, epochs)), "valid_loss": rng.random((seeds, epochs))}
        return weights, options, losses

    return make


def panel(figure, decision):
    """The axes below a panel's title."""
    titles = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    x, y = titles[decision]
    width, height = figure.get_size_inches()
    below = [axes for axes in figure.axes[1:] if abs(axes.get_position().x0 * width - x) < 0.01]
    return min(below, key=lambda axes: abs((1 - axes.get_position().y1) * height - y))


@pytest.mark.parametrize(("seeds", "epochs"), [(1, 1), (1, 30), (3, 2), (3, 30)])
def test_history_is_legible(history, seeds, epochs, check_legible):
    check_legible(history_figure(*history(seeds, epochs)))


def test_equal_ends_are_labelled_apart(check_legible):
    options = {"edge": tuple(f"option_{i}" for i in range(20))}
    check_legible(history_figure({"edge": np.full((1, 5, 20), 0.05)}, options))


def test_history_of_many_decisions_is_legible(history, load, check_legible):
    check_legible(history_figure(*history(2, 10, load("nasbench201").decisions)))


@pytest.mark.parametrize(("width", "needed"), [(3.5, 3.7), (7.16, 7.16)])
def test_names_of_decisions_keep_clear_of_how_decided_they_are(history, load, check_legible, width, needed):
    """Even if a column is then a little too narrow for them, to which a picture is scaled down when it is saved."""
    with Page(width).applied():
        figure = history_figure(*history(2, 4, load("darts_cnn").decisions))
    assert width <= figure.get_figwidth() + 1e-6 <= needed + 1e-5
    check_legible(figure)


def test_each_panel_draws_each_seed_and_their_mean_with_the_winner_thick(history):
    weights, options, _ = history(3, 20)
    figure = history_figure(weights, options)
    for decision, values in weights.items():
        lines = panel(figure, decision).get_lines()
        drawn = [line.get_ydata() for line in lines]
        thick = max(lines, key=lambda line: line.get_linewidth())
        best = values[:, -1].mean(axis=0).argmax()
        assert thick.get_ydata() == pytest.approx(values[:, :, best].mean(axis=0))
        for option in range(values.shape[-1]):
            for curve in [*values[:, :, option], values[:, :, option].mean(axis=0)]:
                assert any(len(line) == 20 and np.allclose(line, curve) for line in drawn)
        assert [1 / values.shape[-1]] * 2 in [list(line) for line in drawn]  # equal weights


def test_labels_name_every_option_with_its_last_weight(history, words):
    weights, options, losses = history(2, 8)
    shown = words(history_figure(weights, options, losses))
    for decision, names in options.items():
        for name, weight in zip(names, weights[decision][:, -1].mean(axis=0), strict=True):
            assert f"{name} {weight:.2f}".replace(" 0.", " .") in shown
    assert f"train loss {losses['train_loss'][:, -1].mean():.2f}" in shown


def test_how_decided_each_decision_is_by_each_search_and_by_their_mean(history):
    weights, options, _ = history(3, 20)
    lines = [line.get_ydata() for line in panel(history_figure(weights, options), "how decided").get_lines()]
    for values in weights.values():
        for search in [*values, values.mean(axis=0)]:
            expected = [decidedness(epoch) for epoch in search]
            assert any(np.allclose(line, expected) for line in lines)


def test_many_searches_are_a_band(history):
    weights, options, _ = history(68, 5)
    axes = panel(history_figure(weights, options), "conv")
    assert sum(len(line.get_xdata()) == 5 for line in axes.get_lines()) == 2  # the means
    low, high = np.quantile(weights["conv"][:, :, 0], (0.05, 0.95), axis=0)
    edges = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert {round(float(value), 6) for value in (*low, *high)} <= {round(float(edge), 6) for edge in edges}


class TestCourse:
    @pytest.fixture
    def searched(self, history, load):
        def make(seeds, epochs, name="rcn"):
            space = load(name)
            weights, options, losses = history(seeds, epochs, space.decisions)
            return weights, options, losses, course(space, weights)

        return make

    @pytest.mark.parametrize(("seeds", "epochs"), [(1, 1), (3, 30), (68, 3)])
    def test_legible(self, searched, seeds, epochs, check_legible):
        check_legible(history_figure(*searched(seeds, epochs)))

    @pytest.mark.parametrize("width", [3.5, 7.16])
    def test_it_fits_a_page(self, searched, width, check_legible):
        with Page(width).applied():
            figure = history_figure(*searched(2, 12))
        assert figure.get_figwidth() == pytest.approx(width)
        check_legible(figure)

    def test_joint_weights_of_the_best_genotypes(self, searched, words):
        weights, options, losses, found = searched(2, 10)
        figure = history_figure(weights, options, losses, found)
        lines = [line.get_ydata() for line in panel(figure, "joint weight of the best").get_lines()]
        for index in range(3):
            for curve in [found.joint[:, index], *found.each[:, :, index]]:
                assert any(len(line) == 10 and np.allclose(line, curve) for line in lines)
            assert f"top{index + 1} {found.joint[-1, index]:.2g}" in words(figure)

    def test_a_dashed_line_where_equal_weights_put_them(self, searched):
        figure = history_figure(*searched(1, 3, "darts_cnn"))
        lines = [line.get_ydata() for line in panel(figure, "joint weight of the best").get_lines()]
        assert any(len(line) == 2 and line == pytest.approx([8**-16] * 2, abs=0) for line in lines)

    def test_since_when_winners_are_the_same_is_marked_and_told(self, load, words):
        space = load("rcn")
        even = {name: np.full(len(o), 1 / len(o)) for name, o in space.decisions.items()}
        weights = {name: np.tile(row, (1, 8, 1)) for name, row in even.items()}
        weights["conv"][0, 3:] = [0.2, 0.8]  # wide from epoch 4 on
        figure = history_figure(weights, space.decisions, None, course(space, weights))
        for title, since in (("conv", 4), ("recurrent", 1), ("joint weight of the best", 4)):
            dotted = [line for line in panel(figure, title).get_lines() if list(line.get_xdata()) == [since, since]]
            assert len(dotted) == 1
        shown = words(figure)
        assert {
            "epoch; the same winner since 4",
            "epoch; the same winner since 1",
            "epoch; the same best since 4",
        } <= set(shown)
        assert "has been the same since epoch 4 of 8" in " ".join(shown)

    def test_a_change_in_the_last_epoch_is_told(self, load, words):
        space = load("rcn")
        weights = {name: np.full((1, 4, len(o)), 1 / len(o)) for name, o in space.decisions.items()}
        weights["conv"][0, 3] = [0.2, 0.8]
        shown = words(history_figure(weights, space.decisions, None, course(space, weights)))
        assert "epoch; the winner changed in the last one" in shown
        assert "The best genotype changed in the last of 4 epochs." in " ".join(shown)


def test_history_is_written_by_suffix(history, tmp_path):
    draw_history(*history(1, 3), tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(UserError, match=r"found '\.bmp'"):
        draw_history(*history(1, 3), tmp_path / "curves.bmp")
