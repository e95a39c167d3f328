"""The one exception that means "the user's input is wrong"."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """Something the user gave cannot be used.

    The message names the file, the line or key, the value found, and what would be right. The command line
    prints it without a traceback and exits with status 2.
    """


def refuse(problems: Sequence[str], limit: int = 10) -> None:
    """Raise a `UserError` that gives up to `limit` problems, a line each, if there are any."""
    if problems:
        rest = [f"and {len(problems) - limit} more"] if len(problems) > limit else []
        raise UserError("\n".join([*problems[:limit], *rest]))
