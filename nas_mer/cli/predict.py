"""`nas-mer predict`: the trained networks of a run on a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from nas_mer.cli.console import note, out, print_json
from nas_mer.cli.options import BoxOption, JsonOption, box_of, refuse_given, run_and_genotype
from nas_mer.words import plural

app = typer.Typer()


@app.command()
def predict(
    run: Annotated[
        str, typer.Argument(metavar="RUN[:GENOTYPE]", help="A retraining run; which of its genotypes, if several.")
    ],
    clip: Annotated[
        str,
        typer.Argument(
            metavar="CLIP",
            help="A folder of frames, a video, ONSET,APEX, an NPY map, or DATABASE/SUBJECT/CLIP of the run's dataset.",
        ),
    ],
    figure: Annotated[
        Path | None, typer.Option("-o", "--output", help="Draw what they look at (svg, png, pdf).", metavar="FILE")
    ] = None,
    flow: Annotated[
        str | None, typer.Option(help="Optical flow. [default: that of the run's dataset]", metavar="METHOD")
    ] = None,
    apex: Annotated[
        str | None, typer.Option(help="How the apex is found. [default: as in the run's dataset]", metavar="METHOD")
    ] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Crop the frames to the face, which is detected.")] = False,
    box: BoxOption = None,
    rate: Annotated[
        float | None,
        typer.Option(min=1, help="Frames a second, where motion is magnified.", metavar="N"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Classify a clip by a retraining run's networks.

    Those of all folds and seeds; of a clip of the run's dataset, those that its subject was held out from.
    """
    from nas_mer.data.frames import preparation_like
    from nas_mer.runs import load_run
    from nas_mer.runs.predicting import draw_prediction, find_case, network_of
    from nas_mer.runs.predicting import predict as ask
    from nas_mer.view import check_suffix

    if figure is not None:
        check_suffix(figure)
    if crop:
        refuse_given({"--box": box}, "cuts a box out, --crop looks for the face; give one of them")
    path, genotype = run_and_genotype(run)
    found = load_run(path, "retrain")
    name = network_of(found, genotype)
    dataset = found.config.dataset.load()
    changes = {"flow": flow, "apex": apex, "box": box_of(box)}
    how = preparation_like(dataset).model_copy(
        update={key: value for key, value in changes.items() if value is not None}
    )
    case = find_case(dataset, clip, how, crop or box is not None, rate)
    if case.fold is not None or case.frames is None:
        refuse_given(
            {"--flow": flow, "--apex": apex, "--crop": crop or None, "--box": box, "--rate": rate},
            f"says how a map is made of frames, but '{clip}' has one already; leave it out",
        )
    if not case.spotted:
        refuse_given({"--apex": apex}, f"is for a clip whose apex is not known, but '{clip}' tells it; leave it out")
    if how.magnify == 1:
        refuse_given({"--rate": rate}, f"is for magnified motion, but that of '{dataset.name}' is as it was filmed")
    prediction = ask(found, case, name)
    if figure is not None:
        draw_prediction(found, prediction, figure)
    if as_json:
        print_json(prediction.as_json())
        return
    _print(prediction.as_json())
    if figure is not None:
        out.print(f"{figure}", soft_wrap=True)


def _print(said: dict[str, Any]) -> None:
    """Print a prediction."""
    truth = f" (true class: {said['label']})" if said["label"] else ""
    out.print(Text.assemble((said["clip"], "bold"), f": {said['predicted']}{truth}"), soft_wrap=True)
    headings = ["class", "probability", "5 to 95 %", "votes"]
    table = Table(*headings, box=None, pad_edge=False)
    for name, part in said["classes"].items():
        spread = "" if part["deviation"] is None else f" ± {part['deviation']:.3f}"
        interval = "" if part["range"] is None else "{:.3f} to {:.3f}".format(*part["range"])
        table.add_row(name, f"{part['probability']:.3f}{spread}", interval, f"{part['votes']:.0%}")
    out.print(table)
    folds = f"trained without {said['held_out']}" if said["held_out"] else plural(len(said["folds"]), "fold")
    networks, seeds = plural(said["networks"], "network"), plural(len(said["seeds"]), "seed")
    spread = "; mean ± standard deviation over them" if said["networks"] > 1 else ""
    out.print(f"{networks} of {said['genotype']}: {folds}, {seeds}{spread}", soft_wrap=True)
    out.print(f"map: {said['map']}", soft_wrap=True)
    for line in said["notes"]:
        note(line)
