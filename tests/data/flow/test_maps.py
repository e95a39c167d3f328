import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_mer.data.flow import assemble, strain
from nas_mer.data.synthetic.faces import Camera, Expression, Moment, Pose, displacement
from nas_mer.data.synthetic.portrait import Face
from nas_mer.errors import UserError

SMILE = Moment(Expression({"AU6": (0.7, 0.6), "AU12": (1.0, 0.8)}), Pose(x=0.002, y=-0.001, angle=0.1))


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


def test_refused_maps():
    flow = linear(0, 0, 0, 0)
    with pytest.raises(UserError, match="unknown form of strain 'symetric'; did you mean 'symmetric'"):
        strain(flow, "symetric")
    with pytest.raises(UserError, match="at least 1 pixel a side, found 0"):
        assemble(flow, 0)
