"""`nas-mer report`: one page that tells the story of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas_mer.cli.console import out

app = typer.Typer()


@app.command()
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Runs of search, choose and retrain; several make a comparison.")
    ],
    file: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The page: an .html file.")],
) -> None:
    """Write one page that tells the story of runs.

    It holds all its pictures, needs no network, and says what a run lacks.
    """
    from nas_mer.report import write_report
    from nas_mer.runs import load_run

    write_report([load_run(run) for run in runs], file)
    out.print(f"{file}", soft_wrap=True)
