from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_mer.data.flow import METHODS, assemble, flow_map, optical_flow, strain
from nas_mer.data.synthetic.faces import Camera, Expression, Moment, Pose, displacement, render
from nas_mer.data.synthetic.portrait import Face
from nas_mer.errors import UserError

MIDDLEBURY = Path(__file__).parents[3] / "../shared/data/middlebury"
SMILE = Moment(Expression({"AU6": (0.7, 0.6), "AU12": (1.0, 0.8)}), Pose(x=0.002, y=-0.001, angle=0.1))
FROWN = Moment(Expression({"AU4": (1.0, 1.0), "AU15": (0.6, 0.7)}), Pose(x=-0.001, y=0.002))


def linear(u_x, u_y, v_x, v_y, shape=(9, 13)):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.dstack([u_x * x + u_y * y, v_x * x + v_y * y])


slopes = st.floats(-0.5, 0.5, width=32)


@given(slopes, slopes, slopes, slopes)
def test_strain_of_linear_flow(u_x, u_y, v_x, v_y):
    flow = linear(u_x, u_y, v_x, v_y)
    paper = np.sqrt(u_x**2 + v_y**2 + (u_y**2 + v_x**2) / 2)
    tensor = np.array([[u_x, (u_y + v_x) / 2], [(u_y + v_x) / 2, v_y]])
    np.testing.assert_allclose(strain(flow), paper, atol=1e-5)
    np.testing.assert_allclose(strain(flow, "symmetric"), np.linalg.norm(tensor), atol=1e-5)


@pytest.mark.parametrize(
    ("flow", "paper", "symmetric"),
    [
        (linear(0, 0, 0, 0) + np.float32((3.0, -2.0)), 0.0, 0.0),
        (linear(0.1, 0, 0, 0.1), 0.1 * np.sqrt(2), 0.1 * np.sqrt(2)),
        (linear(0, 0.1, 0.1, 0), 0.1, 0.1 * np.sqrt(2)),
        (linear(0, -0.1, 0.1, 0), 0.1, 0.0),
    ],
    ids=["translation", "expansion", "shear", "rotation"],
)
def test_strain_closed_forms(flow, paper, symmetric):
    np.testing.assert_allclose(strain(flow, "paper"), paper, atol=1e-6)
    np.testing.assert_allclose(strain(flow, "symmetric"), symmetric, atol=1e-6)
    assert strain(flow).shape == flow.shape[:2]


def test_strain_uses_central_differences():
    flow = np.zeros((5, 7, 2), np.float32)
    flow[:, :, 0] = np.arange(7) ** 2
    np.testing.assert_allclose(strain(flow)[:, 1:-1], np.tile(2 * np.arange(1, 6), (5, 1)))


def error(flow, truth):
    return np.linalg.norm(flow - truth, axis=-1).mean()


@pytest.mark.parametrize("method", METHODS)
def test_a_shift_is_found(method):
    texture = np.random.default_rng(0).normal(size=(96, 112)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(texture, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    moved = cv2.warpAffine(texture, np.float32([[1, 0, 1.5], [0, 1, -0.75]]), (112, 96), flags=cv2.INTER_CUBIC)
    flow = optical_flow(texture.astype(np.uint8), np.clip(moved, 0, 255).astype(np.uint8), method)
    assert flow.shape == (96, 112, 2)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(np.median(flow[16:-16, 16:-16], axis=(0, 1)), (1.5, -0.75), atol=0.1)


@pytest.mark.parametrize(("method", "share"), [("dis", 0.35), ("farneback", 0.6)])
@pytest.mark.parametrize("camera", [Camera(140, 160, noise=2.0), Camera(230, 264, colour=False, noise=2.0)])
def test_the_flow_of_faces_is_near_the_truth(method, share, camera):
    found, still = [], []
    for seed, moment in enumerate((SMILE, FROWN, SMILE, FROWN)):
        rng = np.random.default_rng(seed)
        face = Face.draw(rng)
        onset, apex = (render(face, m, camera, rng) for m in (Moment(), moment))
        truth = displacement(face, Moment(), moment, camera)
        found.append(error(optical_flow(onset, apex, method), truth))
        still.append(error(np.zeros_like(truth), truth))
    assert np.mean(found) < share * np.mean(still)


@pytest.mark.parametrize(("method", "share"), [("dis", 0.2), ("farneback", 0.5)])
@pytest.mark.parametrize("scene", ["RubberWhale", "Dimetrodon", "Venus", "Grove2"])
def test_middlebury(method, share, scene):
    if not (MIDDLEBURY / scene).is_dir():
        pytest.skip("the Middlebury pairs are not here")
    onset, apex = (cv2.imread(str(MIDDLEBURY / scene / f"frame1{i}.png")) for i in (0, 1))
    truth = cv2.readOpticalFlow(str(MIDDLEBURY / scene / "flow10.flo"))
    known = (np.abs(truth) < 1e9).all(axis=-1)
    flow = optical_flow(onset, apex, method)
    assert error(flow[known], truth[known]) < share * error(np.zeros_like(truth[known]), truth[known])


@pytest.fixture(scope="module")
def frames():
    face, rng = Face.draw(np.random.default_rng(7)), np.random.default_rng(0)
    return tuple(render(face, moment, Camera(noise=1.0), rng) for moment in (Moment(), SMILE))


def test_colour_counts_as_its_grey(frames):
    grey = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames]
    np.testing.assert_array_equal(optical_flow(*frames), optical_flow(*grey))


@pytest.mark.parametrize("method", METHODS)
def test_mirrored_frames_have_the_mirrored_map(frames, method):
    there = flow_map(*frames, 30, method)
    mirrored = flow_map(*(np.ascontiguousarray(frame[:, ::-1]) for frame in frames), 30, method)
    back = mirrored[:, :, ::-1] * np.float32((-1, 1, 1))[:, None, None]
    for channel, other in zip(there, back, strict=True):
        assert np.corrcoef(channel.ravel(), other.ravel())[0, 1] > 0.9
        assert np.abs(channel - other).mean() < 0.25 * np.abs(channel).mean()


@pytest.mark.parametrize("method", METHODS)
def test_equal_frames_have_no_flow(frames, method):
    assert np.abs(optical_flow(frames[0], frames[0], method)).max() < 0.05


def test_maps_are_percent_of_the_width():
    shift = np.full((120, 80, 2), (0.8, -1.6), np.float32)
    u, v, deformation = assemble(shift, 28)
    np.testing.assert_allclose(u, 1.0, rtol=1e-5)
    np.testing.assert_allclose(v, -2.0, rtol=1e-5)
    np.testing.assert_allclose(deformation, 0.0, atol=1e-4)

    rotation = linear(0, -0.05, 0.05, 0, (60, 60))
    np.testing.assert_allclose(assemble(rotation, 20)[2], 5.0, rtol=1e-3)
    np.testing.assert_allclose(assemble(rotation, 20, "symmetric")[2], 0.0, atol=1e-3)


@pytest.mark.parametrize("size", [1, 28, 60, 300])
def test_maps_of_any_size(size):
    ramp = linear(0.01, 0, 0, -0.02, (90, 70))
    flow = assemble(ramp, size)
    assert flow.shape == (3, size, size)
    assert flow.dtype == np.float32
    assert flow.flags.c_contiguous
    np.testing.assert_allclose(flow.mean(axis=(1, 2)), assemble(ramp, 70).mean(axis=(1, 2)), atol=0.02)


def test_the_same_face_has_the_same_map_at_another_resolution():
    maps = [
        assemble(displacement(Face(), Moment(), SMILE, Camera(width, height)), 28)
        for width, height in ((140, 160), (280, 320))
    ]
    for one, other in zip(*maps, strict=True):
        assert np.abs(one - other).max() < 0.1 * np.abs(one).max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "tvl2"}, "unknown method of optical flow 'tvl2'; known: dis, farneback"),
        ({"method": "farnebeck"}, "did you mean 'farneback'"),
        (
            {"apex": np.zeros((40, 50), np.float32)},
            r"the apex frame must be uint8 .* found float32 of shape \(40, 50\)",
        ),
        ({"onset": np.zeros((40, 50, 4), np.uint8)}, "the onset frame must be uint8"),
        ({"onset": np.zeros((40,), np.uint8)}, "the onset frame must be uint8"),
        ({"onset": np.zeros((20, 50), np.uint8)}, "at least 32 pixels a side"),
        (
            {"apex": np.zeros((40, 60), np.uint8)},
            r"the onset frame is of shape \(40, 50\), the apex frame of \(40, 60\)",
        ),
    ],
)
def test_refused_frames(arguments, message):
    still = {"onset": np.zeros((40, 50), np.uint8), "apex": np.zeros((40, 50), np.uint8)}
    with pytest.raises(UserError, match=message):
        optical_flow(**still | arguments)


def test_refused_maps():
    flow = linear(0, 0, 0, 0)
    with pytest.raises(UserError, match="unknown form of strain 'symetric'; did you mean 'symmetric'"):
        strain(flow, "symetric")
    with pytest.raises(UserError, match="at least 1 pixel a side, found 0"):
        assemble(flow, 0)


@pytest.mark.parametrize("method", METHODS)
def test_the_smallest_frames(method):
    assert optical_flow(*np.zeros((2, 32, 32), np.uint8), method).shape == (32, 32, 2)
