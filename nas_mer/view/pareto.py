"""What a search with several objectives came to: validation UAR against each of the others."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, Locator, LogLocator, MaxNLocator, NullLocator

from nas_mer.search import OBJECTIVES, Ranked, front
from nas_mer.search.tuning import in_words
from nas_mer.space.genotype import in_words as choices_in_words
from nas_mer.view.figures import FAINT, GREY, INK, SMALL, Okabe, text_width, tint, wrap
from nas_mer.view.sheet import GAP, LINE, MARGIN, TICKS, Entry, Sheet, bare, columns_for
from nas_mer.words import plural

# Inches.
_LEAST, _HEIGHT = 2.1, 2.3  # of a panel, its ticks' numbers beside it included
_LEFT = 0.48  # of a panel: the numbers of its ticks, and what is beside them

_DECADE = 10  # values that lie further apart than this times are drawn on a logarithmic axis
_THOUSAND = 1000  # from which on numbers are written as 1k
_PALE = tint(Okabe.BLUE, 0.35)


def pareto_figure(found: Sequence[Ranked], objectives: Sequence[str]) -> Figure:
    """Draw UAR against each other objective, with the front: what none beats in all objectives.

    The line is the best UAR that is to be had up to a value of the other objective. A number is a genotype's rank by
    UAR; below the panels is what it stands for. With more than two objectives the front has members below the line,
    which have no number there.

    Args:
        found: all that was judged.
        objectives: names of `nas_mer.search.OBJECTIVES`: `uar` and at least one other.
    """
    others, unbeaten = [name for name in objectives if name != "uar"], front(found, objectives)
    entries = [
        Entry("o", _PALE, f"{plural(len(found), 'network')} judged", filled=False),
        Entry("o", Okabe.BLUE, f"{len(unbeaten)} beaten by none in all objectives"),
        Entry("-", INK, "the best UAR up to there, with rank by UAR"),
    ]
    *first, last = (OBJECTIVES[name].title for name in others)
    named = f"{', '.join(first)} and {last}" if first else last
    sheet = Sheet(f"Validation UAR against {named}", entries, _LEAST + 2 * MARGIN)
    room = sheet.width - 2 * MARGIN
    columns = columns_for(len(others), room, _LEAST)
    width = (room + GAP) / columns - GAP - _LEFT
    for start in range(0, len(others), columns):
        for place, name in enumerate(others[start : start + columns]):
            left = MARGIN + place * (width + _LEFT + GAP) + _LEFT
            axes = sheet.panel(left, sheet.y, width, _HEIGHT)
            _draw(axes, found, unbeaten, name, width)
            sheet.canvas.text(left, sheet.y + _HEIGHT + TICKS - 0.1, OBJECTIVES[name].heading, colour=GREY)
            sheet.upright(left - _LEFT + 0.06, sheet.y + _HEIGHT / 2, OBJECTIVES["uar"].title, GREY)
        sheet.y += _HEIGHT + TICKS + 0.16
    indent = max(text_width(str(one.genotype.rank), SMALL, bold=True) for one in unbeaten) + 0.08
    for one in unbeaten:
        sheet.text(MARGIN, str(one.genotype.rank), bold=True)
        for line in wrap(_about(one, others), room - indent, SMALL):
            sheet.text(MARGIN + indent, line)
            sheet.y += LINE
        sheet.y += 0.03
    return sheet.cut()


def _draw(axes: Axes, found: Sequence[Ranked], unbeaten: Sequence[Ranked], name: str, width: float) -> None:
    """Draw one panel, of a width in inches: UAR against an objective."""
    values, uars = zip(*((one.value(name), one.valid_uar) for one in found), strict=True)
    axes.plot(
        values, uars, "o", color=_PALE, markersize=4.6, markerfacecolor="white", markeredgewidth=1.0, clip_on=False,
    )  # fmt: skip
    line = sorted(front(found, ("uar", name)), key=lambda one: one.value(name))
    ends = [*((one.value(name), one.valid_uar) for one in line), (max(values), line[-1].valid_uar)]
    axes.plot(*zip(*ends, strict=True), drawstyle="steps-post", color=INK, linewidth=0.8)
    for one in unbeaten:
        axes.plot(one.value(name), one.valid_uar, "o", color=Okabe.BLUE, markersize=4.6, zorder=4, clip_on=False)
    axes.margins(x=0.14, y=0.1)
    ticks: Locator = MaxNLocator(4)
    if min(values) > 0 and max(values) > _DECADE * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        ticks = LogLocator(subs=(1, 3) if max(values) < _DECADE**2 * min(values) else (1,))
    axes.set_xticks(_within(axes.get_xlim(), ticks))
    axes.set_yticks(_within(axes.get_ylim(), MaxNLocator(5)))
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if max(values) >= _THOUSAND else "{x:g}")
    axes.yaxis.set_major_formatter(lambda value, _: bare(f"{value:.2f}"))
    axes.grid(color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    _number(axes, line, name, width)


def _number(axes: Axes, line: Sequence[Ranked], name: str, width: float) -> None:
    """Write the ranks of a line's members, the best first; one that has no room beside a better one has none."""
    place = axes.transScale + axes.transLimits
    taken: list[tuple[float, float, float]] = []
    for one in reversed(line):
        at, text = (one.value(name), one.valid_uar), str(one.genotype.rank)
        x, y = place.transform(at) * (width, _HEIGHT)  # in inches
        left = x - text_width(text, SMALL, bold=True)
        if all(x < begin or left > end or abs(y - other) > LINE for begin, end, other in taken):
            taken.append((left, x, y))
            # What lies to the upper left of a member of the line would beat it, so there is room.
            axes.annotate(
                text, at, (-3, 3), textcoords="offset points", size=SMALL, weight="bold", ha="right", zorder=5,
            )  # fmt: skip


def _within(limits: tuple[float, float], locator: Locator) -> list[float]:
    """Return the ticks that are to be seen."""
    low, high = limits
    return [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]


def _about(one: Ranked, others: Sequence[str]) -> str:
    """Return what a genotype is, and how good."""
    tuned = {name: in_words(value) for name, value in {**one.parameters, **one.recipe}.items()}
    values = [bare(f"UAR {one.valid_uar:.3f}")]
    values += [f"{OBJECTIVES[name].title} {OBJECTIVES[name].in_words(one.measured[name])}" for name in others]
    return f"{choices_in_words({**one.genotype.choices, **tuned})}; {', '.join(values)}"
