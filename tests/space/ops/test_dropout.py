import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.func import functional_call, vmap

from nas_mer.space.ops.dropout import Dropout, _split_mix

SHARES = [0.1, 0.25, 0.5, 0.75, 0.9]
GOLDEN = 0x9E3779B97F4A7C15


def keyed(p, key):
    """Dropout that zeroes what a key says."""
    dropout = Dropout(p)
    dropout.key = torch.tensor(key)
    return dropout


def split_mix(state, count):
    """SplitMix64 as its authors write it."""
    found = []
    for _ in range(count):
        state = (state + GOLDEN) % 2**64
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        found.append(z ^ z >> 31)
    return found


def test_the_reference_gives_published_numbers():
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert split_mix(1234567, 4) == published


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 9))
@example(0, 3)
@example(2**62 - 1, 3)
@example(2**63 - 1, 3)
@example(-(2**63), 3)
def test_random_words_are_those_of_split_mix(key, count):
    """The first output is that of the key itself: of a generator one step before it."""
    words = _split_mix(torch.tensor(key), count, torch.device("cpu")).view(torch.int64)
    assert [word % 2**64 for word in words.tolist()] == split_mix(key - GOLDEN, count)


@pytest.mark.parametrize("p", SHARES)
def test_dropout_zeroes_a_share_and_keeps_the_mean(p):
    torch.manual_seed(0)
    n = 2_000_000
    out = Dropout(p)(torch.ones(n))
    assert out.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)])
    # Five standard deviations of a Bernoulli mean.
    assert (out == 0).double().mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / n) ** 0.5)
    assert out.double().mean().item() == pytest.approx(1.0, abs=5 * (p / (1 - p) / n) ** 0.5)
    assert out.double().var().item() == pytest.approx(p / (1 - p), rel=0.02)


def test_dropout_draws_each_element_for_itself():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(200_000, 8)) > 0).double()
    correlations = torch.corrcoef(kept.T) - torch.eye(8)
    assert correlations.abs().max() < 0.02
    assert not torch.equal(kept[:, 0], kept[:, 4])


@pytest.mark.parametrize("p", SHARES)
def test_no_two_places_are_correlated_at_any_distance(p):
    """Several elements are cut from one random word, so some far apart have more in common than neighbours."""
    n = 2**18
    kept = (keyed(p, 5)(torch.ones(n)) > 0).double()
    kept = (kept - kept.mean()) / kept.std()
    correlations = torch.fft.ifft(torch.fft.fft(kept).abs() ** 2).real[1:] / n
    assert correlations.abs().max() < 6.5 * n**-0.5  # normal, of variance 1 / n


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_keys_draw_independently(p):
    """However alike the keys are."""
    n = 200_000
    keys = [0, 1, 2, 2**20, 2**40, 2**40 + 1, 2**62 - 1, -1]
    kept = torch.stack([(keyed(p, key)(torch.ones(n)) > 0).double() for key in keys])
    correlations = torch.corrcoef(kept) - torch.eye(len(keys))
    assert correlations.abs().max() < 6 * n**-0.5


@pytest.mark.parametrize("p", SHARES)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 5, 7), (4, 16, 20, 20), (9,), (5, 33)])
def test_a_key_alone_decides_what_is_zeroed(p, shape):
    dropout = keyed(p, 2**61 + 7)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = dropout(torch.ones(shape))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    maps = torch.rand(shape, dtype=torch.double) + 1
    assert torch.equal(dropout(maps) != 0, first != 0)
    torch.testing.assert_close(dropout(maps), maps * first)
    if len(shape) == 4:
        for laid_out in (
            maps.to(memory_format=torch.channels_last),
            maps.transpose(0, 3).contiguous().transpose(0, 3),
            torch.stack([maps, maps], dim=-1)[..., 0],
        ):
            assert torch.equal(dropout(laid_out), dropout(maps))


@pytest.mark.parametrize("p", SHARES)
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (5, 33)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_stacked_networks_draw_by_their_own_keys(p, shape, channels_last):
    dropout = keyed(p, 0)
    maps = torch.rand(3, *shape) + 1
    if channels_last:
        maps = maps.movedim(2, -1).contiguous().movedim(-1, 2)
    keys = torch.tensor([3, 2**61, 4])
    stacked = vmap(lambda key, x: functional_call(dropout, {"key": key}, (x,)))(keys, maps)
    for out, key, one in zip(stacked, keys.tolist(), maps, strict=True):
        assert torch.equal(out, keyed(p, key)(one))


def test_a_key_is_no_weight():
    assert keyed(0.5, 3).state_dict() == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dropout_keeps_the_type(dtype):
    out = keyed(0.75, 3)(torch.ones(50, dtype=dtype))
    assert out.dtype == dtype
    assert set(out.tolist()) == {0.0, 4.0}


def test_dropout_is_the_identity_in_evaluation_and_at_zero():
    maps = torch.randn(2, 3, 4, 4)
    assert Dropout(0.5).eval()(maps) is maps
    assert Dropout(0.0).train()(maps) is maps
    assert keyed(0.5, 3).eval()(maps) is maps


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 1, 1, 1), (3, 16, 20, 20)])
def test_dropout_keeps_the_memory_format(shape):
    maps = torch.ones(shape).to(memory_format=torch.channels_last)
    out = Dropout(0.5)(maps)
    assert out.shape == maps.shape
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert Dropout(0.5)(torch.ones(shape)).is_contiguous()


def test_dropout_takes_views_with_gaps():
    maps = torch.ones(4, 6, 8, 8)
    for view in (maps[:, :, ::2, ::2], maps[:, 1:4], torch.ones(4, 1, 8, 8).expand(4, 6, 8, 8)):
        out = Dropout(0.5)(view)
        assert out.shape == view.shape
        assert 0.3 < (out == 0).double().mean() < 0.7


def test_dropout_without_a_key_repeats_under_the_same_seed():
    maps = torch.randn(5, 7)
    torch.manual_seed(7)
    first, second = Dropout(0.5)(maps), Dropout(0.5)(maps)
    torch.manual_seed(7)
    assert torch.equal(Dropout(0.5)(maps), first)
    assert torch.equal(Dropout(0.5)(maps), second)
    assert not torch.equal(first, second)


def test_dropout_scales_gradients_as_outputs():
    torch.manual_seed(0)
    maps = torch.rand(50, dtype=torch.double, requires_grad=True)
    out = Dropout(0.3)(maps)
    out.sum().backward()
    torch.testing.assert_close(maps.grad * maps.detach(), out.detach())
