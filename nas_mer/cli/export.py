"""`nas-mer export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nas_mer.cli.console import note, out
from nas_mer.cli.options import (
    GenotypeSpaceOption,
    SetOption,
    find_genotypes,
    parameters_of,
    refuse_given,
    run_and_genotype,
)
from nas_mer.errors import UserError

app = typer.Typer()


class Format(StrEnum):
    """What a network is written as."""

    onnx = "onnx"
    python = "python"


SUFFIXES = {Format.onnx: ".onnx", Format.python: ".py"}


@app.command()
def export(
    what: Annotated[
        str,
        typer.Argument(
            metavar="GENOTYPE|RUN[:GENOTYPE]", help="A genotype, with fresh weights, or one of a retraining run."
        ),
    ],
    form: Annotated[
        Format,
        typer.Option("--format", help="onnx, or a Python file that needs torch, and safetensors for its weights."),
    ],
    file: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The file: .onnx or .py.")],
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="The networks of this seed. [default: of all]")
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option("--fold", metavar="SUBJECT", help="The networks that held this subject out. [default: all]"),
    ] = None,
    space: GenotypeSpaceOption = None,
    sets: SetOption = None,
) -> None:
    """Write a network for other programs.

    Raw flow maps go in and logits come out. Of a run, the probabilities of all its folds and seeds are averaged.
    """
    from nas_mer.export import export_onnx, export_python, model_of_genotype, model_of_run
    from nas_mer.runs import load_run

    if file.suffix != SUFFIXES[form]:
        raise UserError(f"-o: --format {form} writes a {SUFFIXES[form]} file, found '{file}'")
    path, genotype = run_and_genotype(what)
    if (path / "run.json").is_file():
        refuse_given(
            {"--space": space, "--set": sets},
            "the networks of a run have the space and sizes that they were trained with",
        )
        model = model_of_run(load_run(path, "retrain"), genotype, seed, fold)
    else:
        refuse_given({"--seed": seed, "--fold": fold}, f"chooses among the networks of a run, but '{what}' is no run")
        ((built, found),) = find_genotypes(what, space, parameters_of(sets))
        model = model_of_genotype(built, found)
    for text in model.notes:
        note(text)
    if form is Format.onnx:
        export_onnx(model, file)
        files = [file]
    else:
        files = export_python(model, file)
    for each in files:
        out.print(f"{each}", soft_wrap=True)
