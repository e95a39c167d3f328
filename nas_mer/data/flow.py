"""Optical flow between two frames, its strain, and the flow map of both.

Flow goes from the onset frame to the apex frame: what is seen at a pixel of the onset has moved by (u, v) pixels, u to
the right and v down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from nas_mer.errors import UserError
from nas_mer.files import did_you_mean

Floats = NDArray[np.float32]
Frame = NDArray[np.uint8]
StrainForm = Literal["paper", "symmetric"]

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


def strain(flow: Floats, form: StrainForm = "paper") -> Floats:
    """Measure how much a flow deforms what it moves.

    Args:
        flow: `(H, W, 2)`, u and v in pixels.
        form: `paper` is Eq. 2 of Xia et al. (2020) as written, `sqrt(u_x^2 + v_y^2 + (u_y^2 + v_x^2) / 2)`; `symmetric`
            is the norm of the strain tensor, `sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2)`, which a rotation leaves at 0.

    Returns:
        `(H, W)`, at least 0 and without unit; derivatives are central differences (one-sided at the border).

    Raises:
        UserError: the form is unknown.
    """
    u_y, u_x = np.gradient(flow[..., 0])
    v_y, v_x = np.gradient(flow[..., 1])
    match form:
        case "paper":
            shear = u_y**2 + v_x**2
        case "symmetric":
            shear = (u_y + v_x) ** 2
        case _:
            raise UserError(f"unknown form of strain '{form}'{did_you_mean(form, get_args(StrainForm))}")
    return np.asarray(np.sqrt(u_x**2 + v_y**2 + shear / 2), np.float32)


def assemble(flow: Floats, size: int, form: StrainForm = "paper") -> Floats:
    """Make a flow map of a flow.

    Args:
        flow: `(H, W, 2)`, u and v in pixels.
        size: of the map's sides; a frame that is not square is stretched to one.
        form: see `strain`.

    Returns:
        `(3, size, size)` float32: u, v and strain in percent. For u and v that is of the frame's *width*, so that the
        same face at another resolution has the same map; strain is taken before resizing.

    Raises:
        UserError: the size is less than 1, or the form unknown.
    """
    if size < 1:
        raise UserError(f"flow maps must have at least 1 pixel a side, found {size}")
    height, width = flow.shape[:2]
    channels = np.dstack([flow / width, strain(flow, form)]) * np.float32(100)
    shrinks = size <= min(height, width)
    resized = cv2.resize(channels, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized.transpose(2, 0, 1), np.float32)


def flow_map(onset: Frame, apex: Frame, size: int, method: str = "dis", form: StrainForm = "paper") -> Floats:
    """Return the flow map `(3, size, size)` of two frames: see `optical_flow` and `assemble`."""
    return assemble(optical_flow(onset, apex, method), size, form)


def _grey(frame: Frame) -> Frame:
    return frame if frame.ndim == 2 else np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8)
