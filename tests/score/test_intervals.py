from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from nas_mer.errors import UserError
from nas_mer.score import Predictions, uar, uf1
from nas_mer.score.intervals import fold_confusions, interval, resample_subjects, resampled


def test_folds_sum_to_the_pooled_matrix(simulate):
    seeds = [simulate(seed=seed) for seed in range(2)]
    folds = fold_confusions(seeds)
    assert folds.shape == (2, 15, 3, 3)
    for matrix, seed in zip(folds.sum(axis=1), seeds, strict=True):
        np.testing.assert_array_equal(matrix, confusion_matrix(seed.labels, seed.predicted))


def test_every_draw_keeps_each_databases_number_of_subjects(simulate):
    predictions = simulate()
    draws = resample_subjects(predictions, resamples=4000)
    names = np.unique(predictions.subjects)
    for database, subjects in {"smic": 4, "casme2": 5, "samm": 6}.items():
        own = draws[:, np.strings.startswith(names, database)]
        assert own.shape[1] == subjects
        assert set(own.sum(axis=1)) == {subjects}
        # A count is binomial(n, 1/n): mean 1, variance 1 - 1/n.
        np.testing.assert_allclose(own.mean(axis=0), 1, atol=5 / np.sqrt(4000))
        np.testing.assert_allclose(own.var(axis=0), 1 - 1 / subjects, atol=0.15)


def test_draws_depend_on_the_seed_alone(simulate):
    predictions = simulate()
    first = resample_subjects(predictions, 50, seed=3)
    np.testing.assert_array_equal(first, resample_subjects(simulate("other", seed=5), 50, seed=3))
    assert (first != resample_subjects(predictions, 50, seed=4)).any()


def test_a_negative_number_of_resamples_is_refused(simulate):
    with pytest.raises(UserError, match="at least 0, found -1"):
        resample_subjects(simulate(), -1)


@pytest.mark.parametrize("metric", [uar, uf1])
def test_resampling_matrices_is_resampling_samples(simulate, metric):
    seeds = [simulate(seed=seed) for seed in range(3)]
    draws = resample_subjects(seeds[0], 40)
    expected = []
    for counts in draws:
        values = []
        for seed in seeds:
            labels, predicted = [], []
            for subject, times in zip(sorted(set(seed.subjects)), counts, strict=True):
                for _ in range(int(times)):
                    labels += seed.labels[seed.subjects == subject].tolist()
                    predicted += seed.predicted[seed.subjects == subject].tolist()
            if metric is uf1:
                values.append(f1_score(labels, predicted, average="macro"))
            else:
                hits = [[p == c for y, p in zip(labels, predicted, strict=True) if y == c] for c in set(labels)]
                values.append(np.mean([np.mean(of_class) for of_class in hits]))
        expected.append(np.mean(values))
    np.testing.assert_allclose(resampled(metric, fold_confusions(seeds), draws), expected)


def test_the_interval_is_the_middle_95_percent():
    assert interval(np.random.default_rng(0).permutation(np.arange(1001.0))) == pytest.approx((25, 975))


def test_perfect_predictions_have_no_uncertainty(simulate):
    sure = simulate(signal=1000.0)
    values = resampled(uar, fold_confusions([sure]), resample_subjects(sure, 100))
    assert interval(values) == (1, 1)


def test_intervals_over_subjects_cover_the_truth_and_intervals_over_samples_do_not():
    """Half of the subjects are easy (90 % right), half hard (30 %), in either class: the true UAR is 0.6."""
    rng = np.random.default_rng(0)
    subjects, clips, trials = 24, 10, 200
    names = np.repeat([f"db/{s:02}" for s in range(subjects)], clips)
    apart = np.array([f"db/{i}" for i in range(subjects * clips)])
    covered = {"subjects": 0, "samples": 0}
    for trial in range(trials):
        labels = rng.integers(2, size=subjects * clips)
        right = rng.random(subjects * clips) < np.repeat(rng.choice([0.9, 0.3], size=subjects), clips)
        by_subject = Predictions(
            genotype="simulated",
            seed=trial,
            classes=("no", "yes"),
            databases=np.full(subjects * clips, "db"),
            subjects=names,
            clips=np.arange(subjects * clips).astype(str),
            labels=labels,
            predicted=np.where(right, labels, 1 - labels),
            logits=np.zeros((subjects * clips, 2)),
        )
        for unit, predictions in {"subjects": by_subject, "samples": replace(by_subject, subjects=apart)}.items():
            low, high = interval(resampled(uar, fold_confusions([predictions]), resample_subjects(predictions, 300)))
            covered[unit] += low <= 0.6 <= high
    # 200 trials at 95 % have a standard error of 1.5 %; the percentile method falls a little short with 24 subjects.
    assert 0.89 <= covered["subjects"] / trials <= 0.99
    assert covered["samples"] / trials < 0.8
