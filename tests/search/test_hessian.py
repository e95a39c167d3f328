import pytest
import torch
from torch.autograd.functional import hessian

from nas_mer.search.hessian import dominant_eigenvalues, hessians
from nas_mer.search.recipe import EarlyStopping


def losses(alphas):
    """Two independent losses of two decisions each, with mixed terms."""
    a, b = alphas
    return (a.exp() * b.sum(1, keepdim=True)).sum(1) + (a.prod(1) * b[:, 0] ** 2) + b.sin().sum(1)


@pytest.mark.usefixtures("float64")
def test_against_torch():
    a, b = torch.randn(2, 3), torch.randn(2, 2)
    found = hessians(losses, (a, b))
    for row in range(2):
        flat = torch.cat([a[row], b[row]])
        expected = hessian(lambda x: losses((x[None, :3], x[None, 3:]))[0], flat)
        assert torch.allclose(found[row], expected)
        assert torch.allclose(dominant_eigenvalues(losses, (a, b))[row], torch.linalg.eigvalsh(expected).max())


def test_a_quadratic_and_one_that_is_not_finite():
    scale = torch.tensor([[3.0, -5.0], [torch.nan, 1.0]])
    found = dominant_eigenvalues(lambda alphas: (scale * alphas[0] ** 2 / 2).sum(1), (torch.ones(2, 2),))
    assert found[0] == 3
    assert found[1].isnan()


def test_it_is_recorded_where_it_is_asked_for(start):
    search = start(early_stopping={})
    record = search.run_epoch()[0]
    assert record.eigenvalue == search.eigenvalues[0][0]
    assert start().run_epoch()[0].eigenvalue is None


@pytest.mark.parametrize(
    ("eigenvalues", "stops"),
    [
        ([1.0] * 9, False),
        ([1.0] * 5 + [1.34] * 5, True),  # 1 / 1.34 is less than 0.75
        ([1.0] * 5 + [1.33] * 5, False),
        ([1.0] * 4 + [2.0] * 5, False),  # too few for two windows
        ([-3.0] * 5 + [-1.0] * 5, False),
        ([2.0] * 5 + [1.0] * 5, False),
    ],
)
def test_the_rule(eigenvalues, stops):
    assert EarlyStopping().stops(eigenvalues) is stops


def test_epochs_without_alpha_steps_do_not_count(start):
    """The fourth epoch is the first with two eigenvalues of alphas that have moved."""
    search = start(early_stopping={"window": 1, "back": 1, "ratio": 1e9}, warm_up=2)
    for _ in range(3):
        search.run_epoch()
        assert search.places
    search.run_epoch()
    assert bool(search.places) == (search.eigenvalues[0][-1] <= 0)


def test_a_search_that_stops_leaves_and_goes_on_the_same(start, replica):
    rule = {"window": 1, "back": 1, "ratio": 1e9}  # any rise above nothing stops it
    search = start(replica(0), early_stopping=rule)
    while search.places and search.epoch < 5:
        search.run_epoch()
    if search.eigenvalues[0][-1] > 0:
        assert search.places == []
        assert search.epoch == 2
    again = start(replica(0), early_stopping={"window": 9})
    again.run_epoch()
    other = start(replica(0), early_stopping={"window": 9})
    other.restore([again.states()[0]])
    assert other.eigenvalues == again.eigenvalues
    assert other.run_epoch() == again.run_epoch()
