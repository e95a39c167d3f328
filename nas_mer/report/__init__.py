"""One page that tells the story of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_mer.errors import UserError
from nas_mer.files import write_text
from nas_mer.report.page import page
from nas_mer.report.story import story
from nas_mer.runs import Run
from nas_mer.runs.folder import distinct_names
from nas_mer.words import listed

__all__ = ["write_report"]


def write_report(runs: Sequence[Run[Any]], path: Path) -> None:
    """Write a report on one or several runs: an HTML file that needs no other and no network.

    Searches, choices and retrainings may be mixed; what a run lacks is named where it would stand.

    Raises:
        UserError: there is no run, one is given twice, or `path` does not end in .html.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{path}: reports are written as .html, found '{path.suffix}'")
    names = distinct_names(runs)
    if not runs:
        raise UserError("a report needs at least one run")
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UserError(f"a run is given twice: {listed(names)}")
    datasets = dict.fromkeys(run.config.dataset.name for run in runs)
    about = f"Architecture search for micro-expression recognition on {listed(datasets)}, by nas-mer."
    write_text(path, page(f"Report: {listed(names, 4)}", about, story(runs)))
