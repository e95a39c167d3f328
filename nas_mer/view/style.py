"""How pictures of architectures show nodes, options and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas_mer.space import Genotype
from nas_mer.view.architecture import Architecture, Option, decidedness
from nas_mer.view.canvas import Card, Row
from nas_mer.view.figures import FAINT, GREY, INK, MEDIUM, PALETTE, SMALL, Colour, Okabe, number, tint, wrap

_HOPS = {1: Okabe.VERMILLION, 2: Okabe.GREEN, 3: Okabe.PURPLE}  # as in the paper's Fig. 6c: one, two and three hops
_FAR = Okabe.BLUE
_NOTHING = "#8c8c8c"  # options that do nothing
_TEXT = 1.15  # the width of a node's text in inches
_LONG = 7  # options in one column of a decision's card
_FEW = 4  # options that a node's box explains


class Style:
    """How the figure of one graph shows options and weights."""

    def __init__(self, graph: Architecture) -> None:
        self.weighed: bool = graph.graph["weighed"]
        self.genotype: Genotype | None = graph.graph["genotype"]
        self.alone = self.genotype is not None and not self.weighed
        self.decisions: Mapping[str, tuple[Option, ...]] = graph.graph["decisions"]
        self.lengths = sorted({min(d["length"], 4) for _, _, d in graph.edges(data=True) if d["kind"] == "hop"})
        self.colours = _option_colours(graph)
        # The greatest weight of each decision.
        self.most = {name: max(1e-9, *(o.weight or 0.0 for o in options)) for name, options in self.decisions.items()}
        blocks = dict.fromkeys(repetition.block for repetition in graph.graph["repetitions"])
        self.blocks = {block: PALETTE[index % len(PALETTE)] for index, block in enumerate(blocks)}

    def option(self, decision: str, option: Option) -> Row:
        """Return the row of an option of a decision."""
        return self.row(option.name, decision, option.name, option)

    def row(self, text: str, decision: str, name: str, option: Option) -> Row:
        """Return the row of what stands for an option of a decision (by its name), under a text of its own."""
        colour = self.colours[decision, name]
        if option.weight is None:
            return Row(text, bold=option.chosen, bar=tint(colour, 0.45 if option.chosen else 0.3), centred=True)
        return Row(
            text,
            number(option.weight),
            bold=option.chosen,
            bar=tint(colour, 0.4 + 0.6 * option.weight),
            part=min(option.weight / self.most[decision], 1.0),
            mark=min(1 / len(self.decisions[decision]) / self.most[decision], 1.0),
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
                colours[item] = hop_colour(hops[item])
            elif item in acting and decision not in attention:
                colours[item] = PALETTE[acting.index(item) % len(PALETTE)]
            else:
                colours[item] = _NOTHING
    return colours


def hop_colour(length: int) -> Colour:
    """Return the colour of attention hops of a length."""
    return _HOPS.get(length, _FAR)


def decision_card(decision: str, style: Style) -> Card:
    """Return a card with all options of a decision, the heaviest first."""
    options = sorted(style.decisions[decision], key=lambda option: -(option.weight or 0))
    head = Row(decision, style.decided(decision), bold=True, centred=not style.weighed)
    rows = tuple(style.option(decision, option) for option in options)
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
        rows.append(Row(style.decided(data["decision"]), colour=GREY, centred=True))
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
