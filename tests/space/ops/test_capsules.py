import numpy as np
import pytest
import torch

from nas_mer.space import OPS, Shape


def test_squashing_keeps_directions_and_brings_lengths_below_one():
    torch.manual_seed(0)
    maps = 3 * torch.randn(2, 12, 5, 4, dtype=torch.double)
    before = maps.view(2, 3, 4, 5, 4)  # 3 capsules of 4 channels at each place
    after = OPS["squash"].build(Shape(12, 5, 4), dimensions=4)(maps).view(2, 3, 4, 5, 4)
    length = (before**2).sum(dim=2).sqrt()
    expected = length**2 / (1 + length**2)
    torch.testing.assert_close((after**2).sum(dim=2).sqrt(), expected)
    torch.testing.assert_close(torch.cosine_similarity(before, after, dim=2), torch.ones_like(length))
    lengths = OPS["lengths"].build(Shape(12, 5, 4), dimensions=4)(after.reshape(2, 12, 5, 4))
    torch.testing.assert_close(lengths, expected)


@pytest.mark.parametrize("name", ["squash", "lengths", "capsules"])
def test_capsules_of_length_zero_have_finite_gradients(name):
    more = {"count": 2, "dimensions_in": 4} if name == "capsules" else {"dimensions": 4}
    maps = torch.zeros(2, 8, 3, 3, requires_grad=True)
    out = OPS[name].build(Shape(8, 3, 3), **more)(maps)
    assert not out.any()
    (gradient,) = torch.autograd.grad(out.sum(), maps)
    assert gradient.isfinite().all()


def test_channels_that_are_no_whole_number_of_capsules_are_refused():
    for name, more in {"squash": {}, "lengths": {"dimensions": 8}, "capsules": {"count": 3}}.items():
        with pytest.raises(ValueError, match="12 channels are no whole number of capsules of 8 dimensions"):
            OPS[name].build(Shape(12, 3, 3), **more)


def routed(votes, routings):
    """Procedure 1 of Sabour et al. for votes `(voters, count, dimensions)` of one sample, step by step."""
    voters, count, _ = votes.shape
    b = np.zeros((voters, count))
    for _ in range(routings):
        found = []
        c = np.exp(b) / np.exp(b).sum(axis=1, keepdims=True)
        for j in range(count):
            s = sum(c[i, j] * votes[i, j] for i in range(voters))
            found.append((s @ s) / (1 + s @ s) * s / np.sqrt(s @ s))
        for i in range(voters):
            for j in range(count):
                b[i, j] += votes[i, j] @ found[j]
    return np.stack(found), c


@pytest.mark.parametrize("routings", [1, 2, 3])
def test_routing_is_that_of_the_paper(routings):
    torch.manual_seed(0)
    shape = Shape(8, 2, 3)  # 2 capsules of 4 channels at 6 places
    module = OPS["capsules"].build(shape, count=3, dimensions=5, dimensions_in=4, routings=routings).double()
    torch.nn.init.normal_(module.weight)
    maps = torch.randn(2, *shape, dtype=torch.double, requires_grad=True)
    out = module(maps)
    assert out.shape == (2, 3 * 5, 1, 1)
    weight = module.weight.detach().numpy()  # count x voters x dimensions x dimensions_in
    coefficients = []
    for sample, found in zip(maps.detach().numpy(), out.detach().numpy(), strict=True):
        capsules = [sample[4 * k : 4 * k + 4, y, x] for k in range(2) for y in range(2) for x in range(3)]
        votes = np.stack([[weight[j, i] @ capsule for j in range(3)] for i, capsule in enumerate(capsules)])
        expected, c = routed(votes, routings)
        np.testing.assert_allclose(found.reshape(3, 5), expected, atol=1e-12)
        coefficients.append(c)
    # Gradients take the last coefficients as constants.
    c = torch.from_numpy(np.stack(coefficients))
    voters = maps.view(2, 2, 4, 6).transpose(2, 3).reshape(2, 12, 4)
    s = torch.einsum("nij,jide,nie->njd", c, module.weight, voters)
    length = s.norm(dim=-1, keepdim=True)
    mask = torch.randn(2, 3, 5, dtype=torch.double)
    gradients = (
        torch.autograd.grad((value.reshape(2, 3, 5) * mask).sum(), [maps, module.weight], retain_graph=True)
        for value in (out, s * length / (1 + length**2))
    )
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected)
