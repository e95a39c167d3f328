from dataclasses import replace

import numpy as np
import pytest
from sklearn.svm import SVC

import nas_mer
from nas_mer.data import loso_folds
from nas_mer.handcrafted import BiWoof
from nas_mer.handcrafted.classifier import decision_values, estimator

RNG = np.random.default_rng(0)


def test_decision_values_decide(made):
    dataset = made()
    features = RNG.normal(size=(len(dataset), 6))
    for fold in loso_folds(dataset):
        found = decision_values(BiWoof(), features, dataset.labels, fold)
        assert found.shape == (len(fold.test), 3)
        assert found.dtype == np.float32
        machine = SVC(kernel="linear", C=1, break_ties=True).fit(features[fold.train], dataset.labels[fold.train])
        assert found.argmax(axis=1).tolist() == machine.predict(features[fold.test]).tolist()


def test_two_classes(made):
    dataset = replace(made(classes=("negative", "positive")), classes=("negative", "positive"))
    features = dataset.labels[:, None] + RNG.normal(scale=0.01, size=(len(dataset), 2))
    for fold in loso_folds(dataset):
        found = decision_values(BiWoof(penalty=100), features, dataset.labels, fold)
        assert found.argmax(axis=1).tolist() == dataset.labels[fold.test].tolist()


def test_a_held_out_subject_is_never_looked_at(made):
    """Neither its labels nor its features change what is learned; what is said of one sample depends on no other."""
    dataset = made()
    features, labels = RNG.normal(size=(len(dataset), 6)), dataset.labels
    fold = loso_folds(dataset)[0]
    found = decision_values(BiWoof(), features, labels, fold)
    other_labels = labels.copy()
    other_labels[fold.test] = (labels[fold.test] + 1) % 3
    assert (decision_values(BiWoof(), features, other_labels, fold) == found).all()
    other_features = features.copy()
    other_features[fold.test[1:]] += 100
    assert (decision_values(BiWoof(), other_features, labels, fold)[0] == found[0]).all()
    other_features[fold.train[0]] += 100
    assert (decision_values(BiWoof(), other_features, labels, fold)[0] != found[0]).any()


@pytest.mark.parametrize("name", ["lbp-top", "bi-woof"])
def test_an_estimator_by_name(name, recorded):
    built = nas_mer.build(name, blocks=2, penalty=1000.0)
    descriptor = nas_mer.handcrafted.find_descriptor(name, {"blocks": 2, "penalty": 1000.0})
    inputs, fold = descriptor.inputs(recorded), loso_folds(recorded)[0]
    built.fit(inputs[fold.train], recorded.labels[fold.train])
    found = decision_values(descriptor, descriptor.features(inputs), recorded.labels, fold)
    np.testing.assert_allclose(built.decision_function(inputs[fold.test]), found, rtol=1e-6)
    assert built.predict(inputs[fold.test]).tolist() == found.argmax(axis=1).tolist()
    assert estimator(descriptor)[-1].C == 1000
