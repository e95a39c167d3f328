import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from nas_mer.data.flow import METHODS, flow_map, optical_flow, optical_flows
from nas_mer.data.synthetic.faces import Camera, Expression, Moment, Pose, displacement, render
from nas_mer.data.synthetic.portrait import Face
from nas_mer.errors import UserError

MIDDLEBURY = Path(__file__).parents[3] / "../shared/data/middlebury"
SMILE = Moment(Expression({"AU6": (0.7, 0.6), "AU12": (1.0, 0.8)}), Pose(x=0.002, y=-0.001, angle=0.1))
FROWN = Moment(Expression({"AU4": (1.0, 1.0), "AU15": (0.6, 0.7)}), Pose(x=-0.001, y=0.002))


@pytest.fixture(autouse=True)
def _needs(request):
    """Skip what needs the optional scikit-image where it is not installed."""
    if getattr(request.node, "callspec", None) and request.node.callspec.params.get("method") == "tvl1":
        pytest.importorskip("skimage")


@pytest.fixture(scope="module")
def frames():
    face, rng = Face.draw(np.random.default_rng(7)), np.random.default_rng(0)
    return tuple(render(face, moment, Camera(160, 180, noise=1.0), rng) for moment in (Moment(), SMILE))


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


SMALL, LARGE = Camera(140, 160, noise=2.0), Camera(230, 264, colour=False, noise=2.0)


@pytest.mark.parametrize(
    ("method", "share", "camera"),
    [
        ("lorentzian", 0.45, SMALL),
        ("dis", 0.35, SMALL),
        ("dis", 0.35, LARGE),
        ("farneback", 0.6, SMALL),
        ("farneback", 0.6, LARGE),
        ("tvl1", 0.6, SMALL),
    ],
)
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


def test_a_stack_is_its_pairs():
    rng = np.random.default_rng(3)
    onsets, apexes = rng.integers(0, 256, (2, 3, 40, 33, 3), np.uint8)
    flows = optical_flows(onsets, apexes, "farneback")
    assert flows.shape == (3, 40, 33, 2)
    for onset, apex, flow in zip(onsets, apexes, flows, strict=True):
        np.testing.assert_array_equal(flow, optical_flow(onset, apex, "farneback"))


@pytest.mark.parametrize("method", METHODS)
def test_stacks_may_be_empty(method):
    flows = optical_flows(*np.zeros((2, 0, 40, 50, 3), np.uint8), method)
    assert flows.shape == (0, 40, 50, 2)
    assert flows.dtype == np.float32


def test_every_onset_has_its_apex():
    with pytest.raises(UserError, match="every onset frame needs its apex frame, found 2 and 3"):
        optical_flows(np.zeros((2, 40, 50), np.uint8), np.zeros((3, 40, 50), np.uint8))


def test_tvl1_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.registration", None)
    with pytest.raises(UserError, match=r"'tvl1' needs scikit-image: pip install 'nas-mer\[raw\]'"):
        optical_flow(*np.zeros((2, 40, 50), np.uint8), "tvl1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "tvl2"}, "unknown method of optical flow 'tvl2'; did you mean 'tvl1'"),
        ({"method": "raft"}, "known: dis, farneback, lorentzian, tvl1"),
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


@pytest.mark.parametrize("method", METHODS)
def test_the_smallest_frames(method):
    assert optical_flow(*np.zeros((2, 32, 32), np.uint8), method).shape == (32, 32, 2)
