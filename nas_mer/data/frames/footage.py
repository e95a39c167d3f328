"""A clip of one's own: frames in a folder, a video file or two pictures, and its map in the form of a dataset's."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nas_mer.data.dataset import Dataset
from nas_mer.data.flow import Floats, Frame, assemble, optical_flow
from nas_mer.data.frames.clips import decode, read_files
from nas_mer.data.frames.layout import IMAGES
from nas_mer.data.frames.prepare import Pair, Preparation, cropped, make_pair
from nas_mer.data.images import quiet
from nas_mer.errors import UserError
from nas_mer.placed_yaml import Node

LONGEST = 2000
"""The most frames of a video that are read; no expression takes as long."""

PUBLISHED = {"flow": "tvl1", "strain": "symmetric"}
"""How the published maps of the MEGC2019 composite were made, as far as is known: TV-L1 flow and the strain tensor's
norm, by the paper of their authors (Liong et al., "Shallow Triple Stream Three-dimensional CNN", FG 2019)."""


@dataclass(frozen=True, eq=False)
class Footage:
    """The frames of one clip, from its onset on.

    Attributes:
        name: of its file or folder.
        frames: at least two of one size, `(H, W, 3)` uint8, blue, green, red.
        names: what to call each frame.
        apex: the place of the frame where the expression is strongest; None where nobody has said.
        rate: frames a second; None where nothing tells it.
    """

    name: str
    frames: Sequence[Frame] = field(repr=False)
    names: Sequence[str] = field(repr=False)
    apex: int | None = None
    rate: float | None = None


def read_footage(source: str) -> Footage:
    """Read a clip.

    Args:
        source: a folder of frames, in the order of the numbers in their names; a video file; or `ONSET,APEX`, the
            names of two pictures.

    Raises:
        UserError: there is no such file, it is not readable, or there are fewer than two frames or too many.
    """
    if pair := paired(source):
        return Footage(pair[0].stem, decode(pair, read_files(pair)), [path.name for path in pair], apex=1)
    path = Path(source)
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() in IMAGES:
        raise UserError(f"{path}: is one picture; give onset and apex as ONSET,APEX, or the folder of a clip's frames")
    return _video(path)


def paired(source: str) -> tuple[Path, Path] | None:
    """Return the two files of `ONSET,APEX`, or None if the text does not name two files."""
    parts = source.split(",")
    for cut in range(1, len(parts)):  # a name may have commas of its own
        pair = Path(",".join(parts[:cut])), Path(",".join(parts[cut:]))
        if all(path.is_file() for path in pair):
            return pair
    return None


def _folder(path: Path) -> Footage:
    files = [file for file in path.iterdir() if file.suffix.lower() in IMAGES and not file.name.startswith(".")]
    if len(files) < 2:
        found = "one picture" if files else "no pictures"
        raise UserError(f"{path}: {found} in it ({', '.join(IMAGES)}); a clip needs its onset and its apex at least")
    files.sort(key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)])
    return Footage(path.resolve().name, decode(files, read_files(files)), [file.name for file in files])


def _video(path: Path) -> Footage:
    frames: list[Frame] = []
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg, too, leaves the words to us
    with quiet():
        capture = cv2.VideoCapture(str(path))
        rate = capture.get(cv2.CAP_PROP_FPS)
        while len(frames) <= LONGEST:
            more, frame = capture.read()
            if not more:
                break
            frames.append(np.asarray(frame, np.uint8))
        capture.release()
    if not frames:
        raise UserError(f"{path}: not readable as a video")
    if len(frames) == 1 or len(frames) > LONGEST:
        found = "one frame" if len(frames) == 1 else f"more than {LONGEST} frames"
        raise UserError(f"{path}: a video of {found}; cut it to one expression, from its onset to its end")
    return Footage(path.stem, frames, [f"frame {number}" for number in range(1, len(frames) + 1)], rate=rate or None)


def is_told(dataset: Dataset) -> bool:
    """Return whether a dataset's provenance tells how its maps were made; of imported maps it does not."""
    return "flow" in dataset.provenance


def preparation_like(dataset: Dataset) -> Preparation:
    """Return how a clip is prepared so that its map is like those of a dataset.

    That is how the dataset was made, if it tells; for imported maps it is an assumption, see `PUBLISHED`.

    Raises:
        UserError: clips are not prepared so: the maps are too small, say.
    """
    told = dataset.provenance if is_told(dataset) else PUBLISHED
    known: dict[str, Any] = {name: told[name] for name in Preparation.model_fields if name in told}
    how = {**known, "size": dataset.maps.shape[-1], "box": None}
    return Node(how, (), f"dataset '{dataset.name}'", {}).into(Preparation)


def map_of(footage: Footage, how: Preparation, raw: bool = False) -> tuple[Floats, Pair]:
    """Make a clip's flow map, and the pair of onset and apex that it is of.

    Args:
        footage: the clip.
        how: what is done to it.
        raw: whether the frames are to be cropped.

    Returns:
        `(3, size, size)` float32; see `nas_mer.data.flow.assemble`.

    Raises:
        UserError: motion shall be magnified, but the clip is no more than a pair or its rate is not known; or see
            `cropped` and `make_pair`.
    """
    if how.magnify > 1 and len(footage.frames) == 2:
        raise UserError(f"{footage.name}: motion is magnified over time, which two frames do not show; give all frames")
    if how.magnify > 1 and footage.rate is None:
        raise UserError(f"{footage.name}: to magnify motion its frames a second must be known: give --rate")
    faces = cropped(footage.frames, how, footage.name) if raw else footage.frames
    pair = make_pair(faces, how, footage.rate or 0.0, footage.apex, footage.name)
    onset, apex = pair.frames
    return assemble(optical_flow(onset, apex, how.flow), how.size, how.strain), pair


def in_form_of(dataset: Dataset, flow_map: Floats) -> Floats:
    """Return a flow map `(3, H, W)` in the form of a dataset's: stretched, each channel to 0..1, if its maps are."""
    if dataset.u_mirror == 0:
        return flow_map
    low, high = flow_map.min((1, 2), keepdims=True), flow_map.max((1, 2), keepdims=True)
    stretched: NDArray[np.float32] = (flow_map - low) / np.where(high > low, high - low, 1)
    return np.asarray(stretched, np.float32)
