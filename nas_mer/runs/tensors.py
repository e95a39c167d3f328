"""Named tensors with a few plain values, in one safetensors file: loads without unpickling."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from nas_mer.errors import UserError
from nas_mer.files import replacing


def packed(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """Return tensors and JSON values as the content of a safetensors file."""
    return save(dict(tensors), metadata={key: json.dumps(value) for key, value in about.items()})


def unpacked(content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what `packed` was given.

    Raises:
        ValueError: the content is not that of a whole safetensors file.
    """
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return tensors, {key: json.loads(value) for key, value in header.get("__metadata__", {}).items()}
    except (SafetensorError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(str(error)) from None


def write_tensors(path: Path, content: bytes) -> None:
    """Write what `packed` returned to a file, whole or not at all."""
    with replacing(path) as fresh:
        fresh.write_bytes(content)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that `write_tensors` wrote.

    Raises:
        UserError: it is damaged.
    """
    with _refusing_damage(path):
        return unpacked(path.read_bytes())


def read_tensor(path: Path, name: str) -> tuple[Tensor, dict[str, Any]]:
    """Read one tensor of a file that `write_tensors` wrote, and its JSON values.

    Raises:
        UserError: it is damaged.
    """
    with _refusing_damage(path), safe_open(path, "pt") as file:
        about = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
        return file.get_tensor(name), about


@contextmanager
def _refusing_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, ValueError) as error:
        raise UserError(
            f"{path}: is damaged ({error}); delete it, and result.json where its run has one, "
            "and resuming the run makes it again"
        ) from None
