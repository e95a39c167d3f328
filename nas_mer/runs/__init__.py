"""Run folders: searching, choosing and retraining that survive being killed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas_mer.compute import Compute
from nas_mer.errors import UserError
from nas_mer.runs.choosing import ChooseConfig, choose, chosen_of, continue_choose
from nas_mer.runs.folder import Kind, Progress, Run, new_run_path, open_run
from nas_mer.runs.nested import Choice, Nested, nested_of
from nas_mer.runs.retrainings.config import RetrainConfig
from nas_mer.runs.retrainings.findings import predictions
from nas_mer.runs.retrainings.retraining import continue_retrain, retrain
from nas_mer.runs.searches.config import SearchConfig, history, mean_weights, space_of
from nas_mer.runs.searches.searching import continue_search, derive, search

__all__ = [
    "Choice",
    "ChooseConfig",
    "Compute",
    "Nested",
    "Progress",
    "RetrainConfig",
    "Run",
    "SearchConfig",
    "choose",
    "chosen_of",
    "derive",
    "find_runs",
    "history",
    "load_run",
    "mean_weights",
    "nested_of",
    "new_run_path",
    "predictions",
    "resume",
    "retrain",
    "search",
    "space_of",
]


def load_run(path: Path, kind: str | None = None) -> Run[Any]:
    """Open a run folder, of a certain kind if one is named.

    Raises:
        UserError: it is no run folder, is damaged, or of another kind.
    """
    run: Run[Any] = open_run(path, {"search": SearchConfig, "choose": ChooseConfig, "retrain": RetrainConfig})
    if kind is not None and run.kind != kind:
        raise UserError(f"{path}: is a {run.kind} run; this needs a {kind} run")
    return run


def find_runs(folder: Path) -> tuple[list[Run[Any]], list[UserError]]:
    """Return the runs in a folder and its sub-folders, oldest first, and what is wrong with those that do not open."""
    found, problems = [], []
    for file in sorted(folder.rglob("run.json")):
        try:
            found.append(load_run(file.parent))
        except UserError as error:
            problems.append(error)
    return sorted(found, key=lambda run: run.created), problems


def resume(path: Path, compute: Compute = Compute(), progress: Progress | None = None) -> Run[Any]:
    """Continue a run that was stopped, to the result of an uninterrupted one; a finished run stays as it is."""
    run = load_run(path)
    ways: dict[Kind, Callable[..., Run[Any]]]
    ways = {"search": continue_search, "choose": continue_choose, "retrain": continue_retrain}
    return ways[run.kind](run, compute, progress)
