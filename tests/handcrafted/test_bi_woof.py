import math

import numpy as np
import pytest

from nas_mer.data import Dataset
from nas_mer.handcrafted import BiWoof

RNG = np.random.default_rng(0)


@pytest.fixture
def flow_map():
    """Noise, whose strain is at least 0."""
    maps = RNG.normal(size=(3, 20, 23))
    maps[2] = np.abs(maps[2])
    return maps


def written_out(flow_map, blocks, bins):
    """The descriptor pixel by pixel, from its definition; for sides that are multiples of the number of blocks."""
    _, height, width = flow_map.shape
    features = np.zeros((blocks, blocks, bins))
    for i in range(blocks):
        for j in range(blocks):
            strain = 0
            for y in range(i * height // blocks, (i + 1) * height // blocks):
                for x in range(j * width // blocks, (j + 1) * width // blocks):
                    u, v, deformed = flow_map[:, y, x]
                    angle = math.degrees(math.atan2(v, u))
                    features[i, j, math.floor((angle + 180) * bins / 360) % bins] += math.hypot(u, v)
                    strain += deformed
            features[i, j] *= strain / features[i, j].sum()
    return (features / math.sqrt((features**2).sum())).ravel()


def test_as_defined(flow_map):
    for blocks, bins, side in ((5, 8, 20), (2, 3, 10), (1, 6, 7)):
        one = flow_map[:, :side, :side]
        found = BiWoof(blocks=blocks, bins=bins).describe(one)
        np.testing.assert_allclose(found, written_out(one, blocks, bins), rtol=1e-12)


def test_one_direction_fills_one_bin_of_each_block():
    maps = np.ones((3, 10, 10))
    for step in range(8):
        angle = math.radians(22.5 + 45 * step)
        maps[:2] = np.array([math.cos(angle), math.sin(angle)])[:, None, None] * RNG.uniform(1, 2, (10, 10))
        found = BiWoof().describe(maps).reshape(25, 8)
        assert (found.argmax(axis=1) == (step + 4) % 8).all()
        np.testing.assert_allclose(found.max(axis=1), 1 / 5)  # 25 blocks of one strain, a norm of 1
        assert (np.sort(found, axis=1)[:, :-1] == 0).all()


def test_a_quarter_turn_of_the_flow_moves_the_histogram_by_a_quarter(flow_map):
    u, v, strain = flow_map
    found, turned = (BiWoof().describe(np.stack(maps)).reshape(25, 8) for maps in (flow_map, (-v, u, strain)))
    np.testing.assert_allclose(turned, np.roll(found, 2, axis=1), rtol=1e-12)


def test_the_unit_does_not_matter_and_the_strain_weighs(flow_map):
    found = BiWoof().describe(flow_map)
    np.testing.assert_allclose(BiWoof().describe(7 * flow_map), found, rtol=1e-12)
    assert np.linalg.norm(found) == pytest.approx(1)
    still = flow_map.copy()
    still[2, :, 12:] = 0  # the blocks at the right do not deform
    blocks = BiWoof().describe(still).reshape(5, 5, 8)
    assert not blocks[:, 3:].any()
    assert blocks[:, :2].sum(axis=2).all()
    np.testing.assert_allclose(
        blocks[:, :2] / np.linalg.norm(blocks[:, :2]),
        found.reshape(5, 5, 8)[:, :2] / np.linalg.norm(found.reshape(5, 5, 8)[:, :2]),
    )


def test_without_motion_there_are_no_features():
    assert not BiWoof().describe(np.zeros((3, 9, 9))).any()


def test_of_stretched_maps_the_median_rests(made):
    plain = made()
    assert BiWoof().inputs(plain) is plain.maps
    maps = np.full((len(plain), 3, 16, 16), 0.25, np.float32)
    maps[:, :2, :3] = 0.75  # some of the face moves
    stretched = Dataset(plain.name, maps, plain.samples, u_mirror=1.0)
    found = BiWoof().inputs(stretched)
    assert (found[:, :2, :3] == 0.5).all()
    assert not found[:, :2, 3:].any()
    assert (found[:, 2] == 0.25).all()
    assert BiWoof().features(found).shape == (len(plain), 5 * 5 * 8)
