"""Pictures of a run."""

from __future__ import annotations

from pathlib import Path

from nas_mer.runs.folder import Run
from nas_mer.runs.searched import SearchConfig, history, mean_weights, space_of
from nas_mer.view import course, draw_architecture, draw_history


def draw_weights(run: Run[SearchConfig], file: Path) -> None:
    """Draw a search run's architecture weights, the best genotype marked; also of a run in progress."""
    space, weights = space_of(run), mean_weights(run)
    draw_architecture(space, file, weights=weights, genotype=space.top(weights, 1)[0])


def draw_weight_history(run: Run[SearchConfig], file: Path) -> None:
    """Draw a search run over its epochs; also a run in progress."""
    space, found = space_of(run), history(run)
    weights = found.weights()
    draw_history(weights, space.decisions, found.losses(), file, course(space, weights, run.config.top))
