from functools import cache

import pytest
from torch import nn

from nas_mer.nn import Network
from nas_mer.space import find_genotype

MODELS = [
    "ststnet", "off-apexnet", "dual-inception", "capsulenet", "nmer", "dcn-db", "resnet18", "densenet121",
    "model-1", "model-2", "model-3", "model-4",
]  # fmt: skip


@cache
def graph(name, **sizes):
    space, genotype = find_genotype(name)
    return space.with_parameters(**sizes).graph.freeze(genotype.choices)


def network(name, **sizes):
    """A network in double precision, none of whose tensors is as it is at first."""
    built = Network(graph(name, **sizes)).double()
    for key, tensor in built.state_dict().items():
        if key.endswith("running_var"):
            nn.init.uniform_(tensor, 0.5, 2.0)
        elif tensor.is_floating_point():
            nn.init.normal_(tensor, std=0.3)
    return built


@pytest.fixture(name="network", scope="session")
def _network():
    return network


@pytest.fixture(name="graph", scope="session")
def _graph():
    return graph


@pytest.fixture(params=MODELS)
def model(request):
    return request.param
