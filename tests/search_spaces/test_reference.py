import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from nas_mer import build
from nas_mer.nn import Network, Stack
from nas_mer.placed_yaml import read_yaml
from nas_mer.space import shipped_spaces

SMALL = {  # and nothing left to chance
    "ststnet": {"dropout": 0.0},
    "off-apexnet": {"dropout": 0.0, "units": 8},
    "dual-inception": {"units": 8},
    "capsulenet": {"size": 60, "width": 2, "kernel": 3},
    "nmer": {"dropout": 0.0, "size": 41, "width": 2, "units": 3},
    "dcn-db": {"size": 64, "feature_maps": 3},
    "resnet18": {"size": 33, "width": 2},
    "densenet121": {"size": 49, "growth": 2},
    **{f"model-{number}": {"dropout": 0.0, "feature_maps": 4, "size": 24} for number in range(1, 5)},
}
GUIDE = Path(__file__).parents[2] / "docs" / "reference-models.md"


def layers(network, state):
    """What a state does."""
    return network.states[state].module.options["plain"]


# --- sizes ------------------------------------------------------------------------------------------------------------


def conv(channels_in, channels, kernel, bias=True):
    return channels * (channels_in * kernel**2 + bias)


def linear(features, units):
    return units * (features + 1)


def residual(channels_in, channels):
    """Two convolutions and, where the channels change, a 1x1 one, each with batch normalisation."""
    short = conv(channels_in, channels, 1, False) + 2 * channels if channels_in != channels else 0
    return conv(channels_in, channels, 3, False) + conv(channels, channels, 3, False) + 4 * channels + short


def inception(channels, filters):
    return 4 * conv(channels, filters, 1) + conv(filters, filters, 3) + conv(filters, filters, 5)


STAGES = conv(3, 64, 7, False) + 2 * 64 + 2 * residual(64, 64) + sum(
    residual(channels // 2, channels) + residual(channels, channels) for channels in (128, 256)
)  # fmt: skip
PARAMETERS = {
    "ststnet": sum(conv(3, filters, 3) + 2 * filters for filters in (3, 5, 8)) + linear(16 * 5 * 5, 3),
    "off-apexnet": 2 * (conv(1, 6, 5) + conv(6, 16, 5)) + linear(2 * 16 * 7 * 7, 1024) + linear(1024, 1024)
    + linear(1024, 3),
    "dual-inception": 2 * (inception(1, 6) + inception(24, 16)) + linear(2 * 64 * 7 * 7, 1024) + linear(1024, 3),
    "capsulenet": STAGES + 2 * conv(256, 256, 9) + 3 * (32 * 6 * 6) * 16 * 8 + linear(3, 3),
    "nmer": STAGES + residual(256, 512) + residual(512, 512) + 2 * linear(512, 64) + linear(2 * 64, 3),
    "dcn-db": conv(2, 128, 3, False) + 4 * (conv(128, 128, 1, False) + 2 * conv(128, 128, 3, False))
    + 13 * 2 * 128 + linear(128, 3),
    "resnet18": STAGES + residual(256, 512) + residual(512, 512) + linear(512, 3),
    "densenet121": 7_978_856 - linear(1024, 1000) + linear(1024, 3),  # torchvision's, which has 1000 classes
} | {
    f"model-{1 + layers}": conv(3, 16, 3) + 32 + layers * (conv(16, 16, 1) + conv(16, 16, 3) + 4 * 32)
    + linear(16 * 5 * 5, 3)
    for layers in range(4)
}  # fmt: skip


def test_parameter_counts(model, graph):
    """By hand, and as the guide states them."""
    found = sum(parameter.numel() for parameter in Network(graph(model)).parameters())
    assert found == PARAMETERS[model]
    (row,) = [line for line in GUIDE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{model}`")]
    assert f" {found:,} " in row
    assert f" {graph(model).shapes['input'].height} " in row


def test_published_parameter_counts():
    assert PARAMETERS["resnet18"] == 11_689_512 - linear(512, 1000) + linear(512, 3)
    assert round(PARAMETERS["off-apexnet"] / 1e6, 2) == 2.66  # Zhang et al., Off-TANet, PRICAI 2021
    assert round(PARAMETERS["dual-inception"] / 1e6, 2) == 6.45


def test_published_shapes(graph):
    sides = {"conv1": 64, "conv2": 64, "conv3": 128, "conv4": 256, "conv5": 512}
    assert {name: graph("resnet18", size=224).shapes[name] for name in sides} == {
        "conv1": (64, 56, 56), "conv2": (64, 56, 56), "conv3": (128, 28, 28), "conv4": (256, 14, 14),
        "conv5": (512, 7, 7),
    }  # fmt: skip
    parts = graph("nmer", size=224).shapes
    assert [parts[name] for name in ("conv5", "above", "below", "face")] == [
        (512, 7, 7), (64, 1, 1), (64, 1, 1), (128, 1, 1)
    ]  # fmt: skip
    layers = graph("dcn-db").shapes
    assert [layers[name].height for name in ("conv1", "rconv.1", "rconv.2", "rconv.3", "rconv")] == [55, 27, 13, 6, 3]
    dense = graph("densenet121", size=224).shapes
    assert [dense[name] for name in ("stem", "dense1", "transition1", "dense2", "transition2")] == [
        (64, 56, 56), (256, 56, 56), (128, 28, 28), (512, 28, 28), (256, 14, 14)
    ]  # fmt: skip
    assert [dense[name] for name in ("dense3", "transition3", "dense4")] == [
        (1024, 14, 14), (512, 7, 7), (1024, 7, 7)
    ]  # fmt: skip
    capsules = graph("capsulenet").shapes
    assert [capsules[name] for name in ("conv4", "conv5", "primary", "class", "lengths")] == [
        (256, 28, 28), (256, 20, 20), (32 * 8, 6, 6), (3 * 16, 1, 1), (3, 1, 1)
    ]  # fmt: skip


# --- what they compute, written out -----------------------------------------------------------------------------------


def normed(norm, x):
    """Batch normalisation in evaluation."""
    mean, variance, weight, bias = (
        tensor.view(1, -1, 1, 1) for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def test_ststnet(network):
    torch.manual_seed(0)
    net = network("ststnet").eval()
    maps = torch.randn(3, 3, 28, 28, dtype=torch.double)
    streams = []
    for number, filters in enumerate((3, 5, 8), start=1):
        conv, _, norm, *_ = layers(net, f"stream{number}")
        x = normed(norm, F.conv2d(maps, conv.weight, conv.bias, padding=2).relu())
        assert x.shape == (3, filters, 30, 30)
        streams.append(F.max_pool2d(x, 3, 3, 1))
    features = F.avg_pool2d(torch.cat(streams, dim=1), 2).flatten(1)
    assert features.shape == (3, 400)
    torch.testing.assert_close(net(maps), features @ net.head.weight.T + net.head.bias)


def test_off_apexnet(network):
    torch.manual_seed(0)
    net = network("off-apexnet", units=11).eval()
    maps = torch.randn(3, 3, 28, 28, dtype=torch.double)
    streams = []
    for index, state in enumerate("uv"):
        first, second = (layer for layer in layers(net, state) if hasattr(layer, "weight"))
        x = F.max_pool2d(F.conv2d(maps[:, index : index + 1], first.weight, first.bias, padding=2).relu(), 2)
        streams.append(F.max_pool2d(F.conv2d(x, second.weight, second.bias, padding=2).relu(), 2).flatten(1))
    x = torch.cat(streams, dim=1)
    assert x.shape == (3, 1568)
    for state in ("dense1", "dense2"):
        weight, bias = layers(net, state).parameters()
        x = (x @ weight.T + bias).relu()
    torch.testing.assert_close(net(maps), x @ net.head.weight.T + net.head.bias)


def test_dual_inception(network):
    torch.manual_seed(0)
    net = network("dual-inception", units=11).eval()
    maps = torch.randn(3, 3, 28, 28, dtype=torch.double)

    def applied(state, x):
        for layer in layers(net, state):
            if hasattr(layer, "weight"):
                x = F.conv2d(x, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2).relu()
        return x

    streams = []
    for index, stream in enumerate("uv"):
        x = maps[:, index : index + 1]
        for block in (f"{stream}1", f"{stream}2"):
            parts = [applied(f"{block}/conv{k}x{k}", x) for k in (1, 3, 5)]
            parts.append(applied(f"{block}/pool", F.max_pool2d(x, 3, 1, 1)))
            x = F.max_pool2d(torch.cat(parts, dim=1), 2)
        streams.append(x.flatten(1))
    weight, bias = layers(net, "dense").parameters()
    x = (torch.cat(streams, dim=1) @ weight.T + bias).relu()
    torch.testing.assert_close(net(maps), x @ net.head.weight.T + net.head.bias)


@pytest.mark.parametrize("name", ["off-apexnet", "dual-inception"])
def test_two_streams_do_not_see_the_strain(network, name):
    net = network(name, units=8).eval()
    maps = torch.randn(2, 3, 28, 28, dtype=torch.double, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(maps).sum(), maps)
    assert [bool(gradient[:, channel].any()) for channel in range(3)] == [True, True, False]


def test_residual_blocks_add_what_they_read(network):
    torch.manual_seed(0)
    net = network("resnet18", **SMALL["resnet18"]).eval()
    states = net.values(torch.randn(2, 3, 33, 33, dtype=torch.double))
    x = states["conv1"]
    for block in ("conv2.1", "conv2"):
        x = (x + layers(net, f"{block.partition('.')[0]}/{'1' if '.' in block else '2'}/deep")(x)).relu()
        torch.testing.assert_close(states[block], x)
    for stage in (3, 4, 5):
        x = (layers(net, f"half{stage}/short")(x) + layers(net, f"half{stage}/deep")(x)).relu()
        x = (x + layers(net, f"conv{stage}/deep")(x)).relu()
        torch.testing.assert_close(states[f"conv{stage}"], x)


def test_nmer_averages_the_upper_and_the_lower_face_apart(network):
    torch.manual_seed(0)
    net = network(
        "nmer",
        **SMALL["nmer"],
    ).eval()
    maps = torch.randn(2, 3, 41, 41, dtype=torch.double)
    last = net.values(maps)["conv5"]
    halves = []
    for state, rows in (("above", last[:, :, :1]), ("below", last[:, :, 1:])):
        weight, bias = layers(net, state).parameters()
        halves.append((rows.mean(dim=(2, 3)) @ weight.T + bias).tanh())
    assert last.shape[2] == 2
    torch.testing.assert_close(net(maps), torch.cat(halves, dim=1) @ net.head.weight.T + net.head.bias)


def test_dcn_db(network):
    torch.manual_seed(0)
    net = network("dcn-db", size=70, feature_maps=5).eval()
    maps = torch.randn(2, 3, 70, 70, dtype=torch.double)

    def convolved(state, x):
        conv, norm = (layer for layer in layers(net, state) if hasattr(layer, "weight"))
        return normed(norm, F.conv2d(x, conv.weight, padding=conv.weight.shape[-1] // 2)).relu()

    x = F.max_pool2d(convolved("conv1", maps[:, :2]), 4)
    for number in range(1, 5):
        state = convolved(f"rconv/{number}/r1", x)
        for name in ("r2", "r3"):
            state = convolved(f"rconv/{number}/{name}", x + state)
        x = F.max_pool2d(state, 2)
    torch.testing.assert_close(net(maps), x.mean(dim=(2, 3)) @ net.head.weight.T + net.head.bias)


def test_dense_layers_see_all_before_them(network):
    torch.manual_seed(0)
    net = network("densenet121", **SMALL["densenet121"]).eval()
    states = net.values(torch.randn(2, 3, 49, 49, dtype=torch.double))
    seen = [states["stem"]]
    for number in range(1, 7):
        seen.append(layers(net, f"dense1/{number}/new")(torch.cat(seen, dim=1)))
    torch.testing.assert_close(states["dense1"], torch.cat(seen, dim=1))


def test_a_capsule_for_each_class():
    network = build("capsulenet", classes=5, capsules=5, **SMALL["capsulenet"])
    assert network.head.weight.shape == (5, 5)


# --- as any network ---------------------------------------------------------------------------------------------------


def test_they_are_trained_in_stacks(model, network):
    """Logits and gradients are those of each alone, and finite."""
    torch.manual_seed(0)
    networks = [network(model, **SMALL[model]) for _ in range(2)]
    stack = Stack(networks, torch.device("cpu"))
    stack.draw(torch.zeros(stack.dropouts, 2, dtype=torch.int64))
    maps = torch.randn(2, 3, *networks[0].graph.shapes["input"], dtype=torch.double)
    logits = stack(maps)
    gradients = torch.autograd.grad(logits.sum(), list(stack.parameters.values()), materialize_grads=True)
    for place, one in enumerate(networks):
        alone = one(maps[place])
        torch.testing.assert_close(logits[place], alone)
        expected = torch.autograd.grad(alone.sum(), list(one.parameters()), materialize_grads=True)
        for ours, theirs in zip(gradients, expected, strict=True):
            assert theirs.isfinite().all()
            torch.testing.assert_close(ours[place], theirs)


def test_a_name_means_one_genotype():
    names = [name for file in shipped_spaces().values() for name in read_yaml(file).value.get("genotypes", ())]
    assert len(set(names)) == len(names)


def test_each_tells_its_source():
    for file in shipped_spaces().values():
        if file.parent.name == "reference":
            assert re.match(r'# .* \((.+), "(.+)", .*(20\d\d)\b', file.read_text().replace("\n# ", " ")), file
