"""Pictures: architectures as graphs, the curves of a search, scores."""

from nas_mer.search.decided import decidedness
from nas_mer.view.activation import Look, look_figure
from nas_mer.view.architecture import architecture
from nas_mer.view.course import Course, course, equal_weight, settled
from nas_mer.view.curves import draw_history, history_figure
from nas_mer.view.figures import Page, check_suffix, save
from nas_mer.view.graph import architecture_figure, draw_architecture
from nas_mer.view.pareto import pareto_figure
from nas_mer.view.scores import confusion_figure, differences_figure, ranks_figure, scores_figure, subjects_figure
from nas_mer.view.svg import svg_of

__all__ = [
    "Course",
    "Look",
    "Page",
    "architecture",
    "architecture_figure",
    "check_suffix",
    "confusion_figure",
    "course",
    "decidedness",
    "differences_figure",
    "draw_architecture",
    "draw_history",
    "equal_weight",
    "history_figure",
    "look_figure",
    "pareto_figure",
    "ranks_figure",
    "save",
    "scores_figure",
    "settled",
    "subjects_figure",
    "svg_of",
]
