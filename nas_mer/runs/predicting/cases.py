"""What networks are asked about: a clip of the dataset, or one's own, with its flow map."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_mer.data import Dataset
from nas_mer.data.dataset import alike
from nas_mer.data.flow import Floats
from nas_mer.data.frames import Preparation, in_form_of, is_told, map_of, paired, read_footage, thumbnail
from nas_mer.data.importing import read_map
from nas_mer.errors import UserError
from nas_mer.words import did_you_mean


@dataclass(frozen=True, eq=False)
class Case:
    """What networks are asked about.

    Attributes:
        name: of the clip; `database/subject/clip` if it is the dataset's.
        flow_map: `(3, H, W)` float32, in the form of the dataset's maps.
        u_mirror: the dataset's.
        frames: small pictures of onset and apex, `(2, h, w, 3)` uint8 blue, green, red or `(2, h, w)` grey, or None.
        label: the true class, or None.
        fold: the fold in which its subject was held out, if it is the dataset's; the others have seen it.
        origin: how its map was made.
        spotted: whether its apex was looked for.
    """

    name: str
    flow_map: Floats = field(repr=False)
    u_mirror: float
    frames: NDArray[np.uint8] | None = field(default=None, repr=False)
    label: str | None = None
    fold: str | None = None
    origin: str = "of the dataset"
    spotted: bool = False


def find_case(dataset: Dataset, clip: str, how: Preparation, raw: bool = False, rate: float | None = None) -> Case:
    """Find a clip and its flow map.

    Args:
        dataset: that of the run, whose maps the clip's is to be like.
        clip: `database/subject/clip` of the dataset, or else an NPY file with a map `(3, H, W)`, or what
            `nas_mer.data.frames.read_footage` reads.
        how: what is done to frames; see `preparation_like`.
        raw: whether frames are to be cropped to the face.
        rate: frames a second, where the clip does not tell.

    Raises:
        UserError: there is no such clip, it is not readable, or its map is of another form than the dataset's.
    """
    if (index := _index(dataset, clip)) is not None:
        return _own_case(dataset, index)
    path = Path(clip)
    if not path.exists() and paired(clip) is None:
        raise UserError(f"{clip}: no such file or folder{_nearest(dataset, clip)}")
    if path.suffix.lower() == ".npy":
        return _saved_case(dataset, path)
    footage = read_footage(clip)
    footage = replace(footage, rate=rate or footage.rate)
    flow_map, pair = map_of(footage, how, raw)
    spotted = "" if footage.apex is not None else f" of {len(footage.frames)} (spotted: {how.apex})"
    origin = f"{how.flow} flow and {how.strain} strain from {footage.names[0]} to {footage.names[pair.apex]}{spotted}"
    if how.magnify > 1:
        origin += f", motion magnified {how.magnify:g} times"
    if how.register_pair:
        origin += ", head drift taken out" if pair.registered else ", no head drift found"
    if not is_told(dataset):
        origin += "; the dataset's maps do not tell how they were made, so that this is an assumption"
    frames = np.stack([thumbnail(frame) for frame in pair.frames])
    flow_map = in_form_of(dataset, flow_map)
    return Case(footage.name, flow_map, dataset.u_mirror, frames, origin=origin, spotted=footage.apex is None)


def sample_case(dataset: Dataset, name: str) -> Case:
    """Return a sample of a dataset, by its name `database/subject/clip`.

    Raises:
        UserError: it has no such sample.
    """
    index = _index(dataset, name)
    if index is None:
        raise UserError(f"{name}: no such sample{_nearest(dataset, name)}")
    return _own_case(dataset, index)


def _own_case(dataset: Dataset, index: int) -> Case:
    frames = None if dataset.frames is None else dataset.frames[index]
    sample = dataset.samples[index]
    fold = str(dataset.subjects[index])
    return Case(str(sample), dataset.maps[index], dataset.u_mirror, frames, sample.label, fold)


def _saved_case(dataset: Dataset, path: Path) -> Case:
    flow_map, u_mirror = read_map(path)
    if u_mirror and not dataset.u_mirror:
        raise UserError(
            f"{path}: holds whole numbers, a map stretched to their range, but the maps of '{dataset.name}' are flow; "
            "save the flow itself, as floating-point numbers"
        )
    return Case(path.stem, in_form_of(dataset, flow_map), dataset.u_mirror, origin="saved")


def _index(dataset: Dataset, clip: str) -> int | None:
    """Return the place of a sample that is called so, up to case and leading zeros."""
    names = [str(sample) for sample in dataset.samples]
    if clip in names:
        return names.index(clip)
    near = [index for index, name in enumerate(names) if alike(name) == alike(clip)]
    return near[0] if len(near) == 1 else None


def _nearest(dataset: Dataset, clip: str) -> str:
    """Return what a clip that is not there may have meant among the dataset's."""
    asked, keys = clip.split("/"), [sample.key for sample in dataset.samples]
    if len(asked) != 3 or asked[0] not in {database for database, _, _ in keys}:
        return f", and clips of '{dataset.name}' are named as {dataset.samples[0]}"
    known = {subject for database, subject, _ in keys if database == asked[0]}
    if asked[1] in known:
        known = {name for database, subject, name in keys if [database, subject] == asked[:2]}
        return f", and {asked[0]}/{asked[1]} has no clip '{asked[2]}'{did_you_mean(asked[2], known)}"
    return f", and {asked[0]} has no subject '{asked[1]}'{did_you_mean(asked[1], known)}"
