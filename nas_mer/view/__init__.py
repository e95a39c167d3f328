"""Pictures: architectures as graphs, and the curves of a search."""

from nas_mer.view.architecture import architecture, decidedness
from nas_mer.view.curves import draw_history, history_figure
from nas_mer.view.figures import save
from nas_mer.view.graph import architecture_figure, draw_architecture

__all__ = [
    "architecture",
    "architecture_figure",
    "decidedness",
    "draw_architecture",
    "draw_history",
    "history_figure",
    "save",
]
