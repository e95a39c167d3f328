import importlib.util
import math
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_mer.data.frames import crop as module
from nas_mer.data.frames.crop import EYE, NOSE, Crop, box_crop, face_crop, similarity
from nas_mer.data.synthetic.faces import Camera, Moment, Pose, render
from nas_mer.data.synthetic.portrait import Face
from nas_mer.errors import UserError


def turned(scale, angle, shift):
    """The matrix of a similarity, `angle` clockwise in degrees."""
    a = scale * np.exp(1j * math.radians(angle))
    return (a.real, -a.imag, shift[0]), (a.imag, a.real, shift[1])


def moved(matrix, points):
    return np.asarray(points) @ np.array(matrix)[:, :2].T + np.array(matrix)[:, 2]


class TestSimilarity:
    @given(
        st.floats(0.1, 10),
        st.floats(-180, 180),
        st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
        st.integers(2, 6),
        st.integers(0, 1000),
    )
    def test_recovers_the_one_that_moved_the_points(self, scale, angle, shift, count, seed):
        points = np.random.default_rng(seed).uniform(-100, 100, (count, 2))
        matrix = turned(scale, angle, shift)
        np.testing.assert_allclose(similarity(points, moved(matrix, points)), matrix, atol=1e-7)

    @given(st.integers(0, 1000))
    def test_is_the_least_squares_fit(self, seed):
        points, places = np.random.default_rng(seed).uniform(-100, 100, (2, 4, 2))
        x, y = points.T
        one, none = np.ones(4), np.zeros(4)
        rows = np.vstack([np.column_stack([x, -y, one, none]), np.column_stack([y, x, none, one])])
        a, b, right, down = np.linalg.lstsq(rows, places.T.ravel(), rcond=None)[0]
        np.testing.assert_allclose(similarity(points, places), [(a, -b, right), (b, a, down)], atol=1e-9)

    def test_agrees_with_opencv(self):
        points = np.array([(10.0, 20.0), (70.0, 25.0), (45.0, 60.0)])
        places = moved(turned(1.7, -12, (30, -8)), points)
        expected, _ = cv2.estimateAffinePartial2D(points, places)
        np.testing.assert_allclose(similarity(points, places), expected, atol=1e-6)


class TestApply:
    @pytest.mark.parametrize(("scale", "angle"), [(1.0, 0), (0.5, 0), (0.31, 20), (1.6, -35), (0.8, 90)])
    @pytest.mark.parametrize("colour", [True, False])
    def test_pixels_come_from_where_the_matrix_says(self, scale, angle, colour):
        y, x = np.mgrid[:200, :300]
        slopes = ((0.5, 0.3), (-0.3, 0.6), (0.1, -0.7)) if colour else ((0.5, 0.3),)
        ramps = [125 + right * (x - 150) + down * (y - 100) for right, down in slopes]
        matrix = turned(scale, angle, (0, 0))
        matrix = turned(scale, angle, (19.5, 14.5) - moved(matrix, (150.3, 99.6)))  # that place to the crop's middle
        frame = np.dstack(ramps).squeeze().round().astype(np.uint8)
        cropped = Crop(matrix, 40, 30).apply(frame)
        assert cropped.shape == ((30, 40, 3) if colour else (30, 40))
        assert cropped.dtype == np.uint8
        back = moved(cv2.invertAffineTransform(np.array(matrix)), np.dstack(np.mgrid[:30, :40][::-1]))
        expected = np.dstack(
            [125 + right * (back[..., 0] - 150) + down * (back[..., 1] - 100) for right, down in slopes]
        )
        np.testing.assert_allclose(cropped, expected.squeeze(), atol=1.6)

    def test_what_is_too_fine_becomes_grey(self):
        frame = np.zeros((160, 160), np.uint8)
        frame[:, ::2] = 255
        cropped = Crop(turned(0.3, 0, (0, 0)), 40, 40).apply(frame)
        np.testing.assert_allclose(cropped[4:-4, 4:-4], 127.5, atol=6)

    def test_the_border_goes_on(self):
        frame = np.full((40, 40, 3), (10, 20, 30), np.uint8)
        assert (Crop(turned(1, 10, (15, -9)), 60, 50).apply(frame) == (10, 20, 30)).all()


class TestBox:
    @pytest.mark.parametrize("box", [(0, 0, 50, 40), (3, 5, 20, 11), (49, 39, 1, 1)])
    @pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
    def test_is_a_slice(self, box, shape):
        frame = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        x, y, width, height = box
        np.testing.assert_array_equal(box_crop(box, frame).apply(frame), frame[y : y + height, x : x + width])

    @pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 51, 5), (0, 36, 5, 5), (0, 0, 0, 5), (50, 0, 1, 1)])
    def test_beyond_the_frame(self, box):
        expected = rf"^img1\.jpg: the box {', '.join(map(str, box))} \(x, y, width, height\) is not .* 50 x 40 pixels$"
        with pytest.raises(UserError, match=expected):
            box_crop(box, np.zeros((40, 50, 3), np.uint8), "img1.jpg")


def found(x, y, width):
    return SimpleNamespace(left=lambda: x, top=lambda: y, width=lambda: width)


EYES_AND_NOSE = [(360, 200), (340, 204), (280, 208), (300, 204), (322, 248)]  # as dlib orders them


@pytest.fixture
def library(monkeypatch):
    """Have a detector find the given faces, at each enlargement, and the same eyes and nose in all."""
    parts = [SimpleNamespace(x=x, y=y) for x, y in EYES_AND_NOSE]

    def finds(*faces):
        library = (lambda _, enlarged: faces[enlarged], lambda *_: SimpleNamespace(parts=lambda: parts))
        monkeypatch.setattr(module, "face_models", lambda: library)

    return finds


FRAME = np.zeros((480, 640, 3), np.uint8)


class TestFaceByAnyLibrary:
    @pytest.mark.parametrize("faces", [([found(270, 150, 120)],), ([], [found(270, 150, 120)])])
    def test_eyes_and_nose_come_to_their_places(self, library, faces):
        library(*faces)
        crop = face_crop(FRAME, 200, 240)
        assert (crop.width, crop.height) == (200, 240)
        right, left, nose = moved(crop.matrix, [(350, 202), (290, 206), (322, 248)])
        middle = np.array([99.5, 119.5])
        assert np.allclose(right, middle + 200 * np.array(EYE), atol=4)
        assert np.allclose(left, middle + 200 * np.array((-EYE[0], EYE[1])), atol=6)
        assert np.allclose(nose, middle + 200 * np.array(NOSE), atol=6)
        (a, b, _), (c, d, _) = crop.matrix
        assert (a, b) == pytest.approx((d, -c))
        assert crop.scale == pytest.approx(200 * 2 * EYE[0] / 60, rel=0.1)

    def test_no_face(self, library):
        library([], [])
        with pytest.raises(UserError, match=r"^s1/img7\.jpg: no face found in 640 x 480 pixels"):
            face_crop(FRAME, name="s1/img7.jpg")

    def test_the_largest_of_several_if_it_is_clear(self, library):
        library([found(10, 20, 81), found(270, 150, 120)])
        with pytest.raises(UserError) as caught:
            face_crop(FRAME, name="img7.jpg")
        assert str(caught.value) == (
            "img7.jpg: 2 faces found and none is clearly the largest "
            "(120 pixels wide at x 270, y 150; 81 pixels wide at x 10, y 20); give --box"
        )
        library([found(10, 20, 80), found(270, 150, 120)])
        assert face_crop(FRAME).scale > 0

    @pytest.mark.parametrize("missing", ["dlib", "face_recognition_models"])
    def test_without_the_library(self, monkeypatch, missing):
        monkeypatch.setitem(sys.modules, "dlib", None if missing == "dlib" else SimpleNamespace())
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else SimpleNamespace())
        module.face_models.cache_clear()
        with pytest.raises(UserError, match=r"pip install 'nas-mer\[raw\]'"):
            face_crop(FRAME)


@pytest.fixture(scope="class")
def _installed():
    for name in ("dlib", "face_recognition_models"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name}, of the extra `raw`, is not installed")
    module.face_models.cache_clear()


def scene(*faces):
    """A picture of 640 x 480 pixels with faces before a wall, each (person, x of its middle, width of its frame)."""
    picture = np.full((480, 640, 3), (150, 145, 140), np.uint8)
    for person, x, width in faces:
        portrait = render(person, Moment(), Camera(width, width))
        top, left = 240 - width // 2, x - width // 2
        picture[top : top + width, left : left + width] = portrait
    return picture


@pytest.mark.usefixtures("_installed")
class TestFaceByDlib:
    @pytest.mark.parametrize(("width", "angle"), [(230, 0.0), (230, -7.0), (100, 0.0), (60, 0.0), (400, 4.0)])
    def test_cartoon_eyes_come_to_their_places(self, width, angle):
        for seed in range(2):
            person = Face.draw(np.random.default_rng(seed))
            bust = render(person, Moment(pose=Pose(angle=angle)), Camera(640, 480, zoom=width / 640))
            across, down = person.eye_distance, person.eye_y
            eyes = moved(turned(width, angle, (319.5, 239.5)), [(across, down), (-across, down)])
            right, left = (moved(face_crop(bust).matrix, eyes) - (114.5, 129.5)) / 230
            assert np.allclose(right, EYE, atol=0.045)
            assert np.allclose(left, (-EYE[0], EYE[1]), atol=0.045)

    def test_grey_is_as_colour(self):
        picture = render(Face(), Moment(), Camera(640, 480, zoom=0.4))
        assert face_crop(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)) == face_crop(picture)

    def test_no_face(self):
        with pytest.raises(UserError, match=r"^img7\.jpg: no face found"):
            face_crop(scene(), name="img7.jpg")

    def test_two_faces(self):
        with pytest.raises(UserError, match=r"2 faces found"):
            face_crop(scene((Face(), 160, 230), (Face(tone=0.1), 480, 230)))
        assert face_crop(scene((Face(), 160, 100), (Face(), 450, 300))).scale == pytest.approx(
            face_crop(scene((Face(), 450, 300))).scale, rel=0.05
        )

    def test_a_photograph(self):
        data = pytest.importorskip("skimage.data", reason="scikit-image, which has a photograph, is not installed")
        photograph = np.ascontiguousarray(data.astronaut()[..., ::-1])
        crop = face_crop(photograph)
        right, left = (moved(crop.matrix, [(246, 104), (203, 102)]) - (114.5, 129.5)) / 230  # read off the picture
        assert np.allclose(right, EYE, atol=0.03)
        assert np.allclose(left, (-EYE[0], EYE[1]), atol=0.03)
