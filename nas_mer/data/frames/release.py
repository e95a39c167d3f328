"""A database as unpacked: its clips found below a folder and matched with its annotation."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from nas_mer.data.dataset import Sample, alike
from nas_mer.data.frames.clips import Clip, read_files
from nas_mer.data.frames.folders import NOBODY, Folder, Key, Tree, look_through, sort_into_forms
from nas_mer.data.frames.layout import LAYOUTS, Form, Layout, load_layout
from nas_mer.data.frames.workbooks import SUFFIXES, read_table
from nas_mer.data.tables import Row
from nas_mer.errors import UserError, refuse
from nas_mer.words import did_you_mean, listed

T = TypeVar("T")


@dataclass(frozen=True)
class Release:
    """What was found of a database.

    Clips are named `database/subject/clip` in the mappings.

    Attributes:
        layout: how it is delivered.
        root: the folder that was looked through.
        form: the form of the frames, of `layout.forms`.
        annotation: the file with the annotation; None where every clip is all that its folder holds.
        clips: the clips that can be used, sorted, each with its frames from onset to offset alone.
        left_out: clips that are not wanted, by the reason.
        corrected: what of a clip's annotation was changed, and why, and how many of its frames are missing.
        broken: why a clip that is wanted cannot be used.
        unmentioned: folders of frames that no row of the annotation is about, below the root. Where the form is
            trimmed they are clips nonetheless.
        archives: archives that lie in the root; perhaps not all is unpacked.
        unmet: clips that the layout leaves out or corrects and that are not there, as it spells them.
    """

    layout: Layout
    root: Path
    form: str
    annotation: Path | None
    clips: tuple[Clip, ...] = field(repr=False)
    left_out: Mapping[str, tuple[str, ...]] = field(repr=False)
    corrected: Mapping[str, str] = field(repr=False)
    broken: Mapping[str, str] = field(repr=False)
    unmentioned: tuple[Path, ...] = field(repr=False)
    archives: tuple[Path, ...] = field(repr=False)
    unmet: tuple[str, ...] = field(repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """The number of usable clips of each class."""
        return dict(sorted(Counter(clip.sample.label for clip in self.clips).items()))

    def provenance(self) -> dict[str, Any]:
        """Return what was read, and what became of it, as JSON values."""
        file = self.annotation
        return {
            "title": self.layout.title,
            "folder": str(self.root),
            "form": self.form,
            "annotation": file and {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()},
            "clips": len(self.clips),
            "left_out": {reason: list(clips) for reason, clips in self.left_out.items()},
            "corrected": dict(self.corrected),
            "broken": dict(self.broken),
        }


def find_release(layout: Layout, root: Path, form: str | None = None, annotation: Path | None = None) -> Release:
    """Find a database's clips below a folder.

    Clips are matched by subject and name, whatever their case and leading zeros, never by the order of rows.

    Args:
        layout: how the database is delivered.
        root: the folder that it was unpacked to, under any name, or one above it.
        form: which of `layout.forms` to take; the first that is there if None.
        annotation: the annotation's file; if None, the only one below the folder that is called like it.

    Raises:
        UserError: there is no such folder; there are no frames in a form of the layout, or in two places; there is no
            annotation, several versions of it, one that cannot be read, or another database's; its columns, subjects
            or emotions are not those of the layout, or rows contradict each other; or not a single clip can be used.
    """
    tree = look_through(root, layout.skip)
    name, folders = _frames(layout, tree, form)
    chosen = layout.forms[name]
    file = _annotation(layout, tree, chosen, annotation)
    entries = _entries(layout, file) if file else []
    mentioned = {entry.key for entry in entries}
    unmentioned = [folder for key, group in folders.items() if key not in mentioned for folder in group]
    if _tells_all(layout, chosen):
        entries += [_entry_of(layout, folder, tree) for folder in {f.key: f for f in unmentioned}.values()]
    met = {alike(f"{entry.subject}/{entry.clip}") for entry in entries}

    clips: list[Clip] = []
    left_out: dict[str, list[str]] = defaultdict(list)
    corrected: dict[str, str] = {}
    broken: dict[str, str] = {}
    for entry in entries:
        try:
            clip, notes = _clip(layout, chosen, entry, folders.get(entry.key, []), tree)
        except _LeftOutError as reason:
            left_out[str(reason)].append(entry.name)
        except _BrokenError as reason:
            broken[entry.name] = f"{reason} ({entry.place})"
        else:
            clips.append(clip)
            if notes:
                corrected[entry.name] = "; ".join(notes)
    if not clips:
        what = f"{tree.root}: not one clip of {layout.title} can be used"
        refuse([what, *(f"{clip}: {why}" for clip, why in sorted(broken.items())), *tree.unpacked()])
    return Release(
        layout,
        tree.root,
        name,
        file,
        tuple(sorted(clips, key=lambda clip: clip.sample)),
        {reason: tuple(sorted(names)) for reason, names in sorted(left_out.items())},
        dict(sorted(corrected.items())),
        dict(sorted(broken.items())),
        tuple(Path(tree.below(folder.path)) for folder in unmentioned) if file else (),
        tuple(tree.archives),
        tuple(name for name in (*layout.left_out, *layout.corrections) if alike(name) not in met),
    )


Folders = dict[Key, list[Folder]]


def _frames(layout: Layout, tree: Tree, wanted: str | None) -> tuple[str, Folders]:
    """Return the form to take, and its folders by clip."""
    if wanted is not None and wanted not in layout.forms:
        raise UserError(f"{layout.title} has no form '{wanted}' of frames{did_you_mean(wanted, layout.forms)}")
    found = sort_into_forms(layout, tree, wanted)
    name = wanted or next((name for name in layout.forms if found[name]), None)
    if name is None or not found[name]:
        raise UserError("\n".join(_nothing(layout, tree, wanted, found)))
    folders: Folders = defaultdict(list)
    for folder in found[name]:
        folders[folder.key].append(folder)
    several = [group for group in folders.values() if len({folder.base for folder in group}) > 1]
    if several:
        where = listed(sorted({tree.below(folder.base) for group in several for folder in group}), limit=4)
        clips = listed(f"{group[0].subject}/{group[0].clip}" for group in several)
        raise UserError(
            f"{tree.root}: {name} frames of the same clips lie in {where}; give the folder of one of them ({clips})"
        )
    return name, dict(folders)


def _nothing(layout: Layout, tree: Tree, wanted: str | None, found: dict[str, list[Folder]]) -> list[str]:
    """Return lines that say what was looked for in vain, and what there is instead."""
    lines = [f"{tree.root}: no {f'{wanted} ' if wanted else ''}frames of {layout.title}; looked for"]
    lines += [f"  {name}: {form.path}" for name, form in layout.forms.items() if wanted in (None, name)]
    lines += [f"there are {name} frames of {len(folders)} clips" for name, folders in found.items() if folders]
    if tree.images and not any(found.values()):
        path, names = next(iter(tree.images.items()))
        others = [other.title for other in _shipped() if any(sort_into_forms(other, tree).values())]
        count = sum(map(len, tree.images.values()))
        lines.append(f"there are {count} images such as {tree.below(path)}/{names[0]}")
        lines += [f"these look like {title}'s" for title in others[:1]]
    elif not tree.images:
        lines.append("there are no images at all")
    return lines + tree.unpacked()


def _annotation(layout: Layout, tree: Tree, form: Form, given: Path | None) -> Path | None:
    """Return the annotation's file, or None if there is none and none is needed."""
    if given is not None:
        return given
    patterns = [re.compile(fnmatch.translate(pattern), re.IGNORECASE) for pattern in layout.annotation]
    called = [path for path in tree.tables if any(pattern.match(path.stem) for pattern in patterns)]
    called = [path for path in called if path.suffix.lower() in SUFFIXES] or called
    called.reverse()
    distinct = dict(zip(read_files(called), called, strict=True))  # of copies the first
    if len(distinct) > 1:
        names = listed(sorted(tree.below(str(path)) for path in distinct.values()))
        raise UserError(
            f"{tree.root}: several versions of {layout.title}'s annotation: {names}; "
            f"name one (--annotation {layout.database}=FILE)"
        )
    if distinct:
        return next(iter(distinct.values()))
    if _tells_all(layout, form):
        return None
    looked = " or ".join(f"{pattern}.xlsx" for pattern in layout.annotation)
    lines = [f"{tree.root}: no annotation of {layout.title}; looked for {looked} (or --annotation)"]
    for path in tree.tables:
        owner = _owner(path, but=layout)
        lines.append(f"there is {tree.below(str(path))}{f', which is of {owner}' if owner else ''}")
    raise UserError("\n".join(lines + tree.unpacked()))


def _tells_all(layout: Layout, form: Form) -> bool:
    """Whether a folder of frames says everything about its clip."""
    return form.trimmed and layout.tells_emotion(form)


def _owner(file: Path, but: Layout) -> str | None:
    """Return the shipped database, other than this, whose annotation a file is."""
    for layout in _shipped():
        if layout.database == but.database:
            continue
        try:
            rows = read_table(file, layout.columns.spellings(), layout.optional)
        except UserError:
            continue
        if _fits(layout, rows):
            return layout.title
    return None


@cache
def _shipped() -> tuple[Layout, ...]:
    return tuple(load_layout(path) for path in sorted(LAYOUTS.glob("*.yaml")))


def _fits(layout: Layout, rows: Sequence[Row]) -> bool:
    """Whether most rows name clips as the database does."""
    own = sum(bool(re.fullmatch(layout.clip.pattern, row.cells["clip"], re.IGNORECASE)) for row in rows)
    return own > len(rows) / 2


@dataclass(frozen=True)
class _Entry:
    """What is said about a clip.

    Attributes:
        place: where it is said.
        database, subject, clip: as in the manifest.
        recording: the name of its folder of frames, which may hold several clips.
        cells: what the annotation says by column, corrected.
        notes: on corrections.
    """

    place: str
    database: str
    subject: str
    recording: str
    clip: str
    cells: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.database}/{self.subject}/{self.clip}"

    @property
    def key(self) -> Key:
        return alike(self.subject), alike(self.recording)


def _entries(layout: Layout, file: Path) -> list[_Entry]:
    """Return what an annotation says, a clip once."""
    rows: list[Row] = []
    try:
        rows = read_table(file, layout.columns.spellings(), layout.optional)
        fault = f"its clips are not called like {layout.clip.pattern}" if rows else "it has no rows"
        fault = f"{file}: not {layout.title}'s annotation: {fault}"
    except UserError as error:
        fault = str(error)
    if not _fits(layout, rows):
        owner = _owner(file, but=layout)
        raise UserError(f"{file}: this is {owner}'s annotation, not {layout.title}'s" if owner else fault)

    entries: dict[str, tuple[_Entry, Row]] = {}
    problems: list[str] = []
    emotions: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        subject = layout.subject_of(row.cells["subject"])
        if not row.cells["clip"]:
            problems.append(f"{row.place}: no clip is named")
        elif subject is None:
            problems.append(
                f"{row.place}: unknown subject '{row.cells['subject']}'; expected one like {layout.subject}"
            )
        else:
            entry = _entry(layout, row, subject)
            emotion = entry.cells.get("emotion", "")
            if emotion.lower() not in layout.emotions and (emotion or "emotion" not in layout.optional):
                emotions[emotion].append(row.place)
            first, same = entries.setdefault(alike(entry.name), (entry, row))
            if same.cells != row.cells:
                problems.append(f"{row.place}: {entry.name} has another row, {first.place}, that says something else")
    for emotion, places in emotions.items():
        hint = did_you_mean(emotion.lower(), layout.emotions)
        problems.append(f"{listed(places)}: unknown emotion '{emotion}'{hint}")
    if problems:
        refuse([f"{file}: not all of it can be understood", *problems], limit=20)
    return [entry for entry, _ in entries.values()]


def _entry(layout: Layout, row: Row, subject: str) -> _Entry:
    """Return what a row says, corrected."""
    recording = layout.clip_of(subject, row.cells["clip"])
    clip = layout.sample.replace("{clip}", recording).replace("{onset}", row.cells["onset"])
    cells, notes = _corrected(layout, subject, clip, row.cells)
    return _Entry(row.place, layout.database, subject, recording, clip, cells, notes)


def _entry_of(layout: Layout, folder: Folder, tree: Tree) -> _Entry:
    """Return what a folder of frames says about its clip, corrected."""
    cells, notes = _corrected(layout, folder.subject, folder.clip, {"onset": "first", "offset": "last"})
    return _Entry(tree.below(folder.path), layout.database, folder.subject, folder.clip, folder.clip, cells, notes)


def _corrected(
    layout: Layout, subject: str, clip: str, written: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return what is written about a clip as the layout corrects it, and what that has changed."""
    cells, notes = dict(written), []
    if correction := _about(layout.corrections, subject, clip):
        for column, cell in correction.cells.items():
            before = cells.get(column, cell)
            if before.lower() != cell.lower() and not (_unmarked(before) and _unmarked(cell)):
                notes.append(f"{column} '{before}' is taken as '{cell}': {correction.because}")
            cells[column] = cell
    return cells, tuple(notes)


class _LeftOutError(Exception):
    """A clip is not wanted."""


class _BrokenError(Exception):
    """A clip cannot be used."""


def _clip(layout: Layout, form: Form, entry: _Entry, folders: Sequence[Folder], tree: Tree) -> tuple[Clip, list[str]]:
    """Return a clip and notes on what of its annotation was changed.

    Raises:
        _LeftOutError, _BrokenError: why there is no such clip.
    """
    if reason := _about(layout.left_out, entry.subject, entry.clip):
        raise _LeftOutError(reason)
    if entry.subject == NOBODY:
        raise _BrokenError("nothing tells whose it is: neither folders, nor its name, nor an annotation")
    label = _label(layout, entry, folders[0] if len(folders) == 1 else None)
    if not folders:
        raise _BrokenError(f"no frames; there is no {form.expected(entry.subject, entry.recording)}")
    if len(folders) > 1:
        raise _BrokenError(f"several folders: {listed(tree.below(folder.path) for folder in folders)}")

    names = folders[0].names
    onset, apex, offset = (_number(entry.cells.get(what, "/"), what) for what in ("onset", "apex", "offset"))
    if form.renumbered and onset is not None:
        shift = onset - min(names)
        names = {number + shift: files for number, files in names.items()}
    onset = min(names) if entry.cells["onset"] == "first" else onset
    offset = max(names) if entry.cells["offset"] == "last" else offset
    if onset is None or offset is None:
        raise _BrokenError(f"its {'onset' if onset is None else 'offset'} is not marked")
    if apex is None and not layout.spot:
        raise _LeftOutError("its apex is not marked")
    if apex == onset:
        raise _LeftOutError("its apex is its onset")
    if (apex is not None and not onset < apex <= offset) or onset >= offset:
        marks = f"onset {onset}, apex {'not marked' if apex is None else apex}, offset {offset}"
        raise _BrokenError(f"onset, apex and offset are not in this order: {marks}")

    notes = list(entry.notes)
    if form.trimmed:
        onset, offset, moved = _inwards(onset, offset, names)
        if apex == onset:
            raise _BrokenError(f"its apex would be its onset: {moved[0]}")
        notes += moved
    frames = _between(onset, apex, offset, names)
    every = offset - onset + 1
    if len(frames) < every:
        notes.append(f"lacks {every - len(frames)} of its {every} frames; the others are taken as evenly spaced")
    clip = Clip(
        sample=Sample(entry.database, entry.subject, entry.clip, label),
        frames={number: Path(folders[0].path, name) for number, name in frames.items()},
        onset=onset,
        apex=apex,
        offset=offset,
        rate=layout.rate,
        annotated=entry.place,
        cropped=form.cropped,
    )
    return clip, notes


def _inwards(onset: int, offset: int, names: Mapping[int, Sequence[str]]) -> tuple[int, int, list[str]]:
    """Return the first and the last frame that there are from onset to offset, and notes if these are others."""
    inside = [number for number in names if onset <= number <= offset]
    if not inside:
        raise _BrokenError(f"no frame from its onset, {onset}, to its offset, {offset}; {_range(names)}")
    marks = (("onset", onset, inside[0]), ("offset", offset, inside[-1]))
    notes = [f"the {what}, {mark}, has no frame; {there} is taken" for what, mark, there in marks if mark != there]
    return inside[0], inside[-1], notes


def _between(onset: int, apex: int | None, offset: int, names: Mapping[int, Sequence[str]]) -> dict[int, str]:
    """Return the file's name of each frame from onset to offset."""
    for what, mark in (("onset", onset), ("apex", apex), ("offset", offset)):
        if mark is not None and not min(names) <= mark <= max(names):
            raise _BrokenError(f"its {what}, {mark}, lies outside the clip; {_range(names)}")
        if mark is not None and mark not in names and what != "offset":
            raise _BrokenError(f"the frame of its {what}, {mark}, is missing")
    inside = {number: files for number, files in names.items() if onset <= number <= offset}
    if twice := [name for files in inside.values() if len(files) > 1 for name in files]:
        raise _BrokenError(f"several files for one frame: {listed(twice)}")
    if len(inside) < 2:
        raise _BrokenError("there is only one frame from onset to offset")
    return {number: name for number, (name,) in inside.items()}


def _range(names: Mapping[int, Sequence[str]]) -> str:
    return f"its frames are {min(names)} to {max(names)}"


def _label(layout: Layout, entry: _Entry, folder: Folder | None) -> str:
    """Return a clip's class, which annotation, folder and name must agree on where they tell it."""
    said = {
        "the annotation says": entry.cells.get("emotion"),
        "its folder says": folder.emotion if folder else None,
        "its name says": layout.code_of(entry.clip),
    }
    told = {who: emotion for who, emotion in said.items() if emotion}
    labels = {layout.emotions[emotion.lower()] for emotion in told.values()}
    if len(labels) > 1:
        raise _BrokenError(", ".join(f"{who} {emotion}" for who, emotion in told.items()))
    if not told:
        raise _BrokenError("nothing tells its emotion")
    label = labels.pop()
    if label is None:
        raise _LeftOutError(f"the emotion is {min(told.values()).lower()}, which is in no class")
    return label


def _number(cell: str, column: str) -> int | None:
    """Return a frame's number, or None where nobody marked it; -1 and the like mark nothing."""
    if _unmarked(cell) or cell in ("first", "last"):
        return None
    if not re.fullmatch(r"-?\d+", cell):
        raise _BrokenError(f"its {column} '{cell}' is not the number of a frame")
    return int(cell) if int(cell) >= 0 else None


def _unmarked(cell: str) -> bool:
    return cell.lower() in ("", "/", "-", "n/a", "na", "nan", "none")


def _about(said: Mapping[str, T], subject: str, clip: str) -> T | None:
    """Return what a layout says about a clip."""
    return next((what for name, what in said.items() if alike(name) == alike(f"{subject}/{clip}")), None)
