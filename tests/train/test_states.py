import torch
from hypothesis import given
from hypothesis import strategies as st

from nas_mer.train.states import part, prefixed, restacked, unstacked

NAMES = st.text("ab.", min_size=1, max_size=5)


def stacked(count):
    torch.manual_seed(0)
    return {
        "weight": torch.randn(count, 2, 3, requires_grad=True),
        "maps": torch.randn(count, 4, 5, 6).to(memory_format=torch.channels_last),
        "steps": torch.arange(count),
        "still": torch.zeros(count, 0),
    }


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@given(st.dictionaries(NAMES, st.integers()), st.dictionaries(NAMES, st.integers()))
def test_parts_are_found_again_by_their_prefix(one, other):
    """Also where names begin or end as a prefix does."""
    tensors = prefixed("a", one) | prefixed("ab", other)
    assert part(tensors, "a") == one
    assert part(tensors, "ab") == other
    assert part(tensors, "b") == {}


@given(st.integers(1, 5))
def test_what_is_taken_apart_is_stacked_again(count):
    tensors = stacked(count)
    states = unstacked(tensors, count)
    assert len(states) == count
    for row, state in enumerate(states):
        assert same(state, {name: tensor[row] for name, tensor in tensors.items()})
    assert same(restacked(states), tensors)


def test_networks_are_stacked_again_in_any_order_and_number():
    tensors = stacked(4)
    states = unstacked(tensors, 4)
    for which in ([2, 0], [3], [1, 3, 0, 2]):
        again = restacked([states[row] for row in which])
        assert same(again, {name: tensor[which] for name, tensor in tensors.items()})


def test_states_are_plain_copies():
    """Of what goes on changing; in one piece, as a file holds them."""
    tensors = stacked(3)
    states = unstacked(tensors, 3)
    before = [{name: value.clone() for name, value in state.items()} for state in states]
    with torch.no_grad():
        for tensor in tensors.values():
            tensor.add_(1)
    for state, old in zip(states, before, strict=True):
        assert same(state, old)
        for value in state.values():
            assert value.device.type == "cpu"
            assert value.is_contiguous()
            assert not value.requires_grad
            assert value.untyped_storage().nbytes() == value.nbytes  # of its own alone


def test_what_has_another_shape_in_each_network_is_not_stacked():
    states = [{"weight": torch.ones(2), "losses": torch.ones(count)} for count in (1, 2)]
    assert same(restacked(states), {"weight": torch.ones(2, 2)})
