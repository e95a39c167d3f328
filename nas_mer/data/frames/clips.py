"""A clip: one recording as its database delivers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from nas_mer.data.dataset import Sample
from nas_mer.data.flow import Frame
from nas_mer.data.images import decoded
from nas_mer.errors import refuse


@dataclass(frozen=True)
class Clip:
    """One recording: whose, of which class, and its frames from onset to offset.

    Attributes:
        sample: its row of the manifest, the clip as annotated, the subject as the layout spells it.
        frames: the file of each frame by its number, in the order of the numbers; some may be missing.
        onset: number of the frame where the expression begins.
        apex: number of the frame where it is strongest, or None where nobody has marked it.
        offset: number of the frame where it ends.
        rate: frames a second.
        annotated: where the three numbers stand, as `FILE:ROW`, for messages.
        cropped: whether the frames show the face alone, as a cropped release's do.
    """

    sample: Sample
    frames: Mapping[int, Path] = field(repr=False)
    onset: int
    apex: int | None
    offset: int
    rate: float
    annotated: str
    cropped: bool


def read_files(paths: Sequence[Path]) -> list[bytes]:
    """Return the files' contents.

    Raises:
        UserError: files cannot be read; all such are named.
    """
    contents, problems = [], []
    for path in paths:
        try:
            contents.append(path.read_bytes())
        except OSError as error:
            problems.append(f"{path}: not readable ({error.strerror})")
    refuse(problems)
    return contents


def decode(paths: Sequence[Path], contents: Sequence[bytes]) -> list[Frame]:
    """Return the images in the files' contents, all of one size, each `(H, W, 3)` uint8, blue, green, red.

    Raises:
        UserError: an image does not decode, or is of another size than the first; all such are named.
    """
    frames: list[Frame] = []
    problems = []
    for path, content in zip(paths, contents, strict=True):
        frame = decoded(content, cv2.IMREAD_COLOR)
        if frame is None:
            problems.append(f"{path}: not readable as an image")
        elif frames and frame.shape != frames[0].shape:
            (height, width), (first_height, first_width) = frame.shape[:2], frames[0].shape[:2]
            problems.append(f"{path}: {width} x {height} pixels, {paths[0].name} has {first_width} x {first_height}")
        else:
            frames.append(np.asarray(frame, np.uint8))
    refuse(problems)
    return frames
