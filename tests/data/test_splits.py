import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import LeaveOneGroupOut

from nas_mer.data import bilevel_halves, loso_folds, subject_parts
from nas_mer.errors import UserError


def cells(dataset, indices):
    """How many of the samples are of each (database, class)."""
    names = np.unique(dataset.databases)
    table = np.zeros((len(names), len(dataset.classes)), int)
    np.add.at(table, (np.searchsorted(names, dataset.databases[indices]), dataset.labels[indices]), 1)
    return table


def imbalance(dataset, parts):
    """What sizes, classes and cells are off an equal share beyond 1 sample, written out from the definition."""
    tables = np.array([cells(dataset, part) for part in parts])  # parts x databases x classes
    distance = 0.0
    for counts in (tables.sum(axis=(1, 2)), tables.sum(axis=1), tables):
        share = np.broadcast_to(counts.mean(axis=0), counts.shape)
        excess = np.maximum(np.abs(counts - share) - 1, 0)
        distance += (excess[share > 0] ** 2 / share[share > 0]).sum()
    return distance


def check(dataset, indices, parts):
    """What holds for every split."""
    assert sorted(np.concatenate(parts)) == sorted(indices)
    for part in parts:
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        assert set(dataset.labels[part]) == set(range(len(dataset.classes)))
    for one, other in itertools.combinations(parts, 2):
        assert not set(dataset.subjects[one]) & set(dataset.subjects[other])


class TestLoso:
    def test_agrees_with_scikit_learn(self, composite):
        dataset = composite()
        folds = loso_folds(dataset)
        expected = LeaveOneGroupOut().split(dataset.labels, groups=dataset.subjects)
        for fold, (train, test) in zip(folds, expected, strict=True):
            np.testing.assert_array_equal(fold.train, train)
            np.testing.assert_array_equal(fold.test, test)
            assert set(dataset.subjects[fold.test]) == {fold.subject}
            assert fold.train.dtype == fold.test.dtype == np.int64
        assert [fold.subject for fold in folds] == sorted(set(dataset.subjects))

    def test_subjects_of_one_name_in_two_databases_are_two(self, composite):
        folds = loso_folds(composite({("a", "s1"): (1, 1, 1), ("b", "s1"): (1, 1, 1)}))
        assert [fold.subject for fold in folds] == ["a/s1", "b/s1"]

    def test_one_subject_is_too_few(self, composite):
        with pytest.raises(
            UserError, match="dataset 'made': leave-one-subject-out needs two subjects or more, found a/x"
        ):
            loso_folds(composite({("a", "x"): (2, 2, 2)}))

    def test_a_class_of_one_subject_cannot_be_learnt_without_it(self, composite):
        counts = {("a", "x"): (1, 1, 1), ("a", "y"): (1, 0, 0), ("a", "z"): (1, 0, 0)}
        with pytest.raises(UserError) as caught:
            loso_folds(composite(counts))
        assert str(caught.value) == "dataset 'made': no sample of positive, surprise is left to train on without a/x"

    def test_the_real_composite(self, megc):
        folds = loso_folds(megc)
        assert len(folds) == 68
        assert sum(len(fold.test) for fold in folds) == 442
        assert len(loso_folds(megc.select(["smic", "casme2"]))) == 40


class TestParts:
    @given(st.integers(0, 2**63 - 1), st.integers(2, 4), st.integers(0, 20))
    def test_every_split_holds_what_it_promises(self, composite, seed, parts, data):
        dataset = composite(seed=data)
        split = subject_parts(dataset, np.arange(len(dataset)), parts, seed)
        assert len(split) == parts
        check(dataset, range(len(dataset)), split)

    def test_is_determined_by_the_seed_and_the_set_of_samples(self, composite):
        dataset = composite()
        indices = np.flatnonzero(dataset.subjects != "alpha/s03")
        expected = subject_parts(dataset, indices, 3, 5)
        check(dataset, indices, expected)
        shuffled = np.random.default_rng(0).permutation(indices)
        for other in (shuffled, shuffled.tolist(), indices[::-1].astype(np.int32)):
            for ours, theirs in zip(expected, subject_parts(dataset, other, 3, 5), strict=True):
                np.testing.assert_array_equal(ours, theirs)

    def test_halves_are_two_parts(self, composite):
        dataset = composite()
        indices = np.arange(len(dataset))
        for halves, parts in zip(
            bilevel_halves(dataset, indices, 3), subject_parts(dataset, indices, 2, 3), strict=True
        ):
            np.testing.assert_array_equal(halves, parts)

    def test_seeds_differ(self, composite):
        dataset = composite()
        splits = {tuple(bilevel_halves(dataset, np.arange(len(dataset)), seed)[0]) for seed in range(20)}
        assert len(splits) > 8

    def test_comes_near_the_best_split_of_all(self, composite):
        dataset = composite()  # 12 subjects: 2 ** 11 splits
        names, owner = np.unique(dataset.subjects, return_inverse=True)
        best = min(
            imbalance(dataset, [np.flatnonzero(side[owner]), np.flatnonzero(~side[owner])])
            for bits in range(1, 2 ** (len(names) - 1))
            for side in [(bits >> np.arange(len(names)) & 1).astype(bool)]
        )
        found = [imbalance(dataset, bilevel_halves(dataset, np.arange(len(dataset)), seed)) for seed in range(5)]
        assert best == pytest.approx(min(found))
        assert max(found) < best + 0.2

    def test_no_single_move_or_exchange_would_help(self, composite):
        dataset = composite({("a", f"s{i}"): (2**i, 3**i, 1) for i in range(5)})  # cannot be even
        names, owner = np.unique(dataset.subjects, return_inverse=True)
        halves = bilevel_halves(dataset, np.arange(len(dataset)), 1)
        side = np.isin(names, dataset.subjects[halves[0]])
        cost = imbalance(dataset, halves)
        for movers in [*itertools.combinations(range(len(names)), 1), *itertools.combinations(range(len(names)), 2)]:
            other = side.copy()
            other[list(movers)] ^= True
            if len(movers) == 2 and side[movers[0]] == side[movers[1]]:
                continue
            parts = [np.flatnonzero(other[owner]), np.flatnonzero(~other[owner])]
            lacks_a_class = any((cells(dataset, part).sum(axis=0) == 0).any() for part in parts)
            assert lacks_a_class or imbalance(dataset, parts) > cost - 1e-6
        assert cost > 1

    def test_a_class_goes_to_both_halves_before_sizes_are_even(self, composite):
        """Two subjects have all the surprise; to part them costs much evenness."""
        counts = {("a", f"s{i}"): (10, 10, 0) for i in range(4)} | {("a", "big"): (0, 0, 40), ("a", "small"): (0, 0, 1)}
        dataset = composite(counts)
        for seed in range(10):
            check(dataset, range(len(dataset)), bilevel_halves(dataset, np.arange(len(dataset)), seed))

    def test_two_subjects_are_enough(self, composite):
        dataset = composite({("a", "x"): (1, 2, 3), ("b", "y"): (3, 2, 1)})
        firsts = {dataset.subjects[bilevel_halves(dataset, range(12), seed)[0][0]] for seed in range(20)}
        assert firsts == {"a/x", "b/y"}

    def test_too_few_subjects(self, composite):
        dataset = composite({("a", "x"): (1, 1, 1), ("a", "y"): (1, 1, 1)})
        with pytest.raises(UserError, match="dataset 'made': 3 parts need as many subjects, found a/x, a/y"):
            subject_parts(dataset, range(6), 3, 0)
        with pytest.raises(UserError, match="2 parts need as many subjects, found a/y"):
            bilevel_halves(dataset, np.flatnonzero(dataset.subjects == "a/y"), 0)

    def test_classes_of_too_few_subjects_are_named(self, composite):
        dataset = composite({("a", "x"): (1, 0, 1), ("a", "y"): (1, 0, 0), ("a", "z"): (1, 0, 0)})
        with pytest.raises(UserError) as caught:
            bilevel_halves(dataset, range(len(dataset)), 0)
        assert str(caught.value).splitlines() == [
            "dataset 'made': 2 parts need as many subjects with samples of 'positive', found none",
            "dataset 'made': 2 parts need as many subjects with samples of 'surprise', found a/x",
        ]

    def test_classes_that_hinder_one_another_are_named(self, composite):
        """Each class has two subjects, but three subjects cannot differ pairwise in two halves."""
        dataset = composite({("a", "x"): (1, 1, 0), ("a", "y"): (0, 1, 1), ("a", "z"): (1, 0, 1)})
        with pytest.raises(UserError, match=r"too few subjects have (negative|positive|surprise) for each of 2 parts"):
            bilevel_halves(dataset, range(6), 0)


class TestRealData:
    def test_halves_of_training_folds_are_even(self, megc):
        folds = loso_folds(megc)
        for seed, fold in enumerate(folds[::7]):
            halves = bilevel_halves(megc, fold.train, seed)
            check(megc, fold.train, halves)
            first, second = (cells(megc, half) for half in halves)
            for counts in (first - second, (first - second).sum(axis=0), (first - second).sum()):
                assert np.abs(counts).max() <= 2

    def test_no_subject_stays_on_one_side(self, megc):
        sides = [np.isin(range(442), bilevel_halves(megc, range(442), seed)[0]) for seed in range(16)]
        assert np.mean(sides, axis=0).min() > 0
        assert np.mean(sides, axis=0).max() < 1
