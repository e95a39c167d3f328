"""Pictures of a run."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from nas_mer.errors import UserError
from nas_mer.runs.folder import Run
from nas_mer.runs.searches.config import SearchConfig, findings, history, mean_weights, space_of
from nas_mer.runs.searches.findings import Tried
from nas_mer.view import course, draw_architecture, draw_history, pareto_figure, save


def draw_weights(run: Run[SearchConfig], file: Path) -> None:
    """Draw a search run's architecture weights, the best genotype marked; also of a run in progress."""
    space, weights = space_of(run), mean_weights(run)
    draw_architecture(space, file, weights=weights, genotype=space.top(weights, 1)[0])


def draw_weight_history(run: Run[SearchConfig], file: Path) -> None:
    """Draw a search run over its epochs; also a run in progress."""
    space, found = space_of(run), history(run)
    weights = found.weights()
    draw_history(weights, space.decisions, found.losses(), file, course(space, weights, run.config.top))


def draw_pareto(run: Run[SearchConfig], file: Path) -> None:
    """Draw the validation UAR of a search run's genotypes against its other objectives; also of a run in progress.

    Raises:
        UserError: the run has no other objectives.
    """
    save(pareto_of(run), file)


def pareto_of(run: Run[SearchConfig]) -> Figure:
    """Return the figure that `draw_pareto` writes."""
    objectives = run.config.objectives
    if len(objectives) == 1:
        raise UserError(
            f"{run.path}: was searched for {objectives[0]} alone, of which there is no front; search with several, as "
            "in --strategy tpe --objectives uar,parameters"
        )
    found = findings(run)
    assert isinstance(found, Tried)
    return pareto_figure(found.ranked(space_of(run)), objectives)
