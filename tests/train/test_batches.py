import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas_mer.train.batches import Normaliser, flipped, shifted, shuffled

KINDS = ("standardise", "stretch", "none")


def random_maps(count=6, height=5, width=7, seed=0):
    maps = torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return maps * torch.tensor([2.0, 0.1, 5.0]).view(3, 1, 1) + torch.tensor([1.0, -3.0, 0.2]).view(3, 1, 1)


def mirrored(maps, u_mirror):
    """Flow of the mirrored face, written out place by place."""
    out = np.empty_like(maps.numpy())
    width = out.shape[-1]
    for x in range(width):
        out[..., x] = maps.numpy()[..., width - 1 - x]
    out[:, 0] = u_mirror - out[:, 0]
    return torch.from_numpy(out)


def test_standardise_has_the_statistics_of_the_training_maps():
    train, test = random_maps(seed=0), 3 + 2 * random_maps(seed=1)
    normaliser = Normaliser.fit("standardise", train)
    torch.testing.assert_close(normaliser(train).mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normaliser(train).std((0, 2, 3)), torch.ones(3))
    channels = train.double().numpy().transpose(1, 0, 2, 3).reshape(3, -1)
    mean, deviation = channels.mean(1)[:, None, None], channels.std(1, ddof=1)[:, None, None]
    np.testing.assert_allclose(normaliser(test), (test.numpy() - mean) / deviation, rtol=1e-4, atol=1e-5)


def test_stretch_takes_each_channel_of_each_map_to_0_and_1():
    maps = random_maps()
    out = Normaliser.fit("stretch", random_maps(seed=1))(maps)
    assert torch.equal(out.amin((2, 3)), torch.zeros(6, 3))
    assert torch.equal(out.amax((2, 3)), torch.ones(6, 3))
    one = maps[2, 1]
    torch.testing.assert_close(out[2, 1], (one - one.min()) / (one.max() - one.min()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_still_face_stays_finite(kind):
    still = torch.full((2, 3, 4, 4), 0.3)
    assert Normaliser.fit(kind, still)(still).isfinite().all()


def test_none_leaves_maps_as_they_are():
    maps = random_maps()
    assert torch.equal(Normaliser.fit("none", random_maps(seed=1))(maps), maps)


@pytest.mark.parametrize("kind", KINDS)
def test_normalised_maps_have_their_channels_last_in_memory(kind):
    assert Normaliser.fit(kind, random_maps())(random_maps()).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("u_mirror", [0.0, 1.0, 255.0])
def test_a_flip_mirrors_the_face_and_its_horizontal_flow(u_mirror):
    maps = random_maps()
    before = maps.clone()
    torch.testing.assert_close(flipped(maps, u_mirror), mirrored(maps, u_mirror))
    assert torch.equal(flipped(maps, u_mirror)[:, 1:], maps.flip(3)[:, 1:])
    torch.testing.assert_close(flipped(flipped(maps, u_mirror), u_mirror), maps, atol=1e-4, rtol=0)
    assert torch.equal(maps, before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("u_mirror", [0.0, 1.0])
def test_a_flip_after_normalising_is_one_before_it(kind, u_mirror):
    """u_mirror is 0 for flow in pixels (u becomes -u), 1 for maps stretched to 0..1 (u becomes 1 - u)."""
    maps = random_maps()
    if u_mirror:
        maps = (maps - maps.amin((2, 3), keepdim=True)) / (maps.amax((2, 3)) - maps.amin((2, 3)))[..., None, None]
    normaliser = Normaliser.fit(kind, maps)
    after = flipped(normaliser(maps), normaliser.mirrored_u(u_mirror))
    torch.testing.assert_close(after, normaliser(mirrored(maps, u_mirror)), atol=1e-5, rtol=1e-5)


@given(st.integers(1, 20), st.integers(1, 25), st.integers(0, 9))
def test_an_epoch_is_a_permutation_in_batches(count, batch_size, seed):
    batches = list(shuffled(count, batch_size, torch.Generator().manual_seed(seed)))
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    assert [len(b) for b in batches[:-1]] == [batch_size] * (count // batch_size - (count % batch_size == 0))
    assert 1 <= len(batches[-1]) <= batch_size


def test_each_epoch_has_an_order_of_its_own():
    order = torch.Generator().manual_seed(0)
    one, other = (torch.cat(list(shuffled(50, 8, order))) for _ in range(2))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("reach", [1, 2, 9])
def test_a_shift_is_a_crop_of_the_map_with_its_border_repeated(reach):
    """Each map is one of the (2 * reach + 1)^2 crops, and every crop is drawn: also where the reach is past the map."""
    maps = random_maps(400 if reach < 9 else 4)
    height, width = maps.shape[2:]
    out = shifted(maps, reach, torch.Generator().manual_seed(0)).numpy()
    seen = set()
    for moved, one in zip(out, maps.numpy(), strict=True):
        padded = np.pad(one, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
        crops = {
            (y, x): padded[:, y : y + height, x : x + width] for y in range(2 * reach + 1) for x in range(2 * reach + 1)
        }
        found = [place for place, crop in crops.items() if np.array_equal(crop, moved)]
        assert found
        seen.update(found)
    if reach < 9:
        assert len(seen) == (2 * reach + 1) ** 2


def test_a_shift_within_the_map_is_a_roll():
    maps = torch.zeros(40, 3, 9, 9)
    maps[:, :, 4, 4] = 1.0
    out = shifted(maps, 3, torch.Generator().manual_seed(0)).numpy()
    for moved in out:
        _, (row, *_), (column, *_) = moved.nonzero()
        assert max(abs(row - 4), abs(column - 4)) <= 3
        np.testing.assert_array_equal(moved, np.roll(maps[0].numpy(), (row - 4, column - 4), axis=(1, 2)))


def test_shifts_keep_the_layout_and_the_global_random_state():
    maps = random_maps().contiguous(memory_format=torch.channels_last)
    before = torch.get_rng_state()
    assert shifted(maps, 1, torch.Generator().manual_seed(0)).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(torch.get_rng_state(), before)
