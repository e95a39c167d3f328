"""`nas-mer reproduce`: the paper's tables and figures, done again."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nas_mer.cli.console import note, out, print_json, progress_bar
from nas_mer.cli.options import (
    DatasetOption,
    DeviceOption,
    Engine,
    EngineOption,
    EpochsOption,
    GroupOption,
    JsonOption,
    RecipeOption,
    WorkersOption,
    recipe_of,
)

app = typer.Typer()


class Name(StrEnum):
    """A table or figure of the paper."""

    table2 = "table2"
    table3 = "table3"
    table4 = "table4"
    table5 = "table5"
    table6 = "table6"
    fig1 = "fig1"
    fig7 = "fig7"
    fig8 = "fig8"
    fig9 = "fig9"


@app.command()
def reproduce(
    name: Annotated[
        Name,
        typer.Argument(
            metavar="EXPERIMENT",
            help="table2: modules; table3: motion magnification; table4: pairs of databases; table5: other methods; "
            "table6: time; fig1: resolution and depth; fig7: resolution; fig8: pooling; fig9: feature maps.",
        ),
    ],
    data: DatasetOption,
    magnified: Annotated[
        Path | None,
        typer.Option(metavar="DATASET", help="For table3: the same clips, made with data prepare --magnify."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A part of it, which the table names.")] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many seeds: 0, 1, ... [default: 3, with --quick 1]")
    ] = None,
    recipe: RecipeOption = "default",
    epochs: EpochsOption = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Where to do it, or go on. [default: runs/table2, with --quick "
            "runs/table2-quick]",
        ),
    ] = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    group: GroupOption = None,
    engine: EngineOption = Engine.local,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Do a table or figure of the paper again, beside its numbers.

    Each network is a retraining run in FOLDER. The same command goes on where it was stopped.
    """
    from nas_mer.compute import Compute
    from nas_mer.reproduce import plan, table
    from nas_mer.reproduce import reproduce as run_reproduce

    chosen = recipe_of(recipe, epochs)
    place = folder or Path("runs") / (f"{name}-quick" if quick else name)
    planned = plan(name, data, chosen, place, seeds or (1 if quick else 3), quick, magnified)
    for setting, reason in planned.impossible.items():
        note(f"{setting.name}: {reason}")
    with progress_bar(resume="the same command goes on from there") as progress:
        found = run_reproduce(planned, Compute(workers, device, group, None, engine.value), progress)
    if as_json:
        print_json(found.as_json())
        return
    out.print(table(found))
    what = "table and figure" if planned.experiment.is_figure else "table"
    out.print(f"runs and {what} in {place}", soft_wrap=True)
