import pytest
import torch

from nas_mer.space import OPS, Shape


@pytest.mark.parametrize("size", [8, 7])
def test_skips_zeros_and_projections(size):
    shape = Shape(5, size, size)
    maps = torch.randn(2, *shape)
    half = -(-size // 2)
    assert OPS["skip"].build(shape)(maps) is maps
    assert OPS["skip"].build(shape, stride=2)(maps).shape == (2, 5, half, half)
    assert OPS["none"].build(shape, stride=2)(maps).shape == (2, 5, half, half)
    assert not OPS["none"].build(shape)(maps).any()
    assert OPS["project"].build(shape, channels=7)(maps).shape == (2, 7, size, size)
    smaller = OPS["project"].build(shape, channels=7, like=Shape(1, half, half))
    assert smaller(maps).shape == (2, 7, half, half)
    with pytest.raises(ValueError, match="neither as large"):
        OPS["project"].build(shape, channels=7, like=Shape(1, size + 1, size + 1))


def test_a_factorised_reduction_is_two_convolutions_one_pixel_apart():
    """As DARTS has it; at an odd size the second one looks over the edge, at zeros."""
    reduce = OPS["skip"].build(Shape(2, 7, 6), stride=2).eval()
    maps = torch.randn(1, 2, 7, 6)
    even = torch.einsum("oc,nchw->nohw", reduce.even.weight[:, :, 0, 0], maps.relu()[:, :, ::2, ::2])
    shifted = torch.zeros(1, 2, 4, 3)
    shifted[:, :, :3] = maps.relu()[:, :, 1::2, 1::2]
    odd = torch.einsum("oc,nchw->nohw", reduce.odd.weight[:, :, 0, 0], shifted)
    torch.testing.assert_close(reduce(maps), torch.cat([even, odd], dim=1) / (1 + reduce.norm.eps) ** 0.5)
