"""Registration: the apex frame moved onto the onset frame, so that only the expression differs."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from nas_mer.data.flow import Floats, Frame, optical_flow
from nas_mer.data.images import grey

_STRIDE = 3  # pixels between the points at which flow is looked at
_TEXTURE = 2.0  # grey levels squared: the smaller eigenvalue of the structure tensor at which a point counts half


@dataclass(frozen=True, eq=False)
class Registered:
    """An apex frame after registration.

    Attributes:
        frame: the apex frame seen from where the head was at onset, of the shape and dtype it had.
        transform: `(2, 3)` float64, the similarity from pixels (x, y, 1) of the onset frame to where the head has
            carried them in the apex frame; None where none was found: then the frame is as it was.
    """

    frame: Frame = field(repr=False)
    transform: NDArray[np.float64] | None


def register(onset: Frame, apex: Frame) -> Registered:
    """Take the head's drift between two frames out of the second.

    The drift is the similarity that most of the face's optical flow (dense inverse search) agrees on, by least squares
    reweighted with the weights of Geman and McClure (1985); points that the expression moves disagree and lose their
    weight, points without texture have none. It is found in two rounds, the second on the frame moved by the first.

    Nothing is found where the frames have no texture, where half of the points stay more than 2 % of the frame's width
    away from any similarity, or where the head would have moved by more than a quarter of the width, turned by more
    than 15 degrees or grown or shrunk by more than a quarter.

    Args:
        onset, apex: two frames of one size, `(H, W)` grey or `(H, W, 3)` blue, green, red, uint8.

    Raises:
        UserError: the frames are no such pair; see `nas_mer.data.flow.optical_flow`.
    """
    width = onset.shape[1]
    total = np.eye(3)
    moved = apex
    for _ in range(2):
        step = _similarity(optical_flow(onset, moved, "dis"), _texture(onset))
        if step is None:
            return Registered(apex, None)
        total = total @ step
        if not _plausible(total, onset.shape[0], width):
            return Registered(apex, None)
        moved = _warped(apex, total[:2])
    return Registered(moved, total[:2])


def _similarity(flow: Floats, texture: Floats) -> NDArray[np.float64] | None:
    """Return the 3x3 similarity that most of a flow follows where there is texture, or None where there is none.

    A point x + iy of the plane moves by shift + factor * (x + iy); both are complex numbers.
    """
    height, width = texture.shape
    y, x = np.mgrid[:height:_STRIDE, :width:_STRIDE]
    points = (x + 1j * y).ravel()
    motions = flow[::_STRIDE, ::_STRIDE].astype(np.float64) @ (1, 1j)
    motions, trust = motions.ravel(), texture[::_STRIDE, ::_STRIDE].ravel().astype(np.float64)
    seen = trust > 0.1
    if seen.sum() < 20:
        return None
    points, motions, trust = points[seen], motions[seen], trust[seen]
    weights = trust
    for _ in range(20):
        weights = weights / weights.sum()
        middle, mean = weights @ points, weights @ motions
        spread = weights @ np.abs(points - middle) ** 2
        factor = weights @ (np.conj(points - middle) * (motions - mean)) / spread
        left = np.abs(motions - mean - factor * (points - middle)) ** 2
        usual = np.median(left)
        weights = trust / (1 + left / (usual + 1e-9)) ** 2
    if usual > (0.02 * width) ** 2:
        return None
    turn, shift = 1 + factor, mean - factor * middle
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag], [0, 0, 1]])


def _texture(frame: Frame) -> Floats:
    """Return `(H, W)`: how well the flow at a pixel is determined in both directions, 0 not at all to 1."""
    smooth = cv2.GaussianBlur(np.asarray(grey(frame), np.float32), (0, 0), 1.5)
    across, along = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    xx, xy, yy = (cv2.GaussianBlur(a * b, (0, 0), 3.0) for a, b in ((across, across), (across, along), (along, along)))
    weaker = np.maximum((xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2), 0)
    return np.asarray(weaker / (weaker + _TEXTURE), np.float32)


def _plausible(transform: NDArray[np.float64], height: int, width: int) -> bool:
    middle = np.array([(width - 1) / 2, (height - 1) / 2, 1])
    turn = complex(transform[0, 0], transform[1, 0])
    shift = np.hypot(*(transform @ middle - middle)[:2])
    return bool(0.8 < abs(turn) < 1.25 and abs(np.angle(turn, deg=True)) < 15 and shift < width / 4)


def _warped(frame: Frame, transform: NDArray[np.float64]) -> Frame:
    """Return a frame as seen where a transform of the pixels points; beyond its border the border goes on."""
    height, width = frame.shape[:2]
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(frame, transform, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)
