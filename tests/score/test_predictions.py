from dataclasses import replace

import numpy as np
import pytest
import torch

from nas_mer.errors import UserError
from nas_mer.score import Predictions, averaged, fullest, score
from nas_mer.score.predictions import check_same_samples, check_seeds


@pytest.fixture
def predictions(simulate):
    return simulate(shape={"smic": (2, 3), "casme2": (3, 2)})


def changed(array, index, value):
    copy = array.copy()
    copy[index] = value
    return copy


def shortened(predictions, keep):
    names = ("databases", "subjects", "clips", "labels", "predicted", "logits")
    return replace(predictions, **{name: getattr(predictions, name)[keep] for name in names})


def test_sequences_become_arrays():
    made = Predictions("g", 1, ("a", "b"), ["x"], ["x/1"], ["c"], [0], [1], [[0.25, 0.75]])
    assert (made.labels.dtype, made.predicted.dtype, made.logits.dtype) == (np.int64, np.int64, np.float32)
    assert made.keys() == [("x/1", "c")]
    assert str(made) == "g (seed 1)"


def test_folds_are_the_subjects(predictions):
    assert predictions.folds == 5
    assert predictions.database_names == ("smic", "casme2")


def test_only_one_database(predictions):
    part = predictions.only("casme2")
    assert part.folds == 3
    assert set(part.databases) == {"casme2"}
    np.testing.assert_array_equal(part.labels, predictions.labels[6:])
    np.testing.assert_array_equal(part.logits, predictions.logits[6:])
    with pytest.raises(UserError, match="no sample of database 'samm'; there are: smic, casme2"):
        predictions.only("samm")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {"labels": changed(p.labels, 3, 3)}, r"labels must be in 0\.\.2, not so for smic/01/clip0"),
        (
            lambda p: {"predicted": changed(p.predicted, 0, -1)},
            r"predicted must be in 0\.\.2, not so for smic/00/clip0",
        ),
        (lambda p: {"logits": changed(p.logits, (7, 1), np.nan)}, "logits must be finite .* casme2/00/clip1"),
        (lambda p: {"clips": changed(p.clips, 1, "clip0")}, "must occur once, not so for smic/00/clip0$"),
        (lambda p: {"databases": changed(p.databases, 0, "samm")}, "database/subject, not so for smic/00/clip0"),
        (lambda p: {"clips": p.clips[:-1]}, r"clips has shape \(11,\), expected \(12,\)"),
        (lambda p: {"logits": p.logits[:, :2]}, r"logits has shape \(12, 2\), expected \(12, 3\)"),
    ],
)
def test_refuses_what_is_wrong(predictions, change, message):
    with pytest.raises(UserError, match=message) as caught:
        replace(predictions, **change(predictions))
    assert "rcn-f (seed 0)" in str(caught.value)


def test_refuses_to_hold_nothing(predictions):
    with pytest.raises(UserError, match="no samples"):
        shortened(predictions, slice(0))


def test_names_every_problem_at_once(predictions):
    with pytest.raises(UserError) as caught:
        replace(predictions, labels=np.full(12, 9), predicted=np.full(12, -1))
    assert "labels must" in str(caught.value)
    assert "predicted must" in str(caught.value)
    assert "and 2 more" in str(caught.value)


def test_the_same_samples_in_any_order(predictions):
    check_same_samples(predictions, shortened(predictions, np.arange(12)[::-1]))


def test_lists_the_samples_that_differ(predictions):
    other = shortened(predictions, slice(2, 12))
    other = replace(other, labels=changed(other.labels, 0, (other.labels[0] + 1) % 3), genotype="other")
    with pytest.raises(UserError) as caught:
        check_same_samples(predictions, other)
    assert "only the first has smic/00/clip0, smic/00/clip1\n" in str(caught.value)
    assert "differently labelled are smic/00/clip2" in str(caught.value)
    assert "only the second" not in str(caught.value)


def test_the_same_classes_in_the_same_order(predictions):
    with pytest.raises(UserError, match="different classes: negative, positive, surprise and surprise, positive"):
        check_same_samples(predictions, replace(predictions, classes=predictions.classes[::-1]))


def test_seeds_belong_together(predictions):
    check_seeds([predictions, replace(predictions, seed=1)])
    with pytest.raises(UserError, match="more than once for seed 0"):
        check_seeds([predictions, predictions])
    with pytest.raises(UserError, match="one genotype at a time, found rcn-f, rcn"):
        check_seeds([predictions, replace(predictions, genotype="rcn")])
    with pytest.raises(UserError, match="do not cover the same samples"):
        check_seeds([predictions, replace(shortened(predictions, slice(3)), seed=1)])
    with pytest.raises(UserError, match="no predictions"):
        check_seeds([])


def test_the_fullest_seeds_cover_the_most_samples_and_the_same(predictions):
    again, part = replace(predictions, seed=1), replace(shortened(predictions, slice(6)), seed=2)
    assert fullest([part, predictions, again]) == [predictions, again]
    other = replace(shortened(predictions, slice(6, 12)), seed=3)  # as many, but others
    assert fullest([part, other]) == [part]
    assert score(*fullest([other, part, again])).seeds == (1,)


class TestAveraged:
    def test_the_mean_of_softmax_probabilities(self, simulate):
        """Against torch, sample by sample, though the seeds have them in other orders."""
        seeds = [simulate("rcn-f", seed) for seed in range(3)]
        order = np.random.default_rng(0).permutation(len(seeds[1].labels))
        found = averaged(seeds[0], shortened(seeds[1], order), seeds[2])
        expected = torch.stack([torch.from_numpy(one.logits).double().softmax(1) for one in seeds]).mean(0)
        np.testing.assert_allclose(np.exp(found.logits), expected, rtol=1e-5)
        np.testing.assert_array_equal(found.predicted, expected.argmax(1))
        assert found.keys() == seeds[0].keys()
        np.testing.assert_array_equal(found.labels, seeds[0].labels)
        assert any(not np.array_equal(found.predicted, one.predicted) for one in seeds)

    def test_it_is_one_system_with_its_own_name(self, simulate):
        found = averaged(*(simulate("rcn-f", seed) for seed in range(3)))
        assert str(found) == found.genotype == "rcn-f, 3 seeds averaged"
        assert found.seed is None
        row = score(found, resamples=0)
        assert row.seeds == ()
        assert row.composite.uar_spread is None

    def test_one_seed_says_what_it_said(self, predictions):
        found = averaged(predictions)
        np.testing.assert_array_equal(found.predicted, predictions.predicted)
        assert found.genotype == "rcn-f, 1 seed averaged"

    def test_a_seed_that_is_certain_outvotes_two_that_are_not(self, predictions):
        """By probabilities, where a vote by majority would go the other way."""
        first = shortened(predictions, slice(1))
        logits = ([[9.0, 0.0, 0.0]], [[0.0, 0.4, 0.0]], [[0.0, 0.4, 0.0]])
        seeds = [replace(first, seed=seed, logits=each) for seed, each in enumerate(logits)]
        assert averaged(*seeds).predicted.tolist() == [0]

    def test_logits_are_finite_however_certain_all_are(self, predictions):
        extreme = np.full_like(predictions.logits, -1e4)
        extreme[:, 0] = 1e4
        assert np.isfinite(averaged(replace(predictions, logits=extreme)).logits).all()

    def test_of_other_samples_or_genotypes(self, predictions):
        with pytest.raises(UserError, match="one genotype at a time, found rcn-f, rcn"):
            averaged(predictions, replace(predictions, genotype="rcn", seed=1))
        with pytest.raises(UserError, match="do not cover the same samples"):
            averaged(predictions, replace(shortened(predictions, slice(3)), seed=1))
