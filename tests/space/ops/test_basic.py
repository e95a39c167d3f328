import re

import pytest
import torch
from torch import nn

from nas_mer.space import OPS, Shape


@pytest.mark.parametrize(
    ("channels_in", "channels", "kernel", "stride", "bias"),
    [(3, 16, 3, 3, True), (3, 7, 5, 1, False), (16, 16, 3, 1, True), (5, 8, 3, 2, False), (2, 3, 1, 2, True)],
)
def test_a_wide_convolution_is_three_dilated_ones_side_by_side(channels_in, channels, kernel, stride, bias):
    shape = Shape(channels_in, 20, 17)
    wide = (
        OPS["conv"]
        .build(shape, channels=channels, kernel=kernel, stride=stride, dilations=[1, 2, 3], bias=bias)
        .double()
    )
    share, more = divmod(channels, 3)
    parts, start = [], 0
    for dilation in (1, 2, 3):
        size = share + (dilation <= more)  # as even as can be
        part = nn.Conv2d(
            channels_in, size, kernel, stride, dilation * (kernel // 2), dilation, bias=bias, dtype=torch.double
        )
        with torch.no_grad():
            part.weight.copy_(wide.weight[start : start + size])
            if bias:
                part.bias.copy_(wide.bias[start : start + size])
        parts.append(part)
        start += size
    assert start == channels

    maps = torch.randn(2, *shape, dtype=torch.double, requires_grad=True)
    expected = torch.cat([part(maps) for part in parts], dim=1)
    torch.testing.assert_close(wide(maps), expected)
    mask = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad((wide(maps) * mask).sum(), wide.weight)
    gradients = torch.autograd.grad((expected * mask).sum(), [part.weight for part in parts])
    torch.testing.assert_close(gradient, torch.cat(gradients))
    standard = OPS["conv"].build(shape, channels=channels, kernel=kernel, stride=stride, bias=bias)
    assert [p.shape for p in standard.parameters()] == [p.shape for p in wide.parameters()]


def test_a_standard_convolution_is_torchs():
    ours = OPS["conv"].build(Shape(4, 9, 9), channels=6, kernel=5, stride=2, groups=2)
    theirs = nn.Conv2d(4, 6, 5, stride=2, padding=2, groups=2)
    theirs.load_state_dict(ours.state_dict())
    maps = torch.randn(2, 4, 9, 9)
    torch.testing.assert_close(ours(maps), theirs(maps))
    assert OPS["conv"].build(Shape(4, 9, 9)).out_channels == 4


def test_pooling_does_not_count_the_padding():
    ones = torch.ones(1, 2, 5, 5)
    pool = OPS["avg_pool"].build(Shape(2, 5, 5), kernel=3, stride=1, padding=1)
    torch.testing.assert_close(pool(ones), ones)


def test_a_convolution_may_have_another_padding():
    ours = OPS["conv"].build(Shape(3, 28, 28), channels=5, padding=2)
    theirs = nn.Conv2d(3, 5, 3, padding=2)
    theirs.load_state_dict(ours.state_dict())
    maps = torch.randn(2, 3, 28, 28)
    assert ours(maps).shape == (2, 5, 30, 30)
    assert torch.equal(ours(maps), theirs(maps))
    assert OPS["conv"].build(Shape(3, 28, 28), kernel=9, stride=2, padding=0)(maps).shape == (2, 3, 10, 10)
    with pytest.raises(ValueError, match="each of several dilations has a padding of its own; leave 'padding' out"):
        OPS["conv"].build(Shape(3, 28, 28), dilations=[1, 2], padding=1)


def test_adaptive_pooling_averages_cells_and_repeats_what_is_smaller():
    pool = OPS["adaptive_avg_pool"].build(Shape(2, 6, 6), size=3)
    maps = torch.randn(4, 2, 6, 6)
    torch.testing.assert_close(pool(maps), maps.view(4, 2, 3, 2, 3, 2).mean(dim=(3, 5)))
    assert torch.equal(pool(maps[..., :1, :1]), maps[..., :1, :1].expand(4, 2, 3, 3))


def test_a_dense_layer_sees_all_of_the_map():
    dense = OPS["linear"].build(Shape(3, 4, 5), units=7)
    weight, bias = dense.parameters()
    assert weight.shape == (7, 3 * 4 * 5)
    maps = torch.randn(2, 3, 4, 5)
    expected = torch.einsum("uchw,nchw->nu", weight.view(7, 3, 4, 5), maps) + bias
    torch.testing.assert_close(dense(maps), expected[..., None, None])
    assert OPS["linear"].build(Shape(3, 4, 5), units=1)(maps).shape == (2, 1, 1, 1)


def test_channels_are_selected_in_the_order_given():
    maps = torch.randn(2, 3, 4, 4)
    assert torch.equal(
        OPS["select"].build(Shape(3, 4, 4), indices=[2, 0])(maps), torch.stack([maps[:, 2], maps[:, 0]], 1)
    )
    with pytest.raises(ValueError, match=re.escape("its channels are 0 to 2, there is no 3")):
        OPS["select"].build(Shape(3, 4, 4), indices=[0, 3])


@pytest.mark.parametrize("rows", [2, 6, 7])
def test_the_halves_are_all_rows(rows):
    maps = torch.randn(2, 3, rows, 4)
    upper, lower = (OPS["half"].build(Shape(3, rows, 4), part=part)(maps) for part in ("upper", "lower"))
    assert torch.equal(torch.cat([upper, lower], dim=2), maps)
    assert lower.shape[2] - upper.shape[2] == rows % 2
    with pytest.raises(ValueError, match="a map of one row has no halves"):
        OPS["half"].build(Shape(3, 1, 4), part="upper")
