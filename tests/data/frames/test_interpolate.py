import numpy as np
import pytest

from nas_mer.data.frames.interpolate import interpolated

RNG = np.random.default_rng(0)


def temporal_interpolation_model(frames, count):
    """The model as Zhou, Zhao and Pietikainen (2011) give it: a graph embedding, and back."""
    number = len(frames)
    vectors = frames.reshape(number, -1).T.astype(float)
    mean = vectors.mean(axis=1, keepdims=True)
    left, sizes, right = np.linalg.svd(vectors - mean, full_matrices=False)
    coordinates = (np.diag(sizes) @ right)[: number - 1]
    path = np.diag(np.ones(number - 1), 1) + np.diag(np.ones(number - 1), -1)
    laplacian = np.diag(path.sum(axis=1)) - path
    _, embedded = np.linalg.eigh(laplacian)
    embedded = embedded[:, 1:].T  # without the constant one
    to_embedding = embedded @ np.linalg.pinv(coordinates)
    order = np.arange(1, number)[:, None]

    def curve(times):
        return np.sin(np.pi * order * times + np.pi * (number - order) / (2 * number))

    scale = np.diag(embedded @ np.linalg.pinv(curve(np.arange(1, number + 1) / number)))[:, None]
    points = scale * curve(np.linspace(1 / number, 1, count))
    found = left[:, : number - 1] @ np.linalg.pinv(to_embedding) @ points + mean
    return found.T.reshape(count, *frames.shape[1:])


@pytest.mark.parametrize(("number", "count"), [(7, 10), (12, 10), (2, 5), (5, 3)])
def test_the_temporal_interpolation_model(number, count):
    frames = RNG.integers(60, 180, size=(number, 6, 5)).astype(np.uint8)
    expected = temporal_interpolation_model(frames, count)
    found = interpolated(frames, count)
    assert found.dtype == np.uint8
    assert np.abs(found - expected.clip(0, 255)).max() <= 0.5 + 1e-6


def test_as_many_frames_are_the_same_ones():
    frames = RNG.integers(256, size=(9, 4, 3)).astype(np.uint8)
    assert (interpolated(frames, 9) == frames).all()
    assert (interpolated(frames, 17)[::2] == frames).all()
    assert (interpolated(frames[::-1], 5) == interpolated(frames, 5)[::-1]).all()


def test_what_stands_still_does_so_afterwards():
    frame = RNG.integers(256, size=(4, 3)).astype(np.uint8)
    assert (interpolated(np.stack([frame] * 3), 8) == frame).all()
    assert (interpolated(frame[None], 4) == frame).all()
