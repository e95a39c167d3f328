import numpy as np
import pytest

from nas_mer.data.synthetic.portrait import Face, cells, patches, portrait, sample


def people(count):
    return [Face.draw(np.random.default_rng(seed)) for seed in range(count)]


def test_people_differ_and_repeat():
    assert len(set(people(20))) == 20
    assert people(3) == people(3)


def test_every_person_has_a_face():
    for face in people(200):
        marks = face.landmarks
        down = [
            face.hairline,
            marks["brow_middle"][1] - face.brow_thickness / 2,
            marks["upper_lid"][1],
            marks["lower_lid"][1],
            marks["nose_wing"][1],
            marks["upper_lip"][1],
            marks["lower_lip"][1],
            marks["chin"][1],
            face.chin,
        ]
        assert down == sorted(down), "from the hair to the chin"
        assert 0 < marks["brow_inner"][0] < marks["brow_outer"][0] < face.head_width < 0.5
        assert marks["eye_outer"][0] < face.head_width
        assert face.nose_width < face.mouth_width < face.head_width


def test_the_portrait_is_a_mirror_image_but_for_the_lamp_and_the_skin():
    face = Face(texture=0.0)
    drawn = portrait(face, 200)
    assert drawn.std() > 0.15, "there is something to see"
    assert np.abs(drawn - drawn[:, ::-1]).mean() < 0.25 * drawn.std()


def test_the_portrait_shows_dark_pupils_and_brows_and_red_lips():
    face, scale = Face(tone=0.0, texture=0.0), 300
    drawn = portrait(face, scale)

    def colour(x, y):
        column, row = np.rint(cells((x, y), scale)).astype(int)
        return drawn[row, column]

    cheek = colour(face.eye_distance, face.nose_tip + 0.03)
    for side in (-1, 1):
        assert colour(side * face.eye_distance, face.eye_y).mean() < 0.3
        assert colour(side * face.eye_distance, face.eye_y - face.brow_height).mean() < 0.4
    blue, green, red = colour(0, face.mouth_y + 0.5 * face.lip_thickness)
    assert red > 1.2 * max(blue, green)
    assert cheek.mean() > 0.5


def test_the_same_person_is_drawn_at_every_scale():
    face = Face.draw(np.random.default_rng(4))
    fine = portrait(face, 400)
    coarse = portrait(face, 200)
    halved = fine.reshape(coarse.shape[0], 2, coarse.shape[1], 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - coarse).mean() < 0.015


@pytest.mark.parametrize("scale", [32, 57, 140.5])
def test_small_portraits_are_drawn_too(scale):
    drawn = portrait(Face(), scale)
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_patches_are_sums_of_gaussians():
    rows = [(0.1, -0.2, 0.05, 0.1, 1.0, -2.0), (-0.3, 0.3, 0.2, 0.03, 0.5, 4.0)]
    drawn = patches(50, rows, 2)
    row, column = 13, 41
    x, y = (np.array((column, row)) + 0.5) / 50 - (0.62, 0.72)
    expected = np.zeros(2)
    for centre_x, centre_y, reach_x, reach_y, *amplitudes in rows:
        distance = ((x - centre_x) / reach_x) ** 2 + ((y - centre_y) / reach_y) ** 2
        expected += np.exp(-distance / 2) * np.array(amplitudes)
    np.testing.assert_allclose(drawn[row, column], expected, rtol=1e-5)
    np.testing.assert_allclose(cells((x, y), 50), (column, row), atol=1e-9)
    assert not patches(50, [], 3).any()


def test_samples_between_cells_are_interpolated():
    ramp = np.arange(20, dtype=np.float32) + 100 * np.arange(30, dtype=np.float32)[:, None]
    places = np.array([[(2.5, 3.25), (7.0, 0.0), (-4.0, -4.0), (50.0, 50.0)]], np.float32)
    drawn = sample(np.dstack([ramp] * 3), places)
    np.testing.assert_allclose(drawn[0, :, 1], [327.5, 7.0, 0.0, 2919.0], rtol=1e-5)
