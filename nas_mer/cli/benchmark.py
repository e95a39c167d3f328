"""`nas-mer benchmark ...`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from nas_mer.cli.console import note, out, print_json, print_scores, progress_bar
from nas_mer.cli.options import (
    CheckpointOption,
    DatabasesOption,
    DatasetOption,
    DeviceOption,
    Engine,
    EngineOption,
    EpochsOption,
    GroupOption,
    JsonOption,
    OutOption,
    RecipeOption,
    SeedsOption,
    SetOption,
    SpaceArgument,
    TensorboardOption,
    WorkersOption,
    databases_of,
    parameters_of,
    recipe_of,
)
from nas_mer.errors import UserError
from nas_mer.seeds import read_seeds
from nas_mer.space import SearchSpace
from nas_mer.words import plural

app = typer.Typer(no_args_is_help=True)

LIMIT = 200
"""How many genotypes a space may have if no other number is asked for."""


@app.command("run")
def benchmark_run(
    space: SpaceArgument,
    data: DatasetOption,
    recipe: RecipeOption = "default",
    epochs: EpochsOption = None,
    databases: DatabasesOption = None,
    seeds: SeedsOption = "1",
    limit: Annotated[int, typer.Option(min=1, help="How many genotypes the space may have.", metavar="N")] = LIMIT,
    part: Annotated[
        str | None, typer.Option(help="Only every Nth network, from the Kth on: one machine's part.", metavar="K/N")
    ] = None,
    missing_from: Annotated[
        Path | None,
        typer.Option(help="Only the networks that this table does not have with all the seeds.", metavar="TABLE"),
    ] = None,
    run_out: OutOption = None,
    sets: SetOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    group: GroupOption = None,
    checkpoint_every: CheckpointOption = None,
    engine: EngineOption = Engine.local,
    tensorboard: TensorboardOption = False,
    as_json: JsonOption = False,
) -> None:
    """Retrain every network of a space.

    It is a retraining run of all of them, named by their options: `runs resume` continues it, `benchmark pack` makes a
    table of it.
    """
    from nas_mer import tabular
    from nas_mer.runs import Compute, new_run_path, retrain

    first, step = _part_of(part)
    built = SearchSpace.load(space, **parameters_of(sets))
    chosen, names, numbers = recipe_of(recipe, epochs), databases_of(databases), read_seeds(seeds)
    found = tabular.networks(built, limit)
    if missing_from is not None:
        found = tabular.missing_from(missing_from, found, data, chosen, names, numbers)
    mine = found[first::step]
    if not mine:
        raise UserError(f"--part: there are {len(found)} networks of {built.file} to retrain, found '{part}'")
    path = run_out or new_run_path("retrain", built.name)
    compute = Compute(workers, device, group, checkpoint_every, engine.value)
    with progress_bar(path) as progress:
        run = retrain(mine, data, chosen, path, names, numbers, compute, progress, tensorboard)
    print_json(run.result) if as_json else print_scores([run])


@app.command("pack")
def benchmark_pack(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Retraining runs and tables that hold the whole space.", metavar="RUN|TABLE"),
    ],
    file: Annotated[Path, typer.Option("-o", "--output", help="The table, NAME-SIZE.npz.", metavar="FILE")],
    partial: Annotated[
        bool, typer.Option("--partial", help="Leave out what is not trained yet; whole tables are packed of such ones.")
    ] = False,
) -> None:
    """Make the table of a space from retraining runs.

    They, and tables that were packed before, have all its networks with all seeds between them. The table has every
    prediction, but no maps and no names of clips.
    """
    from nas_mer.runs import load_run
    from nas_mer.tabular import pack

    if file.suffix != ".npz":
        raise UserError(f"--output: a table is a .npz file, found '{file}'")
    opened = [path if path.suffix == ".npz" else load_run(path, "retrain") for path in sources]
    table = pack(opened, file.stem, partial)
    table.save(file)
    subjects = len(set(table.subjects.tolist()))
    parts = (
        plural(len(table.genotypes), "genotype"),
        plural(len(table.seeds), "seed"),
        plural(len(table.labels), "sample"),
    )
    some = "; it is partial" if table.about.partial else ""
    out.print(f"{file}: {', '.join(parts)} of {plural(subjects, 'subject')}{some}", soft_wrap=True)


@app.command("show")
def benchmark_show(
    name: Annotated[
        str, typer.Argument(help="A .npz file, or a shipped benchmark such as megc2019-rcn.", metavar="NAME|FILE")
    ],
    size: Annotated[
        int | None, typer.Option(min=1, help="The side of the input maps. [default: the largest there is]", metavar="N")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many of the best.", metavar="K")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Rank the networks of a space by UAR.

    Means over seeds with intervals over subjects. The last line says whether even the first and the last of all differ
    beyond noise.
    """
    from nas_mer.score import as_json as scores_as_json
    from nas_mer.score import score_table
    from nas_mer.tabular import find_benchmark

    table = find_benchmark(name, size)
    ranking = [table.genotypes[place] for place in table.ranking]
    rows = [table.score(genotype) for genotype in ranking[:top]]
    ends = table.compare(ranking[-1], ranking[0])
    if as_json:
        about = {"name": table.name, "size": table.size, "command": table.about.command}
        print_json({**about, **scores_as_json(rows), "last_and_first": ends.as_json()})
        return
    out.print(Text(table.title, "bold"), soft_wrap=True)
    out.print(table.about.command, soft_wrap=True)
    out.print(score_table(rows))
    count = len(table.genotypes)
    out.print(f"A: {ends.a}, the last of {count}. B: {ends.b}, the first. {ends.verdict}", soft_wrap=True)
    if not (ends.composite.uar.within_noise and ends.composite.uf1.within_noise):
        note(f"of {count} networks the first and the last may differ so by chance; name the two before looking")


def _part_of(part: str | None) -> tuple[int, int]:
    """Read `--part K/N`: return the place of the part's first network, and from each to its next."""
    if part is None:
        return 0, 1
    found = re.fullmatch(r"(\d+)/(\d+)", part)
    number, parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= parts:
        raise UserError(f"--part: write K/N with K in 1..N, as in 1/4, found '{part}'")
    return number - 1, parts
