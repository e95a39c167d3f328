"""Apex spotting: which frame of a clip shows the expression at its strongest, where nobody marked it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from nas_mer.data.flow import Floats, Frame
from nas_mer.data.images import grey
from nas_mer.errors import UserError
from nas_mer.words import did_you_mean

_SMALLEST = 16  # pixels a side
_GRID = (8, 10)  # columns and rows to which the paper's method reduces a face
_COLUMNS = 128  # to which `aligned` reduces wider frames


def _paper(frames: Sequence[Frame]) -> int:
    """Where the difference to the first frame, on a coarse grid, varies most between 20 % and 70 % of the clip."""
    coarse = np.stack([cv2.resize(_floats(frame), _GRID, interpolation=cv2.INTER_AREA) for frame in frames])
    spread = (coarse - coarse[0]).std(axis=(1, 2))
    last = len(frames) - 1
    start = math.ceil(0.2 * last)
    stop = max(start, math.floor(0.7 * last)) + 1  # of two frames the second, which is beyond 70 %
    return start + int(spread[start:stop].argmax())


def _aligned(frames: Sequence[Frame]) -> int:
    """Where the frame differs most from the first one, motion of the head and changes of the light taken out.

    A blink changes more than an expression does, but for a shorter time. So where the picture changes for moments much
    more than it does for half of the clip, it counts for little, and nowhere is more counted than 2.5 times that. The
    root of the mean square over the pixels is smoothed over 3 % of the clip.
    """
    changes = np.abs(_changes(frames))
    usual = np.median(changes, axis=0)
    smooth = gaussian_filter1d(changes, 0.02 * len(frames), axis=0, mode="nearest")
    briefly = np.quantile(smooth, 0.97, axis=0) / np.maximum(usual, 1e-6)
    weights = 1 / (1 + (gaussian_filter(np.minimum(briefly, 20), 2.0) / 3) ** 8)
    strength = np.sqrt((np.minimum(changes, 2.5 * usual) ** 2 * weights).mean(axis=(1, 2)))
    return 1 + int(gaussian_filter1d(strength, 0.03 * len(frames), mode="nearest").argmax())


SPOTTERS: Mapping[str, Callable[[Sequence[Frame]], int]] = {"paper": _paper, "aligned": _aligned}
"""Methods of apex spotting by name, from grey frames: `paper` is that of Xia et al. (2020), from their reference [24]
(frames reduced to 8 columns and 10 rows); `aligned` compares frames after the head's similarity motion is taken out."""


def spot_apex(frames: Sequence[Frame], method: str = "aligned") -> int:
    """Find the frame where an expression is strongest.

    Args:
        frames: of a clip in their order, the first at the expression's onset; all of one size, `(H, W)` grey or
            `(H, W, 3)` blue, green, red, uint8.
        method: one of `SPOTTERS`.

    Returns:
        the index of the apex in `frames`, at least 1. Where nothing changes it is the first that comes into question.

    Raises:
        UserError: the method is unknown, there are fewer than two frames, or they are not as above.
    """
    if method not in SPOTTERS:
        raise UserError(f"unknown method of apex spotting '{method}'{did_you_mean(method, SPOTTERS)}")
    if len(frames) < 2:
        raise UserError(f"apex spotting needs at least 2 frames, found {len(frames)}")
    shape = frames[0].shape
    wrong = [
        f"frame {index}: {frame.dtype} of shape {frame.shape}"
        for index, frame in enumerate(frames)
        if frame.dtype != np.uint8 or frame.shape != shape
    ]
    if wrong or len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or min(shape[:2]) < _SMALLEST:
        raise UserError(
            f"the frames of a clip must be uint8, of one shape (H, W) or (H, W, 3) with at least {_SMALLEST} pixels a "
            f"side, found {', '.join(wrong) or shape}"
        )
    return SPOTTERS[method]([grey(frame) for frame in frames])


def _changes(frames: Sequence[Frame]) -> Floats:
    """Return `(frames - 1, rows, columns)`: each frame's difference to the first that head and light do not explain.

    Each frame is moved onto the first by a similarity, found by one step of Gauss and Newton (Lucas and Kanade, 1981)
    from that of the frame before; then the rest of that motion and the light's changes are taken out by regression. It
    is reweighted (Geman and McClure, 1985), or what the eyes do in a blink would be spread over the whole picture.
    """
    height, width = frames[0].shape
    columns = min(width, _COLUMNS)
    cell = width / columns  # pixels
    rows = round(height / cell)
    # From cells about the middle, in which the head's motion is written, to pixels; and from the picture's cells there.
    pixels = np.array([[cell, 0, (width - 1) / 2], [0, cell, cell * (rows - 1) / 2 + (cell - 1) / 2], [0, 0, 1]])
    middle = np.array([[1, 0, -(columns - 1) / 2], [0, 1, -(rows - 1) / 2], [0, 0, 1]])

    def look(blurred: Floats, head: NDArray[np.float64]) -> Floats:
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        view = (pixels @ head @ middle)[:2]
        return _floats(cv2.warpAffine(blurred, view, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE))

    blurred = [_floats(cv2.GaussianBlur(_floats(frame), (0, 0), 0.5 * cell)) for frame in frames]
    head = np.eye(3)
    first = look(blurred[0], head)
    patterns = _patterns(first)
    explain = np.linalg.pinv(patterns, rcond=1e-6)
    changes = []
    for frame in blurred[1:]:
        along, down, zoom, turn = explain[:4] @ (look(frame, head) - first).ravel()
        head = head @ np.array([[1 - zoom, turn, -along], [-turn, 1 - zoom, -down], [0, 0, 1]])
        change = (look(frame, head) - first).ravel()
        rest = change - patterns @ (explain @ change)
        for _ in range(3):
            spread = 3 * np.median(np.abs(rest)) + 1e-6
            weighted = patterns / (1 + (rest[:, None] / spread) ** 2) ** 2
            rest = change - patterns @ np.linalg.lstsq(weighted.T @ patterns, weighted.T @ change, rcond=1e-9)[0]
        changes.append(rest.reshape(rows, columns))
    return _floats(changes)


def _patterns(first: Floats) -> NDArray[np.float64]:
    """Return `(pixels, 10)`: how a picture changes by a shift, a zoom and a turn about its middle, and by the light."""
    rows, columns = first.shape
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    x, y = x - (columns - 1) / 2, y - (rows - 1) / 2
    down, along = np.gradient(first.astype(np.float64))
    motion = [along, down, x * along + y * down, x * down - y * along]
    light = [base * slope for base in (np.ones_like(x), first / 128) for slope in (1, x / columns, y / columns)]
    return np.stack([pattern.ravel() for pattern in (*motion, *light)], axis=1)


def _floats(values: object) -> Floats:
    return np.asarray(values, np.float32)
