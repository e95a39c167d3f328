"""Miniature releases of SMIC-HS, CASME II and SAMM, played by made-up people.

Folders, files and annotation workbooks are laid out as the databases are delivered, with the kinds of mistakes that are
in those; the truth is written beside them. A tree holds

    SMIC/SMIC_all_cropped/HS/s1/micro/negative/s1_ne_01/reg_image563854.bmp    100 frames a second, without apex
    SMIC/SMIC-HS-E_annotation.xlsx
    CASME2/Cropped/sub01/EP01_01f/reg_img46.jpg                                200 frames a second
    CASME2/CASME2-coding-20140508.xlsx
    SAMM/SAMM_cropped/006/006_1_1/006_05562.jpg                                200 frames a second, grey
    SAMM/SAMM_Micro_FACS_Codes_v2.xlsx
    ground_truth.csv          the official headerless form: database, subject, clip, label
    truth/truth.csv           a row a clip, the columns of `Truth`
    truth/flow/DATABASE/SUBJECT/CLIP.npy    from onset to apex: `(height, width, 2)` float16 over the face's box, pixels
    releases.json             how it was made

where the raw variant has `SMIC_all_raw/HS/s01/...` (subjects padded, as some releases have them) and
`CASME2_RAW_selected` instead, no `reg_` in the names of frames, and SAMM's subjects beside its workbook. SMIC's clips
run from onset to offset; the others have frames around that. The workbook of SAMM has its header in row 14 if the seed
is even and in row 1 if it is odd.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from openpyxl import Workbook

from nas_mer import __version__
from nas_mer.data.dataset import CLASSES, Sample
from nas_mer.data.synthetic.composite import Performance, perform
from nas_mer.data.synthetic.faces import Expression, Moment
from nas_mer.data.synthetic.film import film
from nas_mer.files import check_replaceable, replacing, write_json
from nas_mer.workers import cores, each

RAW_FRAME = (640, 480)
"""Width and height of raw frames in pixels."""

MARK = "releases.json"
"""The file by which a tree of releases is known."""

_OFFICIAL = "ground_truth.csv"
_SEATS = (-0.30, -0.05), (0.30, 0.10)  # the least and the most (x, y), in rest units from the frame's middle
_SIDED = 2.0  # from this ratio on, an action unit is coded for its stronger side only
_WRITTEN = datetime(2014, 5, 8)  # the workbooks' date, for equal bytes whenever they are made


class Erratum(StrEnum):
    """What is wrong about a clip in its release."""

    NONE = ""
    WRONG_LABEL = "wrong label"
    MISSING_FRAME = "missing frame"
    NO_APEX = "no apex"
    APEX_IS_ONSET = "apex is onset"
    WRONG_APEX = "wrong apex"
    WRONG_OFFSET = "wrong offset"


@dataclass(frozen=True)
class Truth:
    """What is true of a clip, whatever its release says.

    Attributes:
        database, subject, clip: as in the ground truth, but SAMM's subjects padded, as `006`.
        label: its class; empty if it is not in the composite.
        emotion: as the workbook calls it.
        onset, apex, offset: numbers of frames.
        erratum: what is wrong about it in the release.
        left, top, width, height: the box of the face in the onset frame, in pixels: all of a cropped frame, and as much
            of a raw one.
        frames: the folder of its frames, relative to the tree.
    """

    database: str
    subject: str
    clip: str
    label: str
    emotion: str
    onset: int
    apex: int
    offset: int
    erratum: Erratum
    left: int
    top: int
    width: int
    height: int
    frames: str


def write_releases(
    folder: Path,
    seed: int = 0,
    subjects: int = 8,
    clips: int = 6,
    *,
    cropped: bool = True,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Truth, ...]:
    """Write the three releases as one tree, whole or not at all.

    The same arguments give the same files, whatever the number of workers. People, expressions and the composite's
    clips are those of `perform`; clips that are not in the composite come on top.

    Args:
        folder: the tree; one that this function wrote is replaced.
        seed, subjects, clips: see `nas_mer.data.synthetic.perform`.
        cropped: whether the face fills the frames; else people sit before a plain wall in frames of `RAW_FRAME`, which
            take about six times the room.
        workers: how many processes film; None is one a core.
        progress: is told after each clip how many are done, and of how many.

    Returns:
        the truth of each clip, sorted, as in `truth/truth.csv`.

    Raises:
        UserError: something else is at `folder` or lies in it, or a number is too small.
    """
    check_replaceable(folder, "a tree of synthetic releases", MARK, (*FOLDERS.values(), _OFFICIAL, "truth", MARK))
    performances = perform(seed, subjects, clips)
    takes = [
        take
        for index, release in enumerate(_RELEASES)
        for take in _plan(release, performances, cropped, np.random.default_rng((seed, index)))
    ]
    with replacing(folder) as tree:
        shot: list[tuple[_Take, Truth]] = []
        for done in each(_shoot, takes, (tree,), workers or cores()):
            shot.append(done)
            if progress:
                progress(len(shot), len(takes))
        shot.sort(key=lambda pair: pair[0].performance.sample)
        for release in _RELEASES:
            table = release.table([pair for pair in shot if pair[1].database == release.database], seed)
            (tree / release.folder / release.workbook).write_bytes(_workbook(table))
        truths = tuple(truth for _, truth in shot)
        _write_csv(tree / _OFFICIAL, [_official(truth) for truth in truths if truth.label])
        _write_csv(tree / "truth" / "truth.csv", [[column.name for column in fields(Truth)], *map(astuple, truths)])
        made = {"seed": seed, "subjects": subjects, "clips": clips, "cropped": cropped}
        write_json(tree / MARK, {"format": 1, "nas_mer": __version__, **made})
    return truths


@dataclass(frozen=True)
class _Take:
    """A clip that is to be filmed.

    Attributes:
        performance: whose sample is spelled as in the ground truth.
        emotion: as the workbook calls it.
        erratum: what goes wrong.
        listed: whether it is in the composite.
        frames: the path of its frames, relative to the tree, to be formatted with a frame's number.
        first: the number of the film's first frame.
        length: of the film in frames.
        trimmed: whether only the frames from onset to offset are kept.
        box: left, top, width and height of the face in pixels.
    """

    performance: Performance
    emotion: str
    erratum: Erratum
    listed: bool
    frames: str
    first: int
    length: int
    trimmed: bool
    box: tuple[int, int, int, int]


Shot = tuple[_Take, Truth]
Cell = str | int | None
Table = list[list[Cell]]


class _Release(ABC):
    """How a database is delivered.

    Attributes:
        database: its name.
        studio: of `STUDIOS`, that films it.
        folder, workbook: names.
        numbers: the first number of a film's frames is drawn from this range.
        lengths: the number of a film's frames is.
        trimmed: whether its clips run from onset to offset only.
        emotions: what it calls the emotions of each class.
        unlisted: emotions that are not in the composite.
        errata: of clips in the composite; the first that apply are drawn.
        unusable: errata that keep a clip out of the composite.
    """

    database: str
    studio: str
    folder: str
    workbook: str
    numbers: tuple[int, int]
    lengths: tuple[int, int]
    trimmed: bool = False
    emotions: Mapping[str, tuple[str, ...]]
    unlisted: tuple[str, ...] = ()
    errata: tuple[Erratum, ...] = ()
    unusable: tuple[Erratum, ...] = ()

    @abstractmethod
    def subjects(self, count: int, rng: np.random.Generator) -> list[str]:
        """Return the names of so many subjects."""

    @abstractmethod
    def clip(self, subject: str, label: str, index: int, of_label: int) -> str:
        """Return the name of a subject's clip, counted from 0 among all of them and among those of its label."""

    @abstractmethod
    def frames(self, sample: Sample, cropped: bool, rng: np.random.Generator) -> str:
        """Return the path of a clip's frames below `folder`, to be formatted with a frame's number."""

    @abstractmethod
    def table(self, shot: Sequence[Shot], seed: int) -> Table:
        """Return the workbook's rows."""


class _Smic(_Release):
    database, studio = "smic", "alder"
    folder, workbook = "SMIC", "SMIC-HS-E_annotation.xlsx"
    numbers, lengths, trimmed = (100_000, 900_000), (22, 32), True
    emotions: Mapping[str, tuple[str, ...]] = {label: (label,) for label in CLASSES}
    errata = (Erratum.WRONG_LABEL, Erratum.MISSING_FRAME, Erratum.MISSING_FRAME)

    def subjects(self, count: int, rng: np.random.Generator) -> list[str]:
        return [f"s{number + 1:02}" for number in range(count)]

    def clip(self, subject: str, label: str, index: int, of_label: int) -> str:
        code = {"negative": "ne", "positive": "po", "surprise": "sur"}[label]
        return f"{subject}_{code}_{of_label + 1:02}"

    def frames(self, sample: Sample, cropped: bool, rng: np.random.Generator) -> str:
        subject, clip = (sample.subject, sample.clip) if not cropped else map(_unpadded, (sample.subject, sample.clip))
        root, name = ("SMIC_all_cropped", "reg_image") if cropped else ("SMIC_all_raw", "image")
        return f"{root}/HS/{subject}/micro/{sample.label}/{clip}/{name}{{}}.bmp"

    def table(self, shot: Sequence[Shot], seed: int) -> Table:
        header = ["Subject", "Filename", None, "OnsetF", "OffsetF", "Onset2F", "Offset2F", None, "FirstF", "LastF"]
        rows: Table = [[*header, "Emotion"]]
        for take, truth in shot:
            subject, clip = _unpadded(truth.subject), _unpadded(truth.clip)
            emotion = "negative" if take.erratum == Erratum.WRONG_LABEL else take.emotion
            last = take.first + take.length - 1
            rows.append([subject, clip, None, truth.onset, truth.offset, None, None, None, take.first, last, emotion])
        return rows


class _Casme2(_Release):
    database, studio = "casme2", "birch"
    folder, workbook = "CASME2", "CASME2-coding-20140508.xlsx"
    numbers, lengths = (1, 150), (26, 36)
    emotions: Mapping[str, tuple[str, ...]] = {
        "negative": ("disgust", "repression"),
        "positive": ("happiness",),
        "surprise": ("surprise",),
    }
    unlisted = ("others", "fear", "sadness")
    unusable = (Erratum.NO_APEX, Erratum.APEX_IS_ONSET)

    def subjects(self, count: int, rng: np.random.Generator) -> list[str]:
        return [f"sub{number + 1:02}" for number in range(count)]

    def clip(self, subject: str, label: str, index: int, of_label: int) -> str:
        return f"EP{1 + 3 * (index // 3):02}_{1 + index % 3:02}{'f' if index % 4 < 3 else ''}"

    def frames(self, sample: Sample, cropped: bool, rng: np.random.Generator) -> str:
        root, name = ("Cropped", "reg_img") if cropped else ("CASME2_RAW_selected", "img")
        return f"{root}/{sample.subject}/{sample.clip}/{name}{{}}.jpg"

    def table(self, shot: Sequence[Shot], seed: int) -> Table:
        header = ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None]
        rows: Table = [[*header, "Action Units", "Estimated Emotion"]]
        for take, truth in shot:
            number = truth.subject.removeprefix("sub")
            subject = number if len(rows) % 3 else int(number)
            onset, apex, offset = _annotated(truth)
            mark = "/" if apex is None else apex
            units = _units(take.performance.apex.expression)
            rows.append([subject, truth.clip, None, onset, mark, offset, None, units, take.emotion])
        return rows


class _Samm(_Release):
    database, studio = "samm", "cedar"
    folder, workbook = "SAMM", "SAMM_Micro_FACS_Codes_v2.xlsx"
    numbers, lengths = (900, 12_000), (28, 40)
    emotions: Mapping[str, tuple[str, ...]] = {
        "negative": ("Anger", "Contempt", "Disgust", "Fear", "Sadness"),
        "positive": ("Happiness",),
        "surprise": ("Surprise",),
    }
    unlisted = ("Other",)
    errata = (Erratum.NO_APEX, Erratum.WRONG_APEX, Erratum.WRONG_OFFSET)

    _OBJECTIVE: Mapping[str, int] = {"Happiness": 1, "Surprise": 2, "Anger": 3, "Disgust": 4, "Sadness": 5, "Fear": 6}
    _PREAMBLE = ("Micro-expressions coded by FACS", "Frames are numbered as in the recordings", "Made-up people")

    def subjects(self, count: int, rng: np.random.Generator) -> list[str]:
        return [f"{number:03}" for number in sorted(rng.choice(np.arange(6, 6 + 3 * count), count, replace=False))]

    def clip(self, subject: str, label: str, index: int, of_label: int) -> str:
        return f"{subject}_{1 + index // 4}_{1 + index % 4}"

    def frames(self, sample: Sample, cropped: bool, rng: np.random.Generator) -> str:
        root = "SAMM_cropped/" if cropped else ""
        return f"{root}{sample.subject}/{sample.clip}/{sample.subject}_{{:0{rng.integers(4, 6)}}}.jpg"

    def table(self, shot: Sequence[Shot], seed: int) -> Table:
        rows: Table = []
        if seed % 2 == 0:
            rows += [[line] for line in self._PREAMBLE]
            rows += [[] for _ in range(13 - len(rows))]
        header = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration"]
        rows.append([*header, "Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes"])
        for take, truth in shot:
            subject = truth.subject if len(rows) % 3 else int(truth.subject)
            code = int(truth.clip.split("_")[1])
            duration = truth.offset - truth.onset + 1
            units = _units(take.performance.apex.expression)
            objective = self._OBJECTIVE.get(take.emotion, 7)
            note = "head moves" if len(rows) % 5 == 0 else None
            marks = _annotated(truth)
            rows.append(
                [subject, truth.clip, code, *marks, duration, "Micro - 1/2", units, take.emotion, objective, note]
            )
        return rows


_RELEASES: tuple[_Release, ...] = (_Smic(), _Casme2(), _Samm())

FOLDERS = {release.database: release.folder for release in _RELEASES}
"""The folder of each database in a tree."""


class _Role(NamedTuple):
    """What somebody plays in a release: see `_Take`."""

    performance: Performance
    emotion: str
    erratum: Erratum
    listed: bool


def _plan(
    release: _Release, performances: Sequence[Performance], cropped: bool, rng: np.random.Generator
) -> list[_Take]:
    """Turn a studio's performances into the takes of a release."""
    played = [one for one in performances if one.sample.database == release.studio]
    people = list(dict.fromkeys(one.sample.subject for one in played))
    names = dict(zip(people, release.subjects(len(people), rng), strict=True))
    seats = {person: rng.uniform(*_SEATS).tolist() for person in people}
    counts: Counter[tuple[str, ...]] = Counter()
    takes = []
    for performance, emotion, erratum, listed in _roles(release, played, rng):
        person, label = performance.sample.subject, performance.sample.label
        clip = release.clip(names[person], label, counts[person,], counts[person, label])
        counts.update([(person,), (person, label)])
        sample = Sample(release.database, names[person], clip, label)
        take = _Take(
            replace(performance, sample=sample),
            emotion,
            erratum,
            listed,
            frames=f"{release.folder}/{release.frames(sample, cropped, rng)}",
            first=int(rng.integers(*release.numbers)),
            length=int(rng.integers(*release.lengths)),
            trimmed=release.trimmed,
            box=(0, 0, performance.camera.width, performance.camera.height),
        )
        takes.append(take if cropped else _seated(take, *seats[person]))
    return takes


def _roles(release: _Release, played: Sequence[Performance], rng: np.random.Generator) -> list[_Role]:
    """Cast the composite's clips, some with errata, and further ones that are not in the composite; by subject."""

    def cast(performance: Performance, erratum: Erratum, listed: bool) -> _Role:
        return _Role(performance, str(rng.choice(release.emotions[performance.sample.label])), erratum, listed)

    roles = [cast(performance, Erratum.NONE, True) for performance in played]
    for erratum in release.errata:
        fitting = [
            index
            for index, role in enumerate(roles)
            if not role.erratum and (erratum != Erratum.WRONG_LABEL or role.performance.sample.label == "surprise")
        ]
        index = int(rng.choice(fitting))
        roles[index] = roles[index]._replace(erratum=erratum)

    unlisted = (release.unlisted * len(played))[: max(len(release.unlisted), len(played) // 8)]
    roles += [_Role(_another(played, rng), emotion, Erratum.NONE, False) for emotion in unlisted]
    roles += [cast(_another(played, rng), erratum, False) for erratum in release.unusable]
    return sorted(roles, key=lambda role: role.performance.sample.subject)


def _another(played: Sequence[Performance], rng: np.random.Generator) -> Performance:
    """Return one more performance: somebody's face with somebody's expression."""
    one, other = (played[int(index)] for index in rng.integers(len(played), size=2))
    sample = replace(one.sample, label=other.sample.label)
    apex = Moment(other.apex.expression, one.apex.pose)
    return replace(one, sample=sample, apex=apex, seed=int(rng.integers(2**32)))


def _seated(take: _Take, x: float, y: float) -> _Take:
    """Return a take by a camera that stands back, of somebody in a seat (x, y) rest units from the frame's middle."""
    performance, camera = take.performance, take.performance.camera
    width, height = RAW_FRAME
    onset, apex = (
        replace(moment, pose=replace(moment.pose, x=moment.pose.x + x, y=moment.pose.y + y))
        for moment in (performance.onset, performance.apex)
    )
    wide = replace(camera, width=width, height=height, zoom=camera.width / width)
    left = round((width - camera.width) / 2 + onset.pose.x * camera.width)
    top = round((height - camera.height) / 2 + onset.pose.y * camera.width)
    return replace(
        take,
        performance=replace(performance, camera=wide, onset=onset, apex=apex),
        box=(left, top, camera.width, camera.height),
    )


def _shoot(take: _Take, report: Callable[[object], None], tree: Path) -> Truth:
    """Film a take and write its frames and its flow."""
    clip = film(take.performance, take.length)
    numbers = range(clip.onset, clip.offset + 1) if take.trimmed else range(take.length)
    lost = (clip.onset + clip.apex) // 2 if take.erratum == Erratum.MISSING_FRAME else None
    folder = (tree / take.frames).parent
    folder.mkdir(parents=True)
    for index in numbers:
        if index != lost:
            path = tree / take.frames.format(take.first + index)
            picture = clip.frames[index] if take.performance.camera.colour else clip.frames[index][..., 0]
            path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())

    sample = take.performance.sample
    left, top, width, height = take.box
    flow = tree / "truth" / "flow" / sample.database / sample.subject / f"{sample.clip}.npy"
    flow.parent.mkdir(parents=True, exist_ok=True)
    np.save(flow, clip.flow[top : top + height, left : left + width].astype(np.float16))
    return Truth(
        database=sample.database,
        subject=sample.subject,
        clip=sample.clip,
        label=sample.label if take.listed else "",
        emotion=take.emotion,
        onset=take.first + clip.onset,
        apex=take.first + clip.apex,
        offset=take.first + clip.offset,
        erratum=take.erratum,
        left=left,
        top=top,
        width=width,
        height=height,
        frames=folder.relative_to(tree).as_posix(),
    )


def _annotated(truth: Truth) -> tuple[int, int | None, int]:
    """Return onset, apex and offset as a workbook gives them; wrong ones have lost their last digit."""
    onset, offset = truth.onset, truth.offset
    apex: int | None = truth.apex
    match truth.erratum:
        case Erratum.NO_APEX:
            apex = None
        case Erratum.APEX_IS_ONSET:
            apex = onset
        case Erratum.WRONG_APEX:
            apex = truth.apex // 10
        case Erratum.WRONG_OFFSET:
            offset //= 10
    return onset, apex, offset


def _units(expression: Expression) -> str | int:
    """Return the action units as coders write them: `4+L10`, where L is the person's left; a lone one as a number."""
    codes = []
    for unit in sorted(expression.units, key=lambda unit: int(unit.removeprefix("AU"))):
        left, right = expression.units[unit]  # the picture's
        side = "R" if left > _SIDED * right else "L" if right > _SIDED * left else ""
        codes.append(side + unit.removeprefix("AU"))
    return int(codes[0]) if len(codes) == 1 and codes[0].isdigit() else "+".join(codes)


def _unpadded(name: str) -> str:
    return re.sub(r"^s0", "s", name)


def _official(truth: Truth) -> list[object]:
    subject = truth.subject.lstrip("0") if truth.database == "samm" else truth.subject
    return [truth.database, subject, truth.clip, CLASSES.index(truth.label)]


def _write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _workbook(rows: Table) -> bytes:
    """Return rows as an Excel workbook of one sheet, without the time at which it is made."""
    book = Workbook()
    sheet = book.worksheets[0]
    for index, row in enumerate(rows, 1):
        for column, value in enumerate(row, 1):
            sheet.cell(index, column, value)
    written = io.BytesIO()
    book.save(written)
    fixed = io.BytesIO()
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(fixed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = re.sub(rb"\d{4}-\d\d-\d\dT[\d:]{8}Z", f"{_WRITTEN.isoformat()}Z".encode(), source.read(name))
            target.writestr(zipfile.ZipInfo(name, _WRITTEN.timetuple()[:6]), content)
    return fixed.getvalue()
