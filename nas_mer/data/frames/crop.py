"""Crops of raw frames: the part of the picture where the face is, found once a clip.

All frames of a clip are cropped alike, by one similarity (shift, turn and scale) of the onset frame: what moves in the
cropped frames is what has moved in the raw ones.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_mer.data.images import grey
from nas_mer.errors import UserError

Frame = NDArray[np.uint8]
Matrix = tuple[tuple[float, float, float], tuple[float, float, float]]

EYE = (0.19, -0.16)
"""Where a face crop has the eye on the picture's right: x to the right and y down from the crop's middle, in units of
its width. The other eye mirrors it; with these, the crop reaches from hairline to chin."""

NOSE = (0.0, 0.12)
"""Where a face crop has the lower end of the nose."""

_CLEARLY = 1.5  # times as wide as the next is the face that is taken for the subject's


@dataclass(frozen=True)
class Crop:
    """One similarity for all frames of a clip.

    Attributes:
        matrix: 2x3, takes (x, y, 1) of a pixel of the frame to its (x, y) in the crop; a pixel's centre is whole.
        width, height: of the crop in pixels.
    """

    matrix: Matrix
    width: int
    height: int

    @property
    def scale(self) -> float:
        """Pixels of the crop to a pixel of the frame."""
        return math.hypot(self.matrix[0][0], self.matrix[1][0])

    def apply(self, frame: Frame) -> Frame:
        """Crop a frame, `(H, W)` or `(H, W, 3)`; beyond the frame its border goes on.

        Returns:
            `(height, width)` or `(height, width, 3)` uint8.
        """
        if self.scale < 1:  # blurred first, or what is finer than the crop's pixels would flicker as it moves
            frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), (1 / self.scale - 1) / 2), np.uint8)
        matrix = np.array(self.matrix)
        size = (self.width, self.height)
        cropped = cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(cropped, np.uint8)


def box_crop(box: Sequence[int], frame: Frame, name: str = "the onset frame") -> Crop:
    """Cut a fixed box out of the frames, without turn and scale.

    Args:
        box: x and y of its left upper pixel, its width and its height.
        frame: the clip's onset frame, which must hold it.
        name: of that frame, for messages.

    Raises:
        UserError: the box is empty or not within the frame.
    """
    x, y, width, height = box
    high, wide = frame.shape[:2]
    if not (0 <= x < x + width <= wide and 0 <= y < y + height <= high):
        raise UserError(
            f"{name}: the box {x}, {y}, {width}, {height} (x, y, width, height) is not within the frame's "
            f"{wide} x {high} pixels"
        )
    return Crop(((1.0, 0.0, float(-x)), (0.0, 1.0, float(-y))), width, height)


def face_crop(frame: Frame, width: int = 230, height: int = 260, name: str = "the onset frame") -> Crop:
    """Find the face in a clip's onset frame and crop to it: eyes and nose come to `EYE` and `NOSE`, as near as may be.

    The face is found by dlib's detector (Dalal and Triggs, 2005; King, 2015), eyes and nose by its shape predictor
    (Kazemi and Sullivan, CVPR 2014).

    Args:
        frame: `(H, W)` grey or `(H, W, 3)` blue, green, red, uint8.
        width, height: of the crop in pixels.
        name: of the frame, for messages.

    Raises:
        UserError: no face is found, or several of which none is clearly the largest, or the extra `raw` is missing.
    """
    detect, predict = face_models()
    seen_grey = grey(frame)
    # If need be at twice its size: the least face that is found has 80 pixels.
    faces = detect(seen_grey, 0) or detect(seen_grey, 1)
    high, wide = frame.shape[:2]
    if not faces:
        raise UserError(f"{name}: no face found in {wide} x {high} pixels; look at it, or give --box")
    face, *others = sorted(faces, key=lambda found: found.width(), reverse=True)
    if others and face.width() < _CLEARLY * others[0].width():
        where = "; ".join(f"{each.width()} pixels wide at x {each.left()}, y {each.top()}" for each in (face, *others))
        raise UserError(f"{name}: {len(faces)} faces found and none is clearly the largest ({where}); give --box")
    corners = np.array([(point.x, point.y) for point in predict(seen_grey, face).parts()], np.float64)
    seen = [corners[0:2].mean(axis=0), corners[2:4].mean(axis=0), corners[4]]
    places = np.array([EYE, (-EYE[0], EYE[1]), NOSE]) * width + ((width - 1) / 2, (height - 1) / 2)
    return Crop(similarity(seen, places), width, height)


def similarity(points: ArrayLike, places: ArrayLike) -> Matrix:
    """Return the shift, turn and scale that take points nearest to their places (least squares).

    Args:
        points, places: `(K, 2)` each, x and y; at least two points that differ.

    Returns:
        The 2x3 matrix. As complex numbers it is `z -> a z + b`: a line fitted.
    """
    z, w = (np.asarray(each, np.float64) @ (1, 1j) for each in (points, places))
    about = z - z.mean()
    a = np.vdot(about, w) / np.vdot(about, about)
    b = w.mean() - a * z.mean()
    return (float(a.real), float(-a.imag), float(b.real)), (float(a.imag), float(a.real), float(b.imag))


@lru_cache(maxsize=1)
def face_models() -> tuple[Any, Any]:
    """Return dlib's face detector and its predictor of five points, two corners of each eye and the nose.

    Raises:
        UserError: the extra `raw` is missing.
    """
    models = importlib.util.find_spec("face_recognition_models")
    try:
        dlib = importlib.import_module("dlib")
    except ImportError:
        dlib = None
    if dlib is None or models is None or models.origin is None:
        raise UserError(
            "raw frames are cropped by dlib and its models, which are not installed: "
            "pip install 'nas-mer[raw]', or give --box"
        )
    # The package's own functions for this need a module that setuptools has dropped.
    model = Path(models.origin).parent / "models" / "shape_predictor_5_face_landmarks.dat"
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(model))
