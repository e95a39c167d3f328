import itertools
import random
from collections import defaultdict

import pytest
import torch

from nas_mer.nn import Network
from nas_mer.space import SearchSpace
from nas_mer.space.isomorphism import Distinct

EDGES = [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
PRIME = 2**61 - 1


@pytest.fixture(name="cells", scope="module")
def _cells():
    return SearchSpace.load("nasbench201", cells=1, channels=2, size=8)


def ops_of(genotype):
    return {edge: genotype.choices["cell.n{}.n{}".format(*edge)] for edge in EDGES}


def news(space, genotypes):
    """Whether each network is another one than all before."""
    distinct = Distinct()
    return [distinct.add(space.graph.freeze(genotype.choices)) for genotype in genotypes]


def function(ops):
    """What a cell computes if every op is another random function, whichever of its kind is which.

    Two cells are isomorphic just if some matching of their ops makes them the same function, so the least value over
    all ways to hand out the functions tells them apart.
    """
    needed, edges = {3}, []
    for target in (3, 2, 1):
        ways = [(target, source) for source in range(target) if ops[target, source] != "none" and target in needed]
        needed |= {source for _, source in ways}
        edges += ways
    kinds = {op: [edge for edge in edges if ops[edge] == op] for op in ("conv1x1", "conv3x3", "avg_pool")}
    values = []
    for orders in itertools.product(*(itertools.permutations(members) for members in kinds.values())):
        seeds = {
            edge: (kind + 2) * 10**9 + number for kind, part in enumerate(orders) for number, edge in enumerate(part)
        }
        value = {0: 12345}
        for target in (1, 2, 3):
            ends = (
                value[s] if ops[t, s] == "skip" else applied(seeds[t, s], value[s]) for t, s in edges if t == target
            )
            value[target] = sum(ends) % PRIME
        values.append(value[3])
    return [len(part) for part in kinds.values()], min(values)


def applied(seed, x):
    return (pow(x, 5, PRIME) * seed + x * x + seed * seed) % PRIME


def test_classes_of_cells_are_those_of_their_functions(cells):
    rng = random.Random(0)
    genotypes = [cells.sample(rng) for _ in range(800)]
    functions = [function(ops_of(genotype)) for genotype in genotypes]
    expected = [number == functions.index(same) for number, same in enumerate(functions)]
    assert news(cells, genotypes) == expected
    assert 100 < expected.count(False) < 400


def network_of(space, genotype):
    """The network with weights that depend on the kind of a layer alone, so that isomorphic networks are equal."""
    network = Network(space.freeze(genotype)).double().eval()
    for parameter in network.parameters():
        torch.manual_seed(parameter.numel())
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def test_merged_genotypes_are_equal_networks(cells):
    rng = random.Random(1)
    maps = torch.randn(2, 3, 8, 8, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    outputs = set()
    genotypes = [cells.sample(rng) for _ in range(400)]
    by_function = defaultdict(list)
    for genotype in genotypes:
        by_function[str(function(ops_of(genotype)))].append(genotype)
    pairs = [group[:2] for group in by_function.values() if len(group) > 1][:12]
    assert len(pairs) == 12
    for one, other in pairs:
        assert news(cells, [one, other]) == [True, False]
        first, second = network_of(cells, one), network_of(cells, other)
        assert sum(p.numel() for p in first.parameters()) == sum(p.numel() for p in second.parameters())
        torch.testing.assert_close(first(maps), second(maps))
        outputs.add(round(float(first(maps).detach().sum()), 9))
    assert len(outputs) == 12


def test_attention_placements_are_different_networks():
    space = SearchSpace.load("rcn")
    assert news(space, space) == [True] * 56


def parse(states, hops="{}"):
    return SearchSpace.parse(f"""\
version: 1
name: pair
input: {{channels: 2, size: 4}}
states:
{states}
attention: {{hops: {hops}}}
head: {{from: out, pool: 2}}
""")


@pytest.mark.parametrize(
    ("states", "same"),
    [
        # An identity in between, a sum of a sum, the other order of a concatenation, weights shared or not.
        ("  out: {from: input, module: {choose: {a: [relu, skip, conv], b: [relu, conv]}}}", True),
        ("  out: {from: input, module: {choose: {a: [relu, conv], b: [conv, relu]}}}", False),
        ("  out: {from: input, module: {choose: {a: {op: conv, share: x}, b: {op: conv, share: y}}}}", False),
        (
            "  x: {from: [{input: relu}]}\n  y: {from: [input, x]}\n  z: {from: [y, {input: conv}]}\n"
            "  out: {from: {choose: {a: [z, x], b: [z, {input: relu}]}}}",
            False,  # b applies ReLU once more
        ),
        (
            "  x: {from: input, module: relu}\n  y: {from: input, module: conv}\n"
            "  out: {combine: concat, from: {choose: {a: [x, y], b: [y, x]}}}",
            False,
        ),
        ("  y: {from: input, module: conv}\n  out: {from: {choose: {a: [input, y], b: [y, input]}}}", True),
        (
            "  x: {from: input, module: conv}\n  y: {from: input, module: conv}\n  sum: {from: [input, y]}\n"
            "  out: {from: {choose: {a: [x, sum], b: [x, input, y]}}}",
            True,
        ),
        ("  out: {from: input, module: {choose: {a: none, b: [none, none]}}}", True),
    ],
)
def test_what_is_the_same_network(states, same):
    space = parse(states)
    assert news(space, space) == [True, not same]


def test_the_order_of_hops_does_not_count():
    states = "  x: {from: input, module: conv}\n  y: {from: x, module: conv}\n  out: {from: y, module: conv}"
    space = parse(states, "{d: {a: [x -> out, y -> out], b: [y -> out, x -> out], c: [x -> out], e: [x -> y]}}")
    assert news(space, [space.genotype({"d": option}) for option in "abce"]) == [True, False, True, True]


def test_top_leaves_out_isomorphic_ones():
    space = parse("  y: {from: input, module: conv}\n  out: {from: {choose: {a: [input, y], b: [y, input]}}}")
    weights = {"out.from": {"a": 0.4, "b": 0.6}}
    assert [g.choices["out.from"] for g in space.top(weights, 2)] == ["b"]
    assert [g.choices["out.from"] for g in space.top(weights, 2, distinct=False)] == ["b", "a"]
