import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nas_mer.search.relaxation import RELAXATIONS, uniform_noise

# Closed forms, in numpy.
MIXTURES = {
    "softmax": lambda a, u: np.exp(a) / np.exp(a).sum(),
    "sum": lambda a, u: a / a.sum(),
    "sigmoid": lambda a, u: 1 / (1 + np.exp(-a)),
    "gumbel": lambda a, u: np.exp(a) / -np.log(u) / (np.exp(a) / -np.log(u)).sum(),
}
RANKINGS = {
    "softmax": lambda a: np.exp(a) / np.exp(a).sum(),
    "sum": lambda a: a / a.sum(),
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)) / (1 / (1 + np.exp(-a))).sum(),
    "gumbel": lambda a: np.exp(a) / np.exp(a).sum(),
}
alphas = st.lists(st.floats(1e-6, 20), min_size=1, max_size=6).map(np.array)  # positive: `sum` takes no others


@pytest.mark.parametrize("name", RELAXATIONS)
@given(alpha=alphas, seed=st.integers(0, 99))
def test_mixtures_and_rankings_in_closed_form(name, alpha, seed):
    noise = np.random.default_rng(seed).uniform(0.01, 0.99, len(alpha))
    relaxation = RELAXATIONS[name]
    mixture = relaxation.mixture(torch.from_numpy(alpha), torch.from_numpy(noise))
    np.testing.assert_allclose(mixture, MIXTURES[name](alpha, noise), rtol=1e-9)
    weights = relaxation.weights(torch.from_numpy(alpha)).numpy()
    np.testing.assert_allclose(weights, RANKINGS[name](alpha), rtol=1e-9)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    if name != "gumbel":
        assert not relaxation.noisy
        order = np.argsort(alpha, kind="stable")
        assert (np.diff(weights[order]) >= 0).all()


@pytest.mark.parametrize("name", RELAXATIONS)
def test_each_row_is_a_decision_of_its_own(name):
    """Stacked searches have a row each."""
    alpha, noise = (torch.rand(4, 5, generator=torch.Generator().manual_seed(seed)) + 0.01 for seed in (0, 1))
    noise = noise.clamp(max=0.99)
    relaxation = RELAXATIONS[name]
    for row in range(4):
        torch.testing.assert_close(relaxation.mixture(alpha, noise)[row], relaxation.mixture(alpha[row], noise[row]))
        torch.testing.assert_close(relaxation.weights(alpha)[row], relaxation.weights(alpha[row]))


def test_only_sum_needs_a_floor():
    assert RELAXATIONS["sum"].least > 0
    assert all(RELAXATIONS[name].least == -np.inf for name in RELAXATIONS.keys() - {"sum"})


def test_gumbel_noise_draws_options_as_often_as_their_ranking_weight_says():
    """The Gumbel-max theorem: the greatest of alpha plus noise is option i with probability softmax(alpha)_i."""
    alpha = torch.tensor([0.0, 1.0, -0.5], dtype=torch.float64)
    draws = torch.Generator().manual_seed(0)
    relaxation = RELAXATIONS["gumbel"]
    mixtures = torch.stack([relaxation.mixture(alpha, uniform_noise(alpha.shape, draws)) for _ in range(4000)])
    counts = mixtures.argmax(1).bincount(minlength=3).numpy()
    assert stats.chisquare(counts, 4000 * relaxation.weights(alpha).numpy()).pvalue > 1e-3
    torch.testing.assert_close(mixtures.sum(1), torch.ones(4000, dtype=torch.float64))


def test_noise_is_uniform():
    noise = uniform_noise(torch.Size([100_000]), torch.Generator().manual_seed(0))
    assert stats.kstest(noise.numpy(), "uniform").pvalue > 1e-3


def test_noise_at_its_ends_is_finite_still(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, generator: torch.tensor([0.0, 1.0, 0.5]))
    noise = uniform_noise(torch.Size([3]), torch.Generator())
    assert RELAXATIONS["gumbel"].mixture(torch.zeros(3), noise).isfinite().all()
