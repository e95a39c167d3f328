import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import f_oneway, kendalltau, ttest_1samp

from nas_mer.study.statistics import (
    Components,
    attainable_tau,
    chance,
    components,
    estimate,
    expected_best,
    held_out_best,
    real_share,
    reliability_interval,
    split_half_tau,
    tau,
)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def noisy(rng, genotypes, seeds, truth, noise):
    """Scores with a standard deviation among genotypes, and another among the seeds of each."""
    return rng.normal(0, truth, (genotypes, 1)) + rng.normal(0, noise, (genotypes, seeds))


class TestEstimate:
    def test_the_interval_is_that_of_scipy(self, rng):
        values = rng.normal(size=9)
        found = estimate(values)
        assert found.mean == pytest.approx(values.mean())
        assert found.spread == pytest.approx(values.std(ddof=1))
        assert found.interval == pytest.approx(tuple(ttest_1samp(values, 0).confidence_interval(0.95)))

    def test_one_seed_has_no_interval(self):
        assert estimate([0.5]) == (found := estimate([0.5]))
        assert (found.mean, found.spread, found.interval) == (0.5, None, None)


class TestTau:
    def test_order_and_reverse(self):
        values = np.array([0.1, 0.4, 0.2])
        assert tau(values, values**2) == 1
        assert tau(values, -values) == -1

    def test_ties_are_no_pairs(self):
        # Of three pairs one is tied in the first, so that tau-b = 2 / sqrt(2 * 3).
        assert tau(np.array([1.0, 1, 2]), np.array([1.0, 2, 3])) == pytest.approx(2 / math.sqrt(6))

    def test_a_ranking_that_says_nothing_is_worth_nothing(self):
        assert tau(np.zeros(4), np.arange(4.0)) == 0
        assert tau(np.array([1.0]), np.array([1.0])) == 0


class TestCeiling:
    def test_without_noise(self, rng):
        scores = np.repeat(rng.normal(size=(20, 1)), 4, axis=1)
        assert split_half_tau(scores) == 1
        parts = components(scores)
        assert parts.errors == 0
        assert parts.genotypes == pytest.approx(scores[:, 0].var(ddof=1))
        assert attainable_tau(parts.reliability(4)) == 1

    def test_noise_alone(self, rng):
        scores = noisy(rng, 400, 4, 0, 1)
        assert abs(split_half_tau(scores)) < 0.05
        assert components(scores).genotypes < 0.06
        assert components(scores).errors == pytest.approx(1, abs=0.1)
        assert attainable_tau(0) == 0

    def test_halves_of_three_seeds_are_one_and_two(self, rng):
        scores = rng.normal(size=(9, 3))
        expected = [
            kendalltau(scores[:, one], scores[:, other].mean(axis=1)).statistic
            for one, other in ((0, [1, 2]), (1, [0, 2]), (2, [0, 1]))
        ]
        assert split_half_tau(scores) == pytest.approx(np.mean(expected))

    def test_components_are_those_that_were_drawn(self, rng):
        found = components(noisy(rng, 4000, 3, 2, 3))
        assert found.genotypes == pytest.approx(4, rel=0.1)
        assert found.errors == pytest.approx(9, rel=0.05)
        assert Components(4, 9).reliability(3) == pytest.approx(4 / 7)

    def test_the_true_ranking_reaches_what_is_attainable(self, rng):
        truth = rng.normal(0, 2, size=4000)
        means = truth + rng.normal(0, 3 / math.sqrt(3), size=4000)
        assert attainable_tau(4 / 7) == pytest.approx(kendalltau(truth, means).statistic, abs=0.02)

    @pytest.mark.parametrize("truth", [0.5, 2])
    def test_its_interval_holds_the_reliability_in_95_of_100_cases(self, rng, truth):
        reliability = Components(truth**2, 1).reliability(3)
        found = [reliability_interval(noisy(rng, 20, 3, truth, 1)) for _ in range(2000)]
        assert np.mean([low <= reliability <= high for low, high in found]) == pytest.approx(0.95, abs=0.015)

    def test_its_interval_ends_at_nothing_where_genotypes_do_not_differ_beyond_chance(self, rng):
        for scores in (noisy(rng, 20, 3, 0.4, 1) for _ in range(200)):
            significant = f_oneway(*scores).pvalue < 0.025  # that they differ more than by chance, one-sided
            assert (reliability_interval(scores).low > 0) == significant

    def test_no_variance_at_all_is_no_noise(self):
        assert components(np.ones((4, 3))).reliability(3) == 1
        assert reliability_interval(np.ones((4, 3))) == (1, 1)
        assert real_share(np.ones(4), np.ones((4, 5))) == 1

    def test_the_share_that_other_subjects_would_show(self, rng):
        # Variance 1 among genotypes, 1 among their means for 300 subjects of variance 300.
        people = rng.normal(size=(300, 1)) + noisy(rng, 300, 300, 0, math.sqrt(300))
        values = people + rng.normal(size=300)  # subjects x genotypes
        draws = rng.multinomial(300, np.full(300, 1 / 300), size=400)
        assert real_share(values.mean(axis=0), (draws @ values).T / 300) == pytest.approx(0.5, abs=0.1)
        assert real_share(people.mean(axis=0), (draws @ people).T / 300) < 0.15


class TestBest:
    def test_the_winner_is_scored_by_a_seed_that_did_not_choose_it(self):
        # By two seeds the first is the best, by the others the second: the one that is found has no luck.
        scores = np.array([[3.0, 0], [0, 3.0], [1, 1]])
        assert held_out_best(scores) == 0
        assert scores.mean(axis=1).max() == 1.5

    def test_of_one_genotype_it_is_the_mean(self, rng):
        scores = rng.normal(size=(6, 4))
        assert held_out_best(scores, [2]) == pytest.approx(scores[2].mean())

    def test_noise_alone_has_no_best(self, rng):
        scores = noisy(rng, 300, 5, 0, 1)
        assert scores.mean(axis=1).max() > 1
        assert abs(held_out_best(scores)) < 1

    @pytest.mark.parametrize("draws", [1, 2, 3, 6])
    def test_expectation_over_all_draws(self, rng, draws):
        scores = rng.normal(size=(6, 3))
        all_draws = [held_out_best(scores, list(places)) for places in combinations(range(6), draws)]
        assert expected_best(scores, draws) == pytest.approx(np.mean(all_draws))

    @pytest.mark.parametrize("draws", [1, 2, 3, 7])
    def test_chance_by_enumeration(self, rng, draws):
        means = rng.integers(5, size=7).astype(float)  # with ties
        for score in set(means.tolist()):
            as_good = [max(means[list(places)]) >= score for places in combinations(range(7), draws)]
            assert chance(means, score, draws) == pytest.approx(np.mean(as_good))
