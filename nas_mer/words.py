"""Words for messages and tables: lists, counts, and what somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def listed(items: Iterable[object], limit: int = 10) -> str:
    """Return `a, b, c`, ended with `and N more` after `limit` items."""
    names = [str(item) for item in items]
    rest = [f"and {len(names) - limit} more"] if len(names) > limit else []
    return ", ".join(names[:limit] + rest)


def plural(count: int, noun: str) -> str:
    """Return `1 genotype` or `1,000 genotypes`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the nearest of the known words, or `"; known: a, b, ..."`."""
    names = sorted(map(str, known))
    near = difflib.get_close_matches(str(word), names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known: {', '.join(names)}" if names else ""
