import json
import random

import networkx as nx
import pytest

from nas_mer.view import architecture, decidedness, draw_architecture
from nas_mer.view.exchange import flat, plain


@pytest.fixture(params=[("rcn", "space"), ("rcn", "weights"), ("mixed", "weights"), ("branches", "genotype")])
def drawn(request, load, random_weights):
    """A space, and what of it is drawn."""
    name, mode = request.param
    space = load(name)
    genotype = {"genotype": space.sample(random.Random(0))}
    return space, {"space": {}, "weights": {"weights": random_weights(space)}, "genotype": genotype}[mode]


@pytest.fixture
def written(drawn, tmp_path):
    def write(suffix):
        space, given = drawn
        draw_architecture(space, tmp_path / f"graph.{suffix}", **given)
        return tmp_path / f"graph.{suffix}"

    return write


@pytest.fixture
def graph(drawn):
    space, given = drawn
    return plain(architecture(space, **given))


def test_json_is_read_back(written, graph):
    read = nx.node_link_graph(json.loads(written("json").read_text()), edges="edges")
    assert nx.utils.graphs_equal(read, graph)


def test_graphml_is_read_back(written, graph):
    read = nx.read_graphml(written("graphml"), force_multigraph=True)
    expected = flat(graph)
    assert read.graph.items() >= expected.graph.items()
    assert dict(read.nodes(data=True)) == dict(expected.nodes(data=True))
    assert list(read.edges(keys=True, data=True)) == list(expected.edges(keys=True, data=True))


def test_dot_is_read_back(written, graph):
    read = nx.nx_pydot.read_dot(written("dot"))
    expected = flat(graph)
    assert values(read.graph["graph"], expected.graph) == expected.graph
    assert {
        name.strip('"'): values(data, expected.nodes[name.strip('"')]) for name, data in read.nodes(data=True)
    } == dict(expected.nodes(data=True))
    edges = [(s.strip('"'), t.strip('"'), key, data) for s, t, key, data in read.edges(keys=True, data=True)]
    found = {key: (s, t, values(data, expected.edges[s, t, key])) for s, t, key, data in edges}
    assert found == {key: (s, t, data) for s, t, key, data in expected.edges(keys=True, data=True)}


def values(data, like):
    """What DOT's texts stand for."""
    found = {}
    for name, text in data.items():
        name = name.removeprefix("nas_")
        text = json.loads(text)
        found[name] = text if isinstance(like[name], str) else json.loads(text)
    return found


def test_it_holds_what_the_picture_shows(load, random_weights):
    space = load("rcn")
    weights = random_weights(space)
    (best,) = space.top(weights, 1)
    graph = plain(architecture(space, weights))
    assert graph.graph["genotype"] == best.choices
    assert graph.graph["joint"] == pytest.approx(best.weight)
    assert graph.graph["decided"] == {name: decidedness(options.values()) for name, options in weights.items()}
    for decision, options in graph.graph["decisions"].items():
        assert {option["name"]: option["weight"] for option in options} == weights[decision]
        assert [option["name"] for option in options if option["chosen"]] == [best.choices[decision]]
    assert [node for node, data in graph.nodes(data=True) if data["shared"] == ["recurrent"]] == ["r1", "r2", "r3"]
    hops = [data for *_, data in graph.edges(data=True) if data["kind"] == "hop"]
    assert {data["choices"]["attention"]: data["weight"] for data in hops}.items() <= weights["attention"].items()
    assert {data["length"] for data in hops} == {1, 2, 3, 5}
    assert sum(data["chosen"] for data in hops) == (best.choices["attention"] != "none")
