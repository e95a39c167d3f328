import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from nas_mer.space import OPS, Like, Shape

SHAPE = Shape(8, 6, 5)
ARGUMENTS = {
    "conv": [{}, {"channels": 5, "stride": 2, "dilations": [1, 2]}, {"kernel": 5, "padding": 0}, {"groups": 2}],
    "batch_norm": [{}],
    "relu": [{}],
    "tanh": [{}],
    "max_pool": [{}, {"kernel": 3, "stride": 1, "padding": 1}],
    "avg_pool": [{}, {"kernel": 3, "stride": 1, "padding": 1}],
    "adaptive_avg_pool": [{"size": 2}, {"size": 7}],
    "linear": [{"units": 3}],
    "select": [{"indices": [1]}, {"indices": [3, 0]}],
    "half": [{"part": "upper"}, {"part": "lower"}],
    "squash": [{"dimensions": 4}],
    "capsules": [{"count": 3, "dimensions": 5, "dimensions_in": 4}],
    "lengths": [{"dimensions": 2}],
    "none": [{}, {"stride": 2}],
    "skip": [{}, {"stride": 2}],
    "sep_conv": [{}, {"stride": 2}],
    "dil_conv": [{}, {"stride": 2}],
    "project": [{"channels": 3}, {"channels": 3, "like": Like(1, 3, 3)}],
    "dropout": [{"p": 0.5}],
}
CASES = [(name, args) for name, examples in ARGUMENTS.items() for args in examples]


def test_none_is_forgotten():
    assert set(ARGUMENTS) == set(OPS)


@pytest.mark.parametrize(("name", "args"), CASES, ids=str)
def test_a_map_becomes_a_map_and_its_gradients_are_finite(name, args):
    """Also of zeros, which shapes are found by."""
    module = OPS[name].build(SHAPE, **args)
    for maps in (torch.randn(3, *SHAPE), torch.zeros(3, *SHAPE)):
        maps.requires_grad_()
        out = module(maps)
        assert out.dim() == 4
        assert len(out) == 3
        assert out.dtype == maps.dtype
        sources = [maps, *module.parameters()]
        gradients = torch.autograd.grad((out**2).sum() + 0 * maps.sum(), sources, materialize_grads=True)
        assert all(found.isfinite().all() for found in (out, *gradients))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "args"), CASES, ids=str)
def test_stacked_ones_are_as_each_is_alone(name, args, training):
    torch.manual_seed(0)
    modules = [OPS[name].build(SHAPE, **args).double().train(training) for _ in range(3)]
    for module in modules:
        for parameter in module.parameters():
            nn.init.normal_(parameter)
        if name == "dropout":
            module.key = torch.tensor(7)
    parameters, buffers = stack_module_state(modules)
    maps = torch.randn(3, 2, *SHAPE, dtype=torch.double)
    out = vmap(lambda p, b, x: functional_call(modules[0], (p, b), (x,)))(parameters, buffers, maps)
    for one, module, own in zip(out, modules, maps, strict=True):
        torch.testing.assert_close(one, module(own))
