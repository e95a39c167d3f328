import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, recall_score

from nas_mer.score import confusion, f1_scores, recalls, uar, uf1


@st.composite
def labels_and_predictions(draw):
    classes = draw(st.integers(2, 5))
    index = st.integers(0, classes - 1)
    pairs = draw(st.lists(st.tuples(index, index), min_size=1, max_size=40))
    labels, predicted = np.array(pairs).T
    return labels, predicted, classes


@given(labels_and_predictions())
def test_agrees_with_scikit_learn(data):
    labels, predicted, classes = data
    counts = confusion(labels, predicted, classes)
    present = np.unique(labels)
    np.testing.assert_array_equal(counts, confusion_matrix(labels, predicted, labels=range(classes)))
    np.testing.assert_allclose(recalls(counts)[present], recall_score(labels, predicted, labels=present, average=None))
    assert np.isnan(np.delete(recalls(counts), present)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class predicted but not present
        assert uar(counts) == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert uf1(counts) == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_the_papers_formulas():
    counts = np.array([[50, 10, 0], [5, 20, 5], [0, 0, 10]])
    recall = np.array([50 / 60, 20 / 30, 10 / 10])
    precision = np.array([50 / 55, 20 / 30, 10 / 15])
    np.testing.assert_allclose(recalls(counts), recall)
    np.testing.assert_allclose(f1_scores(counts), 2 * precision * recall / (precision + recall))
    assert uar(counts) == pytest.approx((5 / 6 + 2 / 3 + 1) / 3)
    assert uf1(counts) == pytest.approx((100 / 115 + 2 / 3 + 0.8) / 3)


def test_rows_are_the_true_class():
    np.testing.assert_array_equal(confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2), [[1, 1], [0, 1]])


@pytest.mark.parametrize("always", [0, 1, 2])
def test_naming_one_class_always_is_chance_whatever_the_class_sizes(always):
    labels = np.repeat([0, 1, 2], [250, 109, 83])
    assert uar(confusion(labels, np.full_like(labels, always), 3)) == pytest.approx(1 / 3)


def test_a_class_absent_from_the_labels():
    absent_unpredicted = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    assert uar(absent_unpredicted) == pytest.approx((3 / 4 + 1) / 2)
    assert uf1(absent_unpredicted) == pytest.approx((6 / 7 + 4 / 5) / 2)
    absent_but_predicted = np.array([[3, 0, 1], [0, 2, 0], [0, 0, 0]])
    assert uar(absent_but_predicted) == pytest.approx((3 / 4 + 1) / 2)
    assert uf1(absent_but_predicted) == pytest.approx((6 / 7 + 1 + 0) / 3)


def test_nothing_to_score_is_undefined():
    nothing = np.zeros((3, 3))
    assert np.isnan(recalls(nothing)).all()
    assert np.isnan(f1_scores(nothing)).all()
    assert np.isnan(uar(nothing))
    assert np.isnan(uf1(nothing))


@pytest.mark.parametrize("metric", [recalls, f1_scores, uar, uf1])
def test_a_batch_is_each_of_its_matrices(metric):
    batch = np.random.default_rng(0).integers(0, 3, size=(4, 5, 3, 3))
    whole = metric(batch)
    for index in np.ndindex(4, 5):
        np.testing.assert_array_equal(whole[index], metric(batch[index]))


@pytest.mark.parametrize("metric", [uar, uf1])
def test_scale_and_order_of_classes_do_not_matter(metric):
    counts = np.random.default_rng(1).integers(0, 20, size=(4, 4))
    order = [2, 0, 3, 1]
    assert metric(3 * counts) == pytest.approx(metric(counts))
    assert metric(counts[np.ix_(order, order)]) == pytest.approx(metric(counts))
