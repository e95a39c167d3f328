"""Eulerian motion magnification: small motions in a clip made larger.

What changes at each pixel over time is split into spatial bands, amplified and added back (Wu et al., "Eulerian Video
Magnification for Revealing Subtle Changes in the World", ACM TOG 2012; reference [49] of Xia et al., 2020). To first
order, what moves by d then moves by `factor` times d.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from nas_mer.data.flow import Floats, Frame
from nas_mer.errors import UserError

_FINEST = 5.0  # Pixels: the wavelength to which the pyramid's finest level stands; each further one to twice as long.
_SMALLEST = 16  # pixels a side


@dataclass(frozen=True)
class Magnification:
    """How motion is magnified.

    Attributes:
        factor: how many times, 1 + alpha in Wu et al.
        low, high: the temporal band in Hz. An expression rises within 0.05 to 0.3 s, so that the band must reach far
            below 1 Hz and may end well below half of the frame rate.
        cutoff: Wu et al.'s lambda_c in pixels: levels of the pyramid that stand for at least this wavelength are
            amplified in full, finer ones as far as a motion of cutoff / (8 * factor) pixels allows. Structures of that
            wavelength are free of ghosts up to such a motion, structures of twice the wavelength up to twice as much.

    Raises:
        UserError: a value is out of range.
    """

    factor: float = 10.0
    low: float = 0.02
    high: float = 20.0
    cutoff: float = 16.0

    def __post_init__(self) -> None:
        wrong = [f"factor {self.factor}"] * (not 1 <= self.factor < math.inf)
        wrong += [f"band {self.low} to {self.high} Hz"] * (not 0 <= self.low < self.high < math.inf)
        wrong += [f"cutoff {self.cutoff}"] * (not 0 < self.cutoff < math.inf)
        if wrong:
            raise UserError(
                f"magnification: {', '.join(wrong)}; the factor must be at least 1, the band start at 0 Hz or above "
                "and end above its start, and the cutoff be a positive number of pixels"
            )


def magnify(frames: Sequence[Frame], rate: float, how: Magnification | None = None) -> list[Frame]:
    """Magnify the motion in a clip, relative to its first frame.

    The temporal filter is the difference of two low-pass filters: a Gaussian one without delay (half power at `high`),
    so that the apex stays where it is, less its own first-order recursion (half power at `low`) started at the first
    frame. Clips of 10 to 100 frames are shorter than a period of the band's lower end: a Fourier filter would join
    the last frame to the first and change both; this one leaves the first frame, the onset, exactly as it is.

    Args:
        frames: all of one size, `(H, W)` grey or `(H, W, 3)` blue, green, red, uint8, from the onset on.
        rate: frames a second.
        how: see `Magnification`.

    Returns:
        as many frames of the same shape and dtype; the first is as it was.

    Raises:
        UserError: there are no frames, they differ in shape, or the rate is not positive.
    """
    how = how or Magnification()
    shapes = {frame.shape for frame in frames}
    if len(shapes) != 1 or any(frame.dtype != np.uint8 for frame in frames) or min(frames[0].shape[:2]) < _SMALLEST:
        found = ", ".join(sorted({f"{frame.dtype} of shape {frame.shape}" for frame in frames})) or "none"
        raise UserError(
            f"the frames to be magnified must be uint8 and of one size, with at least {_SMALLEST} pixels a side, "
            f"found {found}"
        )
    if not 0 < rate < math.inf:
        raise UserError(f"the frame rate must be positive, found {rate}")
    clip = np.stack(frames).astype(np.float32)
    gains = _gains(how, min(clip.shape[1:3]))
    changes = np.tensordot(_band(len(clip), rate, how), clip, axes=1)
    larger = [frame + _amplified(change, gains) for frame, change in zip(clip, changes, strict=True)]
    return [np.clip(np.rint(frame), 0, 255).astype(np.uint8) for frame in larger]


def _band(length: int, rate: float, how: Magnification) -> Floats:
    """Return the temporal filter as a matrix `(length, length)`, from frames to their changes; its first row is 0."""
    deviation = math.sqrt(math.log(2)) * rate / (2 * math.pi * how.high)  # of a Gaussian with half power at `high`
    quick = gaussian_filter1d(np.eye(length), deviation, axis=0, mode="nearest")
    share = 1 - math.exp(-2 * math.pi * how.low / rate)  # of the new in the recursion at each frame
    slow, _ = lfilter([share], [1, share - 1], quick, axis=0, zi=(1 - share) * quick[:1])
    matrix = np.asarray(quick - slow, np.float32)
    matrix[0] = 0  # but for rounding it is
    return matrix


def _gains(how: Magnification, side: int) -> NDArray[np.float64]:
    """Return alpha for each level of the pyramid, by the bound factor * motion < wavelength / 8.

    The remainder below them, brightness at large, is not amplified.
    """
    levels = math.floor(math.log2(side / 4))
    wavelengths = _FINEST * 2.0 ** np.arange(levels)
    return np.clip(how.factor * wavelengths / how.cutoff - 1, 0, how.factor - 1)


def _amplified(change: Floats, gains: NDArray[np.float64]) -> Floats:
    """Return the sum of a picture's Laplacian pyramid (Burt and Adelson, 1983), each level times its gain."""
    levels = []
    for _ in gains:
        smaller = np.asarray(cv2.pyrDown(change), np.float32)
        levels.append(np.subtract(change, _enlarged(smaller, change)))
        change = smaller
    total = np.zeros_like(change)
    for gain, level in zip(reversed(gains), reversed(levels), strict=True):
        total = np.asarray(_enlarged(total, level) + np.float32(gain) * level, np.float32)
    return total


def _enlarged(picture: Floats, like: Floats) -> Floats:
    height, width = like.shape[:2]
    return np.asarray(cv2.pyrUp(picture, dstsize=(width, height)), np.float32)
