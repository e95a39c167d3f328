import cv2
import numpy as np
import pytest

from nas_mer.data.synthetic.faces import ACTION_UNITS, Camera, Expression, Moment, Pose, displacement, render
from nas_mer.data.synthetic.portrait import Face
from nas_mer.errors import UserError

CAMERA = Camera(width=200, height=230)
REST = Moment()
DRIFT = Pose(x=0.004, y=-0.003, angle=0.4, scale=1.004)
PEOPLE = [Face.draw(np.random.default_rng(seed)) for seed in range(4)]


def show(*units, left=1.0, right=1.0, pose=None):
    return Moment(Expression(dict.fromkeys(units, (left, right))), pose or Pose())


def at(flow, face, landmark, side=1):
    """(outward, down) in pixels at a landmark of the picture's left (-1) or right (1) side."""
    x, y = face.landmarks[landmark]
    column, row = side * x * CAMERA.width + CAMERA.width / 2, y * CAMERA.width + CAMERA.height / 2
    u, v = flow[round(row - 0.5), round(column - 0.5)]
    return side * u, v


OUT, IN, UP, DOWN = (1, 0), (-1, 0), (0, -1), (0, 1)
FACS = [
    ("AU1", "brow_inner", UP),
    ("AU2", "brow_outer", UP),
    ("AU4", "brow_inner", DOWN),
    ("AU4", "brow_inner", IN),
    ("AU5", "upper_lid", UP),
    ("AU6", "cheek", UP),
    ("AU7", "upper_lid", DOWN),
    ("AU7", "lower_lid", UP),
    ("AU9", "nose_wing", UP),
    ("AU10", "upper_lip", UP),
    ("AU12", "mouth_corner", UP),
    ("AU12", "mouth_corner", OUT),
    ("AU14", "mouth_corner", IN),
    ("AU15", "mouth_corner", DOWN),
    ("AU17", "chin", UP),
    ("AU25", "lower_lip", DOWN),
    ("AU26", "chin", DOWN),
    ("AU26", "lower_lip", DOWN),
    ("AU45", "upper_lid", DOWN),
]


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(("unit", "landmark", "direction"), FACS)
def test_action_units_move_what_facs_says(unit, landmark, direction, side):
    for face in PEOPLE:
        flow = displacement(face, REST, show(unit), CAMERA)
        along = np.dot(at(flow, face, landmark, side), direction)
        assert along > 0.3, "well visible at intensity 1"
        assert np.linalg.norm(flow, axis=-1).max() < 5, "but a micro-expression"


def test_every_action_unit_is_covered():
    assert {unit for unit, _, _ in FACS} == set(ACTION_UNITS)


def test_units_leave_the_rest_of_the_face_alone():
    for face in PEOPLE:
        brows = displacement(face, REST, show("AU1", "AU2"), CAMERA)
        mouth = displacement(face, REST, show("AU12", "AU15", "AU26"), CAMERA)
        assert np.abs(at(brows, face, "mouth_corner")).max() < 0.05
        assert np.abs(at(mouth, face, "brow_inner")).max() < 0.05


def test_one_sided_expressions_move_one_side():
    face = PEOPLE[0]
    flow = displacement(face, REST, show("AU12", left=1.0, right=0.0), CAMERA)
    assert np.linalg.norm(at(flow, face, "mouth_corner", -1)) > 1
    assert np.linalg.norm(at(flow, face, "mouth_corner", 1)) < 0.05


def test_intensity_scales_the_flow():
    whole, half = (
        displacement(PEOPLE[0], REST, show("AU12", left=i, right=i), CAMERA).astype(float) for i in (1.0, 0.5)
    )
    np.testing.assert_allclose(half, whole / 2, atol=0.01)


def test_exchanging_the_sides_mirrors_the_flow():
    before, after = (
        Moment(Expression({"AU4": (0.9, 0.2), "AU12": (0.1, 0.7)}), Pose(x, 0.002, turn, 1.003))
        for x, turn in ((0.001, 0.2), (0.004, -0.3))
    )
    mirrored = [
        Moment(
            Expression({unit: sides[::-1] for unit, sides in moment.expression.units.items()}),
            Pose(-moment.pose.x, moment.pose.y, -moment.pose.angle, moment.pose.scale),
        )
        for moment in (before, after)
    ]
    flow = displacement(PEOPLE[1], before, after, CAMERA)
    other = displacement(PEOPLE[1], *mirrored, CAMERA)
    np.testing.assert_allclose(other, flow[:, ::-1] * (-1, 1), atol=0.03)


def test_a_pose_moves_the_frame_as_a_similarity():
    flow = displacement(PEOPLE[0], REST, Moment(pose=DRIFT), CAMERA)
    row, column = np.mgrid[: CAMERA.height, : CAMERA.width]
    place = (column - (CAMERA.width - 1) / 2) + 1j * (row - (CAMERA.height - 1) / 2)
    shift = CAMERA.width * (DRIFT.x + 1j * DRIFT.y)
    moved = place * DRIFT.scale * np.exp(1j * np.radians(DRIFT.angle)) + shift
    np.testing.assert_allclose(flow[..., 0], (moved - place).real, atol=1e-3)
    np.testing.assert_allclose(flow[..., 1], (moved - place).imag, atol=1e-3)


def test_nothing_moves_between_equal_moments():
    smile = show("AU6", "AU12", pose=DRIFT)
    for moment in (REST, smile):
        assert np.abs(displacement(PEOPLE[2], moment, moment, CAMERA)).max() < 0.05


def test_a_camera_that_stands_back_sees_the_same_face_before_a_wall():
    wide = Camera(width=500, height=400, zoom=CAMERA.width / 500)
    smile = show("AU12", pose=DRIFT)
    part = np.s_[85:315, 150:350]
    close, far = (render(PEOPLE[1], smile, camera).astype(int) for camera in (CAMERA, wide))
    middle = np.s_[50:170, 40:-40]
    np.testing.assert_allclose(far[part][middle], close[middle], atol=1)
    near_flow, far_flow = (displacement(PEOPLE[1], REST, smile, camera) for camera in (CAMERA, wide))
    np.testing.assert_allclose(far_flow[part], near_flow, atol=1e-3)
    assert len(np.unique(far[:, [0, -1]].reshape(-1, 3), axis=0)) == 1, "a plain wall at both sides"
    assert (far[0] == far[0, 0]).all(), "and above"
    for zoom in (0.0, 1.5):
        with pytest.raises(UserError, match=f"zoom {zoom}"):
            Camera(zoom=zoom)


@pytest.mark.parametrize("units", [("AU12", "AU6"), ("AU4", "AU7", "AU15"), ("AU1", "AU2", "AU26"), ("AU45",)])
def test_there_and_back_again(units):
    there, back = (
        displacement(PEOPLE[3], *pair, CAMERA)
        for pair in ((REST, show(*units, pose=DRIFT)), (show(*units, pose=DRIFT), REST))
    )
    row, column = np.mgrid[: CAMERA.height, : CAMERA.width].astype(np.float32)
    returned = cv2.remap(back, column + there[..., 0], row + there[..., 1], cv2.INTER_LINEAR)
    inside = np.s_[5:-5, 5:-5]
    assert np.abs(there + returned)[inside].max() < 0.05


@pytest.mark.parametrize("units", [("AU12", "AU6"), ("AU4", "AU7"), ("AU1", "AU2", "AU26")])
def test_the_true_flow_leads_to_the_same_skin(units):
    face = PEOPLE[1]
    after = show(*units, pose=DRIFT)
    onset, apex = (render(face, moment, CAMERA).astype(np.float32) for moment in (REST, after))
    flow = displacement(face, REST, after, CAMERA)
    row, column = np.mgrid[: CAMERA.height, : CAMERA.width].astype(np.float32)
    followed = cv2.remap(apex, column + flow[..., 0], row + flow[..., 1], cv2.INTER_CUBIC)
    inside = np.s_[6:-6, 6:-6]
    still, error = (np.abs(frame - onset)[inside].mean() for frame in (apex, followed))
    assert error < 0.4 * still
    assert error < 2.0, "grey levels, from interpolating twice"


def test_flow_grows_with_the_frame():
    small, large = (
        displacement(PEOPLE[0], REST, show("AU12", pose=DRIFT), Camera(width, height))
        for width, height in ((120, 138), (240, 276))
    )
    halved = large.reshape(138, 2, 120, 2, 2).mean(axis=(1, 3)) / 2
    np.testing.assert_allclose(halved, small, atol=0.02)


def test_frames():
    frame = render(PEOPLE[0], REST, Camera(150, 170))
    assert frame.shape == (170, 150, 3)
    assert frame.dtype == np.uint8
    assert np.ptp(frame.reshape(-1, 3), axis=0).min() > 100
    assert (render(PEOPLE[0], REST, Camera(150, 170)) == frame).all(), "without a generator nothing is random"


def test_grey_frames_have_equal_channels():
    colour, grey = (render(PEOPLE[0], REST, Camera(colour=colour)) for colour in (True, False))
    assert (grey == grey[..., :1]).all()
    assert not (colour == colour[..., :1]).all()
    assert np.abs(cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY).astype(int) - grey[..., 0]).max() <= 1


@pytest.mark.parametrize("colour", [True, False])
def test_noise_has_its_deviation(colour):
    camera = Camera(colour=colour, noise=3.0)
    clean = render(PEOPLE[0], REST, camera).astype(int)
    noisy = render(PEOPLE[0], REST, camera, np.random.default_rng(0)).astype(int)
    midtones = (clean > 20) & (clean < 235)
    assert (noisy - clean)[midtones].std() == pytest.approx(3.0, rel=0.1)


def test_light():
    def brightness(**light):
        return render(PEOPLE[0], REST, Camera(**light)).astype(float)

    usual = brightness()
    assert brightness(brightness=0.7).mean() < 0.8 * usual.mean()
    assert brightness(gamma=1.3).mean() < usual.mean() < brightness(gamma=0.8).mean()
    right, down = brightness(light=(0.2, 0.0)) - usual, brightness(light=(0.0, 0.2)) - usual
    half = 230 // 2
    assert right[:, :half].mean() < 0 < right[:, half:].mean()
    assert down[: 260 // 2].mean() < 0 < down[260 // 2 :].mean()
    flickering = [
        render(PEOPLE[0], REST, Camera(flicker=0.05), np.random.default_rng(seed)).mean() for seed in range(8)
    ]
    assert 0.01 < np.std(flickering) / np.mean(flickering) < 0.12


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({"AU13": (1.0, 1.0)}, "unknown action unit 'AU13'; did you mean 'AU1"),
        ({"AU12": (-0.1, 1.0)}, r"AU12: intensities must be numbers from 0 to 2, found \(-0.1, 1.0\)"),
        ({"AU12": (1.0, 2.5)}, "from 0 to 2"),
        ({"AU12": (1.0, float("nan"))}, "from 0 to 2"),
    ],
)
def test_impossible_expressions(units, message):
    with pytest.raises(UserError, match=message):
        Expression(units)


def test_impossible_cameras_name_all_that_is_wrong():
    with pytest.raises(UserError, match="width 8, gamma 0, noise -1"):
        Camera(width=8, gamma=0, noise=-1)
    with pytest.raises(UserError, match=r"flicker nan, light \(0.7, -0.4\)"):
        Camera(flicker=float("nan"), light=(0.7, -0.4))
