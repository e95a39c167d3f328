"""Folders of frames: one walk below a database's folder, and what form of frames lies where."""

from __future__ import annotations

import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas_mer.data.dataset import alike
from nas_mer.data.frames.layout import IMAGES, Layout
from nas_mer.data.frames.workbooks import SUFFIXES
from nas_mer.errors import UserError
from nas_mer.words import listed

Key = tuple[str, str]

_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".z01", ".001")
_TABLES = (*SUFFIXES, ".xls")


@dataclass(frozen=True)
class Tree:
    """What lies below a folder: names of images by their folder's path, tables and archives."""

    root: Path
    images: dict[str, list[str]]
    tables: list[Path]
    archives: list[Path]

    def below(self, path: str) -> str:
        """Return a path relative to the root."""
        return os.path.relpath(path, self.root)

    def unpacked(self) -> list[str]:
        """Return a line about archives, if there are any."""
        names = listed(path.relative_to(self.root) for path in self.archives)
        return [f"archives lie there that may have to be unpacked: {names}"] if names else []


def look_through(root: Path, skip: Sequence[str]) -> Tree:
    """Walk through a folder once; releases have hundreds of thousands of files."""
    if not root.is_dir():
        raise UserError(f"{root}: {'not a folder; unpack it first' if root.exists() else 'no such folder'}")
    skipped, hidden = (
        re.compile("|".join(fnmatch.translate(pattern.lower()) for pattern in patterns))
        for patterns in ((*skip, "__macosx"), (".*", "__macosx"))
    )
    tree = Tree(root.resolve(), {}, [], [])
    left, seen = [str(tree.root)], set()
    while left:
        folder = left.pop()
        images = []
        try:
            status = os.stat(folder)  # noqa: PTH116 - paths are text here, for speed
            if (status.st_dev, status.st_ino) in seen:  # links may lead in circles
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"{folder}: not readable ({error.strerror})") from None
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - see above
            if hidden.match(entry.name.lower()):
                continue
            if suffix in IMAGES:
                images.append(entry.name)
            elif _is_folder(entry):
                if not skipped.match(entry.name.lower()):
                    left.append(entry.path)
            elif suffix in _TABLES and not entry.name.startswith("~$"):
                tree.tables.append(Path(entry.path))
            elif suffix in _ARCHIVES:
                tree.archives.append(Path(entry.path))
        if images:
            tree.images[folder] = images
    tree.tables.sort()
    tree.archives.sort()
    return tree


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:  # it is a link to itself, say
        raise UserError(f"{entry.path}: not readable ({error.strerror})") from None


NOBODY = "?"


@dataclass
class Folder:
    """A folder of frames: which clip it is and what names its files have, by the frame's number.

    Its subject is `NOBODY` where nothing tells it.
    """

    path: str
    base: str
    subject: str
    clip: str
    emotion: str | None
    names: dict[int, list[str]]

    @property
    def key(self) -> Key:
        """What it is looked up by: subject and clip, whatever their spelling."""
        return alike(self.subject), alike(self.clip)


def sort_into_forms(layout: Layout, tree: Tree, wanted: str | None = None) -> dict[str, list[Folder]]:
    """Return the folders with frames in each form; a file is taken for the first form that it fits, `wanted` before."""
    found: dict[str, list[Folder]] = {name: [] for name in layout.forms}
    forms = sorted(layout.forms.items(), key=lambda item: item[0] != wanted)
    expressions = {name: layout.components(form) for name, form in forms}
    for path, images in tree.images.items():
        parts = Path(path).parts
        left = images
        for name, (*folders, file) in expressions.items():
            matches = [part.fullmatch(text) for part, text in zip(folders, parts[-len(folders) :], strict=False)]
            if len(matches) < len(folders) or not all(matches):
                continue
            names: dict[int, list[str]] = defaultdict(list)
            others = []
            for image in left:
                if match := file.fullmatch(image):
                    names[int(match["frame"])].append(image)
                else:
                    others.append(image)
            if names:
                said = {key: text for match in matches if match for key, text in match.groupdict().items()}
                subject = layout.subject_of(said.get("subject") or re.split(r"[_-]", said["clip"])[0]) or NOBODY
                clip = layout.clip_of(subject, said["clip"])
                base = str(Path(*parts[: -len(folders)]))
                found[name].append(Folder(path, base, subject, clip, said.get("emotion"), dict(sorted(names.items()))))
            left = others
    return found
