"""Optical strain, and flow maps: what a network sees of two frames."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np

from nas_mer.data.flow.methods import Floats, Frame, optical_flow
from nas_mer.errors import UserError
from nas_mer.words import did_you_mean

StrainForm = Literal["paper", "symmetric"]


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
