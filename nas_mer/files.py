"""Files written whole or not at all, and held by one process."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from nas_mer.errors import UserError
from nas_mer.words import listed

SCRATCH = ".unfinished"
"""How the names of temporary files end."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends without an error.

    The block may create a file or a folder there. An existing folder at `path` is replaced whole, by another folder. On
    an error nothing is left behind and what was at `path` stays.

    Raises:
        UserError: a file was created, and `path` is a folder.
    """
    path = path.absolute()  # a dot, too, has a name then
    with beside(path) as fresh:
        yield fresh
        fresh.lstat()  # before what it replaces is moved away
        if path.is_dir():
            if not fresh.is_dir():
                raise UserError(f"{path}: is a folder; a file cannot be written there")
            path.rename(fresh.with_name(f"{path.name}.replaced"))
        fresh.replace(path)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yield a path of the same name in a temporary folder beside `path`; what is left there at the end is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(SCRATCH, f".{path.name}.", path.parent))
    try:
        yield scratch / path.name
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def held(path: Path, busy: str) -> Iterator[None]:
    """Have a file or folder for this process alone until the block ends, or the process does, however it does.

    It is locked by `flock`, of which other programs take no notice. Where a file system has no locks, nothing is.

    Raises:
        UserError: another process has it; `busy` is the message.
    """
    with ExitStack() as closing:
        with suppress(OSError):
            file = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
            closing.callback(os.close, file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(busy) from None
        yield


def check_replaceable(path: Path, what: str, mark: str, own: Collection[str]) -> None:
    """Check that nothing is lost but what may be if `path` is replaced.

    Args:
        path: what is to be replaced, if there is anything.
        what: may be replaced, for messages, as `a dataset`.
        mark: the file below `path` by which it is known.
        own: the names of all that it holds; one that holds more is not replaced.

    Raises:
        UserError: something other than that or an empty folder is there.
    """
    if not path.exists():
        return
    inside = path.iterdir() if path.is_dir() else [path]
    there = {child.name for child in inside if not child.match(f".*{SCRATCH}")}
    if there and not (path / mark).is_file():
        raise UserError(f"{path}: exists and is not {what}, so it is not replaced; choose another place")
    if strangers := sorted(there - {*own}):
        raise UserError(
            f"{path}: holds more than {what}, so it is not replaced: {listed(strangers)}; choose another place"
        )


def meant(path: Path) -> Path:
    """Return the folder in which a temporary file of this module was to be, or any other path as it is."""
    scratch = [folder for folder in (path, *path.parents) if folder.name.endswith(SCRATCH)]
    return scratch[-1].parent if scratch else path


def sweep(folder: Path) -> None:
    """Remove what `beside` left in a folder, and in those below it, when its process was killed."""
    for scratch in list(folder.rglob(f".*{SCRATCH}")):
        shutil.rmtree(scratch, ignore_errors=True)


def disk_is_full(error: OSError) -> bool:
    """Return whether a file could not be written for lack of room."""
    short_write = "requested and" in str(error)  # numpy's words; it gives no number
    return short_write or error.errno in (errno.ENOSPC, errno.EDQUOT)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with replacing(path) as fresh, fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: object) -> None:
    """Write `value` to `path` atomically as indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing, unreadable or cut short.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); it may have been cut short") from None
