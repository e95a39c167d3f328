import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_mer.view import course, settled

WINNERS = st.lists(st.sampled_from("ab"), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("winners", "since"),
    [("a", None), ("aa", 1), ("ab", None), ("abb", 2), ("aba", None), ("abaaa", 3), ("aaaab", None)],
)
def test_settled(winners, since):
    assert settled(winners) == since


@given(WINNERS)
def test_since_it_settled_nothing_changed_and_before_it_something_did(winners):
    since = settled(winners)
    if since is None:
        assert len(winners) == 1 or winners[-1] != winners[-2]
    else:
        assert set(winners[since - 1 :]) == {winners[-1]}
        assert since == 1 or winners[since - 2] != winners[-1]


def searched(space, searches, epochs, seed=0):
    """Weights as some searches might have them."""
    rng = np.random.default_rng(seed)
    alphas = {name: rng.normal(size=(searches, epochs, len(o))).cumsum(axis=1) for name, o in space.decisions.items()}
    return {name: np.exp(alpha) / np.exp(alpha).sum(axis=-1, keepdims=True) for name, alpha in alphas.items()}


def mean(space, weights, epoch):
    return {
        name: dict(zip(space.decisions[name], values[:, epoch].mean(axis=0), strict=True))
        for name, values in weights.items()
    }


@pytest.mark.parametrize("searches", [1, 3])
def test_joint_weights_are_products_of_the_mean_weights(load, searches):
    space = load("rcn")
    weights = searched(space, searches, 9)
    found = course(space, weights, top=3)
    assert [g.choices for g in found.genotypes] == [g.choices for g in space.top(mean(space, weights, -1), 3)]
    assert found.joint.shape == (9, 3)
    assert found.each.shape == (searches, 9, 3)
    assert found.joint[-1] == pytest.approx([g.weight for g in found.genotypes])
    for epoch in (0, 4):
        options = mean(space, weights, epoch)
        for index, genotype in enumerate(found.genotypes):
            assert found.joint[epoch, index] == pytest.approx(
                math.prod(options[d][o] for d, o in genotype.choices.items())
            )
    if searches == 1:
        assert found.each[0] == pytest.approx(found.joint)


def test_dropped_edges_do_not_count(load):
    space = load("darts_cnn")
    weights = searched(space, 2, 3)
    found = course(space, weights, top=2)
    assert found.joint[-1] == pytest.approx([genotype.weight for genotype in found.genotypes])


@pytest.mark.parametrize(("name", "weight"), [("darts_cnn", 8**-16), ("constrained", 1 / 4), ("rcn", 1 / 56)])
def test_equal_weights_give_what_an_undecided_search_does(load, name, weight):
    space = load(name)
    found = course(space, {name: np.full((1, 1, len(o)), 1 / len(o)) for name, o in space.decisions.items()})
    assert found.equal == pytest.approx(weight)
    assert found.joint[-1] == pytest.approx(found.equal)


def test_the_best_genotype_settles_when_it_is_best_for_good(load):
    space = load("darts_cnn")  # whose best genotype is not each decision's heaviest option
    weights = searched(space, 1, 6)
    weights = {
        name: np.concatenate([values, values[:, -1:], values[:, -1:]], axis=1) for name, values in weights.items()
    }
    found = course(space, weights)
    best = [space.top(mean(space, weights, epoch), 1)[0].choices for epoch in range(8)]
    assert found.since == next(epoch for epoch in range(1, 9) if all(b == best[-1] for b in best[epoch - 1 :]))
    for name, values in weights.items():
        assert found.decisions[name] == settled(values[0].argmax(axis=-1).tolist())


def test_as_json(load):
    space = load("rcn")
    told = course(space, searched(space, 2, 5), top=2).as_json()
    assert told["epochs"] == 5
    assert told["decisions"].keys() == space.decisions.keys()
    assert [(g["rank"], len(g["joint"])) for g in told["genotypes"]] == [(1, 5), (2, 5)]


def test_one_epoch_settles_nothing(load):
    space = load("rcn")
    found = course(space, searched(space, 3, 1))
    assert found.since is None
    assert set(found.decisions.values()) == {None}
