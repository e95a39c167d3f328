"""Seeds of independent trainings: how many, or which."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

from nas_mer.errors import UserError

Seeds = int | Sequence[int]
"""How many, 0, 1, ...; or which."""


def numbers_of(seeds: Seeds) -> tuple[int, ...]:
    """Return the seeds as numbers.

    Raises:
        UserError: there is none, one is negative, or one occurs twice.
    """
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not _fit(numbers):
        raise UserError(f"seeds: expected at least one, from 0 on and none twice, found {seeds}")
    return numbers


def read_seeds(text: str) -> list[int]:
    """Return the seeds that a text means: `3` is how many, `3-5` from which to which, `0,4-6` a list of such.

    Raises:
        UserError: it is none of these, a range ends before it begins, or a seed occurs twice.
    """
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        raise UserError(f"--seeds: expected how many, as in 3, or which, as in 3-5 or 0,4-6, found '{text}'")
    parts = [[int(end) for end in part.split("-")] for part in text.split(",")]
    if any(ends[-1] < ends[0] for ends in parts):
        raise UserError(f"--seeds: expected the lesser end of a range first, as in 3-5, found '{text}'")
    if len(parts) == len(parts[0]) == 1:
        parts = [[0, parts[0][0] - 1]]
    numbers = [number for ends in parts for number in range(ends[0], ends[-1] + 1)]
    if not _fit(numbers):
        raise UserError(f"--seeds: expected at least one seed and none twice, found '{text}'")
    return numbers


def _fit(numbers: Sequence[int]) -> bool:
    return min(numbers, default=-1) >= 0 and len(set(numbers)) == len(numbers)


def seeds_in_words(numbers: Iterable[int]) -> str:
    """Return seeds, in ascending order, as `read_seeds` takes them."""
    groups = itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    runs = [[number for _, number in pairs] for _, pairs in groups]
    if len(runs) == 1 and runs[0][0] == 0:
        return str(len(runs[0]))
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 or len(runs) == 1 else str(run[0]) for run in runs)
