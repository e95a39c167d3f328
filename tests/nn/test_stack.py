import copy
import random

import pytest
import torch
from torch import nn

from nas_mer.nn import Network, Stack
from nas_mer.nn.stack import measuring, stacked
from nas_mer.space import SearchSpace
from nas_mer.space.ops import Dropout

CPU = torch.device("cpu")
SMALL = {
    "rcn": {"feature_maps": 4, "pool": 2, "dropout": 0.5, "size": 14},
    "nasbench201": {"channels": 3, "cells": 1, "size": 8},
}
GRAPHS = ["rcn-f", "rcn-a", "rcn", "a network of nasbench201", "nasbench201"]


def graph_of(name):
    """A graph by its name: of a genotype with attention, of a random one, of a supernet."""
    *_, space_name = name.split()
    space = SearchSpace.load(space_name.partition("-")[0], **SMALL[space_name.partition("-")[0]])
    if name == space.name:
        return space.graph
    genotype = space.genotype(name) if name.startswith("rcn") else space.sample(random.Random(0))
    return space.freeze(genotype)


def networks_of(graph, count):
    """Networks in double precision, none of whose tensors is as it is at first."""
    torch.manual_seed(0)
    networks = [Network(graph).double() for _ in range(count)]
    for network in networks:
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.5)
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                nn.init.normal_(buffer)
            if name.endswith("running_var"):
                nn.init.uniform_(buffer, 0.5, 2.0)
    return networks


def stack_of(networks):
    return Stack(copy.deepcopy(networks), CPU)


def draws(graph, stack, seed=0):
    """A batch, a mixture and keys for each network of a stack."""
    torch.manual_seed(seed)
    maps = torch.randn(stack.count, 5, *graph.shapes["input"], dtype=torch.double, requires_grad=True)
    mixture = {
        decision: torch.randn(stack.count, len(options), dtype=torch.double).softmax(1).requires_grad_()
        for decision, options in graph.decisions.items()
    }
    return maps, mixture, torch.randint(2**62, (stack.dropouts, stack.count))


def alone(network, maps, mixture, keys=()):
    """What a network gives by itself, its dropout layers with these keys."""
    for dropout, key in zip((m for m in network.modules() if isinstance(m, Dropout)), keys, strict=bool(len(keys))):
        dropout.key = key
    return network(maps, mixture)


def row(tensors, place):
    return {name: tensor[place].detach() for name, tensor in tensors.items()}


def snapshot(tensors):
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def unchanged(tensors, before):
    return all(torch.equal(tensor, before[name]) for name, tensor in tensors.items())


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_each_network_of_a_stack_is_as_it_is_alone(name, count):
    """In training: logits, gradients of all that goes in, and running statistics, over two steps."""
    graph = graph_of(name)
    networks = networks_of(graph, count)
    stack = stack_of(networks)
    for step in range(2):
        maps, mixture, keys = draws(graph, stack, step)
        mask = torch.randn(count, 5, 3, dtype=torch.double)
        stack.draw(keys)
        logits = stack(maps, mixture)
        assert logits.shape == (count, 5, 3)
        sources = {"maps": maps, **mixture, **stack.parameters}
        gradients = dict(zip(sources, torch.autograd.grad((logits * mask).sum(), sources.values()), strict=True))
        for place, network in enumerate(networks):
            own = row({"maps": maps, **mixture}, place)
            for tensor in own.values():
                tensor.requires_grad_()
            theirs = alone(network.train(), own["maps"], {d: own[d] for d in mixture}, keys[:, place])
            torch.testing.assert_close(logits[place], theirs)
            own |= dict(network.named_parameters())
            found = torch.autograd.grad((theirs * mask[place]).sum(), own.values())
            for source, gradient in zip(own, found, strict=True):
                torch.testing.assert_close(gradients[source][place], gradient, msg=source)
            for buffer, value in network.named_buffers():
                if not buffer.endswith("key"):
                    torch.testing.assert_close(stack.buffers[buffer][place], value, msg=buffer)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_trained_networks_are_looked_at_without_dropout(name, count):
    graph = graph_of(name)
    networks = networks_of(graph, count)
    stack = stack_of(networks)
    maps, mixture, _ = draws(graph, stack)
    before = snapshot(stack.state())
    with stack.evaluating():
        logits = stack(maps, mixture)
    assert not logits.requires_grad
    assert unchanged(stack.state(), before)
    for place, network in enumerate(networks):
        theirs = alone(network.eval(), maps[place], {d: weights[place] for d, weights in mixture.items()})
        torch.testing.assert_close(logits[place], theirs)


def test_a_single_network_is_not_changed_by_being_stacked():
    """Bit for bit: its result must not depend on how it is run."""
    graph = graph_of("rcn-f")
    (network,) = networks_of(graph, 1)
    stack = stack_of([network])
    maps, _, keys = draws(graph, stack)
    stack.draw(keys)
    assert torch.equal(stack(maps)[0], alone(network, maps[0], {}, keys[:, 0]))
    assert unchanged(row(stack.state(), 0), {**dict(network.named_parameters()), **dict(network.named_buffers())})


def test_a_stack_leaves_the_networks_that_it_was_made_of_alone():
    """It copies their tensors; also, their dropout still draws for itself, and they can be stacked once more."""
    graph = graph_of("rcn-f")
    networks = networks_of(graph, 2)
    before = [copy.deepcopy(network.state_dict()) for network in networks]
    stack = Stack(networks, CPU)
    maps, _, keys = draws(graph, stack)
    stack.draw(keys)
    stack(maps).sum().backward()
    with torch.no_grad():
        for value in stack.parameters.values():
            value.add_(1.0)
    for network, state in zip(networks, before, strict=True):
        assert unchanged(network.state_dict(), state)
        first, second = network.train()(maps[0]), network(maps[0])
        assert not torch.equal(first, second)
    Stack(networks, CPU)


@pytest.mark.parametrize("count", [1, 2])
def test_other_parameters_are_taken_instead_of_the_stacks_own(count):
    graph = graph_of("rcn")
    networks = networks_of(graph, 2 * count)
    stack, other = stack_of(networks[:count]), stack_of(networks[count:])
    maps, mixture, keys = draws(graph, stack)
    stack.draw(keys)
    other.draw(keys)
    with stack.measuring(), other.measuring():
        assert torch.equal(stack(maps, mixture, other.parameters), other(maps, mixture))
        assert not torch.equal(stack(maps, mixture), other(maps, mixture))


# --- dropout's keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_keys_decide_what_is_zeroed(count):
    graph = graph_of("rcn-f")
    stack = stack_of(networks_of(graph, count))
    assert stack.dropouts == sum(isinstance(m, Dropout) for m in Network(graph).modules()) > 1
    maps, _, keys = draws(graph, stack)

    def logits(keys):
        stack.draw(keys)
        return stack(maps).detach()

    first = logits(keys)
    torch.manual_seed(99)
    assert torch.equal(logits(keys), first)
    for layer in range(stack.dropouts):
        others = keys.clone()
        others[layer, -1] += 1  # of one layer of one network
        assert torch.equal(logits(others)[:-1], first[:-1])
        assert not torch.equal(logits(others)[-1], first[-1])


def test_a_key_is_needed_for_each_layer_of_each_network():
    stack = stack_of(networks_of(graph_of("rcn-f"), 2))
    with pytest.raises(ValueError, match="shorter"):
        stack.draw(torch.zeros(stack.dropouts - 1, 2, dtype=torch.int64))


# --- looking at networks in training ----------------------------------------------------------------------------------


def is_training(stack, maps, keys):
    """Whether a call draws dropout, and whether it changes running statistics."""
    before = snapshot(stack.buffers)
    stack.draw(keys)
    first = stack(maps).detach()
    stack.draw(keys + 1)
    return not torch.equal(stack(maps), first), not unchanged(stack.buffers, before)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ["rcn", "nasbench201"])
def test_measuring_changes_no_buffer_and_drops_nothing(name, count):
    """It sees the statistics of the batch."""
    graph = graph_of(name)
    networks = networks_of(graph, count)
    stack = stack_of(networks)
    maps, mixture, keys = draws(graph, stack)
    before = snapshot(stack.buffers)
    stack.draw(keys)
    with stack.measuring():
        logits = stack(maps, mixture)
    assert logits.requires_grad
    assert unchanged(stack.buffers, before)
    for place, network in enumerate(networks):
        for module in network.train().modules():
            if isinstance(module, Dropout):
                module.eval()
        theirs = alone(network, maps[place], {d: weights[place] for d, weights in mixture.items()})
        torch.testing.assert_close(logits[place], theirs)


@pytest.mark.parametrize("look", [Stack.measuring, Stack.evaluating])
def test_training_goes_on_after_a_look(look):
    """Also after one that failed."""
    graph = graph_of("rcn-f")
    stack = stack_of(networks_of(graph, 2))
    maps, _, keys = draws(graph, stack)
    with look(stack):
        assert is_training(stack, maps, keys) == (False, False)
    assert is_training(stack, maps, keys) == (True, True)
    with pytest.raises(ZeroDivisionError), look(stack):
        raise ZeroDivisionError
    assert is_training(stack, maps, keys) == (True, True)
    assert stack(maps).requires_grad


def test_a_network_is_measured_as_a_stack_is():
    """A norm without running statistics stays without."""
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False)]
    network = nn.Sequential(nn.Conv2d(3, 3, 3), *norms, Dropout(0.5)).train()
    maps = torch.randn(4, 3, 9, 9)
    before = snapshot(network.state_dict())
    with measuring(network):
        assert torch.equal(network(maps), network(maps))
        torch.testing.assert_close(network(maps), nn.Sequential(*list(network)[:3])(maps))
    assert unchanged(network.state_dict(), before)
    assert [norm.track_running_stats for norm in norms] == [True, False]
    assert not torch.equal(network(maps), network(maps))
    assert not unchanged(network.state_dict(), before)


# --- keeping some, and going back -------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [[3, 1], [2], [0, 1, 2, 3], [2, 0, 3]])
def test_those_that_are_kept_go_on_as_if_alone(which):
    graph = graph_of("rcn")
    networks = networks_of(graph, 4)
    stack, fresh = stack_of(networks), stack_of([networks[place] for place in which])
    stack.keep(torch.tensor(which))
    assert stack.count == len(which)
    assert stack.state().keys() == fresh.state().keys()
    assert unchanged(stack.state(), fresh.state())
    assert all(value.is_leaf and value.requires_grad for value in stack.parameters.values())
    maps, mixture, keys = draws(graph, stack)
    stack.draw(keys)
    fresh.draw(keys)
    logits, expected = stack(maps, mixture), fresh(maps, mixture)
    assert torch.equal(logits, expected)
    for one, other in zip(
        torch.autograd.grad(logits.sum(), list(stack.parameters.values())),
        torch.autograd.grad(expected.sum(), list(fresh.parameters.values())),
        strict=True,
    ):
        assert torch.equal(one, other)
    assert unchanged(stack.buffers, fresh.buffers)


@pytest.mark.parametrize("which", [[2, 0], [1]])
def test_what_was_drawn_goes_with_those_that_are_kept(which):
    graph = graph_of("rcn-f")
    stack = stack_of(networks_of(graph, 3))
    maps, _, keys = draws(graph, stack)
    stack.draw(keys)
    before = stack(maps).detach()
    stack.keep(torch.tensor(which))
    torch.testing.assert_close(stack(maps[which]), before[which])


def test_a_stack_goes_back_to_weights_that_were_kept():
    graph = graph_of("rcn-f")
    stack = stack_of(networks_of(graph, 2))
    maps, _, keys = draws(graph, stack)
    before = snapshot(stack.state())
    assert before.keys() == dict(networks_of(graph, 1)[0].named_parameters()).keys() | stack.buffers.keys()
    leaves = dict(stack.parameters)
    stack.draw(keys)
    first = stack(maps)
    first.sum().backward()
    with torch.no_grad():
        for value in stack.parameters.values():
            value.sub_(0.1 * value.grad)
    assert not unchanged(stack.buffers, before)
    stack.restore(before)
    assert unchanged(stack.state(), before)
    assert all(stack.parameters[name] is leaf for name, leaf in leaves.items())
    assert torch.equal(stack(maps), first)


# --- functions of stacked arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_function_is_applied_to_each(count):
    def function(scale, parts):
        return scale * parts["a"] + parts["b"].sum()

    torch.manual_seed(0)
    scale, parts = torch.randn(count), {"a": torch.randn(count, 3), "b": torch.randn(count, 2, 2)}
    out = stacked(function, count)(scale, parts)
    assert out.shape == (count, 3)
    for place in range(count):
        torch.testing.assert_close(out[place], function(scale[place], row(parts, place)))
