"""The command line: each command calls one function that a notebook can call too."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from nas_mer import __version__
from nas_mer.cli import benchmark, data, export, predict, report, reproduce, results, runs, space, study, train
from nas_mer.cli.console import out, say
from nas_mer.errors import UserError
from nas_mer.files import disk_is_full, meant
from nas_mer.space import load_ops

# What a command needs beyond spaces is imported when it runs: `nas-mer --help` should not wait for torch's friends.

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(train.app)
app.add_typer(results.app)
app.add_typer(predict.app)
app.add_typer(export.app)
app.add_typer(report.app)
app.add_typer(reproduce.app)
app.add_typer(study.app)
app.add_typer(data.app, name="data", help="Make and look at datasets of flow maps.")
app.add_typer(space.app, name="space", help="Look at search spaces.")
app.add_typer(benchmark.app, name="benchmark", help="Search spaces evaluated whole, as tables.")
app.add_typer(runs.app, name="runs", help="Look at run folders and continue them.")

_REFUSALS = (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
"""What says that a place which the user has named cannot be used."""


def main() -> None:
    """Run the command line. Exit status 0: done; 2: the input is wrong; 1: anything else."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be text
    try:
        app(prog_name="nas-mer")
    except UserError as error:
        say("error", "red", str(error))
        sys.exit(2)
    except torch.OutOfMemoryError as error:
        say(
            "error",
            "red",
            f"the device has too little memory ({error}); of networks trained together take fewer, by --group",
        )
        sys.exit(1)
    except OSError as error:
        full, refused = disk_is_full(error), isinstance(error, _REFUSALS) and error.filename is not None
        if full:
            say("error", "red", f"no space left on the disk ({error}); nothing half-written stays")
        elif refused:
            say("error", "red", f"{meant(Path(error.filename))}: {error.strerror}")
        else:
            say("error", "red", str(error))
        sys.exit(2 if full or refused else 1)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def options(
    ops: Annotated[
        list[Path] | None, typer.Option("--ops", help="A Python file that registers more ops.", metavar="FILE.py")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Architecture search for micro-expression recognition."""
    for path in ops or []:
        load_ops(path)
