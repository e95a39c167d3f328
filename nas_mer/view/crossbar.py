"""A cell as a crossbar: lines out of states run right, lines into states run down, and ops stand where they cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas_mer.view.architecture import Architecture, Option, ordered
from nas_mer.view.canvas import Canvas, Card, Row, mark
from nas_mer.view.figures import GREY, INK
from nas_mer.view.style import Style, lines_of, node_card, opacity

_GAP = 0.3  # between columns
_BETWEEN = 0.16  # between rows


class Crossbar:
    """Nodes on a diagonal; where the line out of one crosses the line into another stand the ops between them."""

    def __init__(self, graph: Architecture, style: Style) -> None:
        self.style = style
        told: set[str] = set()
        cards = {name: node_card(graph.nodes[name], style, told) for name in ordered(graph)}
        # An input that only passes on stands beside the state that reads it.
        self.beside = {name: [t for _, t in graph.out_edges(name)] for name in cards if _passes_on(graph, name)}
        self.nodes = {name: card for name, card in cards.items() if name not in self.beside}
        self.inputs = {name: cards[name] for name in self.beside}
        self.outputs = {name for name in self.nodes if graph.nodes[name].get("output")}
        pairs = [(source, target) for source, target in dict.fromkeys(graph.edges()) if source in self.nodes]
        self.ways = {(source, target): list(graph[source][target].values()) for source, target in pairs}
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
        left = max((card.width + _GAP for card in self.inputs.values()), default=0.0)
        lefts = [left + sum(widths[:i]) + _GAP * i for i in range(len(widths))]
        self.xs = {name: lefts[column] + widths[column] / 2 for name, column in columns.items()}
        self.ys: dict[str, float] = {}
        top = 0.0
        for name, height in heights.items():
            self.ys[name] = top + height / 2
            top += height + _BETWEEN
        ends = [self.xs[name] + self.nodes[name].width / 2 + _GAP for name in self.outputs]
        self.width = max([lefts[-1] + widths[-1], *ends])
        self.height = top - _BETWEEN

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw it with its upper left corner at (x, y)."""
        self._wires(canvas, x, y)
        for name, card in self.nodes.items():
            card.draw(canvas, x + self.xs[name] - card.width / 2, y + self.ys[name] - card.height / 2)
        for name, card in self.inputs.items():
            for target in self.beside[name]:
                edge, middle = x + self.xs[target] - self.nodes[target].width / 2, y + self.ys[target]
                card.draw(canvas, edge - _GAP - card.width, middle - card.height / 2)
                canvas.line([(edge - _GAP, middle), (edge, middle)], arrow=True)
        for name in self.outputs:
            edge = x + self.xs[name] + self.nodes[name].width / 2
            canvas.line([(edge, y + self.ys[name]), (edge + _GAP, y + self.ys[name])], arrow=True)
        for (source, target), crossing in self.crossings.items():
            at_x, at_y = x + self.xs[target], y + self.ys[source]
            if crossing is None:
                canvas.bar(at_x - 0.03, at_y - 0.03, 0.06, 0.06, INK)
            else:
                crossing.draw(canvas, at_x - crossing.width / 2, at_y - crossing.height / 2)

    def _wires(self, canvas: Canvas, x: float, y: float) -> None:
        for (source, target), ways in self.ways.items():
            dark, name = _kept(ways, self.style)
            points = [
                (x + self.xs[source] + self.nodes[source].width / 2, y + self.ys[source]),
                (x + self.xs[target], y + self.ys[source]),
                (x + self.xs[target], y + self.ys[target] - self.nodes[target].height / 2),
            ]
            canvas.line(points, width=1.2, arrow=True, opacity=dark, mark=name)


def _passes_on(graph: Architecture, name: str) -> bool:
    ways = [data for _, _, data in graph.out_edges(name, data=True)]
    return graph.nodes[name]["kind"] == "input" and not any(way["ops"] or way["choices"] for way in ways)


def _crossing(source: str, target: str, ways: Sequence[Mapping[str, Any]], style: Style) -> Card | None:
    """Return the card of all ways between two nodes; None where there is but a plain one."""
    rows: list[Row] = []
    decisions: set[str] = set()
    for way in ways:
        option = Option(way["label"], way["weight"], way["chosen"])
        decisions |= way["choices"].keys()
        if way["choices"]:
            text = f"attention: {way['label']}" if way["kind"] == "hop" else way["label"]
            rows.append(style.row(text, way["choices"], option))
        else:
            rows += [Row(line, centred=True) for line in lines_of(way["ops"])]
    if not rows:
        return None
    head: tuple[Row, ...] = ()
    if decisions and not style.alone:
        row = Row(f"{source} → {target}", colour=GREY)
        head = (style.decided(row, decisions.pop()) if len(decisions) == 1 else row,)
    dark, name = _kept(ways, style)
    return Card(head, tuple(rows), opacity=dark, mark=name)


def _kept(ways: Sequence[Mapping[str, Any]], style: Style) -> tuple[float, str]:
    """Return the opacity and the name of what shows whether anything passes between two nodes."""
    if not style.weighed or not any(way["choices"] for way in ways):
        return 1.0, ""
    passing = [way for way in ways if not way["zero"]]
    return opacity(0.0, any(way["chosen"] for way in passing)), mark("wire", *(way["choices"] for way in passing))
