"""The tables and figures of the paper, done again: what it ran, its numbers, ours, and the difference."""

from __future__ import annotations

import csv

from nas_mer.compute import Compute
from nas_mer.files import replacing, write_text
from nas_mer.reproduce.experiments import EXPERIMENTS, Experiment, Factor, Setting
from nas_mer.reproduce.figure import figure
from nas_mer.reproduce.planning import Outcome, Plan, plan, train
from nas_mer.reproduce.results import Entry, Reproduced, reproduced
from nas_mer.reproduce.table import table
from nas_mer.runs import Progress
from nas_mer.view import save

__all__ = [
    "EXPERIMENTS",
    "Entry",
    "Experiment",
    "Factor",
    "Outcome",
    "Plan",
    "Reproduced",
    "Setting",
    "figure",
    "plan",
    "reproduce",
    "reproduced",
    "table",
    "train",
    "write",
]


def reproduce(plan: Plan, compute: Compute = Compute(), progress: Progress | None = None) -> Reproduced:
    """Do an experiment, or what its folder lacks of it; its table and figure are written anew after each training.

    Args:
        plan: the experiment on a dataset.
        compute: where and how networks are trained.
        progress: told of every epoch.

    Raises:
        UserError: the folder was begun with other arguments, or what is to compute is not there.
    """
    found = reproduced(plan, {})
    for outcomes in train(plan, compute, progress):
        found = reproduced(plan, outcomes)
        write(found)
    return found


def write(found: Reproduced) -> None:
    """Write `table.md`, `table.tex` and `table.csv`, and of a figure `figure.svg` and `figure.pdf`."""
    folder, grid, records = found.plan.folder, table(found), found.records()
    write_text(folder / "table.md", grid.markdown() + "\n")
    write_text(folder / "table.tex", grid.latex() + "\n")
    with replacing(folder / "table.csv") as fresh, fresh.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, list(records[0]), lineterminator="\n")
        rows.writeheader()
        rows.writerows(records)
    if found.plan.experiment.is_figure:
        drawn = figure(found)
        save(drawn, folder / "figure.svg")
        save(drawn, folder / "figure.pdf")
