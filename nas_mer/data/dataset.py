"""The dataset: flow maps with a manifest, one row a sample, in memory and as a folder."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from nas_mer import __version__
from nas_mer.data.tables import read_rows
from nas_mer.errors import UserError, refuse
from nas_mer.files import check_replaceable, read_json, replacing, write_json
from nas_mer.placed_yaml import Node
from nas_mer.words import did_you_mean, listed

CLASSES = ("negative", "positive", "surprise")
"""The classes of the MEGC2019 composite, in the order of its labels 0, 1, 2."""

DATABASES = ("smic", "casme2", "samm")
"""The databases of the MEGC2019 composite; other datasets may have others."""

CHANNELS = ("u", "v", "strain")
"""The channels of a flow map: horizontal flow (to the right), vertical flow (down), optical strain."""

COLUMNS = ("database", "subject", "clip", "label")
"""The columns of a manifest."""

_FILES = ("maps.npy", "samples.csv", "dataset.json", "frames.npy", "clips.npy")
_DATABASE = re.compile(r"[a-z0-9][a-z0-9_-]*")
_NAME = re.compile(r"(?!\s)[^/\x00-\x1f\x7f\ud800-\udfff]+(?<!\s)")


def alike(name: str) -> str:
    """Return a subject's or clip's name without case and leading zeros, which spellings of it differ in."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", name.lower())


@dataclass(frozen=True, order=True)
class Sample:
    """One row of a manifest.

    Attributes:
        database: lower-case identifier such as `casme2`.
        subject: the person's name within the database, such as `sub01`; no slash.
        clip: the recording's name within the subject, such as `EP02_01f`; no slash.
        label: the name of its class.

    Raises:
        UserError: a name is empty or has characters it may not have.
    """

    database: str
    subject: str
    clip: str
    label: str

    def __post_init__(self) -> None:
        if not _DATABASE.fullmatch(self.database):
            raise UserError(f"{self}: the database must be of lower-case letters, digits, _ and -: '{self.database}'")
        for column in ("subject", "clip", "label"):
            if not _NAME.fullmatch(name := getattr(self, column)):
                raise UserError(f"{self}: the {column} must be a name without slashes or spaces around it: '{name}'")

    def __str__(self) -> str:
        return "/".join(self.key)

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the sample: (database, subject, clip); clip names repeat across subjects."""
        return self.database, self.subject, self.clip


@dataclass(frozen=True, eq=False)
class Dataset:
    """N flow maps and their manifest. Compare two by their `fingerprint`.

    Maps and samples may be given in any order that agrees; they are kept sorted by key.

    Attributes:
        name: what to call it.
        maps: `(N, 3, H, W)` float32, finite, channels (u, v, strain); possibly a read-only memory map.
        samples: the N rows of the manifest, sorted by key, each key once.
        classes: the names of the labels, in the order of their indices.
        u_mirror: the constant c for which the horizontal flow of a mirrored face is `c - u`: 0.0 where u holds flow
            (whose sign turns round), 1.0 where each map's u was stretched to 0..1 as in the published maps.
        provenance: where the maps come from, as JSON values.
        frames: small pictures of each sample's onset and apex as cropped, for looking at alone: `(N, 2, h, w, 3)`
            uint8 blue, green, red, or `(N, 2, h, w)` grey; possibly a read-only memory map, or None. They are no part
            of the fingerprint.
        clips: the recordings themselves, grey, registered and of one length, for descriptors of moving texture:
            `(N, T, h, w)` uint8; possibly a read-only memory map, or None. Networks do not see them, so they are no
            part of the fingerprint and have one of their own.

    Raises:
        UserError: shapes, types or counts disagree, a map holds NaN or infinity, a key occurs twice, or a label is
            unknown.
    """

    name: str
    maps: NDArray[np.float32] = field(repr=False)
    samples: tuple[Sample, ...] = field(repr=False)
    classes: tuple[str, ...] = CLASSES
    u_mirror: float = 0.0
    provenance: dict[str, Any] = field(default_factory=dict)
    frames: NDArray[np.uint8] | None = field(default=None, repr=False)
    clips: NDArray[np.uint8] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        maps, samples, frames, clips = self.maps, self.samples, self.frames, self.clips
        problems = []
        if maps.dtype != np.float32 or maps.ndim != 4 or maps.shape[1] != 3 or 0 in maps.shape:
            problems.append(f"maps must be float32 of shape (N, 3, H, W), found {maps.dtype} {maps.shape}")
        elif len(maps) != len(samples):
            problems.append(f"{len(maps)} maps for {len(samples)} samples in the manifest")
        elif len(broken := np.flatnonzero(~np.isfinite(maps).all(axis=(1, 2, 3)))):
            problems.append(f"NaN or infinity in the maps of {listed(samples[i] for i in broken)}")
        if frames is not None:
            pairs = frames.ndim in (4, 5) and frames.shape[1] == 2 and 0 not in frames.shape
            if frames.dtype != np.uint8 or not pairs or frames.shape[4:] not in ((), (3,)):
                problems.append(
                    "frames must be uint8 of shape (N, 2, h, w, 3) or (N, 2, h, w), "
                    f"found {frames.dtype} {frames.shape}"
                )
            elif len(frames) != len(samples):
                problems.append(f"{len(frames)} pairs of frames for {len(samples)} samples in the manifest")
        if clips is not None:
            if clips.dtype != np.uint8 or clips.ndim != 4 or 0 in clips.shape:
                problems.append(f"clips must be uint8 of shape (N, T, h, w), found {clips.dtype} {clips.shape}")
            elif len(clips) != len(samples):
                problems.append(f"{len(clips)} clips for {len(samples)} samples in the manifest")
        if len(set(self.classes)) < len(self.classes):
            problems.append(f"a class is named twice: {listed(self.classes)}")
        if twice := [key for key, times in Counter(sample.key for sample in samples).items() if times > 1]:
            problems.append(f"samples that occur more than once: {listed(map('/'.join, twice))}")
        if strange := [f"{sample} ({sample.label})" for sample in samples if sample.label not in self.classes]:
            problems.append(f"labels that are none of {', '.join(self.classes)}: {listed(strange)}")
        refuse([f"dataset '{self.name}': {problem}" for problem in problems])

        order = sorted(range(len(samples)), key=samples.__getitem__)
        if order != list(range(len(samples))):
            object.__setattr__(self, "maps", maps[order])
            if frames is not None:
                object.__setattr__(self, "frames", frames[order])
            if clips is not None:
                object.__setattr__(self, "clips", clips[order])
        object.__setattr__(self, "samples", tuple(samples[i] for i in order))
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "provenance", json.loads(json.dumps(self.provenance)))

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """`(N,)` indices into `classes`."""
        return np.array([self.classes.index(sample.label) for sample in self.samples], dtype=np.int64)

    @cached_property
    def databases(self) -> NDArray[np.str_]:
        """`(N,)` names of databases."""
        return np.array([sample.database for sample in self.samples])

    @cached_property
    def subjects(self) -> NDArray[np.str_]:
        """`(N,)` names of subjects that are unique in the dataset: `database/subject`."""
        return np.array([f"{sample.database}/{sample.subject}" for sample in self.samples])

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of SHA-256 over all that training sees: maps, manifest, classes and `u_mirror`."""
        rows = [(*sample.key, sample.label) for sample in self.samples]
        digest = hashlib.sha256(json.dumps([self.maps.shape, self.classes, float(self.u_mirror), rows]).encode())
        for one in self.maps:
            digest.update(np.ascontiguousarray(one, dtype="<f4").tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def clips_fingerprint(self) -> str | None:
        """16 hexadecimal digits of SHA-256 over the clips; None without clips."""
        if self.clips is None:
            return None
        digest = hashlib.sha256(json.dumps(self.clips.shape).encode())
        for clip in self.clips:
            digest.update(np.ascontiguousarray(clip).tobytes())
        return digest.hexdigest()[:16]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many samples each database has of each class."""
        found = Counter((sample.database, sample.label) for sample in self.samples)
        return {
            str(database): {label: found[database, label] for label in self.classes}
            for database in np.unique(self.databases)
        }

    @property
    def magnified(self) -> float:
        """How many times the motion of the maps was magnified; 1 where it is as it was filmed."""
        return float(self.provenance.get("magnify", 1))

    def select(self, databases: Sequence[str]) -> Dataset:
        """Return the part of the dataset that comes from the named databases.

        Raises:
            UserError: no database is named, or one that the dataset does not have.
        """
        known = np.unique(self.databases).tolist()
        unknown = [name for name in databases if name not in known]
        refuse([f"dataset '{self.name}' has no database '{name}'{did_you_mean(name, known)}" for name in unknown])
        if not databases:
            raise UserError(f"dataset '{self.name}': name at least one of its databases: {', '.join(known)}")
        chosen = np.flatnonzero(np.isin(self.databases, list(databases)))
        return replace(
            self,
            maps=self.maps[chosen],
            frames=None if self.frames is None else self.frames[chosen],
            clips=None if self.clips is None else self.clips[chosen],
            samples=tuple(self.samples[i] for i in chosen),
            provenance={**self.provenance, "databases": sorted(set(databases))},
        )

    def resized(self, size: int) -> torch.Tensor:
        """Return all maps as one float32 tensor `(N, 3, size, size)`; see `resized`."""
        return resized(self.maps, size)

    def save(self, path: Path) -> None:
        """Write the dataset as a folder of `maps.npy`, `samples.csv` and `dataset.json`, whole or not at all.

        A dataset with frames or clips has them in `frames.npy` and `clips.npy`. They are images of faces: a folder with
        these files falls under the licence of the database that they come from; without them the dataset is complete
        all the same.

        Raises:
            UserError: see `check_place`.
        """
        self.check_place(path)
        header = _Header(
            format=1,
            nas_mer=__version__,
            name=self.name,
            classes=self.classes,
            u_mirror=self.u_mirror,
            shape=self.maps.shape,
            dtype="float32",
            fingerprint=self.fingerprint,
            provenance=self.provenance,
        )
        rows = [COLUMNS, *((*sample.key, sample.label) for sample in self.samples)]
        with replacing(path) as folder:
            folder.mkdir()
            np.save(folder / "maps.npy", np.ascontiguousarray(self.maps))
            if self.frames is not None:
                np.save(folder / "frames.npy", np.ascontiguousarray(self.frames))
            if self.clips is not None:
                np.save(folder / "clips.npy", np.ascontiguousarray(self.clips))
            with (folder / "samples.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
            write_json(folder / "dataset.json", header.model_dump(mode="json"))

    @staticmethod
    def check_place(path: Path) -> None:
        """Check that a dataset may be written to `path`.

        Raises:
            UserError: something other than a dataset or an empty folder is there already, or a dataset's folder
                holds other things, too.
        """
        check_replaceable(path, "a dataset", "dataset.json", _FILES)

    @classmethod
    def load(cls, path: Path) -> Dataset:
        """Read a dataset's folder; maps, frames and clips are memory-mapped read-only.

        Raises:
            UserError: a file is missing, damaged or not of this format, the files disagree, or they are not those
                that were written together.
        """
        if not (path / "dataset.json").is_file():
            raise UserError(f"{path}: not a dataset: {'it has no dataset.json' if path.is_dir() else 'no such folder'}")
        header = Node(read_json(path / "dataset.json"), (), str(path / "dataset.json"), {}).into(_Header)
        samples = _read_manifest(path / "samples.csv", header.classes)
        maps = _open_array(path / "maps.npy")
        frames, clips = (
            _open_array(file) if file.exists() else None for file in (path / "frames.npy", path / "clips.npy")
        )
        if maps.shape != header.shape or str(maps.dtype) != header.dtype:
            raise UserError(
                f"{path / 'maps.npy'}: holds {maps.dtype} {maps.shape}, "
                f"but dataset.json says {header.dtype} {header.shape}"
            )
        if len(samples) != len(maps):
            raise UserError(f"{path / 'samples.csv'}: {len(samples)} samples, but maps.npy holds {len(maps)} maps")
        try:
            dataset = cls(header.name, maps, samples, header.classes, header.u_mirror, header.provenance, frames, clips)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        if dataset.fingerprint != header.fingerprint:
            raise UserError(
                f"{path}: maps.npy or samples.csv is not what dataset.json describes (fingerprint "
                f"{dataset.fingerprint}, recorded {header.fingerprint}); make the dataset again from its source"
            )
        return dataset


def resized(maps: NDArray[np.float32], size: int) -> torch.Tensor:
    """Return maps `(N, 3, H, W)` as a float32 tensor `(N, 3, size, size)` of its own.

    Bilinear where maps grow, area averages where they shrink. Values are interpolated, not rescaled: flow stays in
    the unit that it has.
    """
    if maps.shape[2:] == (size, size):
        return torch.from_numpy(np.array(maps))
    method = cv2.INTER_AREA if max(maps.shape[2:]) > size else cv2.INTER_LINEAR
    targets = np.empty((len(maps), 3, size, size), dtype=np.float32)
    for target, source in zip(targets, maps, strict=True):
        image = np.ascontiguousarray(source.transpose(1, 2, 0))
        target[:] = cv2.resize(image, (size, size), interpolation=method).transpose(2, 0, 1)
    return torch.from_numpy(targets)


class _Header(BaseModel):
    """What `dataset.json` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    nas_mer: str
    name: str
    classes: tuple[str, ...]
    u_mirror: float
    shape: tuple[int, int, int, int]
    dtype: Literal["float32"]
    fingerprint: str
    provenance: dict[str, Any]


def _read_manifest(path: Path, classes: Sequence[str]) -> tuple[Sample, ...]:
    samples: dict[tuple[str, str, str], tuple[str, Sample]] = {}
    problems = []
    for row in read_rows(path, COLUMNS):
        try:
            sample = Sample(*row.of(COLUMNS))
        except UserError as error:
            problems.append(f"{row.place}: {error}")
            continue
        if sample.label not in classes:
            problems.append(
                f"{row.place}: {sample}: unknown label '{sample.label}'{did_you_mean(sample.label, classes)}"
            )
        if sample.key in samples:
            problems.append(f"{row.place}: {sample} stands at {samples[sample.key][0]} already")
        samples[sample.key] = row.place, sample
    refuse(problems)
    return tuple(sample for _, sample in samples.values())


def _open_array(path: Path) -> NDArray[Any]:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not readable as an array ({error}); it may have been cut short") from None
