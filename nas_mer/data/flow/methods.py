"""Optical flow between two frames.

Flow goes from the onset frame to the apex frame: what is seen at a pixel of the onset has moved by (u, v) pixels, u to
the right and v down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from nas_mer.errors import UserError
from nas_mer.files import did_you_mean

Floats = NDArray[np.float32]
Frame = NDArray[np.uint8]

_SMALLEST = 32  # Pixels a side, below which the methods' pyramids have no level.


def _dis(onset: Frame, apex: Frame) -> Floats:
    return _calculated(cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM), onset, apex)


def _farneback(onset: Frame, apex: Frame) -> Floats:
    return _calculated(cv2.FarnebackOpticalFlow.create(numLevels=3, winSize=21, numIters=3), onset, apex)


def _calculated(algorithm: cv2.DenseOpticalFlow, onset: Frame, apex: Frame) -> Floats:
    return np.asarray(algorithm.calc(onset, apex, np.zeros((*onset.shape, 2), np.float32)), np.float32)


METHODS: Mapping[str, Callable[[Frame, Frame], Floats]] = {"dis": _dis, "farneback": _farneback}
"""Methods of optical flow by name, from two grey frames: `dis` is dense inverse search (Kroeger et al., ECCV 2016),
`farneback` polynomial expansion (Farneback, SCIA 2003)."""


def optical_flow(onset: Frame, apex: Frame, method: str = "dis") -> Floats:
    """Estimate the flow from the onset frame to the apex frame.

    Args:
        onset, apex: two frames of one size, `(H, W)` grey or `(H, W, 3)` blue, green, red, uint8.
        method: one of `METHODS`.

    Returns:
        `(H, W, 2)` float32: u and v in pixels.

    Raises:
        UserError: the frames are no such pair, or the method is unknown.
    """
    if method not in METHODS:
        raise UserError(f"unknown method of optical flow '{method}'{did_you_mean(method, METHODS)}")
    for name, frame in (("onset", onset), ("apex", apex)):
        grey_or_colour = frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)
        if frame.dtype != np.uint8 or not grey_or_colour or min(frame.shape[:2]) < _SMALLEST:
            raise UserError(
                f"the {name} frame must be uint8 of shape (H, W) or (H, W, 3) with at least {_SMALLEST} pixels a side, "
                f"found {frame.dtype} of shape {frame.shape}"
            )
    if onset.shape[:2] != apex.shape[:2]:
        raise UserError(f"the onset frame is of shape {onset.shape[:2]}, the apex frame of {apex.shape[:2]}")
    return METHODS[method](_grey(onset), _grey(apex))


def _grey(frame: Frame) -> Frame:
    return frame if frame.ndim == 2 else np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8)
