import numpy as np
import pytest
import torch

from nas_mer.search.hypergradient import HYPERGRADIENTS, exact, first_order, second_order


def tensors(*values):
    return tuple(torch.tensor(value, dtype=torch.float64) for value in values)


def leaves(parts):
    return tuple(part.detach().requires_grad_() for part in parts)


# --- DARTS's toy: L_val = a w - 2 a + 1, L_train = w^2 - 2 a w + a^2, several at once ---


def toy_train(w, a):
    return (w[0] ** 2 - 2 * a[0] * w[0] + a[0] ** 2).sum()


def toy_valid(w, a):
    return (a[0] * w[0] - 2 * a[0] + 1).sum()


def toy_unroll(w, xi):
    return lambda gradients: tuple(part - xi * gradient for part, gradient in zip(w, gradients, strict=True))


def toy_fixed_points(order, xi):
    """Where alternating gradient steps of w and a come to rest, from three starts."""
    w, a = tensors([-2.0, 0.5, 7.0]), leaves(tensors([2.0, -1.0, 3.0]))
    for _ in range(400):
        (gradient,) = HYPERGRADIENTS[order](toy_train, toy_valid, w, a, toy_unroll(w, xi), xi)
        a = leaves((a[0] - 0.05 * gradient,))
        w = (w[0] - 0.1 * 2 * (w[0] - a[0].detach()),)
    return w[0].tolist() + a[0].tolist()


@pytest.mark.parametrize("xi", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("order", ["second", "exact"])
def test_the_toy_comes_to_rest_where_the_unrolled_step_says(order, xi):
    """d/da L_val(w - 2 xi (w - a), a) = w' - 2 + 2 xi a is zero at w = w' = a = 2 / (1 + 2 xi).

    With xi = 1/2 one step reaches the inner minimum w* = a, and a = 1 is the true solution: L_val(a, a) = (a - 1)^2.
    """
    assert toy_fixed_points(order, xi) == pytest.approx([2 / (1 + 2 * xi)] * 6)


def test_first_order_takes_the_toys_weight_for_the_minimum():
    """It follows w - 2, and ends at a = 2 whatever xi."""
    assert toy_fixed_points("first", 0.5) == pytest.approx([2] * 6)


@pytest.mark.parametrize("order", ["second", "exact"])
@pytest.mark.parametrize("xi", [0.3, 0.05])
def test_the_toys_hypergradient_in_closed_form(order, xi):
    """The inner loss is quadratic: even finite differences have no error but rounding."""
    w, a = tensors([1.3, -2.0, 0.0]), leaves(tensors([-0.4, 2.0, 0.1]))
    (found,) = HYPERGRADIENTS[order](toy_train, toy_valid, w, a, toy_unroll(w, xi), xi)
    expected = [(w - 2 * xi * (w - a)) - 2 + 2 * xi * a for w, a in zip(w[0].tolist(), a[0].tolist(), strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


# --- a smooth network ---


class Smooth:
    """Mixtures of tanh, softplus and linear units, in float64: weights, decisions, momentum and decay of each."""

    xi, momentum, decay = 0.7, 0.9, 0.05

    def __init__(self, seed=0, count=2):
        draws = torch.Generator().manual_seed(seed)
        self.x, self.y, *tensors = (
            torch.randn(count, *shape, generator=draws, dtype=torch.float64)
            for shape in ((2, 9, 4), (2, 9), (5, 4), (2, 5), (), (5, 4), (2, 5), (), (3,), (2,))
        )
        self.w, self.buffers, self.a = tuple(tensors[:3]), tuple(tensors[3:6]), leaves(tensors[6:])

    def only(self, number):
        """One of the problems, by itself."""
        one = Smooth()
        for name, value in vars(self).items():
            parts = tuple(part[number : number + 1] for part in value)
            setattr(one, name, leaves(parts) if name == "a" else parts if isinstance(value, tuple) else None)
        one.x, one.y = self.x[number : number + 1], self.y[number : number + 1]
        return one

    def loss(self, half, w, a):
        hidden = self.x[:, half] @ w[0].mT
        units = torch.stack((hidden.tanh(), torch.nn.functional.softplus(hidden), hidden))
        mixed = torch.einsum("rk,krnh->rnh", a[0].softmax(1), units)
        out = torch.einsum("rnh,rch,rc->rn", mixed, w[1], a[1].softmax(1)) + w[2][:, None]
        return ((out - self.y[:, half]) ** 2).mean(1).sum()

    def train(self, w, a):
        return self.loss(0, w, a)

    def valid(self, w, a):
        return self.loss(1, w, a)

    def unroll(self, gradients):
        return tuple(
            w - self.xi * (self.momentum * m + gradient + self.decay * w)
            for w, m, gradient in zip(self.w, self.buffers, gradients, strict=True)
        )

    def value(self, a):
        """L_val(w'(a), a)."""
        w = leaves(self.w)
        return self.valid(self.unroll(torch.autograd.grad(self.train(w, a), w)), a).item()

    def hypergradient(self, order):
        return HYPERGRADIENTS[order](self.train, self.valid, self.w, self.a, self.unroll, self.xi)


def differences(value, a, step=1e-5):
    """Central differences of a function of alphas, one coordinate at a time."""
    gradients = [torch.zeros_like(part) for part in a]
    for part, gradient in enumerate(gradients):
        for place in np.ndindex(*gradient.shape):
            sides = []
            for sign in (1, -1):
                moved = [other.detach().clone() for other in a]
                moved[part][place] += sign * step
                sides.append(value(tuple(moved)))
            gradient[place] = (sides[0] - sides[1]) / (2 * step)
    return tuple(gradients)


@pytest.mark.parametrize("seed", range(3))
def test_exact_is_the_derivative_of_the_loss_after_the_step(seed):
    net = Smooth(seed)
    torch.testing.assert_close(net.hypergradient("exact"), differences(net.value, net.a), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_finite_differences_agree_on_a_smooth_network(seed):
    net = Smooth(seed)
    torch.testing.assert_close(net.hypergradient("second"), net.hypergradient("exact"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", HYPERGRADIENTS)
def test_a_problem_does_not_depend_on_those_beside_it(order):
    """One of them with a large gradient: each has finite differences of its own length."""
    net = Smooth(count=3)
    net.y[1] *= 1e6
    for number in range(3):
        beside = tuple(part[number : number + 1] for part in net.hypergradient(order))
        torch.testing.assert_close(net.only(number).hypergradient(order), beside, rtol=1e-6, atol=1e-8)


def test_first_order_is_the_plain_gradient_and_something_else():
    net = Smooth()
    plain = differences(lambda a: net.valid(net.w, a).item(), net.a)
    torch.testing.assert_close(net.hypergradient("first"), plain, rtol=1e-6, atol=1e-7)
    assert all((p - e).norm() > 0.1 * e.norm() for p, e in zip(plain, net.hypergradient("exact"), strict=True))


@pytest.mark.parametrize("order", ["second", "exact"])
def test_without_a_step_all_orders_are_the_first(order):
    net = Smooth()
    net.xi = 0.0
    torch.testing.assert_close(net.hypergradient(order), net.hypergradient("first"))


@pytest.mark.parametrize("function", [first_order, second_order, exact])
def test_nothing_is_left_behind(function):
    net = Smooth()
    w, a = (tuple(part.detach().clone() for part in parts) for parts in (net.w, net.a))
    found = function(net.train, net.valid, net.w, net.a, net.unroll, net.xi)
    assert all(torch.equal(one, other) for one, other in zip((*net.w, *net.a), (*w, *a), strict=True))
    assert all(part.grad is None for part in (*net.w, *net.a))
    assert not any(part.requires_grad for part in found)


@pytest.mark.parametrize("order", HYPERGRADIENTS)
def test_an_alpha_or_weight_that_no_loss_reads_has_no_gradient(order):
    net = Smooth()
    w, a = (*net.w, torch.ones(2, 3, dtype=torch.float64)), (*net.a, *leaves(tensors([[1.0], [2.0]])))
    found = HYPERGRADIENTS[order](net.train, net.valid, w, a, lambda g: (*net.unroll(g[:3]), w[3] - g[3]), net.xi)
    assert torch.equal(found[-1], torch.zeros(2, 1, dtype=torch.float64))
    torch.testing.assert_close(found[:2], net.hypergradient(order))


def test_finite_differences_take_a_weight_at_its_optimum():
    """v = 0: there is nothing to divide by."""
    w, a = tensors([1.0, 2.0]), leaves(tensors([3.0, -1.0]))
    (found,) = second_order(toy_train, lambda w, a: (0 * w[0] + a[0] ** 2).sum(), w, a, toy_unroll(w, 0.1), 0.1)
    assert found.tolist() == pytest.approx([6.0, -2.0])
