"""Interpolation in time: clips of any number of frames brought to one number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_mer.data.flow import Frame


def interpolated(frames: Frame, count: int) -> Frame:
    """Interpolate a clip in time, as the temporal interpolation model does (Zhou, Zhao and Pietikainen, CVPR 2011).

    The model maps the frames onto the eigenvectors of a path graph's Laplacian, which are cosines, follows these
    between the frames, and maps back. Where no frame is a combination of the others, as in any recording, this is the
    interpolation of every pixel by as many cosines as there are frames, which is what is done here.

    Args:
        frames: `(n, H, W)` uint8, n at least 1, equally far apart in time.
        count: how many frames to return, at least 1: the first and the last and others equally far apart between them.

    Returns:
        `(count, H, W)` uint8, rounded.
    """
    number = len(frames)
    weights = _cosines(np.linspace(0, number - 1, count), number) @ _cosines(np.arange(number, dtype=float), number).T
    found = np.tensordot(weights, frames.astype(np.float64), axes=1)
    return np.asarray(found.round().clip(0, 255), np.uint8)


def _cosines(times: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Return the basis of the discrete cosine transform of `number` frames at some times, `(times, number)`."""
    waves: NDArray[np.float64] = np.cos(np.pi * np.outer(times + 0.5, np.arange(number)) / number) * np.sqrt(2 / number)
    waves[:, 0] /= np.sqrt(2)
    return waves
