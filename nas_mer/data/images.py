"""Images decoded and turned grey, and OpenCV kept quiet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_log = cv2.utils.logging


def decoded(content: bytes, flags: int) -> NDArray[Any] | None:
    """Return the image that a file's content holds, as `cv2.imdecode` does, or None if it holds none.

    OpenCV's own words on damaged files are kept from stderr, where the caller says what is wrong.
    """
    if not content:
        return None
    with quiet():
        try:
            image: NDArray[Any] | None = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        except cv2.error:  # its header tells of more pixels than any image has
            return None
    return image


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenCV's log from stderr in the block."""
    level = _log.getLogLevel()
    _log.setLogLevel(_log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        _log.setLogLevel(level)


def grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image `(H, W)`, made of `(H, W, 3)` blue, green, red or grey already."""
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
