import numpy as np
import pytest

from nas_mer.errors import UserError
from nas_mer.view import draw_history, history_figure


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


def test_history_is_written_by_suffix(history, tmp_path):
    draw_history(*history(1, 3), tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(UserError, match=r"found '\.bmp'"):
        draw_history(*history(1, 3), tmp_path / "curves.bmp")
