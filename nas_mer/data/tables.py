"""CSV files read with the place of every row."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas_mer.errors import UserError, refuse
from nas_mer.words import did_you_mean, listed


@dataclass(frozen=True)
class Row:
    """One row of a CSV file: where it stands (`file:line`) and its cells by column name."""

    place: str
    cells: dict[str, str]

    def of(self, columns: Sequence[str]) -> list[str]:
        """Return the cells of these columns."""
        return [self.cells[column] for column in columns]


def read_rows(path: Path, columns: Sequence[str], *, headerless: bool = False) -> list[Row]:
    """Read a CSV file; blank lines are skipped and cells stripped of surrounding spaces.

    Args:
        path: the file, comma-separated, UTF-8 with or without a byte-order mark.
        columns: the columns it must have, found by the header in any order and case; more columns may follow.
        headerless: the file may do without a header; it then has exactly these columns in this order.

    Raises:
        UserError: the file is missing or unreadable, a column is missing, or rows have too few or too many cells.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not readable as CSV ({error})") from None
    lines = [(number, cells) for number, cells in lines if any(cells)]

    header = [cell.lower() for cell in lines[0][1]] if lines else []
    missing = [column for column in columns if column not in header]
    if not missing:
        lines = lines[1:]
    elif headerless:
        header = list(columns)
    else:
        hints = [
            f"the column '{column}' is missing from the header{did_you_mean(column, header)}" for column in missing
        ]
        raise UserError("\n".join(f"{path}:1: {hint}" for hint in hints))
    if repeated := [column for column in columns if header.count(column) > 1]:
        raise UserError(f"{path}:1: the header names {listed(repeated)} more than once")

    refuse(
        [
            f"{path}:{number}: {len(cells)} cells, expected {len(header)} ({', '.join(header)})"
            for number, cells in lines
            if len(cells) != len(header)
        ]
    )
    return [Row(f"{path}:{number}", dict(zip(header, cells, strict=True))) for number, cells in lines]
