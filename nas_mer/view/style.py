"""How pictures of architectures show nodes, options and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nas_mer.search.decided import decidedness
from nas_mer.space import Genotype
from nas_mer.view.architecture import Architecture, Option
from nas_mer.view.canvas import METER, UNSEEN, Card, Choices, Row
from nas_mer.view.figures import FAINT, GREY, INK, MEDIUM, PALETTE, SMALL, Colour, Okabe, number, tint, wrap

# As in the paper's Fig. 6c: one, two and three hops, then longer ones. Dashes tell them apart without colours.
_HOPS = (Okabe.VERMILLION, Okabe.GREEN, Okabe.PURPLE, Okabe.BLUE)
_DASHES = ((), (7.0, 2.5), (2.5, 2.0), (8.0, 2.0, 2.0, 2.0))
_NOTHING = "#8c8c8c"  # options that do nothing
_TEXT = 1.15  # the width of a node's text in inches
_LONG = 7  # options in one column of a decision's card
_FEW = 4  # options that a node's box explains

SCALE = {"thin": 0.6, "thick": 4.1, "pale": 0.4, "unseen": UNSEEN, "meter": METER * 72}
"""How weights look: the width in points of a line of weight 0 and of weight 1, the opacity of a line of weight 0 and of
a frame around an option that is not chosen, and the length in points of a meter of weight 1."""


def line_width(weight: float) -> float:
    """Return the width in points of a line that weighs so much, 0..1."""
    return SCALE["thin"] + (SCALE["thick"] - SCALE["thin"]) * weight


def opacity(weight: float, chosen: bool) -> float:
    """Return the opacity of what weighs so much, 0..1: a chosen option is as dark as one of weight 1."""
    return 1.0 if chosen else SCALE["pale"] + (1 - SCALE["pale"]) * weight


class Style:
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
        return self.row(option.name, {decision: option.name}, option)

    def row(self, text: str, way: Choices, option: Option) -> Row:
        """Return the row of what stands for the last of some options, under a text of its own."""
        decision, name = list(way.items())[-1]
        colour = self.colours[decision, name]
        if option.weight is None:
            return Row(text, bold=option.chosen, bar=tint(colour, 0.45 if option.chosen else 0.3), centred=True)
        return Row(
            text,
            number(option.weight),
            widest=number(1.0),
            bar=colour,
            part=option.weight,
            tick=1 / len(self.decisions[decision]),
            framed=option.chosen,
            role="value",
            way=way,
        )

    def decided(self, row: Row, decision: str) -> Row:
        """Return a row with how decided a decision is as its right text; as it is where no weights are shown."""
        if not self.weighed:
            return row
        part = decidedness(option.weight or 0 for option in self.decisions[decision])
        return replace(row, right=f"{part:.0%} decided", widest="100% decided", role="decided", way={decision: ""})


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
                colours[item], _ = hop_look(hops[item])
            elif item in acting and decision not in attention:
                colours[item] = PALETTE[acting.index(item) % len(PALETTE)]
            else:
                colours[item] = _NOTHING
    return colours


def hop_look(length: int) -> tuple[Colour, Sequence[float]]:
    """Return the colour and the dashes of attention hops of a length, at least 1."""
    kind = min(length, len(_HOPS)) - 1
    return _HOPS[kind], _DASHES[kind]


def decision_card(decision: str, style: Style) -> Card:
    """Return a card with all options of a decision."""
    head = style.decided(Row(decision, bold=True, centred=not style.weighed), decision)
    rows = tuple(style.option(decision, option) for option in style.decisions[decision])
    return Card((head,), rows, columns=-(-len(rows) // _LONG), edge=FAINT)


def node_card(data: Mapping[str, Any], style: Style, told: set[str]) -> Card:
    """Return the box of a node. `told` collects what an earlier box has said of an option already."""
    head = [Row(data["label"], size=MEDIUM, bold=True, centred=True)]
    if data["kind"] == "use":
        times = f" \u00d7{data['repeat']}" if data["repeat"] > 1 else ""
        colour = tint(style.blocks[data["block"]], 0.35)
        head.append(Row(f"{data['block']}{times}", centred=True, bar=colour))
    texts = list(data["ops"])
    if data["combine"] == "concat":
        texts.insert(0, "concatenate")
    lines = lines_of(texts)
    details = [f"{option}: {text}" for option, text in data["details"].items()]
    if len(details) <= _FEW:
        lines += [line for detail in details if detail not in told for line in wrap(detail, _TEXT, SMALL)]
        told.update(details)
    head += [Row(line, colour=GREY, centred=True) for line in lines]
    rows = [style.option(data["decision"], option) for option in data["options"]]
    if data["options"] and style.weighed:
        rows.append(style.decided(Row("", colour=GREY, centred=True), data["decision"]))
    if data["shared"]:
        names = ", ".join(name.rpartition(".")[2] for name in data["shared"])
        rows.append(Row(f"shared: {names}", centred=True, bar="#ececec"))
    if data["shape"]:
        rows.append(Row(data["shape"], colour=GREY, centred=True))
    edge = GREY if data["kind"] == "input" else INK
    return Card(tuple(head), tuple(rows), edge=edge, stacked=data.get("repeat", 1) > 1)


def lines_of(texts: Sequence[str]) -> list[str]:
    """Return texts as a list in short lines; a name and its number stay together."""
    return wrap(", ".join(text.replace(" ", "\u00a0") for text in texts), _TEXT, SMALL) if texts else []
