"""Annotation tables: Excel workbooks and CSV files whose header may stand in any row."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openpyxl import load_workbook

from nas_mer.data.tables import Row
from nas_mer.errors import UserError
from nas_mer.words import did_you_mean, listed

SUFFIXES = (".xlsx", ".csv")
"""The suffixes of the tables that can be read."""

_LINES = 50  # a header stands in one of the first so many rows
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")  # how Excel files of before 2007, and encrypted ones, begin
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")

Lines = list[list[str]]


def read_table(path: Path, columns: Mapping[str, Sequence[str]], optional: Collection[str] = ()) -> list[Row]:
    """Read the rows below a header that is found by its columns' names.

    The header is the first row, in the first sheet, that names all columns. Names are compared without case, spaces
    and punctuation. Cells come as text, stripped, whole numbers without a decimal point; rows without any of the
    columns are skipped.

    Args:
        path: an Excel workbook (`.xlsx`) or a comma-separated text file (`.csv`, UTF-8).
        columns: the accepted spellings of each column, best first, by what the rows shall call it.
        optional: columns that may be missing; the rows then have no such cell.

    Returns:
        rows with these columns alone, each with its place, as `codes.xlsx:17`.

    Raises:
        UserError: the file is missing, damaged, protected by a password or of another kind, or columns are missing
            from its header or there twice.
    """
    closest = _Header("", [], {})
    wanted = columns.keys() - set(optional)
    for sheet, lines in _sheets(path):
        for number, cells in enumerate(lines[:_LINES], 1):
            bare = [_bare(cell) for cell in cells]
            found = {column: places for column, names in columns.items() if (places := _places(bare, names))}
            if wanted <= found.keys():
                if twice := [cells[places[0]] for places in found.values() if len(places) > 1]:
                    raise UserError(f"{path}:{number}{sheet}: the header names {listed(twice)} more than once")
                return list(_rows(path.name, lines, number, {column: places[0] for column, places in found.items()}))
            if len(found) > len(closest.found):
                closest = _Header(f"{path}:{number}{sheet}", cells, found)
    if len(closest.found) < 2:
        raise UserError(f"{path}: no header row with {listed(columns[column][0] for column in columns)}")
    known = [cell for cell in closest.cells if cell]
    absent = [names[0] for column, names in columns.items() if column in wanted - closest.found.keys()]
    raise UserError(
        "\n".join(
            f"{closest.place}: the column '{name}' is missing from the header{did_you_mean(name, known)}"
            for name in absent
        )
    )


@dataclass(frozen=True)
class _Header:
    """A row that names columns: where it is, its cells, and where the columns stand in it."""

    place: str
    cells: list[str]
    found: dict[str, list[int]]


def _rows(file: str, lines: Lines, header: int, where: Mapping[str, int]) -> Iterator[Row]:
    for number, line in enumerate(lines[header:], header + 1):
        cells = {column: line[index] if index < len(line) else "" for column, index in where.items()}
        if any(cells.values()):
            yield Row(f"{file}:{number}", cells)


def _places(header: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return where the best spelling of a column that there is stands in a header."""
    places = ([index for index, cell in enumerate(header) if cell == _bare(name)] for name in names)
    return next(filter(None, places), [])


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).lower()


def _sheets(path: Path) -> list[tuple[str, Lines]]:
    """Return the lines of each sheet and how messages name the sheet."""
    if not path.is_file():
        raise UserError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    match path.suffix.lower():
        case ".csv":
            return [("", _csv(path))]
        case ".xlsx" | ".xls":  # some have the wrong suffix
            return _excel(path)
        case _:
            raise UserError(f"{path}: not a table that can be read; expected {' or '.join(SUFFIXES)}")


def _csv(path: Path) -> Lines:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [[_text(cell) for cell in cells] for cells in csv.reader(file, strict=True)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not readable as CSV in UTF-8 ({error})") from None


def _excel(path: Path) -> list[tuple[str, Lines]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror})") from None
    if content.startswith(_OLE):
        what = "protected by a password" if _ENCRYPTED in content else "an Excel file of the old form"
        raise UserError(f"{path}: {what}; open it in a spreadsheet program and save it as .xlsx without a password")
    try:
        with warnings.catch_warnings(action="ignore"):  # about decorations that it does not know
            book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            several = len(book.worksheets) > 1
            return [(f" (sheet '{s.title}')" if several else "", _lines(s)) for s in book.worksheets]
    except Exception as error:  # whatever a parser may stumble over in a damaged file
        raise UserError(f"{path}: damaged, or no Excel workbook ({error}); was it downloaded whole?") from None


def _lines(sheet: Any) -> Lines:
    sheet.reset_dimensions()  # some programs write wrong ones
    return [[_text(value) for value in line] for line in sheet.iter_rows(values_only=True)]


def _text(value: object) -> str:
    """Return a cell as text, stripped; `46.0` as `46`, as other programs write it."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", "" if value is None else str(value).strip())
