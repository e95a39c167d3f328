"""`nas-mer runs ...`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.table import Table
from rich.text import Text

from nas_mer.cli.console import note, out, print_json, print_run, progress_bar
from nas_mer.cli.options import (
    CheckpointOption,
    DeviceOption,
    Engine,
    EngineOption,
    GroupOption,
    JsonOption,
    RunArgument,
    WorkersOption,
)

app = typer.Typer(no_args_is_help=True)


@app.command("list")
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


@app.command("show")
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
    else:
        print_run(found)


@app.command("resume")
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
    print_run(found)
