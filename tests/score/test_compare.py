import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from nas_mer.errors import UserError
from nas_mer.score import Difference, Interval, Predictions, compare, score

SIX = {"smic": (3, 4), "samm": (3, 5)}
TEN = {"smic": (10, 12)}


def sklearn_uar(labels, predicted):
    return recall_score(labels, predicted, labels=np.unique(labels), average="macro")


def sklearn_uf1(labels, predicted):
    return f1_score(labels, predicted, average="macro")


def enumerated(metric, a, b):
    """The share of all exchanges of subjects with at least the observed difference, by loops over samples."""
    subjects = sorted(set(a.subjects))
    differences = []
    for pattern in itertools.product([False, True], repeat=len(subjects)):
        exchanged = np.isin(a.subjects, [name for name, swap in zip(subjects, pattern, strict=True) if swap])
        left = metric(a.labels, np.where(exchanged, b.predicted, a.predicted))
        right = metric(a.labels, np.where(exchanged, a.predicted, b.predicted))
        differences.append(abs(right - left))
    return np.mean(np.array(differences) >= differences[0] - 1e-12)


@pytest.mark.parametrize("strength", [0.5, 1.5, 3.0])
def test_few_subjects_are_enumerated(simulate, strength):
    a, b = simulate("a", signal=0.5, shape=SIX), simulate("b", signal=strength, shape=SIX)
    part = compare([a], [b], resamples=100).composite
    assert part.uar.p_value == pytest.approx(enumerated(sklearn_uar, a, b))
    assert part.uf1.p_value == pytest.approx(enumerated(sklearn_uf1, a, b))


def test_many_subjects_are_drawn(simulate):
    a, b = simulate("a", signal=0.8, shape=TEN), simulate("b", signal=1.3, shape=TEN)
    exact = compare([a], [b], resamples=1024).composite
    drawn = compare([a], [b], resamples=1000).composite
    for p, estimate in ((exact.uar.p_value, drawn.uar.p_value), (exact.uf1.p_value, drawn.uf1.p_value)):
        assert p * 1024 == round(p * 1024)
        assert estimate * 1001 == pytest.approx(round(estimate * 1001))
        assert estimate == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 1000))


def test_seeds_are_exchanged_together(simulate):
    """UAR is linear in the predictions: however seeds are matched, the exchange of means is the mean of exchanges."""
    a = [simulate("a", seed, 0.7, SIX) for seed in range(2)]
    b = [simulate("b", seed, 1.2, SIX) for seed in range(3)]
    subjects = sorted(set(a[0].subjects))
    differences = []
    for pattern in itertools.product([False, True], repeat=len(subjects)):
        exchanged = np.isin(a[0].subjects, [name for name, swap in zip(subjects, pattern, strict=True) if swap])
        change = [
            sklearn_uar(x.labels, np.where(exchanged, x.predicted, y.predicted))
            - sklearn_uar(x.labels, np.where(exchanged, y.predicted, x.predicted))
            for x, y in itertools.product(a, b)
        ]
        differences.append(abs(np.mean(change)))
    expected = np.mean(np.array(differences) >= differences[0] - 1e-12)
    assert compare(a, b, resamples=100).composite.uar.p_value == pytest.approx(expected)


@pytest.mark.parametrize(("subjects", "p_value"), [(3, 2 / 2**3), (6, 2 / 2**6), (40, 1 / (1 + 64))])
def test_always_better_is_as_rare_as_two_patterns_of_all(subjects, p_value):
    """B is right on every subject's one clip, A on none: only no exchange and all exchanges are as extreme.

    Among 64 random exchanges of 40 subjects neither is found.
    """
    labels = np.arange(subjects) % 2
    common = {
        "seed": 0,
        "classes": ("x", "y"),
        "databases": ["d"] * subjects,
        "subjects": [f"d/{i}" for i in range(subjects)],
        "clips": ["c"] * subjects,
        "labels": labels,
        "logits": np.zeros((subjects, 2)),
    }
    wrong, right = (
        Predictions(genotype="a", predicted=1 - labels, **common),
        Predictions(genotype="b", predicted=labels, **common),
    )
    result = compare([wrong], [right], resamples=64)
    assert result.composite.uar.change == 1
    assert result.composite.uar.p_value == result.composite.uf1.p_value == p_value
    assert result.disagreements == subjects


def test_a_side_beside_itself(simulate):
    a = simulate("a")
    result = compare([a], [replace(a, genotype="copy")], resamples=200)
    for part in (result.composite, *result.databases.values()):
        for difference in (part.uar, part.uf1):
            assert difference.change == 0
            assert difference.interval == (0, 0)
            assert difference.p_value == 1
            assert difference.within_noise
    assert result.disagreements == 0


def test_exchanging_the_sides_mirrors_the_result(simulate):
    a, b = [simulate("a", seed) for seed in range(2)], [simulate("b", signal=1.6)]
    one, other = compare(a, b, resamples=300), compare(b, a, resamples=300)
    assert one.disagreements == other.disagreements
    for part, mirrored in [(one.composite, other.composite)] + [
        (one.databases[name], other.databases[name]) for name in one.databases
    ]:
        for x, y in ((part.uar, mirrored.uar), (part.uf1, mirrored.uf1)):
            assert x.change == -y.change
            assert x.p_value == y.p_value
            np.testing.assert_allclose(x.interval, [-y.interval.high, -y.interval.low])


def test_sides_may_have_different_numbers_of_seeds_in_any_order(simulate):
    a, b = [simulate("a", seed) for seed in range(3)], [simulate("b", seed, 1.5) for seed in range(2)]
    result, again = compare(a, b, resamples=200), compare(a[::-1], b[::-1], resamples=200)
    assert result.composite.uar.a == pytest.approx(score(*a, resamples=0).composite.uar)
    assert result.composite.uf1.b == pytest.approx(score(*b, resamples=0).composite.uf1)
    assert result.composite.uar.p_value == again.composite.uar.p_value
    np.testing.assert_allclose(result.composite.uf1.interval, again.composite.uf1.interval)
    pairs = [np.sum(x.predicted != y.predicted) for x in a for y in b]
    assert result.disagreements == pytest.approx(np.mean(pairs))


def test_what_both_sides_share_cancels(simulate):
    """Both sides are scored on the same draws: the difference is known better than either score."""
    a = simulate("a", signal=1.0, shape={"smic": (20, 6)})
    right = np.flatnonzero(a.predicted == a.labels)[:3]
    worse = a.predicted.copy()
    worse[right] = (worse[right] + 1) % 3
    change = compare([a], [replace(a, genotype="b", predicted=worse)], resamples=1000).composite.uar
    alone = score(a, resamples=1000).composite.uar_interval
    assert change.interval.low <= change.change < 0
    assert change.interval.high <= 0
    assert change.interval.high - change.interval.low < 0.5 * (alone.high - alone.low)


def test_two_systems_that_are_alike_are_seldom_called_different(simulate):
    """The level of the test: of 300 pairs drawn alike at most 5 % (3 standard errors: 9 %) have p <= 0.05."""
    shape = {"smic": (7, 6)}
    values = [
        compare([simulate("a", 2 * i, shape=shape, data=i)], [simulate("a", 2 * i + 1, shape=shape, data=i)], 128)
        for i in range(300)
    ]
    assert np.mean([result.composite.uar.p_value <= 0.05 for result in values]) <= 0.09
    assert np.mean([result.composite.uf1.p_value <= 0.05 for result in values]) <= 0.09
    assert 0.4 <= np.mean([result.composite.uar.p_value for result in values]) <= 0.65


def test_the_order_of_samples_does_not_matter(simulate):
    a, b = simulate("a"), simulate("b", signal=1.5)
    names = ("databases", "subjects", "clips", "labels", "predicted", "logits")
    order = np.random.default_rng(0).permutation(len(b.labels))
    shuffled = replace(b, **{name: getattr(b, name)[order] for name in names})
    assert compare([a], [b], resamples=100).as_json() == compare([a], [shuffled], resamples=100).as_json()


def test_different_samples_are_listed(simulate):
    a, b = simulate("a"), simulate("b", shape={"smic": (4, 6), "casme2": (5, 4), "samm": (5, 3)})
    with pytest.raises(UserError, match="only the first has samm/05/clip0, samm/05/clip1, samm/05/clip2"):
        compare([a], [b])


def test_wrong_sides_are_refused(simulate):
    a = simulate("a")
    with pytest.raises(UserError, match="no predictions"):
        compare([a], [])
    with pytest.raises(UserError, match="more than once for seed 0"):
        compare([a], [a, a])
    with pytest.raises(UserError, match="at least 1, found 0"):
        compare([a], [a], resamples=0)


@pytest.mark.parametrize(
    ("interval", "p_value", "noise"),
    [
        (Interval(0.01, 0.09), 0.01, False),
        (Interval(-0.09, -0.01), 0.01, False),
        (Interval(-0.01, 0.11), 0.01, True),
        (Interval(0.01, 0.09), 0.06, True),
        (None, 0.01, True),
    ],
)
def test_beyond_noise_only_if_interval_and_test_agree(interval, p_value, noise):
    assert Difference(0.6, 0.65, interval, p_value).within_noise is noise


def test_the_verdict_says_what_is_noise(simulate):
    near = compare([simulate("a")], [simulate("b")], resamples=500)
    assert near.composite.uar.within_noise
    assert f"UAR: the difference of {near.composite.uar.change:+.3f} is within noise." in near.verdict
    assert "one seed only" in near.verdict
    far = compare(
        [simulate("a", seed, 0.0) for seed in range(2)],
        [simulate("b", seed, 4.0) for seed in range(2)],
        resamples=500,
    )
    assert f"UAR: B is higher by {far.composite.uar.change:.3f}, beyond noise." in far.verdict
    assert "one seed only" not in far.verdict


def test_as_json(simulate):
    result = compare([simulate("a")], [simulate("b", signal=2.0)], resamples=50)
    document = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert document["a"] == {"genotype": "a", "seeds": [0]}
    assert document["uar"]["difference"] == document["uar"]["b"] - document["uar"]["a"]
    assert document["uar"]["interval"] == list(result.composite.uar.interval)
    assert list(document["databases"]) == ["smic", "casme2", "samm"]
    assert document["databases"]["samm"]["folds"] == 6
