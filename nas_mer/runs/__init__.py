"""Run folders: searching and retraining that survive being killed."""

from pathlib import Path
from typing import Any

from nas_mer.errors import UserError
from nas_mer.runs.folder import Progress, Run, new_run_path, open_run
from nas_mer.runs.retraining import RetrainConfig, continue_retrain, predictions, retrain
from nas_mer.runs.searching import SearchConfig, continue_search, derive, history, mean_weights, search, space_of

__all__ = [
    "Progress",
    "RetrainConfig",
    "Run",
    "SearchConfig",
    "derive",
    "find_runs",
    "history",
    "load_run",
    "mean_weights",
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
    run: Run[Any] = open_run(path, {"search": SearchConfig, "retrain": RetrainConfig})
    if kind is not None and run.kind != kind:
        raise UserError(f"{path}: is a {run.kind} run; this needs a {kind} run")
    return run


def find_runs(folder: Path) -> list[Run[Any]]:
    """Return the runs in a folder and its sub-folders, oldest first."""
    return sorted((load_run(file.parent) for file in folder.rglob("run.json")), key=lambda run: (run.created, run.path))


def resume(path: Path, workers: int | None = None, device: str = "auto", progress: Progress | None = None) -> Run[Any]:
    """Continue a run that was stopped; it ends with the result of an uninterrupted one. A finished one stays as it is."""
    run = load_run(path)
    proceed = continue_search if run.kind == "search" else continue_retrain
    return proceed(run, workers, device, progress)
