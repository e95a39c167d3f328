"""Ready-made flow maps, as published or in a folder with a table, checked against the ground truth.

A layout only says which file is which sample; reading, checking and the ground truth are the same for all.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nas_mer.data.dataset import CLASSES, COLUMNS, Dataset, Sample, alike
from nas_mer.data.images import decoded
from nas_mer.data.tables import read_rows
from nas_mer.errors import UserError, refuse
from nas_mer.words import did_you_mean, listed

Key = tuple[str, str, str]

_SUFFIXES = (".png", ".npy")

_PUBLISHED, _TABLED = "published tree", "folder with a table"
_LAYOUTS = {
    _PUBLISHED: "<subject>/u_test/<0|1|2>/<subject>_<clip>.png",
    _TABLED: f"PNG or NPY files beside one CSV with the columns {', '.join(COLUMNS)}",
}

_TREE_SUBJECTS = {"casme2": re.compile(r"sub\d+"), "smic": re.compile(r"s\d+"), "samm": re.compile(r"\d{3}")}
"""How the published tree tells a subject's database by its name."""

_SUBJECT_FORMS = {"casme2": "sub{:02d}", "smic": "s{:02d}", "samm": "{:03d}"}
"""How the published tree spells a subject's number."""


def import_maps(
    tree: Path,
    ground_truth: Path | None = None,
    *,
    channels: str = "uvs",
    table: Path | None = None,
    name: str | None = None,
) -> Dataset:
    """Read flow maps that others made. The layout is found by looking:

    - *published tree*: `<subject>/u_test/<0|1|2>/<subject>_<clip>.png`, as the authors of STSTNet (Liong et al., 2019)
      and HTNet (Wang et al., 2024) publish the MEGC2019 composite. A `u_train` beside `u_test` repeats the other
      subjects' maps and is left alone.
    - *folder with a table*: PNG or NPY files in one folder, and a CSV with the columns database, subject, clip, label
      (a class's name or 0..2) and, if files are not called `<database>_<subject>_<clip>`, `<subject>_<clip>` or
      `<clip>`, also file.

    8-bit and 16-bit maps are taken as stretched: divided by 255 or 65535, and mirrored about 1. Floating-point NPY
    maps are taken as flow: kept as they are, and mirrored about 0.

    Args:
        tree: the folder.
        ground_truth: the composite's official CSV, to check every sample against; see `read_ground_truth`. Where
            its spelling of a clip differs in leading zeros or case, the sample takes it over.
        channels: the order in the files, one letter each for u, v and strain: of R, G, B in a PNG, of the axis of
            length 3 (the first or the last) in an NPY.
        table: the CSV of a folder with a table, if it is not the only CSV in the folder.
        name: what to call the dataset; the folder's name if None.

    Raises:
        UserError: no layout fits, or anything about a file, its name or its label is wrong; all problems are listed.
    """
    if sorted(channels) != sorted("uvs"):
        raise UserError(f"channels must hold each of u, v and s (strain) once, such as uvs or suv, found '{channels}'")
    if not tree.is_dir():
        raise UserError(f"{tree}: {'not a folder' if tree.exists() else 'no such folder'}")
    layout, sources = _find_sources(tree, table)
    maps, kind, digest = _read_files([source.path for source in sources], channels)
    samples = [source.sample for source in sources]
    if ground_truth is not None:
        samples, _ = check_labels(samples, ground_truth)
    return Dataset(
        name or tree.resolve().name,
        maps,
        tuple(samples),
        CLASSES,
        u_mirror=kind.u_mirror,
        provenance={
            "layout": layout,
            "source": str(tree),
            "channels": channels,
            "values": kind.name,
            "files": len(sources),
            "sha256": digest,
            "ground_truth": ground_truth and {"file": str(ground_truth), "rows_that_agree": len(samples)},
        },
    )


def read_map(path: Path) -> tuple[NDArray[np.float32], float]:
    """Read one flow map: an NPY file or a PNG whose channels are u, v and strain, as `import_maps` reads it.

    Returns:
        `(3, H, W)` float32, and its `u_mirror`: 1.0 if it was stretched to 0..1, else 0.0; see `Dataset`.

    Raises:
        UserError: the file is not readable or holds no such map.
    """
    maps, kind, _ = _read_files([path], "uvs")
    return maps[0], kind.u_mirror


def read_ground_truth(path: Path) -> dict[Key, str]:
    """Read the official ground truth: a CSV of database, subject, clip and label (0, 1, 2), with or without a header.

    Returns:
        the class's name by (database, subject, clip); subjects spelt as in the published tree (`006` for SAMM's `6`).

    Raises:
        UserError: the file is missing, a row is malformed or its label unknown, or two rows have the same key.
    """
    truth: dict[Key, str] = {}
    problems: list[str] = []
    for row in read_rows(path, COLUMNS, headerless=True):
        sample = _sample(row.place, row.of(COLUMNS), problems)
        if sample and sample.key in truth:
            problems.append(f"{row.place}: {sample} occurs a second time")
        if sample:
            truth[sample.key] = sample.label
    refuse(problems)
    if not truth:
        raise UserError(f"{path}: no rows; expected database, subject, clip, label")
    return truth


def check_labels(samples: Sequence[Sample], path: Path, *, whole: bool = True) -> tuple[list[Sample], list[str]]:
    """Check samples against the official ground truth.

    Args:
        samples: of any databases; those that they do not come from may be in the ground truth.
        path: see `read_ground_truth`.
        whole: whether each sample of the ground truth in the samples' databases must be there, and the ground truth
            know all of these; else databases that it does not know are not checked.

    Returns:
        the samples as the ground truth spells them, and those of the ground truth that are not there.

    Raises:
        UserError: a label contradicts the ground truth, or samples are there too many or (see `whole`) too few.
    """
    truth = read_ground_truth(path)
    spellings: dict[Key, list[Key]] = defaultdict(list)
    for key in truth:
        spellings[_spelt_alike(key)].append(key)
    if not whole:
        known = {database for database, _, _ in truth}
        checked = [sample for sample in samples if sample.database in known]
        if samples and not checked:
            databases = listed(sorted({sample.database for sample in samples}))
            raise UserError(f"{path}: is of {listed(sorted(known))} and says nothing about {databases}; leave it out")
        samples = checked
    keys: list[Key] = []
    unknown, contrary = [], []
    for sample in samples:
        match [sample.key] if sample.key in truth else spellings[_spelt_alike(sample.key)]:
            case [key]:
                keys.append(key)
                if sample.label != truth[key]:
                    contrary.append(f"{sample} (here {sample.label}, there {truth[key]})")
            case _:
                unknown.append(sample)
    here = {sample.database for sample in samples}
    missing = sorted("/".join(key) for key in truth.keys() - set(keys) if key[0] in here)
    problems: dict[str, Sequence[object]] = {
        "labels that contradict the ground truth": contrary,
        "samples that the ground truth does not have": unknown,
        "samples of the ground truth that have no map": missing if whole else [],
    }
    every = len(samples) + len(truth)
    refuse([f"{path}: {len(found)} {what}: {listed(found, limit=every)}" for what, found in problems.items() if found])
    return [Sample(*key, sample.label) for key, sample in zip(keys, samples, strict=True)], missing


def canonical_subject(database: str, subject: str) -> str:
    """Return a subject's name as the published tree spells it: `006` for SAMM's `6`; unknown forms unchanged."""
    number = re.fullmatch(r"(?:sub|s)?(\d+)", subject.lower())
    return _SUBJECT_FORMS[database].format(int(number[1])) if number and database in _SUBJECT_FORMS else subject


@dataclass(frozen=True)
class _Source:
    """A file and the sample that it is the map of."""

    path: Path
    sample: Sample


def _find_sources(tree: Path, table: Path | None) -> tuple[str, list[_Source]]:
    """Return the layout's name and every sample's file."""
    if table is None and _is_published(tree):
        return _PUBLISHED, _published_sources(tree)
    tables = [table] if table else _files(tree, ".csv")
    inside = [folder for folder in _folders(tree) if _is_published(folder)]
    if inside and not table:
        tables = []  # they are about what is inside
    match tables:
        case [only]:
            return _TABLED, _tabled_sources(tree, only)
        case [_, *_]:
            raise UserError(
                f"{tree}: more than one CSV: {listed(path.name for path in tables)}; say which is the table"
            )
        case _:
            hint = f"; did you mean {inside[0]}?" if inside else ""
            known = [f"  {name}: {looks_like}" for name, looks_like in _LAYOUTS.items()]
            raise UserError("\n".join([f"{tree}: no flow maps in a known layout{hint}", "known layouts:", *known]))


def _published_sources(tree: Path) -> list[_Source]:
    sources: list[_Source] = []
    problems: list[str] = []
    maps = {folder: _maps_of(folder) for folder in _folders(tree)}
    if not any(maps.values()):
        raise UserError(
            f"{tree}: there are no maps in any <subject>/u_test/<label>; u_train alone does not do, "
            "a subject's own maps are in its u_test: is the download complete?"
        )
    if empty := [folder.name for folder, found in maps.items() if not found]:
        problems.append(f"{tree}: subjects without a single map in u_test: {listed(empty)}")
    if unknown := [folder.name for folder in maps if _database_of(folder.name) is None]:
        problems.append(
            f"{tree}: no database is known by these subjects' names: {listed(unknown)}; "
            "expected subNN (CASME II), sNN (SMIC) or three digits (SAMM)"
        )
    for path in itertools.chain.from_iterable(maps.values()):
        label, subject = path.parent.name, path.parents[2].name
        database = _database_of(subject)
        prefix, _, clip = path.stem.strip().partition("_")
        if prefix != subject or not clip:
            problems.append(f"{path}: the name must be {subject}_<clip>.png")
        elif database and (sample := _sample(str(path), (database, subject, clip, label), problems)):
            sources.append(_Source(path, sample))
    return _distinct(sources, problems)


def _tabled_sources(tree: Path, table: Path) -> list[_Source]:
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in _files(tree, *_SUFFIXES):
        by_stem[path.stem.strip()].append(path)
    sources: list[_Source] = []
    problems: list[str] = []
    for row in read_rows(table, COLUMNS):
        written = row.of(COLUMNS)
        sample = _sample(row.place, written, problems)
        if sample is None:
            continue
        if wanted := row.cells.get("file"):
            found = [path for path in [tree / wanted] if path.is_file()]
        else:
            stems = dict.fromkeys("_".join(key[start:]) for key in (written[:3], sample.key) for start in range(3))
            found = [path for stem in stems for path in by_stem[stem]]
            wanted = f"{', '.join(stems)} ({' or '.join(_SUFFIXES)})"
        match found:
            case [path]:
                sources.append(_Source(path, sample))
            case []:
                problems.append(f"{row.place}: {sample}: no file in {tree} is called {wanted}")
            case _:
                names = listed(path.name for path in found)
                problems.append(
                    f"{row.place}: {sample}: more than one file could be meant: {names}; add a column 'file'"
                )
    for path, times in Counter(source.path for source in sources).items():
        if times > 1:
            claimed = listed(source.sample for source in sources if source.path == path)
            problems.append(f"{table}: {path.name} is the map of more than one row: {claimed}; add a column 'file'")
    if not sources and not problems:
        problems.append(f"{table}: no rows")
    return _distinct(sources, problems)


def _is_published(tree: Path) -> bool:
    return any((folder / part).is_dir() for folder in _folders(tree) for part in ("u_test", "u_train"))


def _folders(path: Path) -> list[Path]:
    """Return the folders in `path`, but no hidden ones and no `__MACOSX`."""
    return sorted(child for child in path.glob("*") if child.is_dir() and not child.name.startswith((".", "__")))


def _files(path: Path, *suffixes: str) -> list[Path]:
    """Return the files in `path` with one of these suffixes, but no hidden ones."""
    return sorted(
        child
        for child in path.iterdir()
        if child.suffix.lower() in suffixes and not child.name.startswith(".") and not child.is_dir()
    )


def _maps_of(subject: Path) -> list[Path]:
    return [path for label in _folders(subject / "u_test") for path in _files(label, ".png")]


def _database_of(subject: str) -> str | None:
    return next((database for database, form in _TREE_SUBJECTS.items() if form.fullmatch(subject)), None)


def _sample(place: str, cells: Sequence[str], problems: list[str]) -> Sample | None:
    """Return the sample of these four cells, or None after adding to the problems."""
    database, subject, clip, label = cells
    known = {str(index): name for index, name in enumerate(CLASSES)} | {name: name for name in CLASSES}
    if label.lower() not in known:
        problems.append(f"{place}: unknown label '{label}'{did_you_mean(label, known)}")
        return None
    try:
        database = database.lower()
        return Sample(database, canonical_subject(database, subject), clip, known[label.lower()])
    except UserError as error:
        problems.append(f"{place}: {error}")
        return None


def _distinct(sources: list[_Source], problems: list[str]) -> list[_Source]:
    """Return the sources sorted by key; raise all problems, and name the samples that have several files."""
    paths: dict[Key, list[Path]] = defaultdict(list)
    for source in sources:
        paths[source.sample.key].append(source.path)
    people: dict[tuple[str, str], set[str]] = defaultdict(set)
    for database, subject, _ in paths:
        people[database, alike(subject)].add(subject)
    problems += [
        f"{database}: {listed(sorted(names))} would be different people; if they are one, spell them alike"
        for (database, _), names in people.items()
        if len(names) > 1
    ]
    problems += [
        f"{'/'.join(key)} has more than one map: {listed(repr(str(path)) for path in found)}"
        for key, found in paths.items()
        if len(found) > 1
    ]
    refuse(problems)
    return sorted(sources, key=lambda source: source.sample)


@dataclass(frozen=True)
class _Kind:
    """How a file's numbers are to be read."""

    name: str
    divisor: float
    u_mirror: float


_FLOW = _Kind("flow", 1.0, 0.0)
_KINDS = {
    np.dtype(np.uint8): _Kind("8 bits, stretched to 0..1", 255.0, 1.0),
    np.dtype(np.uint16): _Kind("16 bits, stretched to 0..1", 65535.0, 1.0),
    np.dtype(np.float16): _FLOW,
    np.dtype(np.float32): _FLOW,
    np.dtype(np.float64): _FLOW,
}


def _read_files(paths: Sequence[Path], channels: str) -> tuple[NDArray[np.float32], _Kind, str]:
    """Return maps `(N, 3, H, W)` in the order u, v, strain, how they were read, and the files' joint SHA-256."""
    digest = hashlib.sha256()
    images: dict[Path, NDArray[Any]] = {}
    wrong: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            wrong[f"not readable ({error.strerror})"].append(f"'{path}'")
            continue
        digest.update(hashlib.sha256(content).digest())
        image = _decoded(path, content)
        if isinstance(image, str):
            wrong[image].append(f"'{path}'")
        elif not np.isfinite(image).all():
            wrong["NaN or infinity"].append(f"'{path}'")
        else:
            images[path] = image
    if images:
        size, _ = Counter(image.shape[1:] for image in images.values()).most_common(1)[0]
        kind, _ = Counter(_KINDS[image.dtype] for image in images.values()).most_common(1)[0]
        for path, image in images.items():
            height, width = image.shape[1:]
            if (height, width) != size:
                wrong[f"size other than the {size[1]} x {size[0]} of most"].append(f"'{path}' ({width} x {height})")
            if _KINDS[image.dtype] != kind:
                wrong[f"values not {kind.name}, as most are"].append(f"'{path}' ({_KINDS[image.dtype].name})")
    refuse([f"{what}: {listed(found)}" for what, found in wrong.items()])

    order = [channels.index(channel) for channel in "uvs"]
    maps = np.stack([images[path][order].astype(np.float32) for path in paths])
    return maps / np.float32(kind.divisor), kind, digest.hexdigest()


def _decoded(path: Path, content: bytes) -> NDArray[Any] | str:
    """Return a file's array `(3, H, W)`, a PNG's as R, G, B; or what is wrong with the file."""
    array: NDArray[Any] | None
    if path.suffix.lower() == ".npy":
        try:
            array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        except Exception:  # whatever a parser may stumble over in a damaged header
            return "not readable as an NPY array"
        if array.ndim == 3 and array.shape[0] != 3:
            array = np.moveaxis(array, -1, 0)
    else:
        array = decoded(content, cv2.IMREAD_UNCHANGED)
        if array is None:
            return "not readable as an image"
        array = np.moveaxis(array[..., ::-1], -1, 0) if array.ndim == 3 else array
    if array.ndim != 3 or array.shape[0] != 3 or array.size == 0:
        return "not an image of 3 channels"
    if array.dtype not in _KINDS:
        return f"numbers of type {array.dtype}, neither unsigned of 8 or 16 bits nor floating point"
    return array


def _spelt_alike(key: Key) -> Key:
    database, subject, clip = map(alike, key)
    return database, subject, clip
