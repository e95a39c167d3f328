"""Pictures of a run."""

from __future__ import annotations

from pathlib import Path

from nas_mer.runs.folder import Run
from nas_mer.runs.searching import SearchConfig, history, mean_weights, space_of
from nas_mer.view import draw_architecture, draw_history


def draw_weights(run: Run[SearchConfig], file: Path) -> None:
    """Draw a search run's architecture weights, the best genotype marked; also of a run in progress."""
    space, weights = space_of(run), mean_weights(run)
    draw_architecture(space, file, weights=weights, genotype=space.top(weights, 1)[0])


def draw_weight_history(run: Run[SearchConfig], file: Path) -> None:
    """Draw the weights and losses of a search run over its epochs; also of a run in progress."""
    found = history(run)
    draw_history(found.weights(), space_of(run).decisions, found.losses(), file)
