import pytest
import torch
import torch.nn.functional as F

from nas_mer.nn import Network
from nas_mer.space import SearchSpace

SMALL = {"feature_maps": 4, "dropout": 0.0, "size": 24}


def rconv(net, layer, x):
    """A recurrent layer, Eq. 3 and Table I."""
    state = {name: net.states[f"{layer}/{name}"].module.options["plain"] for name in ("r0", "r1", "r2", "r3")}
    r = state["r0"](x)
    for name in ("r1", "r2", "r3"):
        r = state[name](x + r)
    return F.max_pool2d(r, 2)


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_model_is_a_convolution_and_so_many_recurrent_layers(network, depth):
    torch.manual_seed(0)
    net = network(f"model-{depth + 1}", **SMALL).eval()
    maps = torch.randn(2, 3, 24, 24, dtype=torch.double)
    x = net.states["conv"].module.options["plain"](maps)
    assert x.shape == (2, 4, 8, 8)
    for layer in range(1, depth + 1):
        x = rconv(net, f"rconv{layer}", x)
    features = F.adaptive_avg_pool2d(x, 5).flatten(1)
    torch.testing.assert_close(net(maps), features @ net.head.weight.T + net.head.bias)


def test_model_2_is_the_rcn(network):
    """Of the same weights: not a bit of the output differs but by the pooling's rounding."""
    torch.manual_seed(0)
    ours = network("model-2", size=60).eval()
    space = SearchSpace.load("rcn")
    rcn = Network(space.freeze(space.genotype("rcn"))).double().eval()
    names = {"conv": "conv", **{f"rconv1/{r}": r for r in ("r0", "r1", "r2", "r3")}}
    for mine, theirs in names.items():
        (option,) = rcn.states[theirs].module.options.values()
        option.load_state_dict(ours.states[mine].module.options["plain"].state_dict())
    rcn.head.load_state_dict(ours.head.state_dict())
    maps = torch.randn(2, 3, 60, 60, dtype=torch.double)
    torch.testing.assert_close(ours(maps), rcn(maps))


def test_recurrent_layers_have_weights_of_their_own(network):
    net = network("model-4", **SMALL)
    weights = [net.states[f"rconv{layer}/r1"].module.options["plain"][0].weight for layer in (1, 2, 3)]
    assert len({id(weight) for weight in weights}) == 3
    for layer, weight in enumerate(weights, start=1):
        for state in ("r2", "r3"):
            assert net.states[f"rconv{layer}/{state}"].module.options["plain"][0].weight is weight
