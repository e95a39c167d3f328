from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from nas_mer.search.decided import decidedness, overlap, verdict
from nas_mer.space import Genotype

OPTIONS = ("a", "b", "c", "d")
rows = st.lists(st.floats(0.01, 1), min_size=4, max_size=4).map(lambda row: np.array(row) / sum(row))


@pytest.mark.parametrize("count", range(2, 40))
def test_equal_weights_decide_nothing(count):
    found = verdict([f"{i:02}" for i in range(count)], np.full((2, count), 1 / count))
    assert 0 <= found.decided < 1e-12
    assert (found.winner, found.second) == ("00", "01")  # a tie goes to the first by name
    assert found.weight == pytest.approx(1 / count)


def test_one_option_with_all_weight_is_decided():
    found = verdict(OPTIONS, np.array([[0.0, 0, 1, 0]] * 3))
    assert (found.winner, found.weight, found.decided, found.agreement) == ("c", 1, 1, 1)
    assert found.second_weight == 0


def test_a_decision_with_one_option_is_decided():
    found = verdict(("only",), np.ones((2, 1)))
    assert (found.winner, found.second, found.second_weight, found.decided) == ("only", None, 0, 1)


def test_two_options_in_closed_form():
    found = verdict(("x", "y"), np.array([[0.25, 0.75]]))
    assert (found.winner, found.weight, found.second, found.second_weight) == ("y", 0.75, "x", 0.25)
    assert found.decided == pytest.approx(1 - (0.25 * 2 + 0.75 * np.log2(4 / 3)))


def test_seeds_that_disagree():
    weights = np.array([[0.6, 0.4, 0, 0], [0.3, 0.7, 0, 0], [0.3, 0.7, 0, 0], [0.9, 0.1, 0, 0]])
    found = verdict(OPTIONS, weights)
    assert (found.winner, found.agreement) == ("a", 0.5)
    assert found.weight == pytest.approx(0.525)


@given(st.lists(rows, min_size=1, max_size=4).map(np.array))
def test_decided_is_the_entropy_of_the_mean(weights):
    found = verdict(OPTIONS, weights)
    mean = weights.mean(axis=0)
    assert found.decided == pytest.approx(1 - entropy(mean, base=4), abs=1e-9)
    assert found.weight == mean.max()
    assert found.second_weight == sorted(mean)[-2]
    votes = [OPTIONS[row.argmax()] for row in weights]
    assert found.agreement == votes.count(found.winner) / len(votes)


def genotypes(*choices):
    return [Genotype("s", "hash", {"conv": choice[0], "hop": choice[1]}, rank=i) for i, choice in enumerate(choices)]


def test_overlap_is_the_share_of_genotypes_in_common():
    a, b, c = genotypes("aa", "ab", "bb"), genotypes("bb", "aa", "ba"), genotypes("cc", "cd", "dd")
    assert overlap([a, list(reversed(a))]) == 1  # ranks and order do not matter
    assert overlap([a, c]) == 0
    assert overlap([a, b]) == 2 / 4
    assert overlap([a, b, c]) == pytest.approx((0.5 + 0 + 0) / 3)
    assert overlap([a, a[:1]]) == pytest.approx(1 / 3)


def test_overlap_tells_sizes_apart():
    small, large = ([replace(one, parameters={"maps": maps}) for one in genotypes("aa", "ab")] for maps in (4, 8))
    assert overlap([small, large]) == 0
    assert overlap([small + large, large]) == 1 / 2


def test_one_seed_has_nothing_to_overlap_with():
    assert overlap([genotypes("aa")]) is None


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.9, 0.1], [0.2, 0.3, 0.5], [3, 1, 0, 0], [1, 0, 0]])
def test_decidedness_is_one_minus_normalised_entropy(weights):
    assert decidedness(weights) == pytest.approx(1 - entropy(weights) / np.log(len(weights)))


def test_decidedness_of_one_option_is_full():
    assert decidedness([0.3]) == 1
