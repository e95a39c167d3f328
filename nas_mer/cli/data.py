"""`nas-mer data ...`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nas_mer.cli.console import out, print_dataset, print_json, print_prepared, print_release, progress_bar
from nas_mer.cli.options import BoxOption, DeviceOption, JsonOption, WorkersOption, assigned, box_of, refuse_given
from nas_mer.errors import UserError
from nas_mer.words import did_you_mean

app = typer.Typer(no_args_is_help=True)


class Strain(StrEnum):
    """How a flow's deformation is measured."""

    paper = "paper"
    symmetric = "symmetric"


@app.command("synth")
def data_synth(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="The dataset's folder to make.")],
    subjects: Annotated[
        int, typer.Option(min=2, help="Subjects of each of the three databases, on average.", metavar="N")
    ] = 8,
    clips: Annotated[int, typer.Option(min=3, help="Clips of each subject, on average.", metavar="N")] = 6,
    size: Annotated[
        int | None, typer.Option(min=8, help="Side of the flow maps in pixels. [default: 60]", metavar="N")
    ] = None,
    flow: Annotated[
        str | None,
        typer.Option(help="Optical flow: lorentzian, dis, farneback or tvl1. [default: dis]", metavar="METHOD"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other people.", metavar="N")] = 0,
    frames: Annotated[
        bool, typer.Option("--frames", help="Write frames and annotations as SMIC, CASME II and SAMM are delivered.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="With --frames: before cropping.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --frames: processes; the number changes no result. [default: one a core]", metavar="N"
        ),
    ] = None,
) -> None:
    """Render a synthetic composite, as maps or as frames."""
    from nas_mer.data import Dataset, synth

    if not frames and (raw or workers is not None):
        raise UserError(f"{'--raw' if raw else '--workers'} is about frames; add --frames")
    if frames and (size is not None or flow is not None):
        raise UserError(f"{'--flow' if size is None else '--size'} is about maps; give it to nas-mer data prepare")
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
    given = {"size": size, "method": flow}
    asked: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    with progress_bar() as progress:
        dataset = synth(seed, subjects, clips, progress=lambda done, total: progress(done, total, "rendering"), **asked)
    dataset.save(folder)
    print_dataset(dataset, folder)


@app.command("import")
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


@app.command("prepare")
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
    box: BoxOption = None,
    clip_frames: Annotated[
        int,
        typer.Option(
            min=0, help="Keep the clips, too, each interpolated to N frames: LBP-TOP needs them.", metavar="N"
        ),
    ] = 0,
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
    kept = keep or place.with_name(f"{place.name}.kept")
    if kept.resolve().is_relative_to(place.resolve()):
        raise UserError(f"--keep: {kept} is within {folder}, which each call makes anew; choose a place outside it")
    how = Preparation(
        size=size, flow=flow, strain=strain.value, apex=apex, magnify=magnify, register_pair=register, box=box_of(box),
        clip_frames=clip_frames,
    )  # fmt: skip
    target = str(devices(device)[0])
    given = {"smic": smic, "casme2": casme2, "samm": samm}
    places = {layout: place for layout, place in given.items() if place}
    further = assigned("--other", others)
    if twice := places.keys() & further.keys():
        raise UserError(f"--other: '{min(twice)}' is given by --{min(twice)} already")
    places |= {layout: Path(place) for layout, place in further.items()}
    if not places:
        raise UserError("no database is given: --smic DIR, --casme2 DIR, --samm DIR or --other LAYOUT=DIR")
    layouts = {layout: load_layout(layout) for layout in places}
    known = [layout.database for layout in layouts.values()]
    files = {database: Path(file) for database, file in assigned("--annotation", annotations).items()}
    kinds = assigned("--form", forms)
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
    if all(clip.cropped for release in releases for clip in release.clips):
        refuse_given({"--box": box}, "is for raw frames, and all of these are cropped")
    for release in releases if not as_json else []:
        print_release(release)
    with progress_bar(resume="the same command goes on from there") as progress:
        prepared = prepare(
            releases,
            how,
            kept,
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


@app.command("show")
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
