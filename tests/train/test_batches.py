import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas_mer.train import Inputs, Maps
from nas_mer.train.batches import Normaliser, flipped, plan, steps_and_batch
from nas_mer.train.recipe import Augment

KINDS = ("standardise", "instance", "stretch", "none")


def random_maps(count=6, height=5, width=7, seed=0):
    maps = torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return maps * torch.tensor([2.0, 0.1, 5.0]).view(3, 1, 1) + torch.tensor([1.0, -3.0, 0.2]).view(3, 1, 1)


def inputs_of(maps, normalise="none", u_mirror=0.0, **augment):
    data = Maps(maps, torch.arange(len(maps)) % 3, 3, u_mirror)
    return Inputs.of(data, normalise, Augment(**augment))


def epoch_over(count, **augment):
    """An epoch over all of many small maps."""
    return plan(np.arange(count), inputs_of(torch.zeros(count, 3, 2, 2), **augment), 100, 0, (0,))


def mirrored(maps, u_mirror):
    """Flow of the mirrored face, written out place by place."""
    out = np.empty_like(maps.numpy())
    width = out.shape[-1]
    for x in range(width):
        out[..., x] = maps.numpy()[..., width - 1 - x]
    out[:, 0] = u_mirror - out[:, 0]
    return torch.from_numpy(out)


# --- normalising ------------------------------------------------------------------------------------------------------


def test_standardise_has_the_statistics_of_the_training_maps():
    train, test = random_maps(seed=0), 3 + 2 * random_maps(seed=1)
    normaliser = Normaliser.fit("standardise", train)
    torch.testing.assert_close(normaliser(train).mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normaliser(train).std((0, 2, 3)), torch.ones(3))
    channels = train.double().numpy().transpose(1, 0, 2, 3).reshape(3, -1)
    mean, deviation = channels.mean(1)[:, None, None], channels.std(1, ddof=1)[:, None, None]
    np.testing.assert_allclose(normaliser(test), (test.numpy() - mean) / deviation, rtol=1e-4, atol=1e-5)


def test_instance_takes_each_channel_of_each_map_by_itself():
    maps = random_maps()
    out = Normaliser.fit("instance", random_maps(seed=1))(maps)
    torch.testing.assert_close(out.mean((2, 3)), torch.zeros(6, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std((2, 3)), torch.ones(6, 3))
    one = maps[2, 1].double().numpy()
    np.testing.assert_allclose(out[2, 1], (one - one.mean()) / one.std(ddof=1), rtol=1e-4, atol=1e-5)


def test_stretch_takes_each_channel_of_each_map_to_0_and_1():
    maps = random_maps()
    out = Normaliser.fit("stretch", random_maps(seed=1))(maps)
    assert torch.equal(out.amin((2, 3)), torch.zeros(6, 3))
    assert torch.equal(out.amax((2, 3)), torch.ones(6, 3))
    one = maps[2, 1]
    torch.testing.assert_close(out[2, 1], (one - one.min()) / (one.max() - one.min()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_still_face_stays_finite(kind):
    """It is zeros where a mean or a minimum is taken off: not what rounding leaves, grown large."""
    still = torch.full((2, 3, 4, 4), 0.3)
    out = Normaliser.fit(kind, still)(still)
    assert torch.equal(out, still if kind == "none" else torch.zeros_like(still))


def test_none_leaves_maps_as_they_are():
    maps = random_maps()
    assert torch.equal(Normaliser.fit("none", random_maps(seed=1))(maps), maps)


def test_only_standardise_learns_of_training_maps():
    assert {kind for kind in KINDS if Normaliser.fit(kind, random_maps()).learned} == {"standardise"}
    assert Normaliser.fit("standardise", random_maps()).learned.keys() == {"mean", "scale"}


def test_each_network_is_normalised_by_its_own_training_samples():
    maps = random_maps(20)
    inputs = inputs_of(maps, "standardise", flip=0.5, shift=2)
    parts = [np.arange(5), np.arange(3, 20), np.array([7, 1])]
    normaliser = inputs.fit(parts)
    batch = torch.randn(3, 4, 3, 5, 7)
    for row, part in enumerate(parts):
        expected = Normaliser.fit("standardise", maps[part])(batch[row])
        torch.testing.assert_close(normaliser(batch)[row], expected)
        torch.testing.assert_close(normaliser.keep(torch.tensor([2, row]))(batch[[2, row]])[1], expected)


@pytest.mark.parametrize("kind", ["instance", "stretch", "none"])
def test_what_needs_no_training_sample_is_done_before(kind):
    """Batches of the pool are normalised already, and are not so twice."""
    maps = random_maps(8)
    inputs = inputs_of(maps, kind, shift=1)
    normaliser = inputs.fit([np.arange(3), np.arange(8)])
    batch = inputs.batch(torch.arange(8).view(2, 4))
    assert torch.equal(normaliser(batch), batch)
    assert torch.equal(normaliser.keep(torch.tensor([1]))(batch[1:]), batch[1:])
    torch.testing.assert_close(batch.flatten(0, 1), Normaliser.fit(kind, maps)(maps))


# --- flips ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("u_mirror", [0.0, 1.0, 255.0])
def test_a_flip_mirrors_the_face_and_its_horizontal_flow(u_mirror):
    maps = random_maps()
    before = maps.clone()
    torch.testing.assert_close(flipped(maps, u_mirror), mirrored(maps, u_mirror))
    assert torch.equal(flipped(maps, u_mirror)[:, 1:], maps.flip(3)[:, 1:])
    torch.testing.assert_close(flipped(flipped(maps, u_mirror), u_mirror), maps, atol=1e-4, rtol=0)
    assert torch.equal(maps, before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("u_mirror", [0.0, 1.0, 255.0])
def test_the_pool_holds_all_maps_and_then_their_mirror_images(kind, u_mirror):
    """Mirrored before they are normalised, by what plain maps taught."""
    maps = random_maps()
    inputs = inputs_of(maps, kind, u_mirror, flip=0.1)
    assert len(inputs.pool) == 12
    normaliser = Normaliser.fit(kind, maps)
    batch = inputs.fit([np.arange(6)])(inputs.batch(torch.arange(12)[None]))[0]
    torch.testing.assert_close(batch[:6], normaliser(maps))
    torch.testing.assert_close(batch[6:], normaliser(mirrored(maps, u_mirror)), atol=1e-4, rtol=1e-5)


def test_without_flips_the_pool_is_the_maps():
    maps = random_maps()
    inputs = inputs_of(maps, shift=2)
    assert len(inputs.pool) == 6
    assert torch.equal(inputs.batch(torch.arange(6)), maps)
    assert torch.equal(inputs.labels, torch.arange(6) % 3)


# --- shifts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reach", [1, 2, 9])
def test_a_shift_is_a_crop_of_the_map_with_its_border_repeated(reach):
    """Also where the reach is past the map, and for mirror images."""
    maps = random_maps()
    inputs = inputs_of(maps, flip=0.5, shift=reach)
    padded = np.pad(torch.cat([maps, mirrored(maps, 0.0)]), ((0, 0), (0, 0), (reach, reach), (reach, reach)), "edge")
    for row in range(2 * reach + 1):
        for column in range(2 * reach + 1):
            out = inputs.batch(torch.arange(12), torch.tensor([row, column]).view(2, 1).expand(2, 12))
            np.testing.assert_array_equal(out, padded[:, :, row : row + 5, column : column + 7])
    assert torch.equal(inputs.batch(torch.arange(6)), maps)


@pytest.mark.parametrize("reach", [1, 2])
def test_every_crop_is_drawn_and_each_as_often(reach):
    shift = epoch_over(4000, shift=reach).shift.flatten(1)
    side = 2 * reach + 1
    counts = np.bincount(side * shift[0] + shift[1], minlength=side**2)
    assert len(counts) == side**2
    expected = 4000 / side**2
    assert (abs(counts - expected) < 5 * expected**0.5).all()


def test_a_shift_within_the_map_is_a_roll():
    maps = torch.zeros(49, 3, 9, 9)
    maps[:, :, 4, 4] = 1.0
    shift = torch.cartesian_prod(torch.arange(7), torch.arange(7)).T
    for moved, (row, column) in zip(inputs_of(maps, shift=3).batch(torch.arange(49), shift), shift.T, strict=True):
        np.testing.assert_array_equal(moved, np.roll(maps[0], (3 - row, 3 - column), axis=(1, 2)))


# --- magnitudes and erased squares ------------------------------------------------------------------------------------


def factors_and_holes(shape, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return torch.rand((*shape, 3), generator=draws) + 0.5, torch.randint(5, (2, *shape), generator=draws)


@pytest.mark.parametrize("kind", KINDS)
def test_a_magnitude_is_that_of_one_channel_of_one_normalised_map(kind):
    """Where it would come before, `instance` and `stretch` would take it out again."""
    inputs = inputs_of(random_maps(8), kind, magnitude=0.3)
    maps = inputs.fit([np.arange(4), np.arange(8)])(inputs.batch(torch.arange(8).view(2, 4)))
    factor, hole = factors_and_holes((2, 4))
    out = inputs.changed(maps, factor, hole)
    for place in np.ndindex(2, 4, 3):
        torch.testing.assert_close(out[place], factor[place] * maps[place])
    assert out.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("magnitude", [0.2, 0.7])
def test_magnitudes_are_uniform_in_their_logarithm(magnitude):
    factor = epoch_over(4000, magnitude=magnitude).factor
    assert factor.dtype == torch.float32
    assert factor.shape == (40, 100, 3)
    logs = factor.log().double() / magnitude
    assert logs.abs().max() <= 1 + 1e-6
    assert logs.abs().max() > 0.99
    assert logs.mean().item() == pytest.approx(0, abs=5 * (1 / 3 / 12000) ** 0.5)
    assert logs.var().item() == pytest.approx(1 / 3, rel=0.05)
    assert np.corrcoef(logs.flatten(0, 1).T.numpy())[0, 1] == pytest.approx(0, abs=0.08)


@pytest.mark.parametrize("side", [1, 3, 20])
@pytest.mark.parametrize("reach", [0, 2])
def test_an_erased_square_is_nought_in_all_channels(side, reach):
    """Cut out place by place; past the border there is nothing to erase."""
    inputs = inputs_of(random_maps(), erase=side, shift=reach)
    maps = inputs.batch(torch.arange(6))
    for last_row in range(5 + side - 1):
        for last_column in range(7 + side - 1):
            hole = torch.tensor([last_row, last_column]).view(2, 1).expand(2, 6)
            expected = maps.clone()
            for row in range(max(0, last_row - side + 1), min(5, last_row + 1)):
                for column in range(max(0, last_column - side + 1), min(7, last_column + 1)):
                    expected[:, :, row, column] = 0
            out = inputs.changed(maps, torch.ones(6, 3), hole)
            assert torch.equal(out, expected)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_each_map_has_a_square_of_its_own():
    inputs = inputs_of(torch.ones(8, 3, 5, 7), "none", erase=2)
    factor, hole = factors_and_holes((2, 4))
    out = inputs.changed(inputs.batch(torch.arange(8).view(2, 4)), factor, hole)
    for place in np.ndindex(2, 4):
        where = (slice(None), *place)
        assert torch.equal(out[place], inputs.changed(inputs.batch(torch.tensor(0)), factor[place], hole[where]))


def test_each_place_of_a_map_is_erased_as_often():
    hole = epoch_over(40000, erase=2).hole.flatten(1)  # of maps of 2 x 2
    rows = np.stack(
        [((hole - place >= 0) & (hole - place < 2)).numpy() for place in range(2)]
    )  # place x axis x samples
    erased = np.einsum("rn,cn->rc", rows[:, 0].astype(int), rows[:, 1].astype(int)) / 40000
    np.testing.assert_allclose(erased, 4 / 9, atol=5 * (4 / 9 * 5 / 9 / 40000) ** 0.5)


@pytest.mark.parametrize("augment", [{}, {"flip": 0.5, "shift": 2}])
def test_maps_are_not_changed_unless_that_is_asked_for(augment):
    inputs = inputs_of(random_maps(), **augment)
    maps = inputs.batch(torch.arange(6))
    assert inputs.changed(maps, *factors_and_holes((6,))) is maps


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reach", [0, 2])
@pytest.mark.parametrize("shape", [(4,), (2, 5), (3, 1, 2)])
def test_a_batch_has_the_shape_of_its_index(shape, reach):
    inputs = inputs_of(random_maps(9), flip=0.5, shift=reach)
    draws = torch.Generator().manual_seed(0)
    index = torch.randint(18, shape, generator=draws)
    shift = torch.randint(2 * reach + 1, (2, *shape), generator=draws)
    batch = inputs.batch(index, shift)
    assert batch.shape == (*shape, 3, 5, 7)
    for place in np.ndindex(shape):
        where = (slice(None), *place)
        assert torch.equal(batch[place], inputs.batch(index[place], shift[where]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("augment", [{}, {"flip": 0.5}, {"shift": 2}])
def test_batches_have_their_channels_last_in_memory(kind, augment):
    """Normalised ones as well."""
    inputs = inputs_of(random_maps(8), kind, **augment)
    index = torch.arange(8).view(2, 4)
    normaliser = inputs.fit([np.arange(4), np.arange(8)])
    for shift in (None, torch.zeros(2, 2, 4, dtype=torch.int64)):
        batch = normaliser(inputs.batch(index, shift))
        assert batch.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
        assert not batch.is_contiguous()


def test_a_batch_is_no_view_of_the_pool():
    maps = random_maps()
    inputs = inputs_of(maps, shift=1)
    inputs.batch(torch.arange(6)).zero_()
    assert torch.equal(inputs.batch(torch.arange(6)), maps)


def test_inputs_are_moved_as_they_are():
    inputs = inputs_of(random_maps(), "stretch", flip=0.25, shift=1)
    moved = inputs.to(torch.device("meta"))
    assert inputs.device.type == "cpu"
    assert moved.device.type == moved.labels.device.type == "meta"
    assert moved.pool.shape == inputs.pool.shape
    assert (moved.classes, moved.normalise, moved.augment) == (inputs.classes, inputs.normalise, inputs.augment)


# --- epochs -----------------------------------------------------------------------------------------------------------


def epoch_of(count=23, batch_size=5, about=(0, "genotype", "fold", 0), dropouts=2, **augment):
    """An epoch over every other one of many samples."""
    inputs = inputs_of(torch.zeros(1000, 3, 4, 6), **augment)
    return plan(2 * np.arange(count) + 1, inputs, batch_size, dropouts, about)


@given(st.integers(1, 40), st.integers(1, 45))
def test_all_batches_of_an_epoch_are_full(count, batch_size):
    """As many as fit; fewer samples than a batch are one batch."""
    steps, batch = steps_and_batch(count, batch_size)
    assert batch == min(count, batch_size)
    assert steps >= 1
    assert 0 <= count - steps * batch < batch


@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 9), st.booleans(), st.integers(0, 2), st.integers(0, 3))
def test_an_epoch_takes_each_sample_at_most_once(count, batch_size, seed, flip, reach, dropouts):
    epoch = epoch_of(count, batch_size, (seed,), dropouts, flip=flip / 2, shift=reach)
    shape = steps_and_batch(count, batch_size)
    assert epoch.index.shape == shape
    samples = (epoch.index % 1000).flatten().tolist()
    assert len(set(samples)) == len(samples)
    assert set(samples) <= {2 * place + 1 for place in range(count)}
    assert epoch.index.max() < (2000 if flip else 1000)
    assert epoch.shift.shape == (2, *shape)
    assert epoch.shift.min() >= 0
    assert epoch.shift.max() <= 2 * reach
    assert epoch.keys.shape == (shape[0], dropouts)
    assert epoch.keys.dtype == torch.int64


def test_each_epoch_leaves_others_over():
    """In the long run no sample is trained on more than others."""
    taken = np.zeros(23)
    left = set()
    for epoch in range(400):
        samples = epoch_of(about=(0, "genotype", "fold", epoch)).index.flatten().numpy() // 2
        taken[samples] += 1
        left.add(frozenset(range(23)) - frozenset(samples.tolist()))
    assert len(left) > 300
    share = 20 / 23
    assert (abs(taken / 400 - share) < 5 * (share * (1 - share) / 400) ** 0.5).all()


def test_a_flip_is_as_probable_as_it_should_be():
    for flip in (0.0, 0.3, 0.5, 1.0):
        flips = epoch_over(4000, flip=flip).index >= 4000
        assert flips.double().mean().item() == pytest.approx(flip, abs=5 * (flip * (1 - flip) / 4000) ** 0.5)


def test_keys_differ_between_steps_and_layers():
    keys = torch.cat([epoch_of(about=(0, epoch), dropouts=7).keys for epoch in range(5)])
    assert len(keys.unique()) == keys.numel() == 5 * 4 * 7


def test_an_epoch_is_a_function_of_what_it_is_about():
    def values(epoch):
        """Order, flips, shifts, factors, holes and keys."""
        parts = epoch.index % 1000, epoch.index // 1000, epoch.shift, epoch.factor, epoch.hole, epoch.keys
        return [part.tolist() for part in parts]

    rich = {"flip": 0.5, "shift": 2, "magnitude": 0.3, "erase": 2}
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = values(epoch_of(**rich))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert values(epoch_of(**rich)) == first
    for about in (
        (1, "genotype", "fold", 0),
        (0, "other", "fold", 0),
        (0, "genotype", "b", 0),
        (0, "genotype", "b", 1),
    ):
        others = values(epoch_of(about=about, **rich))
        assert all(one != other for one, other in zip(first, others, strict=True))


def test_what_is_drawn_for_one_use_changes_nothing_for_another():
    """With more augmentation or dropout the order is the same, and so on."""
    plain, rich = epoch_of(dropouts=2), epoch_of(dropouts=5, flip=0.5, shift=2)
    assert torch.equal(plain.index, rich.index % 1000)
    assert not torch.equal(plain.index, rich.index)
    assert torch.equal(rich.index, epoch_of(dropouts=1, flip=0.5).index)
    assert torch.equal(plain.keys, epoch_of(dropouts=2, flip=0.5, shift=2).keys)
    assert torch.equal(rich.shift, epoch_of(dropouts=1, shift=2).shift)
    richer = epoch_of(dropouts=5, flip=0.5, shift=2, magnitude=0.3, erase=2)
    for name in ("index", "shift", "keys"):
        assert torch.equal(getattr(richer, name), getattr(rich, name))
