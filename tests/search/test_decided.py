from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from nas_mer.search.decided import decidedness, overlap, verdict
from nas_mer.space import Genotype, SearchSpace

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


# Of the options of `a` the last is the first by another name.
SPACE = """
version: 1
name: small
input: {channels: 3, size: 8}
parameters: {maps: 4}
states:
  a:
    from: input
    module: {choose: {p: {op: conv, kernel: 1, channels: $maps}, q: {op: conv, channels: $maps},
                      r: {op: conv, kernel: 1, channels: $maps}}}
  b: {from: a, module: {choose: {x: relu, y: {op: conv, kernel: 5}, z: skip}}}
head: {from: b, pool: 2}
"""


@pytest.fixture(scope="module")
def small():
    return SearchSpace.parse(SPACE)


def genotypes(*choices):
    return [Genotype("s", "hash", {"a": choice[0], "b": choice[1]}, rank=i) for i, choice in enumerate(choices)]


def test_overlap_is_the_share_of_genotypes_in_common(small):
    a, b, c = genotypes("px", "py", "qy"), genotypes("qy", "px", "qx"), genotypes("pz", "qz", "qx")
    assert overlap(small, [a, list(reversed(a))]) == 1  # ranks and order do not matter
    assert overlap(small, [a, c]) == 0
    assert overlap(small, [a, b]) == 2 / 4
    assert overlap(small, [a, b, c]) == pytest.approx((2 / 4 + 0 + 1 / 5) / 3)
    assert overlap(small, [a, a[:1]]) == pytest.approx(1 / 3)


def test_overlap_takes_isomorphic_genotypes_for_one(small):
    assert overlap(small, [genotypes("px", "qx"), genotypes("rx", "qx")]) == 1
    assert overlap(small, [genotypes("px", "qx"), genotypes("rx", "qy")]) == 1 / 3


def test_overlap_tells_sizes_apart(small):
    few, many = ([replace(one, parameters={"maps": maps}) for one in genotypes("px", "py")] for maps in (4, 8))
    assert overlap(small, [few, many]) == 0
    assert overlap(small, [few + many, many]) == 1 / 2


def test_one_seed_has_nothing_to_overlap_with(small):
    assert overlap(small, [genotypes("px")]) is None


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.9, 0.1], [0.2, 0.3, 0.5], [3, 1, 0, 0], [1, 0, 0]])
def test_decidedness_is_one_minus_normalised_entropy(weights):
    assert decidedness(weights) == pytest.approx(1 - entropy(weights) / np.log(len(weights)))


def test_decidedness_of_one_option_is_full():
    assert decidedness([0.3]) == 1
