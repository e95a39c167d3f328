"""`nas-mer study`: searches against the table of their space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from nas_mer.cli.console import out, print_json
from nas_mer.cli.options import JsonOption
from nas_mer.errors import UserError

app = typer.Typer()


@app.command()
def study(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Finished search runs of one space and dataset.")],
    folder: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FOLDER", help="Where study.json, .csv, .md and pictures go."),
    ],
    table: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE", help="The space evaluated whole. [default: the shipped benchmark that fits the runs]"
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The side of its input maps. [default: that of the runs]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether searches find what is good.

    A benchmark tells how good every network of the space is. Beside it: how far a search's ranking agrees, and how far
    noise would let any agree; what its first and its first three lack to the best; what chance would find for as much.
    Several runs of one strategy are variants: one is chosen on one half of the seeds and reported on the other.
    """
    from nas_mer.study import grids, save_study, study_as_json
    from nas_mer.study import study as compare_with_table

    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output: '{folder}' is a file; name a folder")
    found = compare_with_table(runs, table, size)
    save_study(found, folder)
    if as_json:
        print_json(study_as_json(found))
        return
    out.print(Text(found.table.title, "bold"), soft_wrap=True)
    for grid in grids(found):
        out.print(grid, "")
    out.print(f"numbers and pictures in {folder}", soft_wrap=True)
