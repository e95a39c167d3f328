"""Pictures of architectures: a space with all its options, a searched space with its weights, or one genotype."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from matplotlib.figure import Figure

from nas_mer.space import Genotype, SearchSpace
from nas_mer.view.architecture import Architecture, Panel, Weights, architecture, panels
from nas_mer.view.canvas import LEADING, Canvas, Card, Row, mark
from nas_mer.view.chain import Chain
from nas_mer.view.crossbar import Crossbar
from nas_mer.view.exchange import FORMATS, write_architecture
from nas_mer.view.figures import GREY, INK, LARGE, MEDIUM, SMALL, Colour, check_suffix, save, text_width, tint, wrap
from nas_mer.view.style import SCALE, Style, decision_card, hop_look

MARGIN = 0.2
_NARROWEST = 5.0  # a page
_BROAD = 2.5  # how much broader than high a page becomes where its panels allow it, about
_FEW = 4  # decisions that a title spells out


def draw_architecture(
    space: SearchSpace, path: Path, weights: Weights | None = None, genotype: Genotype | None = None
) -> None:
    """Write an architecture, by the suffix of `path`: `architecture_figure` as svg, png or pdf, or the graph itself.

    Graphs are written as `nas_mer.view.exchange.write_architecture` does: dot, graphml or json.

    Raises:
        UserError: the suffix is another one, the genotype is not of the space, or weights are missing.
    """
    if check_suffix(path, FORMATS) in FORMATS:
        write_architecture(architecture(space, weights, genotype), path)
    else:
        save(architecture_figure(space, weights, genotype), path)


def architecture_figure(space: SearchSpace, weights: Weights | None = None, genotype: Genotype | None = None) -> Figure:
    """Draw a space, a space with architecture weights (0..1, decision -> option -> weight), or a genotype alone.

    With weights, lines are as thick and as dark as their weight, and the genotype (by default that of the greatest
    joint weight) is marked. Each block is drawn once, and stands in the network as one box. The figure's natural size
    grows with its content; no text is smaller than 7 points.

    Where things stand does not depend on the weights. What looks otherwise at other weights has a name (`set_gid`) as
    `nas_mer.view.canvas.mark` makes it, of these roles: `way`, a line and its head; `wire`, a line or an outline that
    is dark while anything passes; `meter`, a bar; `value`, a weight's text; `frame`, what marks a chosen option;
    `decided`, a text, whose option is empty; and `joint`, the text of the joint weight, with the options that do not
    count in it. The figure's own name is of the role `scale` and holds `nas_mer.view.style.SCALE`.

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
    caption = [_Text([_Line(_CAPTION, SMALL, False, GREY)], width)] if style.weighed else []
    page = _Stack([about, *drawings, *caption], gap=0.25)
    canvas = Canvas()
    if style.weighed:
        canvas.figure.set_gid(mark("scale", {name: str(value) for name, value in SCALE.items()}))
    page.draw(canvas, MARGIN, MARGIN)
    return canvas.cut(page.width + 2 * MARGIN, page.height + 2 * MARGIN)


_CAPTION = (
    "Numbers, bars and the thickness of lines: architecture weights, 0 to 1; the tick across a bar: equal weights. In "
    "a frame: the chosen option. Decided: 1 \u2212 entropy / log(number of options), 0% where all weigh the same, 100% "
    "where one has all the weight."
)


def _title(graph: Architecture, style: Style) -> list[_Line]:
    """Return the lines of the title."""
    name, count = graph.graph["space"], len(style.decisions)
    many = "decision" if count == 1 else "decisions"
    about = [f"{graph.graph['size']:,} genotypes", f"{count} {many}", f"input {graph.graph['input']}"]
    head, lines = name, []
    if style.weighed:
        head = f"{name}: architecture weights"
        joint = f"joint weight of the chosen options {graph.graph['joint']:.2g}"
        lines = [_Line(joint, SMALL, False, GREY, mark("joint", *({d: o} for d, o in sorted(graph.graph["free"]))))]
    elif style.genotype is not None:
        choices = style.genotype.choices if count <= _FEW else {}
        chosen = ", ".join(f"{decision} {option}" for decision, option in choices.items())
        head = style.genotype.name or f"{name} {style.genotype.label}"
        about[0] = f"one of the {about[0]} of {name}" + (f": {chosen}" if chosen else "")
        if style.genotype.weight is not None:
            about.append(f"joint weight in its search {style.genotype.weight:.2g}")
    title, details = graph.graph["title"], " \u00b7 ".join(about if count else about[2:])  # one network alone
    return [_Line(head, LARGE, True, INK), _Line(title, MEDIUM), _Line(details, SMALL, False, GREY), *lines]


def _panel(panel: Panel, style: Style) -> _Piece:
    """Return a panel's heading, drawing and, unless a genotype is drawn alone, decisions that it does not spell out."""
    crossed = any(way["ops"] or way["zero"] for _, _, way in panel.graph.edges(data=True))
    drawing: _Piece = Crossbar(panel.graph, style) if crossed else Chain(panel.graph, style)
    cards = [] if style.alone else [decision_card(decision, style) for decision in _unspelt(panel.graph)]
    heading: list[_Piece] = [_Heading(panel, style)] if panel.title else []
    tables: list[_Piece] = [_Wrapped(cards, drawing.width, gap=0.15)] if cards else []
    return _Stack([*heading, drawing, *tables], gap=0.2)


def _unspelt(graph: Architecture) -> list[str]:
    """Return the decisions of which no place of the graph shows all options by themselves: on inputs and on hops."""
    made: set[str] = set()
    spelt: set[str] = set()
    for source, target in set(graph.edges()):
        ways = graph[source][target].values()
        here = {decision for way in ways for decision in way["choices"]}
        made |= here
        if len(here) == 1 and any(way["ops"] or way["zero"] for way in ways):
            spelt |= here
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


class _Line(NamedTuple):
    text: str
    size: float
    bold: bool = False
    colour: Colour = INK
    mark: str = ""


class _Text:
    """Lines of text, broken where they are too long."""

    def __init__(self, lines: Sequence[_Line], width: float) -> None:
        self.lines = [
            line._replace(text=part) for line in lines for part in wrap(line.text, width, line.size, line.bold)
        ]
        self.width = max(text_width(line.text, line.size, line.bold) for line in self.lines)
        self.height = sum(line.size * LEADING / 72 for line in self.lines)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        for line in self.lines:
            height = line.size * LEADING / 72
            canvas.text(x, y + height / 2, line.text, line.size, line.colour, line.bold, mark=line.mark)
            y += height


class _Legend:
    """What the colours and dashes of attention hops mean."""

    head = "attention hop:"
    names = ("length 1", "length 2", "length 3", "longer (parallel)")
    sample = 0.4

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = lengths
        self.widths = [text_width(self.names[length - 1], SMALL) + self.sample + 0.25 for length in lengths]
        self.width = text_width(self.head, SMALL) + 0.15 + sum(self.widths)
        self.height = 0.14

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        y += self.height / 2
        canvas.text(x, y, self.head)
        x += text_width(self.head, SMALL) + 0.15
        for length, width in zip(self.lengths, self.widths, strict=True):
            colour, dashes = hop_look(length)
            canvas.line([(x, y), (x + self.sample, y)], colour, 2.0, dashes=dashes)
            canvas.text(x + self.sample + 0.06, y, self.names[length - 1])
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
