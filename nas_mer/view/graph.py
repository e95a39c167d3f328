"""Pictures of architectures: a space with all its options, a searched space with its weights, or one genotype."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.figure import Figure

from nas_mer.space import Genotype, SearchSpace
from nas_mer.view.architecture import Architecture, Panel, Weights, architecture, panels
from nas_mer.view.canvas import LEADING, Canvas, Card, Row
from nas_mer.view.chain import Chain
from nas_mer.view.crossbar import Crossbar
from nas_mer.view.figures import GREY, INK, LARGE, MEDIUM, SMALL, save, text_width, tint, wrap
from nas_mer.view.style import Style, decision_card, hop_colour

MARGIN = 0.2
_NARROWEST = 5.0  # a page
_BROAD = 2.5  # how much broader than high a page becomes where its panels allow it, about
_FEW = 4  # decisions that a title spells out


def draw_architecture(
    space: SearchSpace, path: Path, weights: Weights | None = None, genotype: Genotype | None = None
) -> None:
    """Write `architecture_figure` as svg, png or pdf, by the suffix of `path`.

    Raises:
        UserError: the suffix is another one, the genotype is not of the space, or weights are missing.
    """
    save(architecture_figure(space, weights, genotype), path)


def architecture_figure(space: SearchSpace, weights: Weights | None = None, genotype: Genotype | None = None) -> Figure:
    """Draw a space, a space with architecture weights (0..1, decision -> option -> weight), or a genotype alone.

    With weights, lines are as thick and as dark as their weight, and the genotype (by default that of the greatest
    joint weight) is marked. Each block is drawn once, and stands in the network as one box. The figure's natural size
    grows with its content; no text is smaller than 7 points.

    Raises:
        UserError: the genotype is not of the space, or weights are missing.
    """
    graph = architecture(space, weights, genotype)
    style = Style(graph)
    network, *blocks = [_panel(panel, style) for panel in panels(graph)]
    broad = (_BROAD * sum(block.width * block.height for block in blocks)) ** 0.5
    drawings = [network, _Wrapped(blocks, max(broad, 1.1 * network.width), gap=0.6)] if blocks else [network]
    width = max([_NARROWEST, *(drawing.width for drawing in drawings)])
    about = _Stack([_Text(_title(graph, style), width), *([_Legend(style.lengths)] if style.lengths else [])], gap=0.08)
    caption = [_Text([(_CAPTION, SMALL, False, GREY)], width)] if style.weighed else []
    page = _Stack([about, *drawings, *caption], gap=0.25)
    canvas = Canvas()
    page.draw(canvas, MARGIN, MARGIN)
    return canvas.cut(page.width + 2 * MARGIN, page.height + 2 * MARGIN)


_CAPTION = (
    "Numbers and the thickness of lines: architecture weights. Bars: the same, each decision's on a scale of its own; "
    "the line across: equal weights. In a frame: the chosen option. Decided: 1 \u2212 entropy / log(number of "
    "options), 0% where all weigh the same, 100% where one has all the weight."
)


def _title(graph: Architecture, style: Style) -> list[_Line]:
    """Return the lines of the title."""
    name, count = graph.graph["space"], len(style.decisions)
    many = "decision" if count == 1 else "decisions"
    about = [f"{graph.graph['size']:,} genotypes", f"{count} {many}", f"input {graph.graph['input']}"]
    head = name
    if style.genotype is not None:
        choices = style.genotype.choices if count <= _FEW else {}
        chosen = ", ".join(f"{decision} {option}" for decision, option in choices.items())
        if style.alone:
            head = style.genotype.name or f"{name} {style.genotype.label}"
            about[0] = f"one of the {about[0]} of {name}" + (f": {chosen}" if chosen else "")
        else:
            head = f"{name}: architecture weights"
            about += [f"chosen: {chosen or style.genotype.name}"] if chosen or style.genotype.name else []
        if style.genotype.weight is not None:
            about.append(f"joint weight of the chosen options {style.genotype.weight:.2g}")
    title, details = (graph.graph["title"], MEDIUM, False, INK), (" \u00b7 ".join(about), SMALL, False, GREY)
    return [(head, LARGE, True, INK), title, details]


def _panel(panel: Panel, style: Style) -> _Piece:
    """Return a panel's heading, drawing and, unless a genotype is drawn alone, decisions that it does not spell out."""
    crossed = any(way["ops"] or way["zero"] for _, _, way in panel.graph.edges(data=True))
    drawing: _Piece = Crossbar(panel.graph, style) if crossed else Chain(panel.graph, style)
    cards = [] if style.alone else [decision_card(decision, style) for decision in _unspelt(panel.graph)]
    heading: list[_Piece] = [_Heading(panel, style)] if panel.title else []
    tables: list[_Piece] = [_Wrapped(cards, drawing.width, gap=0.15)] if cards else []
    return _Stack([*heading, drawing, *tables], gap=0.2)


def _unspelt(graph: Architecture) -> list[str]:
    """Return the decisions of which no place of the graph shows all options: those on inputs and attention hops."""
    ways = [way for _, _, way in graph.edges(data=True)]
    made = {decision for way in ways for decision in way["choices"]}
    spelt = {decision for way in ways if way["ops"] or way["zero"] for decision in way["choices"]}
    return [decision for decision in graph.graph["decisions"] if decision in made - spelt]


# --- what a page is made of -------------------------------------------------------------------------------------------


class _Piece(Protocol):
    """A part of the page whose size in inches is known before it is drawn."""

    @property
    def width(self) -> float: ...

    @property
    def height(self) -> float: ...

    def draw(self, canvas: Canvas, x: float, y: float) -> None: ...


class _Stack:
    """Pieces below each other."""

    def __init__(self, pieces: Sequence[_Piece], gap: float) -> None:
        self.pieces = pieces
        self.gap = gap
        self.width = max(piece.width for piece in pieces)
        self.height = sum(piece.height for piece in pieces) + gap * (len(pieces) - 1)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        for piece in self.pieces:
            piece.draw(canvas, x, y)
            y += piece.height + self.gap


class _Row:
    """Pieces side by side."""

    def __init__(self, pieces: Sequence[_Piece], gap: float) -> None:
        self.pieces = pieces
        self.gap = gap
        self.width = sum(piece.width for piece in pieces) + gap * (len(pieces) - 1)
        self.height = max(piece.height for piece in pieces)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        for piece in self.pieces:
            piece.draw(canvas, x, y)
            x += piece.width + self.gap


class _Wrapped(_Stack):
    """Pieces in rows of at most some width."""

    def __init__(self, pieces: Sequence[_Piece], width: float, gap: float) -> None:
        rows: list[list[_Piece]] = [[]]
        for piece in pieces:
            if rows[-1] and _Row([*rows[-1], piece], gap).width > width:
                rows.append([])
            rows[-1].append(piece)
        super().__init__([_Row(row, gap) for row in rows], gap)


_Line = tuple[str, float, bool, str]
"""A text, its size in points, whether it is bold, and its colour."""


class _Text:
    """Lines of text, broken where they are too long."""

    def __init__(self, lines: Sequence[_Line], width: float) -> None:
        self.lines: list[_Line] = [
            (part, size, bold, colour) for text, size, bold, colour in lines for part in wrap(text, width, size, bold)
        ]
        self.width = max(text_width(text, size, bold) for text, size, bold, _ in self.lines)
        self.height = sum(size * LEADING / 72 for _, size, _, _ in self.lines)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        for text, size, bold, colour in self.lines:
            height = size * LEADING / 72
            canvas.text(x, y + height / 2, text, size, colour, bold)
            y += height


class _Legend:
    """What the colours of attention hops mean."""

    head = "attention hop:"
    names = ("length 1", "length 2", "length 3", "longer (parallel)")

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = lengths
        self.widths = [text_width(self.names[length - 1], SMALL) + 0.5 for length in lengths]
        self.width = text_width(self.head, SMALL) + 0.15 + sum(self.widths)
        self.height = 0.14

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        y += self.height / 2
        canvas.text(x, y, self.head)
        x += text_width(self.head, SMALL) + 0.15
        for length, width in zip(self.lengths, self.widths, strict=True):
            canvas.line([(x, y), (x + 0.25, y)], hop_colour(length), 2.0)
            canvas.text(x + 0.31, y, self.names[length - 1])
            x += width


class _Heading:
    """A block's name and where it is used."""

    def __init__(self, panel: Panel, style: Style) -> None:
        colour = tint(style.blocks[panel.title], 0.35)
        self.name = Card((Row(panel.title, size=MEDIUM, bold=True),), face=colour, edge=colour)
        self.places = panel.places
        self.width = self.name.width + 0.1 + text_width(self.places, SMALL)
        self.height = self.name.height

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        self.name.draw(canvas, x, y)
        canvas.text(x + self.name.width + 0.1, y + self.height / 2, self.places, colour=GREY)
