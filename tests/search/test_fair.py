import torch

from nas_mer.search.fair import FairSearch, zero_one


def test_the_loss_is_0_at_the_middle_and_a_quarter_below_at_the_ends():
    middle, ends = torch.zeros(1, 4), torch.tensor([[60.0, -60.0, 60.0, -60.0]])
    assert zero_one((middle, middle)).item() == 0
    assert zero_one((ends,)).item() == -0.25
    assert zero_one((middle, ends)).item() == -0.125


def test_the_pull_is_the_closed_form(space, start):
    plain = start(relaxation="sigmoid", noise=1.0)
    fair = FairSearch(space, plain.inputs, plain.replicas, plain.recipe)
    batch = torch.arange(7)[None], torch.arange(14, 21)[None]
    noise = tuple(plain.alphas.values())
    pairs = zip(*(one.hypergradient(*batch, 0.1, noise) for one in (plain, fair)), strict=True)
    count = sum(alpha.shape[1] for alpha in noise)
    for (without, pulled), alpha in zip(pairs, noise, strict=True):
        s = alpha.detach().sigmoid()
        expected = -10 * 2 / count * (s - 0.5) * s * (1 - s)
        assert torch.allclose(pulled - without, expected, atol=1e-6)
