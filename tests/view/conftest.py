import random
from functools import cache

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from nas_mer.space import SearchSpace, shipped_spaces

# What no shipped space has: ways with ops under a choice of inputs, hops into a crossbar, long names.
MIXED = """
version: 1
name: mixed
input: {channels: 3, size: 32}
modules:
  edge: {choose: {none: none, a_rather_long_name: {op: conv, kernel: 3}, b: {op: conv, kernel: 5}}}
states:
  stem: {from: input, module: {op: conv, channels: 8}}
  a: {from: [{stem: edge}], module: {decision: norm, choose: {no: relu, yes: [relu, batch_norm]}}}
  b: {from: {choose: {p: [{stem: {decision: op, choose: {u: skip, v: {op: conv, kernel: 3}}}}], q: [stem, a]}}}
  c: {from: [{a: edge}, {b: relu}]}
attention:
  hops:
    attention: {none: [], near: a -> b, far: stem -> c}
head: {from: c, pool: 2}
"""

# Parallel branches in a block whose repetitions decide for themselves, a hop into a sum, an option that adds a way.
BRANCHES = """
version: 1
name: branches
title: Branches in parallel, concatenated, with a title that goes on and on, so that it is broken into several lines
input: {channels: 3, size: 16}
blocks:
  inception:
    inputs: x
    output: join
    states:
      join: {combine: concat, from: [one, three, pool]}
      one: {from: x, module: {op: conv, kernel: 1, channels: 8}}
      three: {from: x, module: {choose: {k3: {op: conv, channels: 8}, k5: {op: conv, kernel: 5, channels: 8}}}}
      pool: {from: x, module: [{op: avg_pool, kernel: 3, stride: 1, padding: 1}, {op: conv, kernel: 1, channels: 8}]}
states:
  stem: {from: input, module: {op: conv, channels: 8}}
  s: {block: inception, from: stem, repeat: 2, decisions: own}
  t: {block: inception, after: s, decisions: own}
  last: {from: {choose: {deep: [t], both: [t, s]}}}
attention:
  hops:
    attention: {none: [], a: stem -> last}
head: {from: last, pool: 2}
"""

# A rule that leaves one of four combinations out.
CONSTRAINED = """
version: 1
name: constrained
input: {channels: 3, size: 16}
modules: {either: {choose: {three: conv, five: {op: conv, kernel: 5}}}}
states:
  a: {from: input, module: either}
  b: {from: a, module: either}
head: {from: b, pool: 2}
constraints: [{at_least: 1, of: {a: five, b: five}}]
"""

SPACES = [*shipped_spaces(), "mixed", "branches", "constrained"]


@cache
def load(name):
    own = {"mixed": MIXED, "branches": BRANCHES, "constrained": CONSTRAINED}
    return SearchSpace.parse(own[name]) if name in own else SearchSpace.load(name)


def random_weights(space, seed=0):
    rng = random.Random(seed)
    weights = {}
    for decision, options in space.decisions.items():
        values = [rng.random() ** 3 for _ in options]
        weights[decision] = {option: value / sum(values) for option, value in zip(options, values, strict=True)}
    return weights


def texts(figure):
    """All visible texts of a figure that are not empty."""
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def check_legible(figure):
    """No text is small, leaves the page or touches another one."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()  # gives the ticks their places
    found = texts(figure)
    names = [text.get_text() for text in found]
    assert min(text.get_size() for text in found) >= 7
    boxes = [text.get_window_extent(renderer) for text in found]
    low, high = np.array([box.min for box in boxes]), np.array([box.max for box in boxes])  # (n, 2) each
    inside = (low >= figure.bbox.min).all(axis=1) & (high <= figure.bbox.max).all(axis=1)
    assert [name for name, good in zip(names, inside, strict=True) if not good] == []
    meets = ((low[:, None] < high) & (low < high[:, None])).all(axis=2)
    assert [(names[i], names[j]) for i, j in np.argwhere(np.triu(meets, k=1))] == []


@pytest.fixture(name="load", scope="session")
def _load():
    return load


@pytest.fixture(name="random_weights", scope="session")
def _random_weights():
    return random_weights


@pytest.fixture(name="check_legible", scope="session")
def _check_legible():
    return check_legible


@pytest.fixture(name="words", scope="session")
def _words():
    return lambda figure: [text.get_text() for text in texts(figure)]


@pytest.fixture(params=SPACES)
def space(request):
    return load(request.param)
