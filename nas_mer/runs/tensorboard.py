"""The lines of `metrics.jsonl`, and the same as TensorBoard events where the run has a folder for them.

tensorboard/seed-0              a search: losses, validation UAR, each decision's weights and decidedness by epoch
tensorboard/seed-0/smic/s01     the same of a nested search, whose fold holds out subject s01 of SMIC
tensorboard/rcn-f/seed-0        a retraining: the training loss of each fold by epoch, and the scores

The folder alone says that a run is followed, so that a resumed one is, too. Its events are written anew then, as the
lines are, and no step is there twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from nas_mer.errors import UserError
from nas_mer.runs.folder import Run
from nas_mer.search.decided import verdict

Line = Mapping[str, Any]
FOLDER = "tensorboard"


class Scalar(NamedTuple):
    """One point of a curve."""

    tag: str
    value: float
    step: int


def follow(folder: Path) -> None:
    """Let TensorBoard follow a run that is being made.

    Raises:
        UserError: TensorBoard is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise UserError(
            "--tensorboard needs TensorBoard, which is not installed: pip install 'nas-mer[tensorboard]'"
        ) from None
    (folder / FOLDER).mkdir()


class Metrics:
    """Writes what a run tells of its training, as JSON lines and, where that is wanted, as events.

    A context; at its beginning both are written anew.

    Args:
        run: the run.
        known: the lines so far.
        options: the options of each decision, in the order of the weights in a search's lines.
    """

    def __init__(
        self, run: Run[Any], known: Iterable[Line], options: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.run, self.known, self.options = run, list(known), options or {}
        self.folder = run.path / FOLDER
        self.writers: dict[str, Any] = {}
        self._open = ExitStack()

    def __enter__(self) -> Metrics:
        self.run.write_metrics(dict(line) for line in self.known)
        if self.folder.is_dir():
            for old in self.folder.iterdir():
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        for line in self.known:
            self._add_events(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def add(self, line: Line) -> None:
        """Add a line."""
        self.run.add_metric(dict(line))
        self._add_events(line)

    def add_scores(self, rows: Iterable[Line]) -> None:
        """Add the scores of a retraining to the events; the run's result has them anyway."""
        for row in rows:
            self._add_events(row)

    def _add_events(self, line: Line) -> None:
        if not self.folder.is_dir():
            return
        from torch.utils.tensorboard import SummaryWriter

        place = place_of(line)
        if place not in self.writers:
            self.writers[place] = self._open.enter_context(SummaryWriter(self.folder / place, flush_secs=10))
        for scalar in scalars(line, self.options):
            self.writers[place].add_scalar(*scalar)


def place_of(line: Line) -> str:
    """Return where below the folder the events of a line belong."""
    if "genotype" in line:
        return f"{line['genotype']}/seed-{line['seed']}"
    return f"seed-{line['seed']}" + (f"/{line['fold']}" if "fold" in line else "")


def scalars(line: Line, options: Mapping[str, Sequence[str]]) -> list[Scalar]:
    """Return what a line says, as points of curves: an epoch or trial of a search, a training of a fold, or a score."""
    if "epoch" in line:
        step = line["epoch"]
        found = [Scalar(f"{name}/{part}", line[f"{part}_{name}"], step) for part, name in _OF_AN_EPOCH]
        for decision, weights in line["weights"].items():
            decided = verdict(options[decision], np.array([weights])).decided
            found.append(Scalar(f"decided/{decision}", decided, step))
            named = zip(options[decision], weights, strict=True)
            found += [Scalar(f"weights/{decision}/{option}", weight, step) for option, weight in named]
        return found
    if "trial" in line:
        return [] if line["valid_uar"] is None else [Scalar("uar/valid", line["valid_uar"], line["trial"])]
    if "losses" in line:
        losses = enumerate(line["losses"], start=1)
        return [Scalar(f"loss/{line['fold']}", loss, epoch) for epoch, loss in losses if loss is not None]
    scores = {"composite": line, **line["databases"]}
    return [Scalar(f"{metric}/{of}", score[metric], 0) for of, score in scores.items() for metric in ("uar", "uf1")]


_OF_AN_EPOCH = (("train", "loss"), ("valid", "loss"), ("valid", "uar"))
