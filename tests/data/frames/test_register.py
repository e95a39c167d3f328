import math

import cv2
import numpy as np
import pytest

from nas_mer.data.flow import optical_flow
from nas_mer.data.frames.register import register
from nas_mer.data.synthetic.faces import Camera, Expression, Moment, Pose, displacement, render
from nas_mer.data.synthetic.portrait import Face
from nas_mer.errors import UserError

CAMERA = Camera(180, 204, noise=1.5)
DRIFTS = [
    Pose(x=0.02, y=-0.01),
    Pose(x=-0.005, y=0.004, angle=1.0, scale=1.01),
    Pose(x=0.03, y=0.03, angle=-3.0, scale=0.97),
    Pose(angle=0.5),
]
SMILE = Expression({"AU12": (0.9, 0.9), "AU6": (0.7, 0.7)})
SURPRISE = Expression({"AU1": (0.9, 0.9), "AU2": (0.9, 0.9), "AU26": (0.8, 0.8)})


def pair(expression, pose, camera=CAMERA):
    """A face, its moments at onset and apex, and the two frames."""
    face = Face.draw(np.random.default_rng(7))
    rest, apex = Moment(), Moment(expression, pose)
    rng = np.random.default_rng(1)
    return face, rest, apex, render(face, rest, camera, rng), render(face, apex, camera, rng)


def similarity(pose, camera=CAMERA):
    """The head's motion by the definition of a pose: a turn and zoom about the frame's middle, and a shift."""
    x, y = (camera.width - 1) / 2, (camera.height - 1) / 2
    matrix = cv2.getRotationMatrix2D((x, y), -pose.angle, pose.scale)
    return matrix + np.array([[0, 0, camera.width * pose.x], [0, 0, camera.width * pose.y]])


def distance(first, second, camera=CAMERA):
    """How far two transforms carry the points of a frame apart, on average, in pixels."""
    y, x = np.mgrid[10 : camera.height - 10 : 10, 10 : camera.width - 10 : 10]
    points = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    return np.linalg.norm((first - second) @ points, axis=0).mean()


@pytest.mark.parametrize("expression", [Expression(), SMILE, SURPRISE], ids=["rest", "smile", "surprise"])
@pytest.mark.parametrize("pose", DRIFTS)
def test_the_drift_is_found_whatever_the_expression(expression, pose):
    _, _, _, onset, apex = pair(expression, pose)
    truth = similarity(pose)
    found = register(onset, apex)
    assert found.transform.shape == (2, 3)
    assert distance(found.transform, truth) < 0.25
    assert distance(found.transform, truth) < 0.25 * distance(np.eye(2, 3), truth)


@pytest.mark.parametrize("expression", [SMILE, SURPRISE], ids=["smile", "surprise"])
def test_the_expression_is_kept_and_the_drift_is_gone(expression):
    pose = DRIFTS[1]
    face, rest, _, onset, apex = pair(expression, pose)
    truth = displacement(face, rest, Moment(expression), CAMERA)
    before = optical_flow(onset, apex)
    after = optical_flow(onset, register(onset, apex).frame)
    inside = np.s_[12:-12, 12:-12]

    def error(flow):
        return np.linalg.norm((flow - truth)[inside], axis=-1).mean()

    assert error(after) < 0.4 * error(before)
    assert np.corrcoef(after[inside].ravel(), truth[inside].ravel())[0, 1] > 0.8


def test_without_drift_hardly_anything_changes():
    _, _, _, onset, apex = pair(SMILE, Pose())
    assert distance(register(onset, apex).transform, np.eye(2, 3)) < 0.15


def test_a_still_wall_around_the_head_does_not_hold_it():
    pose = Pose(x=0.015, y=0.01)
    _, _, _, onset, apex = pair(SMILE, pose)
    wall = np.ones(onset.shape[:2], bool)
    wall[:, 18:-18] = False
    onset[wall] = apex[wall] = 150
    assert distance(register(onset, apex).transform, similarity(pose)) < 0.35


def test_grey_frames_and_their_type():
    _, _, _, onset, apex = pair(SMILE, DRIFTS[0])
    onset, apex = (cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in (onset, apex))
    found = register(onset, apex)
    assert found.frame.shape == apex.shape
    assert found.frame.dtype == np.uint8
    assert distance(found.transform, similarity(DRIFTS[0])) < 0.25


@pytest.mark.parametrize("kind", ["flat", "strangers", "upside down"])
def test_where_nothing_is_found_the_pair_stays_as_it_is(kind):
    _, _, _, onset, _ = pair(Expression(), Pose())
    if kind == "flat":
        onset = np.full_like(onset, 90)
        apex = onset + np.uint8(3)
    elif kind == "strangers":
        onset, apex = np.random.default_rng(0).integers(0, 256, (2, *onset.shape), np.uint8)
        onset, apex = (cv2.GaussianBlur(frame, (0, 0), 4) for frame in (onset, apex))
        onset, apex = (cv2.normalize(frame, None, 0, 255, cv2.NORM_MINMAX) for frame in (onset, apex))
    else:
        apex = onset[::-1].copy()
    found = register(onset, apex)
    assert found.transform is None
    assert np.array_equal(found.frame, apex)


def test_the_transform_is_a_similarity():
    _, _, _, onset, apex = pair(SMILE, DRIFTS[2])
    turn = register(onset, apex).transform[:, :2]
    assert np.allclose(turn @ turn.T, np.eye(2) * np.linalg.det(turn))
    assert math.degrees(math.atan2(turn[1, 0], turn[0, 0])) == pytest.approx(-3.0, abs=0.2)


def test_frames_of_different_sizes_are_refused():
    with pytest.raises(UserError, match="apex frame"):
        register(np.zeros((64, 64), np.uint8), np.zeros((64, 65), np.uint8))
