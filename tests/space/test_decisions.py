import itertools
import math
import random
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from nas_mer.space import Decisions, Rule, SearchSpace

# Inverse primes: two products are equal only if their factors are, so the exact order is known.
WEIGHTS = [Fraction(1, prime) for prime in (1, 2, 3, 5, 7)]


@st.composite
def decisions(draw):
    options = {
        name: tuple(draw(st.permutations("wxyz"))[: draw(st.integers(1, 4))])
        for name in draw(st.permutations("abcde"))[: draw(st.integers(1, 5))]
    }
    rules = []
    for _ in range(draw(st.integers(0, 3))):
        keeps = draw(st.booleans())
        seen = [name for name in options if draw(st.booleans()) and (not keeps or len(options[name]) > 1)]
        if seen:
            dropped = {name: draw(st.sampled_from(options[name])) for name in seen}
            matches = {
                name: frozenset(options[name]) - {dropped[name]}
                if keeps
                else frozenset(draw(st.sets(st.sampled_from(options[name]), min_size=1)))
                for name in seen
            }
            low = draw(st.integers(0, len(seen)))
            high = low if keeps else draw(st.integers(low, len(seen)))
            rules.append(Rule(matches, low, high, keeps))
    return Decisions(options, tuple(rules))


def brute_force(space):
    """All combinations that keep the rules, in the order of the options."""
    found = []
    for combination in itertools.product(*space.options.values()):
        choices = dict(zip(space.options, combination, strict=True))
        if all(r.low <= sum(choices[n] in o for n, o in r.matches.items()) <= r.high for r in space.rules):
            found.append(choices)
    return found


def joint(space, choices, weights):
    """The product of the chosen weights, in which a dropped edge counts 1."""
    dropped = {n for r in space.rules if r.keeps for n, kept in r.matches.items() if choices[n] not in kept}
    return math.prod(weights[name][option] for name, option in choices.items() if name not in dropped)


@settings(deadline=None, max_examples=150)
@given(decisions(), st.data())
def test_agrees_with_brute_force(space, data):
    expected = brute_force(space)
    assert space.size == len(expected)
    assert list(space) == expected

    weights = {n: {o: data.draw(st.sampled_from(WEIGHTS)) for o in options} for n, options in space.options.items()}
    ranked = sorted(expected, key=lambda choices: -joint(space, choices, weights))  # stable: ties stay in order
    found = list(space.best({n: {o: float(w) for o, w in part.items()} for n, part in weights.items()}))
    assert [choices for choices, _ in found] == ranked
    assert [weight for _, weight in found] == pytest.approx([float(joint(space, c, weights)) for c in ranked])
    assert [weight for _, weight in found] == pytest.approx([float(space.joint(c, weights)) for c, _ in found])

    every = [dict(zip(space.options, c, strict=True)) for c in itertools.product(*space.options.values())]
    assert [choices for choices in every if space.allows(choices)] == expected
    if expected:
        assert space.sample(random.Random(0)) in expected


def test_an_option_without_weight_comes_last():
    space = Decisions({"a": ("x", "y"), "b": ("x", "y")})
    found = list(space.best({"a": {"x": 0.0, "y": 0.1}, "b": {"x": 0.3, "y": 0.2}}))
    assert [tuple(choices.values()) for choices, _ in found] == [("y", "x"), ("y", "y"), ("x", "x"), ("x", "y")]
    assert found[-1][1] == pytest.approx(0.0, abs=1e-200)


def test_samples_uniformly():
    options = {"a": ("w", "x", "y"), "b": ("w", "x"), "c": ("w", "x", "y"), "d": ("w", "x")}
    rules = (
        Rule({"a": frozenset("wx"), "b": frozenset("w"), "c": frozenset("y")}, 1, 2),
        Rule({"b": frozenset("x"), "d": frozenset("x")}, 0, 1),
    )
    space = Decisions(options, rules)
    rng = random.Random(1)
    counts = Counter(tuple(space.sample(rng).values()) for _ in range(4000))
    expected = {tuple(choices.values()) for choices in brute_force(space)}
    assert set(counts) == expected
    assert chisquare(list(counts.values())).pvalue > 0.01


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Rule({"a": frozenset("x"), "b": frozenset("xy")}, 1, 1), "exactly 1 of {a: x, b: x|y}"),
        (Rule({"a": frozenset("x"), "b": frozenset("y")}, 0, 1), "at most 1 of {a: x, b: y}"),
        (Rule({"a": frozenset("x"), "b": frozenset("y")}, 1, 2), "1 to 2 of {a: x, b: y}"),
        (Rule({"a": frozenset("x"), "b": frozenset("y")}, 1, 1, keeps=True), "exactly 1 of the edges a, b"),
    ],
)
def test_rules_read_as_text(rule, text):
    assert str(rule) == text


DARTS_NODES = [math.comb(n, 2) * 7**2 for n in (2, 3, 4, 5)]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("rcn", 2 * 2 * 14),
        ("rcn_hops", 2 * 3 * 4 * 4 * 4 * 2),
        ("rcn_placements", 2**4 * 2**2 * 2 * 3 * 4 * 4 * 4 * 2),
        ("nasbench201", 5**6),
        ("darts_cnn", math.prod(DARTS_NODES) ** 2),
    ],
)
def test_sizes_of_the_shipped_spaces(name, size):
    assert SearchSpace.load(name).size == size


def random_weights(space, seed):
    """Softmax weights of normal alphas."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, options in space.decisions.items():
        exponents = np.exp(rng.normal(size=len(options)))
        weights[name] = dict(zip(options, (exponents / exponents.sum()).tolist(), strict=True))
    return weights


def test_the_best_hundred_of_all_placements():
    space = SearchSpace.load("rcn_placements")
    weights = random_weights(space, 0)
    joint = np.ones(1)
    for part in weights.values():
        joint = np.multiply.outer(joint, list(part.values())).ravel()
    assert len(joint) == 49152
    combinations = list(itertools.product(*space.decisions.values()))
    best = np.argsort(-joint)[:100]
    found = space.top(weights, 100)
    assert [tuple(genotype.choices.values()) for genotype in found] == [combinations[i] for i in best]
    assert [genotype.weight for genotype in found] == pytest.approx(joint[best].tolist())
    assert [genotype.rank for genotype in found] == list(range(1, 101))


@pytest.mark.parametrize("seed", range(5))
def test_the_best_darts_cell_is_the_one_that_darts_derives(seed):
    """DARTS, section 2.4: a node keeps the two edges whose strongest op other than none is strongest."""
    space = SearchSpace.load("darts_cnn")
    weights = random_weights(space, seed)
    expected = {}
    for cell in ("normal", "reduction"):
        for node in ("n2", "n3", "n4", "n5"):
            strongest = {}
            for edge in (name for name in weights if name.startswith(f"{cell}.{node}.")):
                strongest[edge] = max((w, o) for o, w in weights[edge].items() if o != "none")
            kept = sorted(strongest, key=strongest.__getitem__)[-2:]
            expected |= {edge: strongest[edge][1] if edge in kept else "none" for edge in strongest}
    (best,) = space.top(weights, 1)
    assert best.choices == expected
