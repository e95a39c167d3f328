import itertools
import json
import random

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import nn

from nas_mer.nn import Network, class_activation, one_hot
from nas_mer.nn.attention import spread
from nas_mer.space import SearchSpace, find_genotype
from nas_mer.space.ops import Dropout

SMALL = {
    "rcn": {"feature_maps": 4, "pool": 2, "dropout": 0.0, "size": 20},
    "rcn_hops": {"feature_maps": 4, "pool": 2, "dropout": 0.0, "size": 20},
    "rcn_placements": {"feature_maps": 4, "pool": 2, "dropout": 0.0, "size": 20},
    "nasbench201": {"channels": 3, "cells": 2, "size": 8},
    "darts_cnn": {"C": 3, "cells": 1, "size": 9},
}


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


# --- parameters -------------------------------------------------------------------------------------------------------


def test_published_parameter_counts():
    """DARTS V2 on CIFAR-10 without the auxiliary head; NAS-Bench-201's cell of six 3x3 convolutions."""
    space, genotype = find_genotype("darts-v2")
    space = space.with_parameters(C=36, cells=6)
    assert count(Network(space.graph.freeze(genotype.choices), classes=10)) == 3_349_342
    space = SearchSpace.load("nasbench201")
    assert count(Network(space.graph.freeze(dict.fromkeys(space.decisions, "conv3x3")), classes=10)) == 1_531_546


@pytest.mark.parametrize(("name", "genotypes"), [("rcn", 56), ("rcn_placements", 40), ("rcn_hops", 40)])
def test_the_papers_modules_are_parameter_free(name, genotypes):
    space = SearchSpace.load(name)
    maps, kernels = 16, 9
    convolutions = (3 * kernels * maps + maps) + (maps * maps + maps) + (maps * kernels * maps + maps)
    expected = convolutions + 5 * 2 * maps + (5 * 5 * maps * 3 + 3)
    rng = random.Random(0)
    for genotype in space if space.size == genotypes else (space.sample(rng) for _ in range(genotypes)):
        assert count(Network(space.freeze(genotype))) == expected


# --- the supernet and its networks ------------------------------------------------------------------------------------


def supernet_and_network(name, seed):
    """A supernet and a random genotype's network with the same weights, in double precision."""
    space = SearchSpace.load(name, **SMALL[name])
    genotype = space.sample(random.Random(seed))
    torch.manual_seed(seed)
    supernet = Network(space.graph).double()
    for parameter in supernet.parameters():  # also the scales and shifts, which begin at ones and zeros
        nn.init.normal_(parameter, std=0.5)
    network = Network(space.freeze(genotype)).double()
    state = supernet.state_dict()
    network.load_state_dict({key: state[key] for key in network.state_dict()})
    mixture = {decision: weights.double() for decision, weights in one_hot(space.graph, genotype.choices).items()}
    maps = torch.randn(3, *space.graph.shapes["input"], dtype=torch.double)
    return supernet, network, mixture, maps


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name in SMALL for seed in range(2)])
def test_a_supernet_with_one_option_of_each_decision_is_the_network(name, seed, training):
    supernet, network, mixture, maps = supernet_and_network(name, seed)
    logits = supernet.train(training)(maps, mixture)
    expected = network.train(training)(maps)
    torch.testing.assert_close(logits, expected)

    mask = torch.randn_like(expected)
    (logits * mask).sum().backward()
    (expected * mask).sum().backward()
    ours = dict(supernet.named_parameters(remove_duplicate=False))
    for key, parameter in network.named_parameters(remove_duplicate=False):
        torch.testing.assert_close(ours[key].grad, parameter.grad, msg=key)
    # What was not chosen learns nothing.
    total, chosen = (
        sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None) for part in (supernet, network)
    )
    assert total == pytest.approx(chosen)
    # Running statistics of the chosen options went the same way.
    state = supernet.state_dict()
    for key, value in network.state_dict().items():
        torch.testing.assert_close(state[key], value, msg=key)


def test_the_state_of_a_network_names_its_options():
    space = SearchSpace.load("rcn", **SMALL["rcn"])
    for genotype in space:
        network = Network(space.freeze(genotype))
        options = [key for key in network.state_dict() if key.startswith("states.conv.module.options.")]
        assert options
        assert all(key.split(".")[4] == genotype.choices["conv"] for key in options)


@pytest.mark.parametrize("name", ["rcn", "nasbench201"])
def test_the_order_in_the_file_changes_no_weight_and_no_output(name):
    def turned(value):
        return {k: turned(value[k]) for k in reversed(value)} if isinstance(value, dict) else value

    space = SearchSpace.load(name, **SMALL[name])
    other = SearchSpace.parse(json.dumps(turned(yaml.safe_load(space.source))), **SMALL[name])
    networks = []
    for graph in (space.graph, other.graph):
        torch.manual_seed(0)
        networks.append(Network(graph).train())
    for (key, value), (same, other_value) in zip(*(n.state_dict().items() for n in networks), strict=True):
        assert key == same
        assert torch.equal(value, other_value)
    mixture = {d: torch.randn(len(options)).softmax(0) for d, options in space.decisions.items()}
    maps = torch.randn(2, *space.graph.shapes["input"])
    assert torch.equal(networks[0](maps, mixture), networks[1](maps, mixture))


# --- mixtures (Eq. 8) -------------------------------------------------------------------------------------------------


def outputs(network):
    """Record what the states give, also before attention (`r1.module`)."""
    found = {}
    for key, state in network.states.items():
        state.register_forward_hook(lambda *call, key=key: found.update({key: call[-1]}))
        state.module.register_forward_hook(lambda *call, key=key: found.update({f"{key}.module": call[-1]}))
    return found


@pytest.fixture(name="mixed")
def _mixed():
    """The supernet of rcn under a random mixture: its space, network, mixture, input and states."""
    space = SearchSpace.load("rcn", **SMALL["rcn"])
    torch.manual_seed(0)
    network = Network(space.graph).double().eval()
    mixture = {d: torch.randn(len(o)).double().softmax(0) for d, o in space.decisions.items()}
    maps = torch.randn(2, 3, 20, 20, dtype=torch.double)
    states = outputs(network)
    network(maps, mixture)
    return space, network, mixture, states | {"input": maps}


def test_modules_are_mixed_by_their_weights(mixed):
    _, network, mixture, states = mixed
    options = network.states["conv"].module.options
    standard, wide = mixture["conv"]
    expected = standard * options["standard"](states["input"]) + wide * options["wide"](states["input"])
    torch.testing.assert_close(states["conv.module"], expected)


def test_inputs_are_mixed_by_their_weights(mixed):
    _, _, mixture, states = mixed
    plain, shortcut = mixture["recurrent"]
    for n in (2, 3):
        before, recurrent = states[f"in{n - 1}"], states[f"r{n - 1}"]
        expected = plain * (states["conv"] + recurrent) + shortcut * (before + recurrent)
        torch.testing.assert_close(states[f"in{n}"], expected)


def test_attention_is_mixed_with_none(mixed):
    space, network, mixture, states = mixed
    weight = dict(zip(space.decisions["attention"], mixture["attention"], strict=True))
    hops = {
        "conv": ["input-conv"], "r0": ["conv-r0", "input-r0"], "r1": ["r0-r1", "conv-r1", "input-r1"],
        "r2": ["r1-r2", "r0-r2", "conv-r2"], "r3": ["r2-r3", "r1-r3", "r0-r3"], "pooled": ["parallel"],
    }  # fmt: skip
    for target, names in hops.items():
        plain = states[f"{target}.module"]
        size = plain.shape[-2:]
        expected = (1 - sum(weight[name] for name in names)) * plain
        for name in names:
            source = "conv" if name == "parallel" else name.partition("-")[0]
            attention = class_activation(states[source], network.head.weight, 2)
            expected = expected + weight[name] * plain * spread(attention, 2, size)
        torch.testing.assert_close(states[target], expected)


def test_edges_are_mixed_and_zeros_add_nothing():
    space = SearchSpace.load("nasbench201", channels=3, cells=1, size=8)
    torch.manual_seed(0)
    network = Network(space.graph).double().eval()
    mixture = {d: torch.rand(5).double() for d in space.decisions}
    states = outputs(network)
    network(torch.randn(2, 3, 8, 8, dtype=torch.double), mixture)
    ways = network.states["stage1"].inputs["plain"].ways
    expected = torch.zeros_like(states["stage1"])
    for source, state in {"n0": "stem", "n1": "stage1/n1", "n2": "stage1/n2"}.items():
        for weight, option in zip(mixture[f"cell.n3.{source}"], ways[source].options.values(), strict=True):
            expected = expected + weight * option(states[state])
    torch.testing.assert_close(states["stage1"], expected)


HOPS = """\
version: 1
name: hops
input: {channels: 3, size: 6}
states:
  a: {from: input, module: {op: conv, channels: 4}}
  b: {from: a, module: conv}
  c: {from: [a, b], module: conv}
attention:
  hops:
    one: {none: [], some: [input -> c, a -> c], more: [a -> b, b -> c]}
    two: {none: [], some: a -> c}
head: {from: c, pool: 3}
"""


def test_several_attention_maps_multiply_one_state():
    """Whether they come from one option, from two decisions, or are there for good."""
    space = SearchSpace.parse(HOPS)
    torch.manual_seed(0)
    supernet = Network(space.graph).double()
    maps = torch.randn(2, 3, 6, 6, dtype=torch.double)
    seen = []
    for genotype in space:
        network = Network(space.freeze(genotype)).double()
        network.load_state_dict(supernet.state_dict())
        states = outputs(network)
        logits = network(maps)
        mixture = {d: w.double() for d, w in one_hot(space.graph, genotype.choices).items()}
        torch.testing.assert_close(supernet(maps, mixture), logits)
        states["input"] = maps
        sources = {"none": [], "some": ["input", "a"], "more": ["b"]}[genotype.choices["one"]]
        sources = [*sources, *{"none": [], "some": ["a"]}[genotype.choices["two"]]]
        expected = states["c.module"]
        for source in sources:
            expected = expected * spread(class_activation(states[source], network.head.weight, 3), 3, (6, 6))
        torch.testing.assert_close(states["c"], expected)
        seen.append(logits)
    assert not any(torch.allclose(one, other) for one, other in itertools.combinations(seen, 2))


# --- the paper's networks, written out --------------------------------------------------------------------------------


def written_out(name, state, maps, training, pool=2):
    """RCN and its extensions from Table I and Eq. 3, 5, 6 and 7, given the weights of a network."""

    def convolved(x, at, stride=1, padding=1, dilation=1, part=slice(None)):
        weight = state[f"states.{at}.0.weight"][part]
        return F.conv2d(x, weight, None, stride, padding, dilation)

    def activated(x, at):
        x = x + state[f"states.{at}.0.bias"].view(1, -1, 1, 1)
        mean, variance = state[f"states.{at}.1.running_mean"], state[f"states.{at}.1.running_var"]
        if training:
            mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
        x = (x - mean.view(1, -1, 1, 1)) / (variance.view(1, -1, 1, 1) + 1e-5).sqrt()
        scale, shift = state[f"states.{at}.1.weight"], state[f"states.{at}.1.bias"]
        return (x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)).relu()

    def attention(source, target):
        weight = state["head.weight"]
        channels = state["states.r0.module.options.plain.0.weight"].shape[0]
        pooled = F.adaptive_avg_pool2d(source, pool)
        total = 0
        for w in weight.view(3, channels, pool, pool):
            w = w if source.shape[1] == channels else w.mean(dim=0, keepdim=True)
            activation = (w * pooled).sum(dim=1, keepdim=True)
            low, high = activation.amin(dim=(2, 3), keepdim=True), activation.amax(dim=(2, 3), keepdim=True)
            total = total + (activation - low) / (high - low) / 3
        return target * F.interpolate(total, target.shape[2:], mode="bilinear", align_corners=False)

    if name in ("rcn-w", "rcn-c", "rcn-f", "rcn-p"):
        at = "conv.module.options.wide"
        channels = len(state[f"states.{at}.0.weight"])
        first = -(-channels // 3)
        second = first + -(-(channels - first) // 2)
        parts = [slice(0, first), slice(first, second), slice(second, channels)]
        x = torch.cat([convolved(maps, at, 3, d, d, part) for d, part in zip((1, 2, 3), parts, strict=True)], dim=1)
    else:
        at = "conv.module.options.standard"
        x = convolved(maps, at, stride=3)
    x = activated(x, at)
    if name == "rcn-c":
        x = attention(maps, x)
    r = activated(convolved(x, "r0.module.options.plain", padding=0), "r0.module.options.plain")
    if name == "rcn-f":
        r = attention(x, r)
    shortcut = name in ("rcn-s", "rcn-c", "rcn-f", "rcn-p")
    before = x
    for n in (1, 2, 3):
        at = f"r{n}.module.options.plain"
        added = before if shortcut else x
        value = convolved(added, at) + convolved(r, at)  # W * X + W * F_(n-1)
        before = added + r
        r = activated(value, at)
    pooled = F.max_pool2d(r, 2)
    if name in ("rcn-a", "rcn-p"):
        pooled = attention(x, pooled)
    features = F.adaptive_avg_pool2d(pooled, pool).flatten(1)
    return features @ state["head.weight"].T + state["head.bias"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["rcn", "rcn-w", "rcn-s", "rcn-a", "rcn-c", "rcn-f", "rcn-p"])
def test_the_papers_networks_are_those_of_its_equations(name, training):
    space = SearchSpace.load("rcn", **SMALL["rcn"])
    torch.manual_seed(0)
    network = Network(space.freeze(space.genotype(name))).double().train(training)
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            nn.init.uniform_(value, 0.5, 1.5) if "running_var" in key else nn.init.normal_(value, std=0.5)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    for n in (2, 3):  # the recurrent convolution is one, unfolded; each state normalises for itself
        assert torch.equal(
            state[f"states.r{n}.module.options.plain.0.weight"], state["states.r1.module.options.plain.0.weight"]
        )
        assert not torch.equal(
            state[f"states.r{n}.module.options.plain.1.weight"], state["states.r1.module.options.plain.1.weight"]
        )
    maps = torch.randn(3, 3, 20, 20, dtype=torch.double)
    torch.testing.assert_close(network(maps), written_out(name, state, maps, training))


def test_dropout_follows_each_convolutional_layer():
    space = SearchSpace.load("rcn")
    network = Network(space.freeze(space.genotype("rcn-f")))
    dropouts = {name: module.p for name, module in network.named_modules() if isinstance(module, Dropout)}
    assert dropouts == {
        "states.conv.module.options.wide.3": 0.5,  # after convolution, batch normalisation and ReLU
        "states.pooled.module.options.plain.1": 0.5,  # after the recurrent layer's maximum pooling
    }


def test_names_that_torch_takes_for_itself_are_names():
    text = """\
version: 1
name: words
input: {channels: 3, size: 6}
states:
  training: {from: input, module: {choose: {half: conv, type: relu, forward: skip}}}
  _modules: {from: [training, {input: relu}], module: {choose: {_buffers: conv, T_destination: relu}}}
  pop: {from: {choose: {keys: _modules, values: [_modules, training]}}}
head: {from: pop, pool: 2}
"""
    space = SearchSpace.parse(text)
    supernet = Network(space.graph).eval()
    maps = torch.randn(1, 3, 6, 6)
    for genotype in space:
        network = Network(space.freeze(genotype)).eval()
        network.load_state_dict({key: supernet.state_dict()[key] for key in network.state_dict()})
        torch.testing.assert_close(network(maps), supernet(maps, one_hot(space.graph, genotype.choices)))


def test_an_op_sized_after_a_state_that_is_gone_is_built():
    text = """\
version: 1
name: gone
input: {channels: 3, size: 6}
states:
  a: {from: input, module: max_pool}
  b: {from: input, module: {op: project, channels: 3, like: a}}
  c: {from: {choose: {one: b, both: [a, b]}}}
head: {from: c, pool: 2}
"""
    space = SearchSpace.parse(text)
    graph = space.freeze(space.genotype({"c.from": "one"}))
    assert [state.name for state in graph.states] == ["b", "c"]
    assert Network(graph)(torch.randn(2, 3, 6, 6)).shape == (2, 3)


def test_two_inputs_of_a_block_may_be_one_state():
    text = """\
version: 1
name: twice
input: {channels: 2, size: 4}
modules:
  edge: {choose: {none: none, conv: conv}}
blocks:
  cell: {inputs: [before, last], output: sum, states: {sum: {keep: 1, from: [{before: edge}, {last: edge}]}}}
states:
  cells: {block: cell, from: [input, input], repeat: 2}
head: {from: cells, pool: 1}
"""
    space = SearchSpace.parse(text)
    torch.manual_seed(0)
    supernet = Network(space.graph)
    maps = torch.randn(2, 2, 4, 4)
    logits = []
    for genotype in space:
        network = Network(space.freeze(genotype))
        network.load_state_dict({key: supernet.state_dict()[key] for key in network.state_dict()})
        logits.append(network(maps))
        torch.testing.assert_close(supernet(maps, one_hot(space.graph, genotype.choices)), logits[-1])
    assert not torch.allclose(*logits)
