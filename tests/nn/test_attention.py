import pytest
import torch
import torch.nn.functional as F

from nas_mer.nn import Network, class_activation
from nas_mer.nn.attention import pooled_to, spread
from nas_mer.space import SearchSpace

SPACE = """
version: 1
name: attending
input: {channels: 3, size: 13}
states:
  conv: {from: input, module: {op: conv, channels: 4, kernel: 3}}
attention: {unit: class_activation, hops: {attention: {none: [], input-conv: input -> conv}}}
head: {from: conv, pool: 5}
genotypes: {attended: {attention: input-conv}}
"""


def naive(source, weight, pool):
    """Eq. 7 place by place."""
    samples, channels, height, width = source.shape
    classes = len(weight)
    maps = weight.reshape(classes, -1, pool, pool)
    attention = torch.zeros(samples, pool, pool, dtype=source.dtype)
    for n in range(samples):
        for c in range(classes):
            activation = torch.zeros(pool, pool, dtype=source.dtype)
            for i in range(pool):
                for j in range(pool):
                    rows = slice(i * height // pool, -(-(i + 1) * height // pool))
                    columns = slice(j * width // pool, -(-(j + 1) * width // pool))
                    for channel in range(channels):
                        same = channels == maps.shape[1]
                        w = maps[c, channel, i, j] if same else maps[c, :, i, j].mean()
                        activation[i, j] += w * source[n, channel, rows, columns].mean()
            low, high = activation.min(), activation.max()
            attention[n] += (activation - low) / (high - low) / classes
    return attention.flatten(1)


@pytest.mark.parametrize(
    ("channels", "maps", "pool", "size"), [(4, 4, 3, (7, 9)), (3, 6, 5, (20, 20)), (2, 5, 2, (3, 2))]
)
def test_agrees_with_the_equation(channels, maps, pool, size):
    torch.manual_seed(0)
    source = torch.randn(2, channels, *size, dtype=torch.double)
    weight = torch.randn(3, maps * pool * pool, dtype=torch.double)
    attention = class_activation(source, weight, pool)
    torch.testing.assert_close(attention, naive(source, weight, pool))
    assert attention.shape == (2, pool * pool)
    assert attention.min() >= 0
    assert attention.max() <= 1


def test_other_channels_than_the_features_are_weighed_by_the_mean():
    source = torch.randn(2, 3, 8, 8)
    weight = torch.randn(4, 6, 9)
    averaged = weight.mean(dim=1, keepdim=True).expand(4, 3, 9)
    torch.testing.assert_close(
        class_activation(source, weight.flatten(1), 3), class_activation(source, averaged.flatten(1), 3)
    )


@pytest.mark.parametrize("size", [5, 7, 20, 28, 33])
@pytest.mark.parametrize("value", [0.0, 0.3, -7.1])
def test_a_constant_map_is_the_identity(size, value):
    """Also where rounding makes the averages over unequal windows differ in the last bits."""
    source = torch.full((2, 4, size, size), value, requires_grad=True)
    weight = torch.randn(3, 4, 1).expand(3, 4, 25).flatten(1).requires_grad_()
    attention = class_activation(source, weight, 5)
    assert (attention == 1).all()
    (attention * torch.randn_like(attention)).sum().backward()
    assert source.grad.isfinite().all()
    assert weight.grad.isfinite().all()


def test_a_class_that_sees_nothing_attends_everywhere():
    torch.manual_seed(0)
    source = torch.rand(2, 4, 6, 6)
    weight = torch.randn(3, 4 * 9)
    weight[1] = 0
    others = class_activation(source, weight[[0, 2]], 3)
    torch.testing.assert_close(class_activation(source, weight, 3), (2 * others + 1) / 3)


def test_gradients_flow_through_weights_and_source():
    torch.manual_seed(0)
    source = torch.randn(2, 3, 5, 5, dtype=torch.double, requires_grad=True)
    weight = torch.randn(2, 3 * 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, w: class_activation(s, w, 2), (source, weight))
    class_activation(source, weight, 2).square().sum().backward()
    assert weight.grad.abs().sum() > 0


def test_the_scale_of_the_weights_does_not_matter():
    source, weight = torch.rand(2, 4, 9, 9), torch.randn(3, 4 * 9)
    torch.testing.assert_close(class_activation(source, weight * 1e-3, 3), class_activation(source, weight, 3))


@pytest.mark.parametrize(("size", "pool"), [((60, 60), 5), ((28, 33), 5), ((7, 10), 3), ((2, 2), 5), ((224, 224), 4)])
def test_pooling_and_resizing_are_torchs(size, pool):
    maps = torch.randn(2, 3, *size).to(memory_format=torch.channels_last)
    torch.testing.assert_close(pooled_to(maps, pool), F.adaptive_avg_pool2d(maps, pool).flatten(2))
    attention = torch.rand(2, pool * pool)
    expected = F.interpolate(attention.view(2, 1, pool, pool), size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(spread(attention, pool, size), expected)
    torch.testing.assert_close(spread(torch.ones(1, pool * pool), pool, size), torch.ones(1, 1, *size))


def test_what_torch_traced_is_not_kept():
    torch.manual_seed(0)
    space = SearchSpace.parse(SPACE)
    network = Network(space.freeze(space.genotype("attended"))).eval()
    maps = torch.randn(2, 3, 13, 13)  # of a size that no other test has pooled before
    programs = [torch.export.export(network, (maps,)) for _ in range(2)]
    logits = network(maps)
    assert type(logits) is torch.Tensor
    assert logits.isfinite().all()
    for program in programs:
        torch.testing.assert_close(program.module()(maps), logits)
