import pytest
import torch

from nas_mer.train.optimizers import Adam, Momentum
from nas_mer.train.recipe import Sgd

SHAPES = {"conv.weight": (3, 4, 2, 3, 3), "conv.bias": (3, 4), "scale": (3,)}
RATES = [0.1, 0.1, 0.03, 0.2, 0.01, 0.01]
SGD = [
    {"momentum": 0.0},
    {"momentum": 0.0, "weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.7, "weight_decay": 0.1},
    {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
]
ADAM = [
    {"betas": (0.9, 0.999), "weight_decay": 0.0},
    {"betas": (0.5, 0.999), "weight_decay": 1e-3},
    {"betas": (0.0, 0.9), "weight_decay": 0.5},
]


def tensors(seed):
    """A tensor for each parameter of three networks."""
    draws = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=draws, dtype=torch.double) for name, shape in SHAPES.items()}


def gradients(step):
    """As they come in training: of sizes from 1e-3 on."""
    return [gradient * 10.0 ** (-step % 4) for gradient in tensors(100 + step).values()]


def copied(named):
    return {name: value.clone() for name, value in named.items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def close(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-12, atol=1e-14, msg=name)


def momentum(parameters, **settings):
    return Momentum(Sgd(learning_rate=RATES[0], **settings), parameters)


def adam(parameters):
    return Adam(0.1, (0.5, 0.999), 1e-3, parameters)


def moved(optimizer, parameters, step):
    """Take a step with gradients of its own."""
    rate = (RATES[step],) if isinstance(optimizer, Momentum) else ()
    optimizer.step(parameters, gradients(step), *rate)


def theirs(make, rates=None):
    """The parameters after each step of an optimiser of torch's."""
    parameters = {name: value.requires_grad_() for name, value in tensors(0).items()}
    optimizer = make(list(parameters.values()))
    for step in range(len(RATES)):
        for parameter, gradient in zip(parameters.values(), gradients(step), strict=True):
            parameter.grad = gradient
        if rates:
            optimizer.param_groups[0]["lr"] = rates[step]
        optimizer.step()
        yield {name: value.detach().clone() for name, value in parameters.items()}


@pytest.mark.parametrize("settings", SGD)
def test_momentum_takes_the_steps_of_torchs_sgd(settings):
    parameters = tensors(0)
    ours = momentum(parameters, **settings)
    expected = theirs(lambda of: torch.optim.SGD(of, RATES[0], **settings, foreach=False), RATES)
    for step, after in enumerate(expected):
        moved(ours, parameters, step)
        close(parameters, after)


@pytest.mark.parametrize("settings", ADAM)
def test_adam_takes_the_steps_of_torchs_adam(settings):
    parameters = tensors(0)
    ours = Adam(0.1, **settings, parameters=parameters)
    for step, after in enumerate(theirs(lambda of: torch.optim.Adam(of, 0.1, **settings, foreach=False))):
        moved(ours, parameters, step)
        assert ours.count == step + 1
        close(parameters, after)


@pytest.mark.parametrize("settings", SGD)
def test_a_direction_is_that_of_the_next_step_and_changes_nothing(settings):
    parameters = tensors(0)
    optimizer = momentum(parameters, **settings)
    for step in range(3):
        before, moments, steepest = copied(parameters), copied(optimizer.state()), gradients(step)
        direction, after = optimizer.direction(parameters, steepest)
        assert same(parameters, before)
        assert same(optimizer.state(), moments)
        assert all(torch.equal(one, other) for one, other in zip(steepest, gradients(step), strict=True))
        moved(optimizer, parameters, step)
        close(parameters, {n: before[n] - RATES[step] * d for n, d in zip(before, direction, strict=True)})
        assert same(optimizer.state(), dict(zip(SHAPES, after, strict=True)))


@pytest.mark.parametrize("make", [momentum, adam])
def test_steps_change_no_gradient(make):
    parameters = tensors(0)
    optimizer = make(parameters)
    for _ in range(2):
        steepest = gradients(1)
        optimizer.step(parameters, steepest, *((0.1,) if make is momentum else ()))
        assert all(torch.equal(one, other) for one, other in zip(steepest, gradients(1), strict=True))


@pytest.mark.parametrize("make", [momentum, adam])
def test_parameters_stay_the_leaves_that_they_are(make):
    """Gradients are taken of them again after a step."""
    parameters = {name: value.requires_grad_() for name, value in tensors(0).items()}
    leaves = dict(parameters)
    optimizer = make(parameters)
    moved(optimizer, parameters, 0)
    assert all(parameters[name] is leaf and leaf.is_leaf and leaf.requires_grad for name, leaf in leaves.items())
    assert not any(value.requires_grad for value in optimizer.state().values())


@pytest.mark.parametrize("make", [momentum, adam])
def test_an_optimiser_goes_on_from_a_state(make):
    """Of another one; what it was given is not changed by going on."""
    parameters = tensors(0)
    optimizer = make(parameters)
    for step in range(3):
        moved(optimizer, parameters, step)
    state, others = copied(optimizer.state()), copied(parameters)
    kept = copied(state)
    other = make(others)
    other.restore(state)
    other.count = 3  # Adam's
    assert same(other.state(), state)
    for step in range(3, 6):
        moved(optimizer, parameters, step)
        moved(other, others, step)
        assert same(parameters, others)
    assert same(state, kept)
    assert not same(optimizer.state(), kept)


@pytest.mark.parametrize("make", [momentum, adam])
@pytest.mark.parametrize("which", [[2, 0], [1], [0, 1, 2]])
def test_those_that_are_kept_go_on_as_if_alone(make, which):
    which = torch.tensor(which)
    parameters = tensors(0)
    optimizer = make(parameters)
    some = {name: value[which] for name, value in parameters.items()}
    alone = make(some)
    for step in range(4):
        moved(optimizer, parameters, step)
        steepest = [gradient[which] for gradient in gradients(step)]
        alone.step(some, steepest, *((RATES[step],) if make is momentum else ()))
    optimizer.keep(which)
    parameters = {name: value[which] for name, value in parameters.items()}
    assert same(optimizer.state(), alone.state())
    for one, of in ((optimizer, parameters), (alone, some)):
        one.step(of, [gradient[which] for gradient in gradients(4)], *((RATES[4],) if make is momentum else ()))
    assert same(parameters, some)
