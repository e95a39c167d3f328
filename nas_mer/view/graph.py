"""Pictures of architectures: a space with all its options, a searched space with its weights, or one genotype.

The network is a row of boxes from left to right with shortcuts below and attention hops above it. A part whose ways carry
ops of their own (a cell) is a crossbar: a state's line runs to the right, the line into a state runs down, and the ops
between the two stand where the lines cross. Blocks are drawn once, and stand in the network as single boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import networkx as nx
from matplotlib.figure import Figure

from nas_mer.space import Genotype, SearchSpace
from nas_mer.view.architecture import Architecture, Option, Panel, Weights, architecture, decidedness, panels
from nas_mer.view.canvas import Canvas, Card, Point, Row
from nas_mer.view.figures import (
    BLUE, FAINT, GREEN, GREY, INK, LARGE, MEDIUM, PALETTE, PURPLE, SMALL, VERMILLION, Colour, number, save, text_width,
    tint, wrap,
)  # fmt: skip

MARGIN = 0.2
GAP = 0.3
_SUM = 0.11  # the radius of a sum's circle
_TEXT = 1.15  # the width of a state's text
_HOPS = {1: VERMILLION, 2: GREEN, 3: PURPLE}  # as in the paper's Fig. 6c: one, two and three hops
_FAR = BLUE


def draw_architecture(
    space: SearchSpace, path: Path, weights: Weights | None = None, genotype: Genotype | None = None
) -> None:
    """Write `architecture_figure` as svg, png or pdf, by the suffix of `path`.

    Raises:
        UserError: the suffix is another one, the genotype is not of the space, or weights are missing.
    """
    save(architecture_figure(space, weights, genotype), path)


def architecture_figure(
    space: SearchSpace, weights: Weights | None = None, genotype: Genotype | None = None
) -> Figure:
    """Draw a space, a space with architecture weights (0..1, decision -> option -> weight), or a genotype alone.

    With weights, lines are as thick and as dark as their weight, and the genotype (by default that of the greatest joint
    weight) is marked. The figure's natural size grows with its content; no text is smaller than 7 points.

    Raises:
        UserError: the genotype is not of the space, or weights are missing.
    """
    graph = architecture(space, weights, genotype)
    style = _Style(graph)
    pieces = [piece for panel in panels(graph) for piece in _pieces(panel, style)]
    return _page(graph, style, pieces)


class _Piece(Protocol):
    """A part of the page whose size is known before it is drawn."""

    width: float
    height: float

    def draw(self, canvas: Canvas, x: float, y: float) -> None: ...


class _Style:
    """How the figure of one graph shows options and weights."""

    def __init__(self, graph: Architecture) -> None:
        self.weighed: bool = graph.graph["weighed"]
        self.genotype: Genotype | None = graph.graph["genotype"]
        self.alone = self.genotype is not None and not self.weighed
        self.decisions: Mapping[str, tuple[Option, ...]] = graph.graph["decisions"]
        self.lengths = sorted({min(d["length"], 4) for _, _, d in graph.edges(data=True) if d["kind"] == "hop"})
        edges = [data for _, _, data in graph.edges(data=True) if data["choices"]]
        zero = {item for data in edges if data["zero"] for item in data["choices"].items()}
        hops = {item: data["length"] for data in edges if data["kind"] == "hop" for item in data["choices"].items()}
        attention = {decision for decision, _ in hops}
        self.colours: dict[tuple[str, str], Colour] = {}
        for decision, names in graph.graph["names"].items():
            acting = [name for name in names if (decision, name) not in zero]
            for name in names:
                item = (decision, name)
                if item in hops:
                    self.colours[item] = _hop_colour(hops[item])
                elif item in zero or decision in attention:
                    self.colours[item] = "#8c8c8c"
                else:
                    self.colours[item] = PALETTE[acting.index(name) % len(PALETTE)]
        blocks = dict.fromkeys(repetition.block for repetition in graph.graph["repetitions"])
        self.blocks = {block: PALETTE[index % len(PALETTE)] for index, block in enumerate(blocks)}

    def option(self, decision: str, option: Option) -> Row:
        """Return the row of an option of a decision."""
        return self.row(option.name, self.colours[decision, option.name], option, len(self.decisions[decision]))

    def row(self, text: str, colour: Colour, option: Option, options: int) -> Row:
        """Return the row of an option under another text and colour."""
        if option.weight is None:
            return Row(text, bold=option.chosen, bar=tint(colour, 0.45 if option.chosen else 0.3), centred=True)
        return Row(
            text,
            number(option.weight),
            bold=option.chosen,
            bar=tint(colour, 0.3 + 0.5 * option.weight),
            part=option.weight,
            mark=1 / options,
            framed=option.chosen,
        )

    def decided(self, decision: str) -> str:
        """Return how decided a decision is, as text; empty where no weights are shown."""
        if not self.weighed:
            return ""
        return f"{decidedness(option.weight or 0 for option in self.decisions[decision]):.0%} decided"
