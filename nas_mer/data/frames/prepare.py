"""From clips as their databases deliver them to a dataset of flow maps.

For each clip a *pair* of onset and apex is made: cropped (raw frames only), the apex spotted where nobody marked it,
motion magnified and head drift taken out if asked for. The pair's optical flow and its strain make the map. The dataset
can keep the clips, too: all their frames, cropped alike and interpolated to one length. Pairs, flows and clips are kept
in a folder by what they are made of, so that nothing is computed twice, also after a kill.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from zipfile import BadZipFile

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from nas_mer.data.dataset import Dataset, Sample, alike
from nas_mer.data.flow import METHODS, Frame, StrainForm, assemble, optical_flows
from nas_mer.data.frames.apex import SPOTTERS, spot_apex
from nas_mer.data.frames.clips import Clip, decode, read_files
from nas_mer.data.frames.crop import box_crop, face_crop, face_models
from nas_mer.data.frames.interpolate import interpolated
from nas_mer.data.frames.magnify import Magnification, magnify
from nas_mer.data.frames.register import Registered, register
from nas_mer.data.frames.release import Release
from nas_mer.data.images import grey
from nas_mer.data.importing import check_labels
from nas_mer.errors import UserError, refuse
from nas_mer.files import disk_is_full, replacing
from nas_mer.words import did_you_mean
from nas_mer.workers import cores, each

THUMBNAIL = 96
"""Side in pixels of the onset and apex pictures that a dataset keeps for looking at."""

CLIP_SIDE = 128
"""Side in pixels of the clips that a dataset keeps for descriptors of moving texture."""

_REVISION = 1  # of what is kept; to be raised when the same clip prepared in the same way gives something else
_BATCH = {"cpu": 4, "gpu": 64}  # pairs to a call of a flow method
_SMALLEST = 32  # pixels a side that optical flow needs


class Preparation(BaseModel):
    """What is done to a clip.

    Attributes:
        size: of the flow maps' sides.
        flow: one of `nas_mer.data.flow.METHODS`.
        strain: see `nas_mer.data.flow.strain`.
        apex: one of `nas_mer.data.frames.apex.SPOTTERS`, for clips whose apex is not marked.
        magnify: how many times motion is magnified; 1 leaves it as it is.
        register_pair: whether head drift between onset and apex is taken out.
        box: left, top, width and height of the face in raw frames; without it the face is found.
        clip_frames: to how many frames the clips are interpolated that the dataset keeps; 0 keeps none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Annotated[int, Field(ge=8)] = 60
    flow: str = "lorentzian"
    strain: StrainForm = "paper"
    apex: str = "aligned"
    magnify: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0
    register_pair: bool = False
    box: tuple[int, int, int, int] | None = None
    clip_frames: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, eq=False)
class Pair:
    """What optical flow is taken of.

    Attributes:
        frames: `(2, H, W, 3)` uint8, onset and apex: cropped, motion magnified and head drift taken out as asked for.
        apex: the place of the apex among the clip's frames.
        registered: whether head drift was found.
    """

    frames: Frame
    apex: int
    registered: bool


@dataclass(frozen=True, eq=False)
class Prepared:
    """What became of releases.

    Attributes:
        dataset: of the clips that are whole.
        broken: the other clips, as `database/subject/clip`, with the reason.
        missing: samples of the ground truth that the releases do not have at all, though they have others of the
            database; what a layout leaves out is told with the release.
        unregistered: clips whose head drift was not found, so that it stays in their maps.
    """

    dataset: Dataset
    broken: dict[str, str]
    missing: tuple[str, ...]
    unregistered: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Return what the command line tells with `--json`."""
        return {
            "samples": len(self.dataset),
            "counts": self.dataset.counts(),
            "fingerprint": self.dataset.fingerprint,
            "broken": self.broken,
            "missing": list(self.missing),
            "unregistered": list(self.unregistered),
            "releases": self.dataset.provenance["releases"],
            "clips": self.origins,
        }

    @property
    def origins(self) -> dict[str, dict[str, Any]]:
        """Where each map comes from: its annotation, frames and how its apex was found."""
        origins: dict[str, dict[str, Any]] = self.dataset.provenance["clips"]
        return origins


def prepare(
    releases: Sequence[Release],
    how: Preparation,
    kept: Path,
    *,
    name: str,
    ground_truth: Path | None = None,
    workers: int | None = None,
    device: str = "cpu",
    progress: Callable[[int, int, str], None] | None = None,
) -> Prepared:
    """Make the flow maps of releases.

    Args:
        releases: of databases that differ.
        how: what is done to each clip.
        kept: the folder where pairs and flows are kept; one serves any number of datasets.
        name: of the dataset.
        ground_truth: the composite's official CSV, to check every label against; see
            `nas_mer.data.importing.read_ground_truth`. Databases that it does not know are not checked.
        workers: processes; one a core if None. The number changes no result.
        device: where the Lorentzian flow is computed, as torch names it.
        progress: is told how many clips have come through the stage at work, of how many, and its name.

    Raises:
        UserError: two releases are of one database, a label contradicts the ground truth, the flow or spotting method
            is unknown, no clip can be used, a kept file is damaged, or the disk is full. What was finished by then is
            kept.
    """
    for kind, named, known in (("optical flow", how.flow, METHODS), ("apex spotting", how.apex, SPOTTERS)):
        if named not in known:
            raise UserError(f"unknown method of {kind} '{named}'{did_you_mean(named, known)}")
    databases = Counter(release.layout.database for release in releases)
    refuse([f"{count} of the releases are of the database '{name}'" for name, count in databases.items() if count > 1])
    clips = sorted((clip for release in releases for clip in release.clips), key=lambda clip: clip.sample)
    broken = {clip: why for release in releases for clip, why in release.broken.items()}
    if kept.exists() and not kept.is_dir():
        raise UserError(f"{kept}: is a file; finished work needs a folder")
    if how.box is None and not all(clip.cropped for clip in clips):
        face_models()  # at once, not for each clip
    missing: list[str] = []
    if ground_truth:
        _, missing = check_labels([clip.sample for clip in clips], ground_truth, whole=False)
    left_out = (clip for release in releases for clips in release.left_out.values() for clip in clips)
    there = {alike(clip) for clip in (*broken, *left_out)}
    missing = [sample for sample in missing if alike(sample) not in there]
    told = progress or (lambda done, total, stage: None)
    workers = workers or cores()
    files: dict[Sample, _Files] = {}
    with _space_left(kept):
        for done, (clip, made) in enumerate(each(_keep, clips, (how, kept), workers), 1):
            if isinstance(made, _Files):
                files[clip.sample] = made
            else:
                broken[str(clip.sample)] = made
            told(done, len(clips), "frames")
        broken = dict(sorted(broken.items()))  # clips come as they are finished
        if not files:
            raise UserError("\n".join(["no clip can be used:", *(f"{clip}: {why}" for clip, why in broken.items())]))
        _flow([made.pair for made in files.values()], how.flow, workers, device, told)

    whole = [clip for clip in clips if clip.sample in files]
    films = [film for clip in whole if (film := files[clip.sample].clip)]
    maps, frames, origins = [], [], {}
    for clip in whole:
        file = files[clip.sample].pair
        maps.append(assemble(_read(_flow_file(file, how.flow)), how.size, how.strain))
        pair = _read(file)
        frames.append([thumbnail(frame) for frame in pair["frames"]])
        origins[str(clip.sample)] = {
            "annotated": clip.annotated,
            "onset": clip.onset,
            "apex": int(pair["apex"]),
            "offset": clip.offset,
            "apex_from": "annotation" if clip.apex is not None else how.apex,
            **({"registered": bool(pair["registered"])} if how.register_pair else {}),
        }
    provenance = {
        "made_by": "prepare",
        **how.model_dump(mode="json"),
        "magnification": asdict(Magnification(how.magnify)) if how.magnify > 1 else None,
        "unit": "percent of the crop's width",
        "releases": [release.provenance() for release in releases],
        "ground_truth": ground_truth and str(ground_truth),
        "clips": origins,
        "broken": broken,
    }
    dataset = Dataset(
        name,
        np.stack(maps),
        tuple(clip.sample for clip in whole),
        frames=np.array(frames),
        clips=np.stack([_read(film) for film in films]) if films else None,
        provenance=provenance,
    )
    unregistered = tuple(clip for clip, origin in origins.items() if origin.get("registered") is False)
    return Prepared(dataset, broken, tuple(missing), unregistered)


class _Files(NamedTuple):
    """Where the pair of a clip is kept, and the clip itself, if it is."""

    pair: Path
    clip: Path | None


def _keep(clip: Clip, report: object, how: Preparation, kept: Path) -> _Files | str:
    """Make what is kept of a clip and return its files, or tell what is wrong with the clip."""
    try:
        reel = _Reel(clip, how)
        return _Files(_kept_pair(reel, kept / "pairs"), _kept_clip(reel, kept / "clips") if how.clip_frames else None)
    except UserError as error:
        return str(error)


class _Reel:
    """A clip's frames, as many as are needed: each is read once, and decoded and cropped once if at all.

    Attributes:
        of_pair: numbers of the frames that the pair is made of.
    """

    def __init__(self, clip: Clip, how: Preparation) -> None:
        self.clip, self.how = clip, how
        self.of_pair = list(clip.frames)
        if clip.apex is not None and how.magnify == 1:  # no other frames are looked at
            self.of_pair = [clip.onset, clip.apex]
        numbers = clip.frames if how.clip_frames else self.of_pair
        self._paths = {number: clip.frames[number] for number in numbers}
        self._contents = read_files(list(self._paths.values()))
        hashes = (hashlib.sha256(content).hexdigest() for content in self._contents)
        self._hashes = dict(zip(self._paths, hashes, strict=True))

    @property
    def name(self) -> str:
        """What messages call the clip: its first frame's file."""
        return str(next(iter(self._paths.values())))

    @cached_property
    def faces(self) -> dict[int, Frame]:
        """The frames by their numbers, cropped."""
        frames = decode(list(self._paths.values()), self._contents)
        faces = frames if self.clip.cropped else cropped(frames, self.how, self.name)
        return dict(zip(self._paths, faces, strict=True))

    def file(self, folder: Path, suffix: str, numbers: Iterable[int], **depends: object) -> Path:
        """Return the file of what is made of the frames of these numbers, named by all that it depends on."""
        about = {
            "revision": _REVISION,
            "hashes": [self._hashes[number] for number in numbers],
            "crop": None if self.clip.cropped else self.how.box or "face",
            **depends,
        }
        return folder / (hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32] + suffix)


def _kept_clip(reel: _Reel, folder: Path) -> Path:
    """Return the file with a clip, `(clip_frames, CLIP_SIDE, CLIP_SIDE)` uint8 grey; made if it is not there."""
    count = reel.how.clip_frames
    file = reel.file(folder, ".npy", reel.clip.frames, frames=count, side=CLIP_SIDE)
    if not file.is_file():
        faces = list(reel.faces.values())
        shrinks = min(faces[0].shape[:2]) >= CLIP_SIDE
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized = [cv2.resize(grey(face), (CLIP_SIDE, CLIP_SIDE), interpolation=method) for face in faces]
        with replacing(file) as fresh, fresh.open("wb") as stream:
            np.save(stream, interpolated(np.stack(resized), count))
    return file


def _kept_pair(reel: _Reel, folder: Path) -> Path:
    """Return the file with a clip's onset and apex, `(2, H, W, 3)`, and the apex's number; made if it is not there."""
    clip, how, numbers = reel.clip, reel.how, reel.of_pair
    file = reel.file(
        folder,
        ".npz",
        numbers,
        frames=numbers,
        rate=clip.rate,
        apex=how.apex if clip.apex is None else clip.apex,
        magnify=how.magnify,
        register=how.register_pair,
    )
    if not file.is_file():
        marked = None if clip.apex is None else numbers.index(clip.apex)
        pair = make_pair([reel.faces[number] for number in numbers], how, clip.rate, marked, reel.name)
        with replacing(file) as fresh, fresh.open("wb") as stream:
            np.savez(stream, frames=pair.frames, apex=numbers[pair.apex], registered=pair.registered)
    return file


def make_pair(frames: Sequence[Frame], how: Preparation, rate: float, apex: int | None, name: str) -> Pair:
    """Make the pair of onset and apex of a clip.

    Args:
        frames: of one size, `(H, W, 3)` uint8, blue, green, red, of the face alone, the first at the onset.
        how: what is done to them.
        rate: frames a second; only magnification heeds it.
        apex: the place of the apex, or None if it is to be spotted.
        name: of the onset frame, for messages.

    Raises:
        UserError: the frames are too small.
    """
    height, width = frames[0].shape[:2]
    if min(height, width) < _SMALLEST:
        raise UserError(f"{name}: a face of {width} x {height} pixels; at least {_SMALLEST} a side are needed")
    apex = spot_apex(frames, how.apex) if apex is None else apex
    if how.magnify > 1:
        frames = magnify(frames, rate, Magnification(how.magnify))
    onset, strongest = frames[0], frames[apex]
    registered = register(onset, strongest) if how.register_pair else Registered(strongest, None)
    return Pair(np.stack([onset, registered.frame]), apex, registered.transform is not None)


def cropped(frames: Sequence[Frame], how: Preparation, name: str) -> list[Frame]:
    """Return raw frames cropped to where the face is in the first.

    Args:
        frames: of one size, `(H, W, 3)` uint8, blue, green, red.
        how: whose `box` says where the face is; without one it is looked for.
        name: of the first frame, for messages.

    Raises:
        UserError: there is no face, or the box is not within the frame.
    """
    crop = box_crop(how.box, frames[0], name) if how.box else face_crop(frames[0], name=name)
    return [crop.apply(frame) for frame in frames]


def _flow(pairs: Sequence[Path], method: str, workers: int, device: str, told: Callable[[int, int, str], None]) -> None:
    """Make the flow of every pair that has none yet."""
    left = [pair for pair in dict.fromkeys(pairs) if not _flow_file(pair, method).is_file()]
    done = len(pairs) - len(left)
    on_gpu = method == "lorentzian" and not device.startswith("cpu")  # no other heeds the device
    tasks = _batches(left, _BATCH["gpu" if on_gpu else "cpu"])
    for task, _ in each(_flows_of, tasks, (method, device), 1 if on_gpu else workers):
        done += len(task)
        told(done, len(pairs), "optical flow")


def _flows_of(pairs: Sequence[Path], report: object, method: str, device: str) -> None:
    stacks = np.stack([_read(pair)["frames"] for pair in pairs])
    for pair, flow in zip(pairs, optical_flows(stacks[:, 0], stacks[:, 1], method, device), strict=True):
        with replacing(_flow_file(pair, method)) as fresh, fresh.open("wb") as stream:
            np.save(stream, flow)


def _flow_file(pair: Path, method: str) -> Path:
    return pair.parents[1] / "flows" / method / f"{pair.stem}.npy"


def _read(file: Path) -> Any:
    """Return a kept flow, or a kept pair's arrays by name."""
    try:
        with file.open("rb") as stream:
            found = np.load(stream)
            return found if isinstance(found, np.ndarray) else dict(found)
    except (BadZipFile, EOFError, ValueError) as error:
        raise UserError(f"{file}: damaged ({error}); delete it, and the next call makes it anew") from None


def _batches(pairs: Sequence[Path], most: int) -> list[tuple[Path, ...]]:
    """Return groups of pairs of one size, which can go through a flow method together."""
    sizes: dict[tuple[int, ...], list[Path]] = defaultdict(list)
    for pair in pairs:
        sizes[_read(pair)["frames"].shape].append(pair)
    return [tuple(found[start : start + most]) for found in sizes.values() for start in range(0, len(found), most)]


def thumbnail(frame: Frame) -> Frame:
    """Return a frame as a dataset keeps it for looking at: a square of `THUMBNAIL` pixels a side."""
    return np.asarray(cv2.resize(frame, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), np.uint8)


@contextmanager
def _space_left(kept: Path) -> Iterator[None]:
    """Say what to do if the disk is full in the block."""
    try:
        yield
    except OSError as error:
        if not disk_is_full(error):
            raise
        raise UserError(
            f"{kept}: no space left on the disk; what was finished is kept, and the next call goes on"
        ) from None
