"""The command line: each command calls one function that a notebook can call too."""

from __future__ import annotations

import re
import shlex
import sys
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.table import Table
from rich.text import Text

from nas_mer import __version__
from nas_mer.console import (
    note,
    out,
    plural,
    print_dataset,
    print_genotypes,
    print_json,
    print_prepared,
    print_release,
    print_scores,
    print_search,
    progress_bar,
    say,
)
from nas_mer.errors import UserError
from nas_mer.files import did_you_mean, disk_is_full, parse_yaml, read_yaml
from nas_mer.space import OPS, Genotype, SearchSpace, find_genotype, load_genotype, load_ops

# What a command needs beyond spaces is imported when it runs: `nas-mer --help` should not wait for torch's friends.

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
data_app = typer.Typer(no_args_is_help=True, help="Make and look at datasets of flow maps.")
space_app = typer.Typer(no_args_is_help=True, help="Look at search spaces.")
runs_app = typer.Typer(no_args_is_help=True, help="Look at run folders and continue them.")
app.add_typer(data_app, name="data")
app.add_typer(space_app, name="space")
app.add_typer(runs_app, name="runs")


class Order(StrEnum):
    """The hypergradient of the alphas."""

    first = "first"
    second = "second"
    exact = "exact"


class Relaxation(StrEnum):
    """How alphas become a mixture."""

    softmax = "softmax"
    sum = "sum"
    sigmoid = "sigmoid"
    gumbel = "gumbel"


class Protocol(StrEnum):
    """What a search may see."""

    shared = "shared"
    nested = "nested"


class Engine(StrEnum):
    """What computes."""

    local = "local"
    ray = "ray"


class Strain(StrEnum):
    """How a flow's deformation is measured."""

    paper = "paper"
    symmetric = "symmetric"


DatasetOption = Annotated[Path, typer.Option("--data", help="The dataset's folder.", metavar="DATASET")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="The run folder to make. [default: a new one in runs/]", metavar="RUN")
]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="How many seeds: 0, 1, ...", metavar="N")]
EpochsOption = Annotated[int | None, typer.Option(min=1, help="How many. [default: the recipe's]", metavar="N")]
TopOption = Annotated[int, typer.Option(min=1, help="How many genotypes to derive.", metavar="N")]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Processes; the number changes no result. [default: one a core]", metavar="N"
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda (all GPUs) or cuda:N.", metavar="DEVICE")]
GroupOption = Annotated[
    int | None,
    typer.Option(
        "--group", min=1, metavar="N",
        help="How many networks are trained as one program. [default: 1 on a CPU, the quickest number on a GPU]",
    ),
]  # fmt: skip
CheckpointOption = Annotated[
    float | None,
    typer.Option(
        "--checkpoint-every", min=0, metavar="SECONDS",
        help="Seconds between checkpoints; 0: every epoch. [default: 0 for a search, 10 for retraining]",
    ),
]  # fmt: skip
EngineOption = Annotated[Engine, typer.Option("--engine", help="Processes on this machine, or a Ray cluster.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Another value for a parameter of the space, or for size.", metavar="NAME=VALUE"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
SpaceArgument = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped space.", metavar="SPACE")]
RunArgument = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]


def main() -> None:
    """Run the command line. Exit status 0: done; 2: the input is wrong; 1: anything else."""
    try:
        app(prog_name="nas-mer")
    except UserError as error:
        say("error", "red", str(error))
        sys.exit(2)
    except OSError as error:
        full = disk_is_full(error)
        say("error", "red", f"no space left on the disk ({error}); nothing half-written stays" if full else str(error))
        sys.exit(2 if full else 1)


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


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Where to put it.", metavar="FOLDER")] = Path("runs/demo"),
    workers: WorkersOption = None,
) -> None:
    """Run the whole chain on a small synthetic composite."""
    from nas_mer.runs.demo import demo as run_demo

    with progress_bar() as progress:
        made = run_demo(folder, workers, progress)
    print_dataset(made.prepared.dataset, folder / "data")
    note(f"{plural(len(made.prepared.broken), 'clip')} with a wrong annotation, as real releases have some, left out")
    print_search(made.search)
    print_scores([made.retrain])
    out.print("\nLook at:")
    for picture in made.pictures:
        out.print(f"  {picture}", soft_wrap=True)


# --- data -------------------------------------------------------------------------------------------------------------


@data_app.command("synth")
def data_synth(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="The dataset's folder to make.")],
    subjects: Annotated[
        int, typer.Option(min=2, help="Subjects of each of the three databases, on average.", metavar="N")
    ] = 8,
    clips: Annotated[int, typer.Option(min=3, help="Clips of each subject, on average.", metavar="N")] = 6,
    size: Annotated[int, typer.Option(min=8, help="Side of the flow maps in pixels.", metavar="N")] = 60,
    flow: Annotated[
        str, typer.Option(help="Optical flow: lorentzian, dis, farneback or tvl1.", metavar="METHOD")
    ] = "dis",
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other people.", metavar="N")] = 0,
    frames: Annotated[
        bool, typer.Option("--frames", help="Write frames and annotations as SMIC, CASME II and SAMM are delivered.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="With --frames: before cropping.")] = False,
    workers: WorkersOption = None,
) -> None:
    """Render a synthetic composite, as maps or as frames."""
    from nas_mer.data import Dataset, synth

    if raw and not frames:
        raise UserError("--raw is about frames; add --frames")
    if frames:
        from nas_mer.data.synthetic.releases import FOLDERS, write_releases

        with progress_bar() as progress:
            truths = write_releases(
                folder, seed, subjects, clips, cropped=not raw, workers=workers,
                progress=lambda done, total: progress(done, total, "filming"),
            )  # fmt: skip
        out.print(f"{folder}: {len(truths)} clips of made-up people, with the truth about them", soft_wrap=True)
        parts = (f"--{database} {folder / place}" for database, place in FOLDERS.items())
        truth = f"--ground-truth {folder / 'ground_truth.csv'}"
        out.print(f"make maps of them with: nas-mer data prepare OUT {' '.join(parts)} {truth}", soft_wrap=True)
        return
    Dataset.check_place(folder)
    with progress_bar() as progress:
        dataset = synth(seed, subjects, clips, size, flow, lambda done, total: progress(done, total, "rendering"))
    dataset.save(folder)
    print_dataset(dataset, folder)


@data_app.command("import")
def data_import(
    tree: Annotated[Path, typer.Argument(metavar="TREE", help="The folder with the published maps, or with your own.")],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="The dataset's folder to make.")],
    table: Annotated[
        Path | None, typer.Option(metavar="CSV", help="database, subject, clip, label (and file) of a flat folder.")
    ] = None,
    channels: Annotated[
        str, typer.Option(help="The order of u, v and s (strain) in the files.", metavar="ORDER")
    ] = "uvs",
    ground_truth: Annotated[
        Path | None, typer.Option(metavar="CSV", help="The official labels to check against.")
    ] = None,
) -> None:
    """Make a dataset from flow maps that exist."""
    from nas_mer.data import import_maps

    dataset = import_maps(tree, ground_truth, channels=channels, table=table)
    dataset.save(folder)
    print_dataset(dataset, folder)


@data_app.command("prepare")
def data_prepare(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="The dataset's folder to make.")],
    smic: Annotated[Path | None, typer.Option(metavar="DIR", help="SMIC-HS as unpacked.")] = None,
    casme2: Annotated[Path | None, typer.Option(metavar="DIR", help="CASME II as unpacked.")] = None,
    samm: Annotated[Path | None, typer.Option(metavar="DIR", help="SAMM as unpacked.")] = None,
    others: Annotated[
        list[str] | None,
        typer.Option("--other", metavar="LAYOUT=DIR", help="Another: casme3a, mmew, or a layout's YAML file."),
    ] = None,
    annotations: Annotated[
        list[str] | None,
        typer.Option("--annotation", metavar="DATABASE=FILE", help="Its annotation. [default: the one in DIR]"),
    ] = None,
    forms: Annotated[
        list[str] | None,
        typer.Option(
            "--form", metavar="DATABASE=FORM", help="How its frames are delivered, as in casme2=raw. [default: cropped]"
        ),
    ] = None,
    ground_truth: Annotated[
        Path | None, typer.Option(metavar="CSV", help="The official labels to check against.")
    ] = None,
    size: Annotated[int, typer.Option(min=8, help="Side of the flow maps in pixels.", metavar="N")] = 60,
    flow: Annotated[
        str, typer.Option(help="Optical flow: lorentzian, dis, farneback or tvl1.", metavar="METHOD")
    ] = "lorentzian",
    strain: Annotated[Strain, typer.Option(help="The paper's Eq. 2, or the strain tensor's norm.")] = Strain.paper,
    apex: Annotated[
        str, typer.Option(help="How an apex is found that is not marked: aligned or paper.", metavar="METHOD")
    ] = "aligned",
    magnify: Annotated[
        float, typer.Option(min=1, max=1000, help="How many times motion is magnified.", metavar="FACTOR")
    ] = 1,
    register: Annotated[bool, typer.Option("--register", help="Take the head's drift out.")] = False,
    box: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="Where the face is in raw frames. [default: it is detected]"),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where finished work is kept. [default: OUT.kept]")
    ] = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Make a dataset from databases as they are delivered.

    What was finished is kept, so that a call that was stopped, or one with more clips, does only what is new.
    """
    from nas_mer.compute import devices
    from nas_mer.data import Dataset
    from nas_mer.data.frames import Preparation, find_release, load_layout, prepare

    Dataset.check_place(folder)
    place = folder.absolute()  # it has a name even if it is given as a dot
    how = Preparation(
        size=size, flow=flow, strain=strain.value, apex=apex, magnify=magnify, register_pair=register, box=_box(box)
    )
    target = str(devices(device)[0])
    given = {"smic": smic, "casme2": casme2, "samm": samm}
    places = {layout: place for layout, place in given.items() if place}
    further = _named("--other", others)
    if twice := places.keys() & further.keys():
        raise UserError(f"--other: '{min(twice)}' is given by --{min(twice)} already")
    places |= {layout: Path(place) for layout, place in further.items()}
    if not places:
        raise UserError("no database is given: --smic DIR, --casme2 DIR, --samm DIR or --other LAYOUT=DIR")
    layouts = {layout: load_layout(layout) for layout in places}
    known = [layout.database for layout in layouts.values()]
    files = {database: Path(file) for database, file in _named("--annotation", annotations).items()}
    kinds = _named("--form", forms)
    for option, named in (("--annotation", files), ("--form", kinds)):
        for database in named.keys() - set(known):
            raise UserError(f"{option}: no database '{database}' is given{did_you_mean(database, known)}")
    releases, problems = [], []
    for name, layout in layouts.items():
        try:
            releases.append(find_release(layout, places[name], kinds.get(layout.database), files.get(layout.database)))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    for release in releases if not as_json else []:
        print_release(release)
    with progress_bar(resume="the same command goes on from there") as progress:
        prepared = prepare(
            releases,
            how,
            keep or place.with_name(f"{place.name}.kept"),
            name=place.name,
            ground_truth=ground_truth,
            workers=workers,
            device=target,
            progress=progress,
        )
    prepared.dataset.save(folder)
    print_json(prepared.as_json()) if as_json else print_prepared(prepared, folder)
    if prepared.broken or prepared.missing:
        raise typer.Exit(2)


@data_app.command("show")
def data_show(
    folder: Annotated[Path, typer.Argument(metavar="DATASET", help="The dataset's folder.")],
    figure: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw a montage (png, svg, pdf).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Count a dataset's samples, and draw some of them."""
    import numpy as np

    from nas_mer.data import Dataset, montage

    dataset = Dataset.load(folder)
    if figure is not None:
        montage(dataset, figure)
    if as_json:
        names, samples = np.unique(dataset.subjects, return_counts=True)
        print_json(
            {
                "name": dataset.name,
                "samples": len(dataset),
                "subjects": len(names),
                "counts": dataset.counts(),
                "by_subject": dict(zip(names.tolist(), samples.tolist(), strict=True)),
                "shape": list(dataset.maps.shape),
                "fingerprint": dataset.fingerprint,
            }
        )
    else:
        print_dataset(dataset, folder)


# --- space ------------------------------------------------------------------------------------------------------------


@space_app.command("check")
def space_check(space: SpaceArgument, sets: SetOption = None) -> None:
    """Say whether a space is right, and where not."""
    found = SearchSpace.load(space, **_parameters(sets))
    out.print(f"{found.file}: fine; {plural(found.size, 'genotype')} of {plural(len(found.decisions), 'decision')}")


@space_app.command("show")
def space_show(space: SpaceArgument, sets: SetOption = None, as_json: JsonOption = False) -> None:
    """Show a space's size, decisions and named genotypes."""
    found = SearchSpace.load(space, **_parameters(sets))
    if as_json:
        print_json(
            {
                "name": found.name,
                "title": found.title,
                "size": found.size,
                "hash": found.hash,
                "parameters": dict(found.parameters),
                "decisions": {name: list(options) for name, options in found.decisions.items()},
                "genotypes": {name: dict(choices) for name, choices in found.named.items()},
            }
        )
        return
    out.print(f"{found.title}\n{found.name} ({found.hash}): {plural(found.size, 'genotype')}")
    table = Table("decision", "options", box=None, pad_edge=False)
    for name, options in found.decisions.items():
        table.add_row(name, ", ".join(options))
    out.print(table)
    if found.parameters:
        out.print("parameters: " + ", ".join(f"{name} = {value}" for name, value in found.parameters.items()))
    if found.named:
        out.print("genotypes: " + ", ".join(found.named))


@space_app.command("schema")
def space_schema() -> None:
    """Print the JSON Schema of spaces, for editors."""
    from nas_mer.space.schema import json_schema

    print_json(json_schema())


@space_app.command("ops")
def space_ops() -> None:
    """List the ops that a module can be made of, with their arguments."""
    for name, kind in OPS.items():
        arguments = ", ".join(kind.argument(argument) for argument in kind.types)
        out.print(Text.assemble((name, "bold"), f"({arguments})\n    {kind.summary}"), soft_wrap=True)


# --- search and retrain -----------------------------------------------------------------------------------------------


@app.command()
def search(
    space: SpaceArgument,
    data: DatasetOption,
    recipe: Annotated[
        str, typer.Option(help="A search recipe: a YAML file, default or darts.", metavar="RECIPE")
    ] = "default",
    order: Annotated[Order | None, typer.Option(help="The hypergradient. [default: the recipe's]")] = None,
    relaxation: Annotated[
        Relaxation | None, typer.Option(help="What makes a mixture of alphas. [default: the recipe's]")
    ] = None,
    epochs: EpochsOption = None,
    protocol: Annotated[
        Protocol,
        typer.Option(help="shared: one search over the whole dataset; nested: one in each fold, without its subject."),
    ] = Protocol.shared,
    seeds: SeedsOption = 1,
    top: TopOption = 3,
    run_out: OutOption = None,
    sets: SetOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    group: GroupOption = None,
    checkpoint_every: CheckpointOption = None,
    engine: EngineOption = Engine.local,
    as_json: JsonOption = False,
) -> None:
    """Search a space and derive its best genotypes.

    A supernet's weights and its architecture weights are trained in turn.
    """
    from nas_mer.runs import Compute, new_run_path
    from nas_mer.runs import search as run_search
    from nas_mer.search import load_search_recipe

    found = SearchSpace.load(space, **_parameters(sets))
    chosen = load_search_recipe(recipe)
    changes = {"order": order and order.value, "relaxation": relaxation and relaxation.value, "epochs": epochs}
    chosen = chosen.model_copy(update={key: value for key, value in changes.items() if value is not None})
    path = run_out or new_run_path("search", found.name)
    compute = Compute(workers, device, group, checkpoint_every, engine.value)
    with progress_bar(path) as progress:
        run = run_search(found, data, chosen, path, seeds, top, protocol.value, compute, progress)
    print_json(run.result) if as_json else print_search(run)


@app.command()
def derive(
    run: RunArgument,
    top: TopOption = 3,
    as_json: JsonOption = False,
) -> None:
    """Write a search's best genotypes.

    A search that is not finished is taken as far as it has come.
    """
    from nas_mer.runs import derive as derive_genotypes
    from nas_mer.runs import load_run
    from nas_mer.runs.searching import genotype_as_json

    found = load_run(run, "search")
    genotypes = derive_genotypes(found, top)
    if not found.finished:
        note(f"the search is not finished; continue it with: nas-mer runs resume {run}")
    if as_json:
        print_json({"genotypes": [genotype_as_json(genotype) for genotype in genotypes]})
    else:
        print_genotypes(genotypes, run)


@app.command()
def retrain(
    genotypes: Annotated[
        list[str], typer.Argument(help="Genotype files, names such as rcn-f, or search runs.", metavar="GENOTYPE")
    ],
    data: DatasetOption,
    recipe: Annotated[str, typer.Option(help="A recipe: a YAML file, default or paper.", metavar="RECIPE")] = "default",
    epochs: EpochsOption = None,
    databases: Annotated[
        str | None, typer.Option(help="Train and test on these only, as in smic,casme2.", metavar="NAME,NAME")
    ] = None,
    seeds: SeedsOption = 1,
    run_out: OutOption = None,
    space: Annotated[
        Path | None, typer.Option(help="The space of genotype files that do not find theirs.", metavar="SPACE")
    ] = None,
    sets: SetOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    group: GroupOption = None,
    checkpoint_every: CheckpointOption = None,
    engine: EngineOption = Engine.local,
    as_json: JsonOption = False,
) -> None:
    """Train genotypes from scratch and score them.

    Each subject is held out once (leave-one-subject-out, LOSO).
    """
    from nas_mer.runs import Compute, new_run_path
    from nas_mer.runs import retrain as run_retrain
    from nas_mer.train import Recipe, load_recipe

    found: list[Any] = []
    for name in genotypes:
        nested = _find_nested(name, _parameters(sets))
        found += [nested] if nested else _find_genotypes(name, space, _parameters(sets))
    chosen = load_recipe(recipe, Recipe)
    if epochs is not None:
        chosen = chosen.model_copy(update={"epochs": epochs})
    names = [one[1].label if isinstance(one, tuple) else one.name for one in found]
    path = run_out or new_run_path("retrain", "-".join(names)[:60])
    only = None if databases is None else [name.strip() for name in databases.split(",")]
    compute = Compute(workers, device, group, checkpoint_every, engine.value)
    with progress_bar(path) as progress:
        run = run_retrain(found, data, chosen, path, only, seeds, compute, progress)
    print_json(run.result) if as_json else print_scores([run])


@app.command()
def score(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Retraining runs.")],
    detail: Annotated[bool, typer.Option("--detail", help="Also recalls and confusion matrices.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Score retrained genotypes by UAR and UF1.

    Over the predictions of all folds together, for the composite and for each database.
    """
    from nas_mer.runs import load_run, predictions
    from nas_mer.runs.retraining import result_of

    found = [load_run(run, "retrain") for run in runs]
    if as_json:
        results = [result_of(run, predictions(run)) for run in found]
        print_json({key: [part for result in results for part in result[key]] for key in ("scores", "means", "notes")})
    else:
        print_scores(found, detail)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN[:GENOTYPE]", help="A retraining run; which of its genotypes.")],
    second: Annotated[str, typer.Argument(metavar="RUN[:GENOTYPE]", help="Another run, or another of its genotypes.")],
    as_json: JsonOption = False,
) -> None:
    """Say whether two genotypes really differ.

    By confidence intervals and a permutation test over the subjects, whom both have predicted.
    """
    from nas_mer.score import compare as compare_predictions
    from nas_mer.score import comparison_table

    comparison = compare_predictions(_predictions_of(first), _predictions_of(second))
    if as_json:
        print_json(comparison.as_json())
    else:
        out.print(comparison_table(comparison))


@app.command()
def graph(
    what: Annotated[str, typer.Argument(metavar="SPACE|GENOTYPE|RUN", help="What to draw.")],
    file: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The picture: svg, png or pdf.")],
    history: Annotated[bool, typer.Option("--history", help="Draw a search run's weights over its epochs.")] = False,
    sets: SetOption = None,
) -> None:
    """Draw a space, a genotype or a search's weights."""
    from nas_mer.runs import load_run
    from nas_mer.runs.pictures import draw_weight_history, draw_weights
    from nas_mer.view import draw_architecture

    if (Path(what) / "run.json").is_file():
        (draw_weight_history if history else draw_weights)(load_run(Path(what), "search"), file)
    elif history:
        raise UserError(f"{what}: --history needs a search run")
    elif _is_space(what):
        draw_architecture(SearchSpace.load(what, **_parameters(sets)), file)
    else:
        ((space, genotype),) = _find_genotypes(what, None, _parameters(sets))
        draw_architecture(space, file, genotype=genotype)
    out.print(f"{file}", soft_wrap=True)


# --- runs -------------------------------------------------------------------------------------------------------------


@runs_app.command("list")
def runs_list(folder: Annotated[Path, typer.Argument(help="Where to look.", metavar="FOLDER")] = Path("runs")) -> None:
    """List the runs in a folder."""
    from nas_mer.runs import find_runs

    table = Table("run", "kind", "started", "state", "dataset", "seeds", box=None, pad_edge=False)
    found, problems = find_runs(folder)
    for run in found:
        state = "finished" if run.finished else "not finished"
        started = f"{run.created.astimezone():%Y-%m-%d %H:%M}"
        table.add_row(str(run.path), run.kind, started, state, run.config.dataset.name, str(len(run.config.seeds)))
    out.print(table if found else f"no runs in {folder}")
    for problem in problems:
        note(str(problem))


@runs_app.command("show")
def runs_show(run: RunArgument, as_json: JsonOption = False) -> None:
    """Show what a run was asked for and what came out."""
    from nas_mer.runs import load_run

    found = load_run(run)
    if as_json:
        print_json(
            {
                "path": str(found.path),
                "kind": found.kind,
                "created": found.created.isoformat(),
                **found.about,
                "config": found.config.model_dump(mode="json"),
                "finished": found.finished,
                "result": found.result if found.finished else None,
            }
        )
        return
    started = f"{found.created.astimezone():%Y-%m-%d %H:%M}"
    out.print(Text.assemble((str(found.path), "bold"), f": {found.kind}, started {started}"), soft_wrap=True)
    out.print(shlex.join(found.about["command"]), soft_wrap=True)
    out.print(", ".join(f"{name} {version}" for name, version in found.about["versions"].items()))
    out.print(yaml.safe_dump(found.config.model_dump(mode="json"), sort_keys=False).rstrip())
    if not found.finished:
        out.print(f"\nnot finished; continue it with: nas-mer runs resume {found.path}", soft_wrap=True)
    elif found.kind == "search":
        print_search(found)
    else:
        print_scores([found])


@runs_app.command("resume")
def runs_resume(
    run: RunArgument,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    group: GroupOption = None,
    checkpoint_every: CheckpointOption = None,
    engine: EngineOption = Engine.local,
) -> None:
    """Continue a run that was stopped."""
    from nas_mer.runs import Compute, resume

    compute = Compute(workers, device, group, checkpoint_every, engine.value)
    with progress_bar(run) as progress:
        found = resume(run, compute, progress)
    print_search(found) if found.kind == "search" else print_scores([found])


# --- what the commands share ------------------------------------------------------------------------------------------


def _parameters(sets: list[str] | None) -> dict[str, int | float | bool]:
    """Read `--set name=value`."""
    values: dict[str, int | float | bool] = {}
    for text in sets or []:
        name, equals, value = text.partition("=")
        parsed = None
        with suppress(UserError):
            parsed = parse_yaml(value, "--set").value if equals else None
        if not isinstance(parsed, int | float):
            raise UserError(f"--set: write NAME=VALUE with a number, true or false, found '{text}'")
        values[name.strip()] = parsed
    return values


def _named(option: str, texts: list[str] | None) -> dict[str, str]:
    """Return what `--option NAME=VALUE` says for each name."""
    values: dict[str, str] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UserError(f"{option}: write NAME=VALUE, found '{text}'")
        if name in values:
            raise UserError(f"{option}: '{name}' is given twice")
        values[name] = value
    return values


def _box(text: str | None) -> tuple[int, int, int, int] | None:
    """Return the four numbers of a box."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 4 or not all(re.fullmatch(r"\s*[0-9]+\s*", part) for part in parts):
        raise UserError(f"--box: write X,Y,WIDTH,HEIGHT in whole pixels, as in 160,60,320,360, found '{text}'")
    x, y, width, height = map(int, parts)
    return x, y, width, height


def _find_nested(name: str, parameters: dict[str, int | float | bool]) -> Any:
    """Return what a nested search found, if that is what is named."""
    from nas_mer.runs import load_run, nested_of

    if not (Path(name) / "run.json").is_file():
        return None
    run = load_run(Path(name), "search")
    if run.config.protocol != "nested":
        return None
    if parameters:
        raise UserError("--set: a nested search is retrained at the sizes that it was searched at")
    return nested_of(run)


def _find_genotypes(
    name: str, space: Path | None, parameters: dict[str, int | float | bool]
) -> list[tuple[SearchSpace, Genotype]]:
    """Return the genotypes that a file, a name or a search run stands for, at other sizes if some are given."""
    path = Path(name)
    if (path / "run.json").is_file():
        found = [load_genotype(file, space) for file in (path / "genotypes").glob("*.yaml")]
        found.sort(key=lambda pair: (pair[1].rank or 0, pair[1].label))
        if not found:
            raise UserError(f"{path}: has no genotypes; make them with: nas-mer derive {path}")
    elif path.suffix in (".yaml", ".yml"):
        found = [load_genotype(path, space)]
    else:
        found = [find_genotype(name, [str(space)] if space else [])]
    if not parameters:
        return found
    resized = [(space.with_parameters(**parameters), genotype) for space, genotype in found]
    return [(space, replace(genotype, parameters=dict(space.overrides))) for space, genotype in resized]


def _is_space(what: str) -> bool:
    """Return whether a file or name means a space and not a genotype."""
    from nas_mer.space import shipped_spaces

    if Path(what).suffix in (".yaml", ".yml"):
        return "choices" not in read_yaml(Path(what)).mapping().value
    return what in shipped_spaces()


def _predictions_of(what: str) -> list[Any]:
    """Return the predictions, of all seeds, of `RUN` with one genotype or of `RUN:GENOTYPE`."""
    from nas_mer.runs import load_run, predictions
    from nas_mer.score import by_genotype, fullest

    path, _, name = what.partition(":") if not Path(what).exists() else (what, "", "")
    groups = by_genotype(predictions(load_run(Path(path), "retrain")))
    if not name and len(groups) > 1:
        raise UserError(f"{path}: holds {len(groups)} genotypes; name one, as in {path}:{next(iter(groups))}")
    name = name or next(iter(groups))
    if name not in groups:
        raise UserError(f"{path}: has no genotype '{name}'{did_you_mean(name, groups)}")
    return fullest(groups[name])
