import math
import random
from dataclasses import replace

import networkx as nx
import pytest

from nas_mer.errors import UserError
from nas_mer.space import SearchSpace
from nas_mer.view import architecture
from nas_mer.view.architecture import HEAD, panels

HOPS = {
    "input-conv": 1, "conv-r0": 1, "r0-r1": 1, "r1-r2": 1, "r2-r3": 1,
    "input-r0": 2, "conv-r1": 2, "r0-r2": 2, "r1-r3": 2,
    "input-r1": 3, "conv-r2": 3, "r0-r3": 3,
}  # fmt: skip


def ways(graph, kind="flow"):
    """(source, target, choices) of all edges of a kind."""
    return [(s, t, d["choices"]) for s, t, d in graph.edges(data=True) if d["kind"] == kind]


def by_pair(found):
    return sorted(found, key=lambda way: (way[0], way[1], sorted(way[2].items())))


@pytest.fixture(scope="module")
def rcn():
    return SearchSpace.load("rcn")


def test_the_graph_of_a_space_holds_all_states_options_and_hops(rcn):
    graph = architecture(rcn)
    assert list(graph) == ["input", "conv", "r0", "in1", "r1", "in2", "r2", "in3", "r3", "pooled", HEAD]
    chain = [("input", "conv"), ("conv", "r0"), ("in1", "r1"), ("in2", "r2"), ("in3", "r3"), ("r3", "pooled")]
    fixed = [*chain, ("pooled", HEAD), ("conv", "in1"), ("r0", "in1"), ("r1", "in2"), ("r2", "in3")]
    chosen = [
        *[("conv", "in2", {"recurrent": "plain"}), ("in1", "in2", {"recurrent": "shortcut"})],
        *[("conv", "in3", {"recurrent": "plain"}), ("in2", "in3", {"recurrent": "shortcut"})],
    ]
    assert by_pair(ways(graph)) == by_pair([*((s, t, {}) for s, t in fixed), *chosen])
    hops = {d["choices"]["attention"]: (s, t, d["length"]) for s, t, d in graph.edges(data=True) if d["kind"] == "hop"}
    assert hops.pop("parallel") == ("conv", "pooled", 5)
    assert hops == {name: (*name.split("-"), length) for name, length in HOPS.items()}
    assert [option.name for option in graph.nodes["conv"]["options"]] == ["standard", "wide"]
    assert graph.nodes["conv"]["details"] == {"wide": "dilations 1, 2, 3"}
    assert graph.nodes["conv"]["ops"] == ("conv 3\u00d73", "stride 3", "BN", "ReLU", "dropout")
    assert {name for name, data in graph.nodes(data=True) if data["shared"] == ("recurrent",)} == {"r1", "r2", "r3"}
    assert all(data["weight"] is None and not data["chosen"] for _, _, data in graph.edges(data=True))


def test_the_graph_of_a_genotype_holds_only_what_it_leaves(rcn):
    graph = architecture(rcn, genotype=rcn.genotype("rcn-f"))
    assert ways(graph, "hop") == [("conv", "r0", {"attention": "conv-r0"})]
    choice = {"recurrent": "shortcut"}
    assert [way for way in ways(graph) if way[2]] == [("in1", "in2", choice), ("in2", "in3", choice)]
    assert set(graph.predecessors("in3")) == {"in2", "r2"}
    assert [option.name for option in graph.nodes["conv"]["options"]] == ["wide"]


def test_a_genotype_alone_has_the_states_and_ways_of_its_frozen_graph(space):
    rng = random.Random(1)
    for genotype in (space.sample(rng) for _ in range(3)):
        graph, frozen = architecture(space, genotype=genotype), space.freeze(genotype)
        assert set(graph) == {"input", HEAD} | {state.name for state in frozen.states}
        expected = [(edge.source, state.name) for state in frozen.states for edge in state.edges]
        assert sorted(way[:2] for way in ways(graph)) == sorted([*expected, (frozen.output, HEAD)])
        expected = [(hop.source, state.name) for state in frozen.states for hop in state.hops]
        assert sorted(way[:2] for way in ways(graph, "hop")) == sorted(expected)


def test_edges_that_a_genotype_does_not_mention_are_dropped():
    space = SearchSpace.load("darts_cnn")
    whole = space.genotype("darts-v2")
    short = replace(whole, choices={name: option for name, option in whole.choices.items() if option != "none"})
    drawn = [architecture(space, genotype=genotype) for genotype in (short, whole)]
    assert nx.utils.graphs_equal(*drawn)


def test_edges_weigh_what_their_choices_weigh_together(space, random_weights):
    weights = random_weights(space)
    graph = architecture(space, weights)
    for _, _, data in graph.edges(data=True):
        assert data["weight"] == pytest.approx(math.prod(weights[d][o] for d, o in data["choices"].items()))
    for _, data in graph.nodes(data=True):
        assert {o.name: o.weight for o in data["options"]} == (weights[data["decision"]] if data["decision"] else {})


def test_the_weights_of_ways_that_exclude_each_other_sum_to_one(load, random_weights):
    space = load("nasbench201")
    graph = architecture(space, random_weights(space))
    for state in ("stage1.2.n1", "stage1.2.n2", "stage2"):
        for source in set(graph.predecessors(state)):
            assert sum(way["weight"] for way in graph[source][state].values()) == pytest.approx(1)


def test_the_genotype_of_the_greatest_weight_is_marked_unless_another_is_given(rcn, random_weights):
    weights = random_weights(rcn)
    best = {decision: max(options, key=options.get) for decision, options in weights.items()}
    for genotype, expected in ((None, best), (rcn.genotype("rcn-f"), rcn.genotype("rcn-f").choices)):
        graph = architecture(rcn, weights, genotype)
        marked = {name: [o.name for o in options if o.chosen] for name, options in graph.graph["decisions"].items()}
        assert marked == {decision: [option] for decision, option in expected.items()}
        for _, _, way in graph.edges(data=True):
            assert way["chosen"] == all(expected[decision] == option for decision, option in way["choices"].items())


def test_missing_weights_and_foreign_genotypes_are_named(rcn, random_weights):
    weights = random_weights(rcn)
    del weights["attention"]["none"], weights["conv"]
    with pytest.raises(UserError, match=r"rcn: none for conv: standard, conv: wide, attention: none$"):
        architecture(rcn, weights)
    with pytest.raises(UserError, match="belongs to space 'rcn_hops'"):
        architecture(rcn, genotype=next(iter(SearchSpace.load("rcn_hops"))))


def test_a_space_without_blocks_is_one_panel(rcn):
    (panel,) = panels(architecture(rcn))
    assert panel.title == ""
    assert nx.utils.graphs_equal(panel.graph, architecture(rcn))


def test_blocks_are_drawn_once_and_stand_as_one_node_in_the_network(load):
    network, cell, residual = panels(architecture(load("nasbench201")))
    assert list(network.graph) == ["input", "stem", "stage1", "half", "stage2", "quarter", "stage3", "last", HEAD]
    assert list(network.graph.edges()) == list(nx.utils.pairwise(network.graph))
    assert [network.graph.nodes[use]["repeat"] for use in ("stage1", "half")] == [5, 1]
    assert network.graph.nodes["stage2"]["shape"] == "32\u00d716\u00d716"
    assert (cell.title, cell.places) == ("cell", "stage1 \u00d75, stage2 \u00d75, stage3 \u00d75")
    pairs = {("n0", "n1"), ("n0", "n2"), ("n1", "n2"), ("n0", "n3"), ("n1", "n3"), ("n2", "n3")}
    assert set(cell.graph.edges()) == pairs
    for source, target in pairs:
        found = [way["choices"] for way in cell.graph[source][target].values()]
        options = ("avg_pool", "conv1x1", "conv3x3", "none", "skip")
        assert found == [{f"cell.{target}.{source}": option} for option in options]
    assert cell.graph.nodes["n3"]["output"]
    assert not cell.graph.nodes["n2"]["output"]
    assert (residual.title, set(residual.graph.edges())) == ("residual", {("x", "deep"), ("x", "sum"), ("deep", "sum")})


def test_a_block_that_reads_the_same_state_twice_has_both_its_inputs(load):
    network, normal, reduction = panels(architecture(load("darts_cnn")))
    assert {("stage1", "stage2"), ("stage1", "half"), ("half", "stage2")} <= set(network.graph.edges())
    for cell in (normal, reduction):
        assert [name for name, data in cell.graph.nodes(data=True) if data["kind"] == "input"] == ["before", "last"]
        assert list(cell.graph.successors("before")) == ["c0"]
        assert list(cell.graph.successors("last")) == ["c1"]
        nodes = ["c0", "c1", "n2", "n3", "n4", "n5"]
        edges = {(s, t) for i, t in enumerate(nodes) for s in nodes[:i] if t not in ("c0", "c1")}
        assert {(s, t) for s, t, way in cell.graph.edges(data=True) if way["choices"]} == edges


def test_repetitions_that_decide_for_themselves_have_panels_of_their_own(load):
    found = panels(architecture(load("branches")))
    assert [(panel.title, panel.places) for panel in found] == [
        ("", ""), ("inception", "s.1"), ("inception", "s.2"), ("inception", "t"),
    ]  # fmt: skip
    assert [panel.graph.nodes["three"]["decision"] for panel in found[1:]] == ["s.1.three", "s.2.three", "t.three"]
