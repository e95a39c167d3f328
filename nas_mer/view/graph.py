"""Pictures of architectures: a space with all its options, a searched space with its weights, or one genotype.

The network is a row of boxes from left to right with shortcuts below and attention hops above it. A part whose ways carry
ops of their own (a cell) is a crossbar: a state's line runs to the right, the line into a state runs down, and the ops
between the two stand where the lines cross. Blocks are drawn once, and stand in the network as single boxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import networkx as nx
import numpy as np
from matplotlib.figure import Figure

from nas_mer.space import Genotype, SearchSpace
from nas_mer.view.architecture import Architecture, Option, Panel, Weights, architecture, decidedness, panels
from nas_mer.view.canvas import LEADING, Canvas, Card, Point, Row
from nas_mer.view.figures import (
    BLUE, FAINT, GREEN, GREY, INK, LARGE, MEDIUM, PALETTE, PURPLE, SMALL, VERMILLION, Colour, number, save, text_width,
    tint, wrap,
)  # fmt: skip

_Box = tuple[Point, Point]  # the upper left and the lower right corner

MARGIN = 0.2
GAP = 0.3
_SUM = 0.11  # the radius of a sum's circle
_TEXT = 1.15  # the width of a state's text
_HOPS = {1: VERMILLION, 2: GREEN, 3: PURPLE}  # as in the paper's Fig. 6c: one, two and three hops
_FAR = BLUE
_NOTHING = "#8c8c8c"  # options that do nothing


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
        self.colours = _option_colours(graph)
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
            bar=tint(colour, 0.4 + 0.6 * option.weight),
            part=option.weight,
            mark=1 / options,
            framed=option.chosen,
        )

    def decided(self, decision: str) -> str:
        """Return how decided a decision is, as text; empty where no weights are shown."""
        if not self.weighed:
            return ""
        return f"{decidedness(option.weight or 0 for option in self.decisions[decision]):.0%} decided"


def _option_colours(graph: Architecture) -> dict[tuple[str, str], Colour]:
    """Return the colour of each option of each decision: attention by its length, ops and inputs by their order."""
    edges = [data for _, _, data in graph.edges(data=True)]
    hops = {item: data["length"] for data in edges if data["kind"] == "hop" for item in data["choices"].items()}
    attention = {decision for decision, _ in hops}
    colours: dict[tuple[str, str], Colour] = {}
    for decision, options in graph.graph["decisions"].items():
        items = [(decision, option.name) for option in options]
        acting = [item for item in items if item not in graph.graph["zeros"]]
        for item in items:
            if item in hops:
                colours[item] = _hop_colour(hops[item])
            elif item in acting and decision not in attention:
                colours[item] = PALETTE[acting.index(item) % len(PALETTE)]
            else:
                colours[item] = _NOTHING
    return colours


def _hop_colour(length: int) -> Colour:
    return _HOPS.get(length, _FAR)


# --- what a picture is made of ---------------------------------------------------------------------------------------


def _pieces(panel: Panel, style: _Style) -> list[_Piece]:
    """Return a panel's drawing and, unless a genotype is drawn alone, the decisions that it does not spell out."""
    crossed = any(data["ops"] or data["zero"] for _, _, data in panel.graph.edges(data=True))
    drawing: _Piece = _Crossbar(panel, style) if crossed else _Chain(panel, style)
    decisions = [] if style.alone else _unspelt(panel.graph)
    return [drawing, _Cards([_decision_card(name, style) for name in decisions])] if decisions else [drawing]


def _unspelt(graph: Architecture) -> list[str]:
    """Return the decisions of which no place of the graph shows all options: those on inputs and attention hops."""
    shown: dict[str, set[str]] = {}
    spelt: set[str] = set()
    for source, target in dict.fromkeys(graph.edges()):
        ways = [data for data in graph[source][target].values() if data["choices"]]
        spelt |= {decision for data in ways if data["ops"] or data["zero"] for decision in data["choices"]}
        for data in ways:
            for decision, option in data["choices"].items():
                shown.setdefault(decision, set()).add(option)
    return [decision for decision in graph.graph["decisions"] if decision in shown and decision not in spelt]


def _decision_card(decision: str, style: _Style) -> Card:
    """Return a card with all options of a decision, the heaviest first."""
    options = sorted(style.decisions[decision], key=lambda option: -(option.weight or 0))
    head = Row(decision, style.decided(decision), bold=True, centred=not style.weighed)
    rows = tuple(style.option(decision, option) for option in options)
    return Card((head,), rows, columns=-(-len(rows) // 7), edge=FAINT)


class _Cards:
    """Cards side by side."""

    def __init__(self, cards: Sequence[Card]) -> None:
        self.cards = cards
        self.width = sum(card.width for card in cards) + GAP / 2 * (len(cards) - 1)
        self.height = max(card.height for card in cards)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        for card in self.cards:
            card.draw(canvas, x, y)
            x += card.width + GAP / 2


def _node_card(data: Mapping[str, Any], style: _Style, told: set[str]) -> Card:
    """Return the box of a node. `told` collects what an earlier box has said of an option already."""
    head = [Row(data["label"], size=MEDIUM, bold=True, centred=True)]
    if data["kind"] == "use":
        times = f" ×{data['repeat']}" if data["repeat"] > 1 else ""
        colour = tint(style.blocks[data["block"]], 0.35)
        head.append(Row(f"{data['block']}{times}", centred=True, bar=colour))
    texts = list(data["ops"])
    if data["combine"] == "concat":
        texts.insert(0, "concatenate")
    # A name and its number stay together.
    lines = wrap(", ".join(text.replace(" ", "\u00a0") for text in texts), _TEXT, SMALL) if texts else []
    for option, text in data["details"].items():
        if (line := f"{option}: {text}") not in told:
            lines += wrap(line, _TEXT, SMALL)
            told.add(line)
    head += [Row(line, colour=GREY, centred=True) for line in lines]
    rows = [style.option(data["decision"], option) for option in data["options"]]
    if data["options"] and style.weighed:
        rows.append(Row(style.decided(data["decision"]), colour=GREY, centred=True))
    if data["shared"]:
        names = ", ".join(name.rpartition(".")[2] for name in data["shared"])
        rows.append(Row(f"shared: {names}", centred=True, bar="#ececec"))
    if data["shape"]:
        rows.append(Row(data["shape"], colour=GREY, centred=True))
    edge = GREY if data["kind"] == "input" else INK
    return Card(tuple(head), tuple(rows), edge=edge, stacked=data.get("repeat", 1) > 1)


def _ordered(graph: Architecture) -> list[str]:
    """Return the nodes so that each comes after those it reads, otherwise as they come."""
    if not nx.is_directed_acyclic_graph(graph):  # blocks that attend to each other's insides
        return list(graph)
    place = {name: index for index, name in enumerate(graph)}
    return list(nx.lexicographical_topological_sort(graph, key=lambda name: place[name]))


# --- a row of boxes ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Link:
    """A line between two boxes: all ways between them that do not differ to the eye."""

    source: str
    target: str
    hop: bool
    label: str
    colour: Colour
    width: float
    chosen: bool
    weight: float

    @property
    def label_size(self) -> tuple[float, float]:
        """The width and height of its label in inches."""
        return text_width(self.label, SMALL, self.chosen) + 0.06, 0.13


class _Chain:
    """Nodes in a row from left to right, shortcuts below and attention hops above. Heights are from the row's axis."""

    def __init__(self, panel: Panel, style: _Style) -> None:
        graph = panel.graph
        self.order = _ordered(graph)
        self.place = {name: index for index, name in enumerate(self.order)}
        self.names = {name: str(graph.nodes[name]["label"]) for name in self.order}
        told: set[str] = set()
        # A state that only adds is a small circle, not a box.
        self.cards = {
            name: None if _only_adds(graph, name) else _node_card(graph.nodes[name], style, told) for name in self.order
        }
        self.links = [
            _link(source, target, ways, style)
            for source, target in dict.fromkeys(graph.edges())
            for kind in ("flow", "hop")
            if (ways := [data for data in graph[source][target].values() if data["kind"] == kind])
        ]
        self.steps = [link for link in self.links if not link.hop and self._distance(link) == 1]
        self.centres = self._centres()
        arcs = [link for link in self.links if link not in self.steps]
        ports = self._ports(arcs)
        self.arcs = {link: self._arc(link, *ports[link]) for link in arcs}
        self.labels = self._labels()
        reach = [_bezier(points, 0.5)[1] for points in self.arcs.values()] + [y for _, y in self.labels.values()]
        half = max(self._half(name) for name in self.order)
        self.above = max([half + 0.05, *(0.1 - y for y in reach)])
        self.width = self.centres[self.order[-1]] + self._size(self.order[-1]) / 2
        self.height = self.above + max([half, *(0.1 + y for y in reach)])

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        axis = y + self.above
        for name, card in self.cards.items():
            middle = x + self.centres[name]
            if card is None:
                canvas.disc(middle, axis, _SUM, "white")
                canvas.text(middle, axis, "+", MEDIUM, bold=True, align="center")
                canvas.text(middle, axis - _SUM - 0.1, self.names[name], colour=GREY, align="center")
            else:
                card.draw(canvas, middle - card.width / 2, axis - card.height / 2)
        for link in sorted(self.links, key=lambda link: (link.chosen, link.weight)):
            points = self.arcs.get(link) or self._step(link)
            shifted = [(x + px, axis + py) for px, py in points]
            canvas.line(shifted, link.colour, link.width, arrow=True, curved=link in self.arcs, above=link.chosen)
        for link, (px, py) in self.labels.items():
            marked = link.chosen and link.hop
            canvas.text(
                x + px,
                axis + py,
                link.label,
                colour="white" if marked else INK,
                bold=link.chosen,
                align="center",
                behind=link.colour if marked else "white",
            )

    def _distance(self, link: _Link) -> int:
        return self.place[link.target] - self.place[link.source]

    def _size(self, name: str) -> float:
        card = self.cards[name]
        return max(2 * _SUM, text_width(self.names[name], SMALL)) if card is None else card.width

    def _half(self, name: str) -> float:
        """Return half the height of a node."""
        card = self.cards[name]
        return _SUM if card is None else card.height / 2

    def _centres(self) -> dict[str, float]:
        """Return where the nodes stand, far enough apart for the labels between them."""
        centres: dict[str, float] = {}
        edge = 0.0
        for name in self.order:
            labels = [link.label_size[0] for link in self.steps if link.target == name and link.label]
            gap = max([GAP, *(label + 0.25 for label in labels)]) if centres else 0
            centres[name] = edge + gap + self._size(name) / 2
            edge = centres[name] + self._size(name) / 2
        return centres

    def _ports(self, arcs: Sequence[_Link]) -> dict[_Link, tuple[float, float]]:
        """Return where each arc leaves its source and enters its target, from their centres, so that few arcs cross."""
        at: dict[tuple[str, bool], list[tuple[bool, int, _Link]]] = {}
        for link in arcs:
            # From left to right: short ways in, long ways in, long ways out, short ways out.
            at.setdefault((link.target, link.hop), []).append((False, self._distance(link), link))
            at.setdefault((link.source, link.hop), []).append((True, -self._distance(link), link))
        shifts: dict[tuple[_Link, bool], float] = {}
        for (name, _), ends in at.items():
            ends.sort(key=lambda end: end[:2])
            room = 2 * _SUM * 0.7 if self.cards[name] is None else self._size(name) - 0.3
            gap = min(0.16, room / max(len(ends) - 1, 1))
            for index, (leaves, _, link) in enumerate(ends):
                shifts[link, leaves] = (index - (len(ends) - 1) / 2) * gap
        return {link: (shifts[link, True], shifts[link, False]) for link in arcs}

    def _arc(self, link: _Link, leave: float, enter: float) -> list[Point]:
        """Return the four control points of a curve above (a hop) or below the row."""
        side = -1 if link.hop else 1
        x1, x2 = self.centres[link.source] + leave, self.centres[link.target] + enter
        y1, y2 = side * self._edge(link.source, leave), side * self._edge(link.target, enter)
        between = self.order[min(self.place[link.source], self.place[link.target]) :][: abs(self._distance(link)) + 1]
        apex = side * (max(self._half(name) for name in between) + 0.16 + 0.2 * abs(x2 - x1) ** 0.7)
        control = (8 * apex - y1 - y2) / 6  # so that the curve's middle is at the apex
        return [(x1, y1), (x1, control), (x2, control), (x2, y2)]

    def _edge(self, name: str, shift: float) -> float:
        """Return how far from the axis a node's outline is, beside its centre."""
        return self._half(name) if self.cards[name] is not None else float((_SUM**2 - shift**2) ** 0.5)

    def _step(self, link: _Link) -> list[Point]:
        """Return the two ends of a line between neighbours."""

        def half(name: str) -> float:
            card = self.cards[name]
            return _SUM if card is None else card.width / 2

        return [
            (self.centres[link.source] + half(link.source), 0.0),
            (self.centres[link.target] - half(link.target), 0.0),
        ]

    def _labels(self) -> dict[_Link, Point]:
        """Return the middles of the labels, each on its own line, off the other lines, and near its line's middle."""
        taken = [self._box(name) for name in self.order]
        taken += [
            _around((self.centres[name], -_SUM - 0.1), text_width(self.names[name], SMALL), 0.13)
            for name, card in self.cards.items()
            if card is None
        ]
        steps = np.linspace(0, 1, 60)
        lines = {link: np.array([_bezier(points, t) for t in steps]) for link, points in self.arcs.items()}
        found: dict[_Link, Point] = {}
        for link in sorted(self.links, key=lambda link: (not link.chosen, -link.weight)):
            if not link.label:
                continue
            (x1, _), (x2, _) = self._step(link)
            tries = {0.5: ((x1 + x2) / 2, -0.12)}
            others = np.empty((0, 2))
            if link in self.arcs:
                tries = {t: _bezier(self.arcs[link], t) for t in np.linspace(0.2, 0.8, 41)}
                others = np.concatenate([np.empty((0, 2)), *(line for other, line in lines.items() if other != link)])

            def cost(t: float) -> float:
                box = _around(tries[t], *link.label_size)  # noqa: B023 - called within the loop
                struck = ((others > box[0]) & (others < box[1])).all(axis=1).any()  # noqa: B023
                return 100 * any(_overlap(box, other) for other in taken) + float(struck) + abs(t - 0.5)

            best = tries[min(tries, key=cost)]
            taken.append(_around(best, *link.label_size))
            found[link] = best
        return found

    def _box(self, name: str) -> _Box:
        card = self.cards[name]
        size = (2 * _SUM, 2 * _SUM) if card is None else (card.width, card.height)
        return _around((self.centres[name], 0.0), *size)


def _only_adds(graph: Architecture, name: str) -> bool:
    data = graph.nodes[name]
    adds = data["kind"] == "state" and data["combine"] == "sum" and not data["ops"] and not data["options"]
    return adds and len({s for s, _, d in graph.in_edges(name, data=True) if d["kind"] == "flow"}) > 1


def _link(source: str, target: str, ways: Sequence[Mapping[str, Any]], style: _Style) -> _Link:
    """Return the line that stands for ways of one kind between two nodes."""
    hop = ways[0]["kind"] == "hop"
    items = [item for way in ways for item in way["choices"].items()]
    colour: Colour = _hop_colour(ways[0]["length"]) if hop else style.colours[items[0]] if items else INK
    label = "" if hop else ", ".join(dict.fromkeys(way["label"] for way in ways if way["label"]))
    if not style.weighed or not items:
        width = 1.8 if style.alone and items else 1.1
        return _Link(source, target, hop, label, colour, width, style.alone and bool(items), 1.0)
    weight = min(sum(way["weight"] for way in ways), 1.0)
    heaviest = max(option.weight or 0 for decision, _ in items for option in style.decisions[decision])
    dark = tint(colour, 0.3 + 0.7 * min(weight / max(heaviest, 1e-9), 1.0))
    chosen = any(way["chosen"] for way in ways)
    label = f"{label} {number(weight)}".strip()
    return _Link(source, target, hop, label, colour if chosen else dark, 0.6 + 3.5 * weight, chosen, weight)


def _bezier(points: Sequence[Point], t: float) -> Point:
    """Return the point of a cubic curve at `t`, 0..1."""
    parts = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    return sum(p * x for p, (x, _) in zip(parts, points, strict=True)), sum(
        p * y for p, (_, y) in zip(parts, points, strict=True)
    )


def _around(middle: Point, width: float, height: float) -> _Box:
    x, y = middle
    return (x - width / 2, y - height / 2), (x + width / 2, y + height / 2)


def _overlap(one: _Box, other: _Box) -> bool:
    return all(one[0][i] < other[1][i] and other[0][i] < one[1][i] for i in (0, 1))


# --- a crossbar -------------------------------------------------------------------------------------------------------


class _Crossbar:
    """Nodes on a diagonal; where the line out of one crosses the line into another stand the ops between them."""

    def __init__(self, panel: Panel, style: _Style) -> None:
        graph, self.style = panel.graph, style
        colour = tint(style.blocks[panel.title], 0.35) if panel.title else "white"
        self.title = Card((Row(panel.title, size=MEDIUM, bold=True),), face=colour, edge=colour)
        self.places = panel.places
        told: set[str] = set()
        cards = {name: _node_card(graph.nodes[name], style, told) for name in _ordered(graph)}
        # An input that only passes on stands beside the state that reads it.
        self.beside = {name: [t for _, t in graph.out_edges(name)] for name in cards if _passes_on(graph, name)}
        self.nodes = {name: card for name, card in cards.items() if name not in self.beside}
        self.inputs = {name: cards[name] for name in self.beside}
        self.outputs = {name for name in self.nodes if graph.nodes[name].get("output")}
        pairs = [(s, t) for s, t in dict.fromkeys(graph.edges()) if s in self.nodes]
        self.ways = {(s, t): list(graph[s][t].values()) for s, t in sorted(pairs, key=lambda pair: pair[0])}
        self.crossings = {pair: _crossing(*pair, ways, style) for pair, ways in self.ways.items()}
        self._place()

    def _place(self) -> None:
        """Work out the columns' and the rows' middles and the size of the whole."""
        read = {target for _, target in self.ways}
        columns: dict[str, int] = {}
        for name in self.nodes:  # those that read no other node share the first column
            columns[name] = max(columns.values(), default=0) + 1 if name in read else 0
        widths = [0.0] * (max(columns.values()) + 1)
        heights = dict.fromkeys(self.nodes, 0.0)
        for name, card in self.nodes.items():
            widths[columns[name]] = max(widths[columns[name]], card.width)
            heights[name] = card.height
        for (source, target), crossing in self.crossings.items():
            if crossing is not None:
                widths[columns[target]] = max(widths[columns[target]], crossing.width)
                heights[source] = max(heights[source], crossing.height)
        left = max((card.width + GAP for card in self.inputs.values()), default=0.0)
        lefts = [left + sum(widths[:i]) + GAP * i for i in range(len(widths))]
        self.xs = {name: lefts[column] + widths[column] / 2 for name, column in columns.items()}
        self.ys: dict[str, float] = {}
        top = self.title.height + 0.1
        head = self.title.width + 0.1 + text_width(self.places, SMALL)
        for name, height in heights.items():
            self.ys[name] = top + height / 2
            top += height + 0.16
        self.width = max(lefts[-1] + widths[-1] + (GAP if self.outputs else 0), head)
        self.height = top - 0.16

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        self.title.draw(canvas, x, y)
        canvas.text(x + self.title.width + 0.1, y + self.title.height / 2, self.places, colour=GREY)
        self._wires(canvas, x, y)
        for name, card in self.nodes.items():
            card.draw(canvas, x + self.xs[name] - card.width / 2, y + self.ys[name] - card.height / 2)
        for name, card in self.inputs.items():
            for target in self.beside[name]:
                edge, middle = x + self.xs[target] - self.nodes[target].width / 2, y + self.ys[target]
                card.draw(canvas, edge - GAP - card.width, middle - card.height / 2)
                canvas.line([(edge - GAP, middle), (edge, middle)], arrow=True)
        for name in self.outputs:
            edge = x + self.xs[name] + self.nodes[name].width / 2
            canvas.line([(edge, y + self.ys[name]), (edge + GAP, y + self.ys[name])], arrow=True)
        for (source, target), crossing in self.crossings.items():
            at_x, at_y = x + self.xs[target], y + self.ys[source]
            if crossing is None:
                canvas.bar(at_x - 0.03, at_y - 0.03, 0.06, 0.06, INK)
            else:
                crossing.draw(canvas, at_x - crossing.width / 2, at_y - crossing.height / 2)

    def _wires(self, canvas: Canvas, x: float, y: float) -> None:
        for (source, target), ways in self.ways.items():
            kept = any(way["chosen"] and not way["zero"] for way in ways)
            faint = self.style.weighed and not kept
            points = [
                (x + self.xs[source] + self.nodes[source].width / 2, y + self.ys[source]),
                (x + self.xs[target], y + self.ys[source]),
                (x + self.xs[target], y + self.ys[target] - self.nodes[target].height / 2),
            ]
            canvas.line(points, FAINT if faint else INK, 1.0 if faint else 1.2, arrow=True, above=not faint)


def _passes_on(graph: Architecture, name: str) -> bool:
    ways = [data for _, _, data in graph.out_edges(name, data=True)]
    return graph.nodes[name]["kind"] == "input" and not any(way["ops"] or way["choices"] for way in ways)


def _crossing(source: str, target: str, ways: Sequence[Mapping[str, Any]], style: _Style) -> Card | None:
    """Return the card of all ways between two nodes; None where there is but a plain one."""
    rows: list[Row] = []
    decisions: set[str] = set()
    strongest = 0.0
    for way in ways:
        option = Option(way["label"], way["weight"], way["chosen"])
        for decision, name in list(way["choices"].items())[-1:]:
            decisions.add(decision)
            text = f"attention: {way['label']}" if way["kind"] == "hop" else way["label"]
            rows.append(style.row(text, style.colours[decision, name], option, len(style.decisions[decision])))
            strongest = max(strongest, 0.0 if way["zero"] else way["weight"] or 0.0)
        if not way["choices"] and way["ops"]:
            rows += [Row(line, centred=True) for line in wrap(", ".join(way["ops"]), _TEXT, SMALL)]
    if not rows:
        return None
    head: tuple[Row, ...] = ()
    if decisions and not style.alone:
        decided = style.decided(decisions.pop()) if len(decisions) == 1 else ""
        head = (Row(f"{source} → {target}", decided, colour=GREY),)
    kept = any(way["chosen"] and not way["zero"] for way in ways)
    if not style.weighed or not decisions and not head:
        return Card(head, tuple(rows), edge=INK if style.alone else GREY)
    return Card(head, tuple(rows), edge=INK if kept else tint(INK, 0.35), line=0.5 + 2.5 * strongest)


# --- the page ---------------------------------------------------------------------------------------------------------


def _page(graph: Architecture, style: _Style, pieces: Sequence[_Piece]) -> Figure:
    """Return the pieces below each other, small ones side by side, under a title and a legend."""
    canvas = Canvas()
    area = sum(piece.width * piece.height for piece in pieces)
    limit = max([5.0, (1.5 * area) ** 0.5, *(piece.width for piece in pieces)])
    rows: list[list[_Piece]] = []
    for piece in pieces:
        if rows and sum(p.width + 2 * GAP for p in rows[-1]) + piece.width <= limit:
            rows[-1].append(piece)
        else:
            rows.append([piece])
    width = max([5.0, *(sum(p.width for p in row) + 2 * GAP * (len(row) - 1) for row in rows)])
    y = MARGIN
    for text, size, bold, colour in _title(graph, style):
        for line in wrap(text, width, size, bold):
            canvas.text(MARGIN, y + size / 144, line, size, colour, bold)
            y += size * 1.6 / 72
    y = _legend(canvas, style, y + 0.05) + 0.15
    for row in rows:
        x = MARGIN
        for piece in row:
            piece.draw(canvas, x, y)
            x += piece.width + 2 * GAP
        y += max(piece.height for piece in row) + 0.3
    y -= 0.3
    if style.weighed:
        y += 0.2
        for line in wrap(_CAPTION, width, SMALL):
            canvas.text(MARGIN, y, line, colour=GREY)
            y += SMALL * LEADING / 72
    return canvas.cut(width + 2 * MARGIN, y + MARGIN)


_CAPTION = (
    "Numbers, bars and the thickness of lines are architecture weights; bold with a frame: the chosen option; the thin line in a "
    "bar: equal weights. Decided: 0% all options weigh the same, 100% one has all the weight (1 - entropy / log options)."
)


def _title(graph: Architecture, style: _Style) -> list[tuple[str, float, bool, str]]:
    """Return the lines of the title: text, size, bold, colour."""
    name, size = graph.graph["space"], f"{graph.graph['size']:,} genotypes"
    about = [size, f"{len(style.decisions)} decisions", f"input {graph.graph['input']}"]
    head = name
    if style.genotype is not None:
        choices = style.genotype.choices
        told = ", ".join(f"{decision} {option}" for decision, option in choices.items()) if len(choices) <= 4 else ""
        if style.alone:
            head = style.genotype.label
            about = [f"a genotype of {name}: {told}" if told else f"a genotype of {name}", *about]
        else:
            about.append(f"chosen: {told or style.genotype.label}")
        if style.genotype.weight is not None:
            about.append(f"joint weight {style.genotype.weight:.2g}")
    title = (graph.graph["title"], MEDIUM, False, INK)
    return [(head, LARGE, True, INK), title, (" · ".join(about), SMALL, False, GREY)]


def _legend(canvas: Canvas, style: _Style, y: float) -> float:
    """Draw what the colours of attention hops mean; return where the drawing may go on."""
    if not style.lengths:
        return y
    x = MARGIN
    names = {1: "length 1", 2: "length 2", 3: "length 3", 4: "longer (parallel)"}
    canvas.text(x, y + 0.07, "attention hop:")
    x += text_width("attention hop:", SMALL) + 0.15
    for length in style.lengths:
        canvas.line([(x, y + 0.07), (x + 0.25, y + 0.07)], _hop_colour(length), 2.0)
        canvas.text(x + 0.31, y + 0.07, names[length])
        x += 0.31 + text_width(names[length], SMALL) + 0.2
    return y + 0.14
