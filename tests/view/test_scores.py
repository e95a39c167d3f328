import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix

from nas_mer.errors import UserError
from nas_mer.score import compare, find_published, score
from nas_mer.score.published import SAMPLES
from nas_mer.view import (
    Page,
    confusion_figure,
    differences_figure,
    ranks_figure,
    scores_figure,
    subjects_figure,
)

MEGC = {"smic": (16, 10), "casme2": (24, 6), "samm": (28, 5)}


@pytest.fixture(scope="module")
def groups(simulate):
    names = ("rcn", "rcn-s", "a_long_name-3f9c27ab")
    return {name: [simulate(name, seed, 1.5, MEGC) for seed in range(2)] for name in names}


@pytest.fixture(scope="module")
def rows(groups):
    return [score(*seeds, resamples=100) for seeds in groups.values()]


@pytest.fixture(scope="module")
def comparisons(groups):
    first, *others = groups.values()
    return [compare(first, other, resamples=100) for other in others]


@pytest.fixture(scope="module")
def published():
    return {"rcn-s": find_published("rcn-s", SAMPLES, 60, 16, 5)}


@pytest.fixture(scope="module")
def figures(groups, rows, comparisons, published):
    """A function that draws all kinds."""
    weights = {row.genotype: 0.1 / rank for rank, row in enumerate(rows, 1)}
    predictions = list(itertools.chain(*groups.values()))
    return lambda: (
        scores_figure(rows, published),
        confusion_figure(rows[:1]),
        subjects_figure(predictions),
        ranks_figure(weights, rows),
        differences_figure(comparisons),
    )


@pytest.mark.parametrize("page", [Page(), Page(3.5, "serif")], ids=["natural", "column"])
def test_all_are_legible_and_as_wide_as_asked(page, figures, check_legible):
    with page.applied():
        for figure in figures():
            assert figure.get_figwidth() == pytest.approx(page.room)
            check_legible(figure)


def test_on_too_narrow_a_page_they_have_the_least_width_that_they_need(figures, check_legible):
    with Page(0.5).applied():
        for figure in figures():
            assert 1 < figure.get_figwidth() < 4
            check_legible(figure)


def marks(figure, marker):
    """The x of every point of a shape, panel by panel."""
    return [
        [line.get_xdata()[0] for line in axes.lines if line.get_marker() == marker and len(line.get_xdata()) == 1]
        for axes in figure.axes[1:]
    ]


def test_scores_show_every_value_interval_and_spread(rows, published, words):
    figure = scores_figure(rows, published)
    parts = [[row.composite for row in rows], *([row.databases[name] for row in rows] for name in rows[0].databases)]
    assert marks(figure, "o") == [pytest.approx([part.uar for part in panel]) for panel in parts]
    assert marks(figure, "s") == [pytest.approx([part.uf1 for part in panel]) for panel in parts]
    assert marks(figure, "D")[0] == [0.7106, 0.7466]
    assert marks(figure, "D")[1] == [0.6572, 0.6519]
    drawn = {tuple(np.round(line.get_xdata(), 6)) for line in figure.axes[1].lines if len(line.get_xdata()) == 2}
    for row in rows:
        whole = row.composite
        assert tuple(np.round(whole.uar_interval, 6)) in drawn
        assert tuple(np.round((whole.uf1 - whole.uf1_spread, whole.uf1 + whole.uf1_spread), 6)) in drawn
    assert {
        "composite",
        "smic",
        "rcn",
        "rcn-s",
        "444 samples, 68 subjects",
        "in the paper, same network and sizes",
    } <= set(words(figure))


def test_what_is_not_known_is_not_drawn_or_explained(simulate, words):
    rows = [score(simulate("a"), resamples=0), score(simulate("b").only("smic"), resamples=0)]
    figure = scores_figure(rows)
    shown = " ".join(words(figure))
    assert not any(word in shown for word in ("interval", "deviation", "paper"))
    assert [len(panel) for panel in marks(figure, "o")] == [2, 2, 1, 1]


def test_confusion_shows_scikit_learns_counts_and_shares(groups, rows, words):
    shown = words(confusion_figure(rows[:1]))
    seeds = groups[rows[0].genotype]
    for database in (None, "samm"):
        parts = [one if database is None else one.only(database) for one in seeds]
        expected = sum(confusion_matrix(one.labels, one.predicted) for one in parts)
        for count, share in zip(
            expected.ravel(), (expected / expected.sum(axis=1, keepdims=True)).ravel(), strict=True
        ):
            assert str(count) in shown
            assert re.sub(r"^0\.", ".", f"{share:.2f}") in shown
    assert {"negative", "positive", "surprise", "true", "predicted", "2 seeds"} <= set(shown)


def test_a_class_without_samples_has_no_share(simulate, words):
    bare = simulate()
    bare = replace(bare, labels=np.minimum(bare.labels, 1))
    shown = words(confusion_figure([score(bare, resamples=0)]))
    assert shown.count("-") == 3 * 4  # of each matrix the row that nothing is in


def test_subjects_are_all_there_with_their_accuracy(groups, words):
    seeds = groups["rcn"]
    figure = subjects_figure(seeds)
    bars = [bar.get_height() for axes in figure.axes[1:] for bar in axes.patches]
    names, expected = [], []
    for database in ("casme2", "smic", "samm"):  # as they are placed: what fits side by side
        for subject in sorted({s for s in seeds[0].subjects.tolist() if s.startswith(database)}):
            held = seeds[0].subjects == subject
            expected.append(np.mean([accuracy_score(one.labels[held], one.predicted[held]) for one in seeds]))
            names.append(f"{subject.partition('/')[2]}  {held.sum()}")
    assert sorted(bars) == pytest.approx(sorted(expected))
    shown = words(figure)
    assert len(names) == 68
    assert all(names.count(name) == shown.count(name) for name in names)
    whole = np.mean([accuracy_score(one.only("samm").labels, one.only("samm").predicted) for one in seeds])
    assert f"samm  {whole:.3f}".replace("0.", ".") in shown


def test_one_training_has_no_range(groups, words):
    figure = subjects_figure(groups["rcn"][:1])
    assert "least and greatest" not in words(figure)
    assert all(len(axes.lines) == 1 for axes in figure.axes[1:])  # that of the whole database


def test_differences_show_the_change_and_its_p(comparisons, words):
    figure = differences_figure(comparisons)
    assert marks(figure, "o")[0] == pytest.approx([one.composite.uar.change for one in comparisons])
    assert marks(figure, "s")[1] == pytest.approx([one.composite.uf1.change for one in comparisons])
    for one in comparisons:
        assert f"{one.composite.uar.p_value:.3f}".replace("0.", ".") in words(figure)


def test_hollow_is_within_noise(simulate):
    a, b, c = (simulate(name, signal=signal, shape=MEGC) for name, signal in (("a", 0.0), ("b", 0.0), ("c", 5.0)))
    figure = differences_figure([compare([a], [other], resamples=200) for other in (b, c)])
    faces = [line.get_markerfacecolor() for line in figure.axes[1].lines if line.get_marker() == "o"]
    assert [face == "white" for face in faces] == [True, False]


def kendall(pairs):
    """Tau without ties, by its definition."""
    signs = [np.sign((a - c) * (b - d)) for (a, b), (c, d) in itertools.combinations(pairs, 2)]
    return sum(signs) / len(signs)


def test_ranks_show_kendalls_tau(rows, words):
    weights = {row.genotype: weight for row, weight in zip(rows, (0.2, 0.3, 0.1), strict=True)}
    shown = words(ranks_figure(weights, rows))
    for metric in ("uar", "uf1"):
        tau = kendall([(weights[row.genotype], getattr(row.composite, metric)) for row in rows])
        text = f"{tau:.2f}".replace("0.", ".").replace("-", "\u2212")
        assert any(word.startswith(f"Kendall's τ with {metric.upper()}: {text}, p ") for word in shown)
    assert "1  rcn-s  .300" in shown
    best = max(rows, key=lambda row: row.composite.uar)
    assert f"1  {best.composite.uar:.3f}".replace("0.", ".") in shown


def test_a_long_name_makes_the_figure_as_wide_as_it_needs(rows, check_legible):
    long = [replace(row, genotype=f"{row.genotype} {'x' * 30}") for row in rows]
    with Page(3.5).applied():
        for figure in (scores_figure(long), ranks_figure({row.genotype: 0.1 for row in long}, long)):
            assert figure.get_figwidth() > 3.5
            check_legible(figure)


def test_refused(rows, comparisons):
    for figure in (scores_figure, confusion_figure, subjects_figure, differences_figure):
        with pytest.raises(UserError, match="nothing to draw"):
            figure([])
    with pytest.raises(UserError, match="at least two searched genotypes, found 1"):
        ranks_figure({"rcn": 0.1}, rows)
    with pytest.raises(UserError, match="other: has a weight, but no score"):
        ranks_figure({"rcn": 0.1, "other": 0.2}, rows)
    with pytest.raises(UserError, match="from one genotype, found rcn and x"):
        differences_figure([*comparisons, replace(comparisons[0], a="x")])
