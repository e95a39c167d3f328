from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from scipy.ndimage import map_coordinates
from scipy.sparse.linalg import spsolve

from nas_mer.data.flow import lorentzian as module
from nas_mer.data.flow.lorentzian import linear_system, lorentzian, sampled, spline, structure, texture

MIDDLEBURY = Path(__file__).parents[3] / "../shared/data/middlebury"


def pattern(height, width, seed=0, back=None):
    """Return waves in all directions, seen at `back` of each place (x, y)."""
    rng = np.random.default_rng(seed)
    waves, phases = rng.normal(0, 0.35, (60, 2)), rng.uniform(0, 2 * np.pi, 60)
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(float)
    values = np.sin((places if back is None else back(places)) @ waves.T + phases).sum(-1)
    return (128 + 7 * values).astype(np.float32)


def flow_of(onset, apex):
    return lorentzian(torch.from_numpy(onset)[None], torch.from_numpy(apex)[None])[0].numpy()


@pytest.mark.parametrize("shift", [(0.3, -0.2), (1.5, -0.75), (-4.0, 6.0)])
def test_shifts(shift):
    flow = flow_of(pattern(64, 80), pattern(64, 80, back=lambda places: places - shift))
    error = np.linalg.norm(flow - np.float32(shift)[:, None, None], axis=0)[10:-10, 10:-10]
    assert error.mean() < 0.02
    assert error.max() < 0.15


def test_a_small_rotation():
    centre, angle = np.array((35.5, 35.5)), np.deg2rad(2.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flow = flow_of(pattern(72, 72), pattern(72, 72, back=lambda places: (places - centre) @ turn + centre))
    places = np.stack(np.meshgrid(np.arange(72), np.arange(72)), -1) - centre
    truth = np.einsum("ij,hwj->ihw", turn - np.eye(2), places)
    error = np.linalg.norm(flow - truth, axis=0)[8:-8, 8:-8]
    assert error.mean() < 0.05 * np.linalg.norm(truth, axis=0).mean()


def test_a_step_in_the_flow_stays_sharp():
    onset = pattern(64, 96)
    apex = pattern(64, 96, back=lambda places: places - (2, 0))
    apex[32:] = onset[32:]
    u = flow_of(onset, apex)[0, :, 12:-12]
    assert np.abs(u[:28] - 2).mean() < 0.1
    assert np.abs(u[36:]).mean() < 0.1


def test_a_batch_is_its_pairs(monkeypatch):
    onsets = torch.from_numpy(np.stack([pattern(40, 52, seed) for seed in range(3)]))
    apexes = onsets.clone()  # The second pair is of equal frames: its systems are solved at once, the others go on.
    for pair in (0, 2):
        apexes[pair] = torch.from_numpy(pattern(40, 52, pair, lambda places, pair=pair: places - (0.2 + pair, -0.5)))
    together = lorentzian(onsets, apexes)
    alone = torch.cat([lorentzian(*pair) for pair in zip(onsets.split(1), apexes.split(1), strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=0)
    assert together[1].abs().max() < 1e-3

    monkeypatch.setattr(module, "_PIXELS", {"cpu": 2 * 40 * 52})
    torch.testing.assert_close(lorentzian(onsets, apexes), alone, atol=1e-3, rtol=0)


def test_mirrored_frames_have_the_mirrored_flow(monkeypatch):
    # Without the texture: total variation by forward differences knows left from right.
    monkeypatch.setattr(module, "texture", lambda frames: frames)
    bend = np.array([[0.99, -0.01], [0.01, 1.01]])
    onset, apex = pattern(48, 48), pattern(48, 48, back=lambda places: places @ bend - (0.4, 0.3))
    flow = flow_of(onset, apex)
    mirrored = flow_of(onset[:, ::-1].copy(), apex[:, ::-1].copy())[:, :, ::-1] * np.float32((-1, 1))[:, None, None]
    turned = flow_of(onset.T.copy(), apex.T.copy())[::-1].transpose(0, 2, 1)
    np.testing.assert_allclose(flow, mirrored, atol=1e-2)
    np.testing.assert_allclose(flow, turned, atol=1e-2)


def test_grey_levels_have_no_unit():
    onset, apex = pattern(40, 48), pattern(40, 48, back=lambda places: places - (0.7, 0.2))
    levels = [np.rint(frame.clip(0, 255)) for frame in (onset, apex)]
    whole = flow_of(*(frame.astype(np.uint8) for frame in levels))
    np.testing.assert_allclose(whole, flow_of(*(np.float32(0.01) * frame - 3 for frame in levels)), atol=1e-2)


@pytest.mark.parametrize("level", [0, 200])
def test_plain_frames_have_no_flow(level):
    assert not lorentzian(*torch.full((2, 1, 32, 45), level, dtype=torch.uint8)).any()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_system_is_that_of_the_penalties(share):
    rng = np.random.default_rng(4)
    height, width = 7, 9
    flow, gradient = rng.normal(0, 0.05, (2, height, width)), rng.normal(0, 5, (2, height, width))
    change, inside = rng.normal(0, 3, (height, width)), rng.random((height, width)) < 0.8

    def curvature(x, sigma):  # rho'(x) / x of log(1 + x^2 / (2 sigma^2)), and of x^2 / (2 sigma^2)
        return share * (x / sigma**2) / (1 + x**2 / (2 * sigma**2)) / x + (1 - share) / sigma**2

    pixels = height * width
    rows, columns = (sparse.diags([-1.0, 1.0], [0, 1], (n - 1, n)) for n in (height, width))
    slopes = sparse.vstack([sparse.kron(sparse.eye(height), columns), sparse.kron(rows, sparse.eye(width))])
    slopes = sparse.block_diag([slopes, slopes])
    smooth = slopes.T @ sparse.diags(0.06 * curvature(slopes @ flow.ravel(), 0.03))
    data = sparse.hstack([sparse.diags(part.ravel()) for part in gradient])
    weighted = data.T @ sparse.diags((inside * curvature(change, 1.5)).ravel())
    matrix = (weighted @ data + smooth @ slopes).tocsc()
    expected = spsolve(matrix, -weighted @ change.ravel() - smooth @ slopes @ flow.ravel()).reshape(2, pixels)

    tensors = [torch.from_numpy(array).float()[None] for array in (flow, gradient, change[None])]
    system = linear_system(*tensors, torch.from_numpy(inside)[None, None], share)
    np.testing.assert_allclose(system.solve(200)[0].numpy(), expected, atol=2e-3 * np.abs(expected).max())
    rough, fine = (np.abs(system.solve(n)[0].numpy() - expected).max() for n in (2, 20))
    assert fine < rough


def test_splines_agree_with_scipy():
    rng = np.random.default_rng(5)
    images = rng.normal(size=(2, 3, 20, 24)).astype(np.float32)
    places = rng.uniform(-3, 26, (2, 20, 24, 2)).astype(np.float32)
    places[:, :5] = np.round(places[:, :5])
    found = sampled(spline(torch.from_numpy(images)), torch.from_numpy(places)).numpy()
    for image, place, values in zip(images, places, found, strict=True):
        for channel, value in zip(image, values, strict=True):
            expected = map_coordinates(channel, (place[..., 1], place[..., 0]), order=3, mode="mirror")
            np.testing.assert_allclose(value, expected, atol=1e-3)


def test_texture_has_lost_its_shading():
    fine = pattern(60, 80) / 8
    shaded = fine + np.float32(40) * (np.arange(80) > 40)
    result = texture(torch.from_numpy(np.stack([shaded, shaded])[None]))[0, 0].numpy()
    assert result.min() == 0
    assert result.max() == 255

    def step(image):
        return (image[:, 50:].mean() - image[:, :30].mean()) / image[:, 50:].std()

    assert step(result) < step(shaded) / 5
    assert np.corrcoef(fine[:, 50:].ravel(), result[:, 50:].ravel())[0, 1] > 0.8


def test_structure_of_a_step_edge():
    # In closed form: both sides of the edge come nearer to each other by theta over their width.
    theta, left, right = 0.2, 2, 3
    image = torch.cat([torch.zeros(8, left), torch.ones(8, right)], 1)
    expected = torch.cat([torch.full((8, left), theta / left), torch.full((8, right), 1 - theta / right)], 1)
    torch.testing.assert_close(structure(image, theta), expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(structure(image.T, theta), expected.T, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)
def test_stays_on_its_device_in_single_precision(device):
    onset = torch.from_numpy(pattern(36, 40)).to(device)[None]
    flow = lorentzian(onset, onset.roll(1, 2))
    assert flow.device.type == device
    assert flow.dtype == torch.float32
    assert flow.shape == (1, 2, 36, 40)
    assert not flow.requires_grad


def test_middlebury():
    folder = MIDDLEBURY / "RubberWhale"
    if not folder.is_dir():
        pytest.skip("the Middlebury pairs are not here")
    crop = slice(100, 300), slice(150, 380)
    onset, apex = (cv2.imread(str(folder / f"frame1{i}.png"), cv2.IMREAD_GRAYSCALE)[crop] for i in (0, 1))
    truth = cv2.readOpticalFlow(str(folder / "flow10.flo"))[crop]
    known = (np.abs(truth) < 1e9).all(axis=-1)
    error = np.linalg.norm(flow_of(onset, apex).transpose(1, 2, 0) - truth, axis=-1)[known].mean()
    assert error < 0.12
