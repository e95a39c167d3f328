"""Optical flow between two frames, and between many pairs of frames.

Flow goes from the onset frame to the apex frame: what is seen at a pixel of the onset has moved by (u, v) pixels, u to
the right and v down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from nas_mer.data.flow.lorentzian import lorentzian
from nas_mer.data.images import grey
from nas_mer.errors import UserError
from nas_mer.words import did_you_mean

Floats = NDArray[np.float32]
Frame = NDArray[np.uint8]

_SMALLEST = 32  # Pixels a side, below which the methods' pyramids have no level.


def _lorentzian(onsets: Frame, apexes: Frame, device: str) -> Floats:
    flows = lorentzian(*(torch.from_numpy(np.ascontiguousarray(stack)).to(device) for stack in (onsets, apexes)))
    return np.ascontiguousarray(flows.permute(0, 2, 3, 1).cpu().numpy())


def _dis(onsets: Frame, apexes: Frame, device: str) -> Floats:
    return _calculated(cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM), onsets, apexes)


def _farneback(onsets: Frame, apexes: Frame, device: str) -> Floats:
    return _calculated(cv2.FarnebackOpticalFlow.create(numLevels=3, winSize=21, numIters=3), onsets, apexes)


def _calculated(algorithm: cv2.DenseOpticalFlow, onsets: Frame, apexes: Frame) -> Floats:
    flows = np.zeros((*onsets.shape, 2), np.float32)
    for onset, apex, flow in zip(onsets, apexes, flows, strict=True):
        flow[:] = algorithm.calc(onset, apex, np.zeros_like(flow))
    return flows


def _tvl1(onsets: Frame, apexes: Frame, device: str) -> Floats:
    try:
        registration = import_module("skimage.registration")
    except ImportError:
        raise UserError("the method 'tvl1' needs scikit-image: pip install 'nas-mer[raw]'") from None
    flows = np.zeros((*onsets.shape, 2), np.float32)
    for onset, apex, flow in zip(onsets, apexes, flows, strict=True):
        flow[..., 1], flow[..., 0] = registration.optical_flow_tvl1(onset, apex)
    return flows


METHODS: Mapping[str, Callable[[Frame, Frame, str], Floats]] = {
    "lorentzian": _lorentzian,
    "dis": _dis,
    "farneback": _farneback,
    "tvl1": _tvl1,
}
"""Methods of optical flow by name, from two stacks `(N, H, W)` of grey frames and the device to calculate on:
`lorentzian` is robust flow with Lorentzian penalties (Sun, Roth and Black, CVPR 2010), the only one that heeds the
device; `dis` dense inverse search (Kroeger et al., ECCV 2016), `farneback` polynomial expansion (Farneback, SCIA 2003),
both by OpenCV; `tvl1` total variation with an absolute difference (Zach et al., DAGM 2007), by scikit-image."""


def optical_flow(onset: Frame, apex: Frame, method: str = "dis") -> Floats:
    """Estimate the flow from the onset frame to the apex frame.

    Args:
        onset, apex: two frames of one size, `(H, W)` grey or `(H, W, 3)` blue, green, red, uint8.
        method: one of `METHODS`.

    Returns:
        `(H, W, 2)` float32: u and v in pixels.

    Raises:
        UserError: the frames are no such pair, the method is unknown, or its library is not installed.
    """
    return np.asarray(optical_flows(onset[None], apex[None], method)[0], np.float32)


def optical_flows(onsets: Frame, apexes: Frame, method: str = "dis", device: str = "cpu") -> Floats:
    """Estimate the flow of many pairs of frames.

    Args:
        onsets, apexes: two stacks of as many frames of one size, `(N, H, W)` grey or `(N, H, W, 3)` blue, green, red,
            uint8.
        method: one of `METHODS`.
        device: of torch, on which `lorentzian` is calculated; the other methods have only the processor.

    Returns:
        `(N, H, W, 2)` float32: u and v in pixels. The flow of a pair does not depend on the others.

    Raises:
        UserError: the frames are no such pairs, the method is unknown, or its library is not installed.
    """
    if method not in METHODS:
        raise UserError(f"unknown method of optical flow '{method}'{did_you_mean(method, METHODS)}")
    for name, frames in (("onset", onsets), ("apex", apexes)):
        shape = frames.shape[1:]
        grey_or_colour = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        if frames.dtype != np.uint8 or not grey_or_colour or min(shape[:2]) < _SMALLEST:
            raise UserError(
                f"the {name} frame must be uint8 of shape (H, W) or (H, W, 3) with at least {_SMALLEST} pixels a side, "
                f"found {frames.dtype} of shape {shape}"
            )
    if onsets.shape[1:3] != apexes.shape[1:3]:
        raise UserError(f"the onset frame is of shape {onsets.shape[1:3]}, the apex frame of {apexes.shape[1:3]}")
    if len(onsets) != len(apexes):
        raise UserError(f"every onset frame needs its apex frame, found {len(onsets)} and {len(apexes)}")
    return METHODS[method](_grey(onsets), _grey(apexes), device)


def _grey(frames: Frame) -> Frame:
    if frames.ndim == 3:
        return frames
    return np.asarray([grey(frame) for frame in frames], np.uint8).reshape(frames.shape[:3])
