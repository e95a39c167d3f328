import subprocess
import sys

import pytest
import torch

from nas_mer.nn import Network
from nas_mer.space import OPS, SearchSpace, Shape
from nas_mer.space.graph import Op
from nas_mer.space.shapes import build_op, module_shape, placed_ops

SHAPES = {"half": Shape(4, 4, 3), "same": Shape(2, 8, 6)}


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        ((), (6, 8, 6)),
        ((Op("conv"),), (6, 8, 6)),
        ((Op("conv", (("channels", 5), ("kernel", 5), ("stride", 3))),), (5, 3, 2)),
        ((Op("conv", (("dilations", (1, 2, 3)),)), Op("max_pool"), Op("relu")), (6, 4, 3)),
        ((Op("project", (("channels", 9), ("like", "half"))), Op("dropout")), (9, 4, 3)),
        ((Op("project", (("channels", 9), ("like", "same"))),), (9, 8, 6)),
        ((Op("none", (("stride", 2),)),), (6, 4, 3)),
    ],
)
def test_shapes_are_those_of_the_maps(module, shape):
    before = Shape(6, 8, 6)
    assert module_shape(module, before, SHAPES) == shape
    maps = torch.randn(2, *before)
    for op in module:
        maps = build_op(op, Shape(*maps.shape[1:]), SHAPES)(maps)
    assert maps.shape == (2, *shape)


def test_an_op_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"max_pool\(kernel=3\) does not fit a map of 6x2x2: "):
        module_shape((Op("max_pool", (("kernel", 3),)),), Shape(6, 2, 2), {})
    with pytest.raises(ValueError, match=r"conv\(channels=2, dilations=\(1, 2, 3\)\) does not fit .* cannot be split"):
        module_shape((Op("conv", (("channels", 2), ("dilations", (1, 2, 3)))),), Shape(6, 8, 8), {})


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("rcn_placements", {"feature_maps": 5, "pool": 3, "size": 33}),
        ("nasbench201", {"channels": 2, "cells": 2, "size": 12}),
        ("darts_cnn", {"C": 2, "cells": 1, "size": 9}),
    ],
)
def test_the_graphs_shapes_are_those_of_the_network(name, sizes):
    space = SearchSpace.load(name, **sizes)
    network = Network(space.graph).eval()
    found = {}
    for state, module in zip(space.graph.states, network.states.values(), strict=True):
        module.register_forward_hook(lambda *call, name=state.name: found.update({name: call[-1].shape[1:]}))
    mixture = {decision: torch.ones(len(options)) for decision, options in space.decisions.items()}
    network(torch.randn(1, *space.graph.shapes["input"]), mixture)
    assert found == {state.name: space.graph.shapes[state.name] for state in space.graph.states}


def test_every_op_of_a_graph_has_a_place():
    space = SearchSpace.load("nasbench201", cells=1)
    places = [(place, op.name) for place, op, _ in placed_ops(space.graph)]
    assert ("stage1.n1 from n0 (avg_pool)", "avg_pool") in places
    assert ("half from x (plain)", "conv") in places
    assert {name for _, name in places} <= OPS.keys()


def test_finding_shapes_leaves_no_trace():
    """Shapes cost no random numbers and no threads, and loading a space no compiler (a second of imports)."""
    code = """
import sys, torch
from nas_mer.space import SearchSpace
torch.manual_seed(0)
torch.set_num_threads(2)
SearchSpace.load("rcn", size=40)
state = torch.get_rng_state()
torch.manual_seed(0)
assert torch.equal(state, torch.get_rng_state())
assert torch.get_num_threads() == 2
assert "torch._dynamo" not in sys.modules
assert "sympy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
