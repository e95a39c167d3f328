"""A network as boxes from left to right, shortcuts below them and attention hops above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from nas_mer.view.architecture import Architecture, ordered
from nas_mer.view.canvas import Canvas, Card, Choices, Point, mark
from nas_mer.view.figures import GREY, INK, MEDIUM, SMALL, Colour, number, text_width
from nas_mer.view.style import Style, hop_look, line_width, node_card, opacity

_GAP = 0.3  # between boxes side by side
_BETWEEN = 0.25  # between boxes above each other
_PORTS = 0.16  # between the ends of lines at a box, at most
_LABEL = 0.13  # the height of a label
_CLOSE = 0.025  # too close a line to a label


class Chain:
    """A drawing of a graph whose ways carry no ops of their own.

    What a state reads stands left of it, what does not depend on each other above each other. Lines to the next boxes
    are straight where they can be; all others arch below the boxes, attention hops above them. Places are measured from
    the left end of the axis that runs through the middle of the boxes.
    """

    def __init__(self, graph: Architecture, style: Style) -> None:
        told: set[str] = set()
        self.boxes: dict[str, Card | _Sum] = {
            name: _Sum(graph.nodes[name]["label"])
            if _only_adds(graph, name)
            else node_card(graph.nodes[name], style, told)
            for name in ordered(graph)
        }
        self.links = [
            _link(source, target, ways, style)
            for source, target in dict.fromkeys(graph.edges())
            for kind in ("flow", "hop")
            if (ways := [data for data in graph[source][target].values() if data["kind"] == kind])
        ]
        self.layers = self._layers()
        self.steps = {link for link in self.links if not link.hop and self._jump(link) == 1}
        self._align()
        self.centres = self._centres()
        ports = self._ports()
        self.curves = {link: self._curve(link, ports) for link in self.links}
        self.labels = self._labels()
        tops = [self._around(name).top - 0.05 for name in self.boxes]
        ends = [self._around(name).bottom for name in self.boxes]
        middles = [_bezier(points, 0.5)[1] for points in self.curves.values()]
        self.above = -min([*tops, *(y - 0.1 for y in middles)])
        self.width = max(self._around(name).right for name in self.boxes)
        self.height = self.above + max([*ends, *(y + 0.1 for y in middles)])

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw it with its upper left corner at (x, y)."""
        axis = y + self.above
        for name, box in self.boxes.items():
            centre_x, centre_y = self.centres[name]
            box.draw(canvas, x + centre_x - box.width / 2, axis + centre_y - box.height / 2)
        for link, points in self.curves.items():
            curve = [(x + at_x, axis + at_y) for at_x, at_y in points]
            name = mark("way", *link.ways) if link.ways else ""
            canvas.line(curve, link.colour, link.width, True, True, link.opacity, link.dashes, name)
        for link, (at_x, at_y) in self.labels.items():
            if not link.ways:
                canvas.text(x + at_x, axis + at_y, link.label, align="center", behind="white")
                continue
            width, height = link.size
            corner = x + at_x - width / 2, axis + at_y - height / 2
            canvas.bar(*corner, width, height, "white")
            canvas.frame(*corner, width, height, link.chosen, mark("frame", *link.ways))
            canvas.text(x + at_x, axis + at_y, link.label, align="center", mark=mark("value", *link.ways))

    def _layers(self) -> dict[str, int]:
        """Return the longest way to each node, in links."""
        layers: dict[str, int] = {}
        for name in self.boxes:
            before = [layers[link.source] for link in self.links if link.target == name and link.source in layers]
            layers[name] = 1 + max(before, default=-1)
        return layers

    def _jump(self, link: _Link) -> int:
        return self.layers[link.target] - self.layers[link.source]

    def _align(self) -> None:
        """Make boxes above each other equally wide."""
        for layer in set(self.layers.values()):
            boxes = {name: box for name, box in self.boxes.items() if self.layers[name] == layer}
            width = max(box.width for box in boxes.values())
            self.boxes |= {name: replace(box, least=width) for name, box in boxes.items() if isinstance(box, Card)}

    def _centres(self) -> dict[str, Point]:
        """Return where the nodes stand, the layers far enough apart for the labels between them."""
        centres: dict[str, Point] = {}
        x = 0.0
        for layer in range(max(self.layers.values()) + 1):
            names = [name for name, of in self.layers.items() if of == layer]
            steps = [link for link in self.steps if link.target in names]
            gap = _GAP if len(steps) < 2 else 2 * _GAP
            width = max(self.boxes[name].width for name in names)
            x += (max([gap, *(link.size[0] + 0.35 for link in steps if link.label)]) if layer else 0) + width / 2
            y = -(sum(self.boxes[name].height for name in names) + _BETWEEN * (len(names) - 1)) / 2
            for name in names:
                height = self.boxes[name].height
                centres[name] = x, y + height / 2
                y += height + _BETWEEN
            x += width / 2
        return centres

    def _ports(self) -> dict[tuple[_Link, bool], float]:
        """Return where arches end beside boxes' centres, by (link, whether it leaves there), so that few cross."""
        ends: dict[tuple[str, bool], list[tuple[bool, int, _Link]]] = {}
        for link in self.links:
            if link not in self.steps:
                # From left to right: short ways in, long ways in, long ways out, short ways out.
                ends.setdefault((link.target, link.hop), []).append((False, self._jump(link), link))
                ends.setdefault((link.source, link.hop), []).append((True, -self._jump(link), link))
        ports: dict[tuple[_Link, bool], float] = {}
        for (name, _), here in ends.items():
            here.sort(key=lambda end: end[:2])
            gap = min(_PORTS, self.boxes[name].room / max(len(here) - 1, 1))
            for index, (leaves, _, link) in enumerate(here):
                ports[link, leaves] = (index - (len(here) - 1) / 2) * gap
        return ports

    def _curve(self, link: _Link, ports: Mapping[tuple[_Link, bool], float]) -> list[Point]:
        """Return the four control points of a link's line."""
        (x1, y1), (x2, y2) = self.centres[link.source], self.centres[link.target]
        source, target = self.boxes[link.source], self.boxes[link.target]
        if link in self.steps:
            x1, x2 = x1 + source.side, x2 - target.side
            return [(x1, y1), ((x1 + x2) / 2, y1), ((x1 + x2) / 2, y2), (x2, y2)]
        up = -1 if link.hop else 1
        leave, enter = ports[link, True], ports[link, False]
        x1, x2, y1, y2 = x1 + leave, x2 + enter, y1 + up * source.reach(leave), y2 + up * target.reach(enter)
        first, last = sorted((self.layers[link.source], self.layers[link.target]))
        passed = [self._around(name) for name, layer in self.layers.items() if first <= layer <= last]
        far = max(-box.top if link.hop else box.bottom for box in passed)
        apex = up * (far + 0.16 + 0.24 * abs(x2 - x1) ** 0.7)
        control = (8 * apex - y1 - y2) / 6  # so that the curve's middle is at the apex
        return [(x1, y1), (x1, control), (x2, control), (x2, y2)]

    def _labels(self) -> dict[_Link, Point]:
        """Return the middles of the labels, each on its own line, off the other lines, and near its line's middle."""
        taken = [self._around(name) for name in self.boxes]
        lines = {link: np.array([_bezier(points, t) for t in _FINE]) for link, points in self.curves.items()}
        found: dict[_Link, Point] = {}
        for link in self.links:
            if link.label:
                others = np.concatenate([np.empty((0, 2)), *(line for other, line in lines.items() if other != link)])
                costs = {
                    t: 100 * any(label.meets(box) for box in taken)
                    + 10 * label.holds(others)
                    + label.holds(others, _CLOSE)
                    + abs(t - 0.5)
                    for t in np.linspace(0.2, 0.8, 41)
                    if (label := _Box.around(_bezier(self.curves[link], t), *link.size))
                }
                found[link] = _bezier(self.curves[link], min(costs, key=costs.__getitem__))
                taken.append(_Box.around(found[link], *link.size))
        return found

    def _around(self, name: str) -> _Box:
        return _Box.around(self.centres[name], self.boxes[name].width, self.boxes[name].height)


@dataclass(frozen=True)
class _Link:
    """A line between two nodes: all ways of one kind between them.

    Attributes:
        width: in points.
        dashes: the lengths of dashes and gaps in points.
        opacity: 0..1.
        chosen: whether a chosen option has it.
        ways: where weights are shown, the choices under which each of its ways is there.
        widest: the longest text that the label may become at other weights.
    """

    source: str
    target: str
    hop: bool
    label: str
    colour: Colour
    width: float
    dashes: Sequence[float] = ()
    opacity: float = 1.0
    chosen: bool = False
    ways: tuple[Choices, ...] = field(default=(), compare=False)
    widest: str = ""

    @property
    def size(self) -> tuple[float, float]:
        """The width and height of its label in inches."""
        return (text_width(self.widest, SMALL) + 0.02 if self.widest else text_width(self.label, SMALL) + 0.06), _LABEL


def _link(source: str, target: str, ways: Sequence[Mapping[str, Any]], style: Style) -> _Link:
    """Return the line that stands for ways of one kind between two nodes."""
    hop = ways[0]["kind"] == "hop"
    items = [item for way in ways for item in way["choices"].items()]
    if hop:
        label, (colour, dashes) = "", hop_look(ways[0]["length"])
    else:
        label = ", ".join(dict.fromkeys(way["label"] for way in ways if way["label"]))
        colour, dashes = style.colours[items[0]] if items else INK, ()
    if not style.weighed or not items:
        return _Link(source, target, hop, label, colour, 1.8 if style.alone and items else 1.1, dashes)
    chosen = any(way["chosen"] for way in ways)
    weight = min(sum(way["weight"] for way in ways), 1.0)
    return _Link(
        source,
        target,
        hop,
        f"{label} {number(weight)}".strip(),
        colour,
        line_width(weight),
        dashes,
        opacity(weight, chosen),
        chosen,
        tuple(way["choices"] for way in ways),
        f"{label} {number(1.0)}".strip(),
    )


@dataclass(frozen=True)
class _Sum:
    """A state that only adds: a small circle under its name."""

    name: str

    radius = 0.11

    @property
    def width(self) -> float:
        return max(2 * self.radius, text_width(self.name, SMALL))

    @property
    def height(self) -> float:
        return 2 * (self.radius + _LABEL + 0.03)

    @property
    def side(self) -> float:
        return self.radius

    @property
    def room(self) -> float:
        return 1.4 * self.radius

    def reach(self, shift: float) -> float:
        return float((self.radius**2 - shift**2) ** 0.5)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        middle, axis = x + self.width / 2, y + self.height / 2
        canvas.disc(middle, axis, self.radius, "white")
        canvas.text(middle, axis, "+", MEDIUM, bold=True, align="center")
        canvas.text(middle, axis - self.radius - 0.1, self.name, colour=GREY, align="center", behind="white")


def _only_adds(graph: Architecture, name: str) -> bool:
    data = graph.nodes[name]
    adds = data["kind"] == "state" and data["combine"] == "sum" and not data["ops"] and not data["options"]
    return adds and len({source for source, _, way in graph.in_edges(name, data=True) if way["kind"] == "flow"}) > 1


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, middle: Point, width: float, height: float) -> _Box:
        x, y = middle
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    def meets(self, other: _Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def holds(self, points: np.ndarray[Any, Any], around: float = 0.0) -> bool:
        """Return whether any of `(n, 2)` points lies in it, or so far around it."""
        x, y = points.T
        across = (x > self.left - around) & (x < self.right + around)
        return bool((across & (y > self.top - around) & (y < self.bottom + around)).any())


_FINE = np.linspace(0, 1, 256)


def _bezier(points: Sequence[Point], t: float) -> Point:
    """Return the point of a cubic curve at `t`, 0..1."""
    parts = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    x, y = (sum(part * point[axis] for part, point in zip(parts, points, strict=True)) for axis in (0, 1))
    return x, y
