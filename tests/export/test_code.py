"""Written networks against the package's own, over every op and every shipped space."""

import random
import subprocess
import sys

import pytest
import torch
from torch import nn

from nas_mer.export import model_of_genotype
from nas_mer.export.as_python import source_of
from nas_mer.export.code import constructor, network_code
from nas_mer.nn import Network
from nas_mer.space import OPS, SearchSpace, shipped_spaces
from nas_mer.train import Normaliser

RCN = {"size": 24, "feature_maps": 4, "pool": 2}
SIZES = {
    "rcn": RCN,
    "rcn_placements": RCN,
    "rcn_hops": RCN,
    "rcn_depth": RCN,
    "nasbench201": {"size": 8, "channels": 4, "cells": 1},
    "darts_cnn": {"size": 8, "C": 4, "cells": 1},
}
HEAD = "head: {from: last, pool: 2}"
# How each op is written into a space that begins with 8 channels of 8 x 8; every op of the package must be here.
EXAMPLES = {
    "conv": [
        "conv",
        "{op: conv, channels: 6, kernel: 5, stride: 2, groups: 2, bias: false}",
        "{op: conv, channels: 7, dilations: [1, 2, 3]}",
        "{op: conv, dilations: [1, 2], bias: false, stride: 2}",
        "{op: conv, kernel: 5, dilations: [3]}",
    ],
    "batch_norm": ["batch_norm", "{op: batch_norm, affine: false}"],
    "relu": ["relu"],
    "tanh": ["tanh"],
    "dropout": ["{op: dropout, p: 0.25}"],
    "max_pool": ["max_pool", "{op: max_pool, kernel: 3, stride: 1, padding: 1}"],
    "avg_pool": ["avg_pool", "{op: avg_pool, kernel: 3, stride: 2, padding: 1}"],
    "adaptive_avg_pool": ["{op: adaptive_avg_pool, size: 3}"],
    "linear": ["{op: linear, units: 5}"],
    "select": ["{op: select, indices: [2, 0, 5]}", "{op: select, indices: [4]}"],
    "half": ["{op: half, part: upper}", "{op: half, part: lower}"],
    "none": ["none", "{op: none, stride: 2}"],
    "skip": ["skip", "{op: skip, stride: 2}"],
    "sep_conv": ["sep_conv", "{op: sep_conv, kernel: 5, stride: 2}"],
    "dil_conv": ["dil_conv", "{op: dil_conv, kernel: 5, dilation: 3}"],
    "project": ["{op: project, channels: 5}", "{op: project, channels: 5, like: half}"],
    "squash": ["{op: squash, dimensions: 4}"],
    "capsules": ["{op: capsules, count: 3, dimensions: 4, dimensions_in: 2}"],
    "lengths": ["{op: lengths, dimensions: 4}"],
}
PLAIN = Normaliser("none")


def built(graph, normaliser=PLAIN, train=False):
    """A network with batch-norm statistics of its own, the code of it, and the module that the code makes."""
    torch.manual_seed(0)
    network = Network(graph).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight)
    code = network_code(network, normaliser, "A network.")
    namespace = {}
    exec(source_of(code.lines), namespace)  # nothing of this test's names
    made = namespace["Network"]().double()
    made.load_state_dict(code.weights(network, normaliser))
    return network.train(train), code, made.train(train)


def same(graph, train=False):
    network, code, made = built(graph, train=train)
    shape = graph.shapes["input"]
    maps = torch.randn(3, *shape, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(made(maps), network(maps), rtol=0, atol=1e-7)
    return code


def with_op(text):
    return SearchSpace.parse(f"""
version: 1
name: one
input: {{channels: 8, size: 8}}
states:
  half: {{from: input, module: {{op: max_pool}}}}
  mine: {{from: input, module: [{text}]}}
  side: {{from: half, module: [{{op: adaptive_avg_pool, size: 1}}, {{op: conv, channels: 2, kernel: 1}}]}}
  pooled: {{from: mine, module: [{{op: adaptive_avg_pool, size: 1}}]}}
  last: {{combine: concat, from: [pooled, side]}}
{HEAD}
""").graph


class TestOps:
    def test_every_op_of_the_package_is_tried(self):
        assert EXAMPLES.keys() == {name for name, kind in OPS.items() if kind.build.__module__.startswith("nas_mer.")}

    @pytest.mark.parametrize("text", [text for texts in EXAMPLES.values() for text in texts])
    def test_it_computes_the_same(self, text):
        same(with_op(text))

    def test_an_op_of_torchs_modules_needs_no_entry(self):
        layer = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(8, 8, (1, 3), padding=(0, 1), padding_mode="circular"))
        assert str(constructor(layer)) == (
            "nn.Sequential(nn.LeakyReLU(negative_slope=0.2), "
            'nn.Conv2d(8, 8, (1, 3), padding=(0, 1), padding_mode="circular"))'
        )

    @pytest.mark.parametrize("layer", [nn.TransformerEncoderLayer(8, 2), nn.GRU(8, 8)])
    def test_what_does_not_keep_its_arguments_is_refused(self, layer):
        with pytest.raises(ValueError, match=type(layer).__name__):
            constructor(layer)


class TestSpaces:
    def test_all_with_decisions_are_tried(self):
        assert SIZES.keys() == {name for name in shipped_spaces() if SearchSpace.load(name).decisions}

    @pytest.mark.parametrize("name", SIZES)
    def test_genotypes(self, name):
        space = SearchSpace.load(name, **SIZES[name])
        rng = random.Random(0)
        for _ in range(2):
            same(space.freeze(space.sample(rng)))

    @pytest.mark.parametrize("name", ["rcn", "rcn-w", "rcn-s", "rcn-a", "rcn-c", "rcn-f", "rcn-p"])
    def test_the_papers_networks(self, name, space):
        same(space.freeze(space.genotype(name)))

    def test_recurrent_weights_are_one_attribute(self):
        space = SearchSpace.load("rcn", size=24)
        code = "\n".join(same(space.freeze(space.genotype("rcn-f"))).lines)
        assert code.count("self.recurrent = nn.Conv2d(16, 16, 3, padding=1)") == 1
        assert code.count("self.recurrent(") == 3
        assert "r0 = attended(r0, conv, self.head.weight, pool=5)" in code

    def test_a_shared_weight_of_another_module_stays_shared_in_training(self):
        space = SearchSpace.load("rcn_placements", size=24, feature_maps=6, pool=3)
        choices = dict(space.genotype(next(iter(space)).choices).choices)
        choices |= {"r1": "standard", "r2": "wide", "r3": "standard"}
        _, _, made = built(space.graph.freeze(choices))
        assert made.recurrent_2.weight is made.recurrent.weight
        assert len(list(made.parameters())) == len(list(Network(space.graph.freeze(choices)).parameters()))

    def test_training_mode_is_the_same(self):
        space = SearchSpace.load("rcn", size=24, feature_maps=6, pool=3, dropout=0)
        same(space.freeze(space.genotype("rcn-p")), train=True)


class TestNormalisers:
    @pytest.mark.parametrize("kind", ["standardise", "instance", "stretch", "none"])
    def test_raw_maps_go_in(self, kind, space):
        maps = torch.randn(5, 3, 16, 16, dtype=torch.float64) * 7 + 2
        maps[0, 1] = 3.0
        normaliser = Normaliser.fit(kind, maps)
        network, _, made = built(space.freeze(space.genotype("rcn-a")), normaliser)
        with torch.no_grad():
            torch.testing.assert_close(made(maps), network(normaliser(maps)), rtol=0, atol=1e-7)


NAMES = """
version: 1
name: names
input: {channels: 3, size: 8}
states:
  class: {from: input, module: {op: conv, share: head}}
  half: {from: class, module: {op: conv, share: head}}
  1st: {from: [class, half], module: relu}
  a-b: {from: 1st, module: batch_norm}
  a_b: {from: [{a-b: relu}, {1st: relu}], module: relu}
  torch: {from: [maps, a_b], combine: concat}
  maps: {from: a_b, module: relu}
  last: {from: torch}
head: {from: last, pool: 2}
"""


def test_names_that_python_or_torch_need_themselves():
    same(SearchSpace.parse(NAMES).graph)


def test_formatters_leave_it_as_it_is(tmp_path):
    for name in ("rcn", "rcn_placements", "nasbench201", "darts_cnn"):
        space = SearchSpace.load(name)
        model = model_of_genotype(space, space.sample(random.Random(3)))
        one = model.networks[0]
        code = network_code(one.network, one.normaliser, "A network.")
        (tmp_path / f"{name}.py").write_text(source_of(code.lines))
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--diff", str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
