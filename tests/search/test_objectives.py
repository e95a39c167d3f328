import pytest
import torch

from nas_mer.errors import UserError
from nas_mer.nn import Network
from nas_mer.search.objectives import OBJECTIVES, check_objectives, measured
from nas_mer.space import SearchSpace

# One 1x1 convolution with bias on 4x4 maps, then 2x2 pooled features to 3 classes.
SPACE = """
version: 1
name: one
input: {channels: 3, size: 4}
states:
  conv: {from: input, module: {op: conv, kernel: 1, channels: 5, bias: true}}
head: {from: conv, pool: 2}
"""


def test_parameters_and_flop_by_hand():
    graph = SearchSpace.parse(SPACE).graph
    found = measured(["uar", "parameters", "flops"], graph, 3)
    assert found["parameters"] == (3 * 5 + 5) + (5 * 4 * 3 + 3)
    pooled = 2 * 2 * 4 * 4 * 5  # pooling is a product with a matrix at most
    assert 2 * (16 * 3 * 5 + 20 * 3) <= found["flops"] <= 2 * (16 * 3 * 5 + 20 * 3) + 2 * pooled


@pytest.mark.usefixtures("two_threads")
def test_latency_is_of_single_maps_without_gradients(monkeypatch):
    seen = []

    def forward(self, maps):
        seen.append((tuple(maps.shape), self.training, torch.is_grad_enabled(), torch.get_num_threads()))

    monkeypatch.setattr(Network, "forward", forward)
    assert measured(["latency"], SearchSpace.parse(SPACE).graph, 3)["latency"] > 0
    assert set(seen) == {((1, 3, 4, 4), False, False, 1)}
    assert len(seen) == 60


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["flops"], "--objectives: uar has to be among them, or else nothing is learnt; write uar,flops"),
        (["uar", "flop"], "no objective is called 'flop'; did you mean 'flops'"),
        (["uar", "uar"], "each may be there once, found uar,uar"),
    ],
)
def test_objectives_that_are_refused(names, message):
    with pytest.raises(UserError, match=message):
        check_objectives(names)


def test_values_are_shown_with_their_units():
    assert [one.in_words(1234.5678) for one in OBJECTIVES.values()] == ["1234.568", "1,235", "1,235", "1234.57 ms"]
    assert OBJECTIVES["latency"].heading == "latency (ms)"
