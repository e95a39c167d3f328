import pytest
import torch
import torch.nn.functional as F

from nas_mer.nn import Network, activation, class_activation, enlarged
from nas_mer.space import SearchSpace

SIZES = {"size": 18, "feature_maps": 4, "pool": 3}


@pytest.fixture(scope="module")
def network():
    """A trained-looking network of the paper, with one hop: running statistics that are not those of a fresh one."""

    def make(name, classes=3):
        torch.manual_seed(0)
        space = SearchSpace.load("rcn", **SIZES)
        network = Network(space.freeze(space.genotype(name)), classes)
        network(torch.randn(16, 3, 18, 18))
        return network.eval()

    return make


def seen(network, state, maps):
    """The feature map of a state, caught where the network computes it."""
    caught = []
    handle = network.states[state].register_forward_hook(lambda module, inputs, output: caught.append(output))
    network(maps)
    handle.remove()
    return caught[0].detach()


@pytest.mark.parametrize("name", ["rcn", "rcn-f", "rcn-p"])
def test_a_class_map_adds_up_to_the_logit_less_the_bias(network, name):
    model, maps = network(name), torch.randn(2, 3, 18, 18)
    found = activation(model, maps)
    torch.testing.assert_close(found.logits, model(maps))
    torch.testing.assert_close(found.classes.sum((2, 3)) + model.head.bias, model(maps))


def test_class_maps_are_the_classifiers_weights_times_the_pooled_output_place_by_place(network):
    model, maps = network("rcn-f"), torch.randn(2, 3, 18, 18)
    pooled = F.adaptive_avg_pool2d(seen(model, "pooled", maps), 3)
    weight = model.head.weight.reshape(3, 4, 3, 3)  # the linear layer sees channels, rows, columns flattened
    found = activation(model, maps).classes
    for n in range(2):
        for label in range(3):
            for row in range(3):
                for column in range(3):
                    total = sum(weight[label, j, row, column] * pooled[n, j, row, column] for j in range(4))
                    assert found[n, label, row, column].item() == pytest.approx(total.item(), abs=1e-5)


def test_a_place_speaks_for_a_class_as_much_as_the_logit_loses_without_it(network):
    model, maps = network("rcn-w"), torch.randn(1, 3, 18, 18)
    features = F.adaptive_avg_pool2d(seen(model, "pooled", maps), 3)
    whole = model.head(features.flatten(1))
    features[:, :, 1, 2] = 0
    torch.testing.assert_close(activation(model, maps).classes[:, :, 1, 2], whole - model.head(features.flatten(1)))


@pytest.mark.parametrize(
    ("name", "hop"), [("rcn-c", ("input", "conv")), ("rcn-f", ("conv", "r0")), ("rcn-p", ("conv", "pooled"))]
)
def test_attention_is_what_multiplies_the_target(network, name, hop):
    """The target's own module, times the map resized, is the target."""
    model, maps = network(name), torch.randn(2, 3, 18, 18)
    found = activation(model, maps).attention
    assert list(found) == [hop]
    source, target = hop
    state = model.states[target]
    caught = []
    handle = state.module.register_forward_hook(lambda module, inputs, output: caught.append(output))
    after = seen(model, target, maps)
    handle.remove()
    size = tuple(after.shape[-2:])
    torch.testing.assert_close(enlarged(found[hop], size).unsqueeze(1) * caught[0].detach(), after)
    value = maps if source == "input" else seen(model, source, maps)
    torch.testing.assert_close(found[hop].flatten(1), class_activation(value, model.head.weight, 3).detach())


def test_a_network_without_hops_has_no_attention(network):
    assert activation(network("rcn-s"), torch.randn(1, 3, 18, 18)).attention == {}


def test_looking_leaves_no_trace(network):
    model, maps = network("rcn-f"), torch.randn(1, 3, 18, 18)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = activation(model, maps)
    assert not found.logits.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_maps_are_enlarged_as_torch_resizes_images():
    maps = torch.rand(2, 4, 5, 5)
    expected = F.interpolate(maps, (12, 20), mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarged(maps, (12, 20)), expected)
    torch.testing.assert_close(enlarged(maps[0, 0], (12, 20)), expected[0, 0])
