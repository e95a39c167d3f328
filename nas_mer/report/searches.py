"""What a report tells of searches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from nas_mer.errors import UserError
from nas_mer.report.document import Cell, Paragraph, Part, Picture, Replay, Table
from nas_mer.runs import Run, SearchConfig, space_of
from nas_mer.runs.searches.config import findings
from nas_mer.runs.searches.findings import SHOWN, Findings, History, Tried
from nas_mer.runs.searches.searching import shares
from nas_mer.search import OBJECTIVES, Ranked, SearchRecipe
from nas_mer.search.decided import Verdict
from nas_mer.search.tuning import Value, in_words
from nas_mer.space import Genotype, SearchSpace
from nas_mer.view import Course, architecture_figure, course, equal_weight, history_figure, pareto_figure
from nas_mer.words import listed, plural


@dataclass(frozen=True, eq=False)
class Searched:
    """A search run, as far as it is. What it does not hold yet raises a `UserError`.

    Attributes:
        run: the run.
        name: what it is called in the report.
    """

    run: Run[SearchConfig]
    name: str

    @cached_property
    def space(self) -> SearchSpace:
        """The space that it searches."""
        return space_of(self.run)

    @property
    def spaces(self) -> list[SearchSpace]:
        """The same as a list."""
        return [self.space]

    @cached_property
    def findings(self) -> Findings:
        """What it holds."""
        return findings(self.run)

    @property
    def begun(self) -> bool:
        """Whether it holds anything."""
        with suppress(UserError):
            return bool(self.top)
        return False

    @cached_property
    def top(self) -> list[Genotype]:
        """Its best genotypes."""
        return self.findings.top(self.space, self.run.config.top)

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """How decided each decision is; none where options have no weights."""
        return self.findings.verdicts(self.space) if isinstance(self.findings, History) else {}

    @cached_property
    def judged(self) -> list[Ranked]:
        """The genotypes that it judged one by one, the best first; none where options have weights."""
        return self.findings.ranked(self.space) if isinstance(self.findings, Tried) else []

    @property
    def many(self) -> str:
        """What several of its searches are called."""
        return "folds" if self.run.config.protocol == "nested" else "seeds"

    def summary(self) -> Iterator[Part]:
        """Tell what was asked for and what came out."""
        config, found = self.run.config, self.findings
        each = f", {config.recipe.order} order" if isinstance(config.recipe, SearchRecipe) else " a genotype"
        asked = (
            f"{self.name} is a search of {self.space.name} ({plural(self.space.size, 'genotype')}) on "
            f"{config.dataset.name}: strategy {config.strategy}, protocol {config.protocol}, "
            f"{plural(len(config.seeds), 'seed')}, {plural(config.recipe.epochs, 'epoch')}{each}."
        )
        yield Paragraph(f"{asked} {self._weights_in_words(found) if isinstance(found, History) else self._best()}")

    def _weights_in_words(self, found: History) -> str:
        best, decided = self.top[0], [verdict.decided for verdict in self.verdicts.values()]
        least, most = f"{min(decided):.0%}", f"{max(decided):.0%}"
        overlap = self.run.result["overlap"] if self.run.finished else None
        agreed = "" if overlap is None else f", and the {self.many}' top {self.run.config.top} overlap by {overlap:.0%}"
        return (
            f"{found.extent.capitalize()} the best genotype is {best.text}, with a joint weight of {best.weight:.3g}; "
            f"equal weights would give {equal_weight(self.space, best):.3g}. Its decisions are "
            f"{least if least == most else f'{least} to {most}'} decided{agreed}. {self._course(found).text}".rstrip()
        )

    def _best(self) -> str:
        best = self.judged[0]
        return (
            f"Of {plural(len(self.judged), 'network')} the best is {best.genotype.text}, with a validation UAR of "
            f"{best.valid_uar:.3f}; as the best of many this number is optimistic."
        )

    def details(self) -> Iterator[Part]:
        """Tell how it came to its genotypes."""
        nested = self.run.config.protocol == "nested"
        yield Paragraph(
            "Each fold was searched without its subject, so the scores of its genotypes are not optimistic."
            if nested
            else "The search has seen every subject, so a LOSO score of its genotypes on this dataset is optimistic."
        )
        if not self.run.finished:
            yield Paragraph(f"The search is not finished; it is told {self.findings.extent}.", missing=True)
        yield from self._epochs(self.findings) if isinstance(self.findings, History) else self._trials()
        if nested:
            yield self._chosen()

    def _epochs(self, found: History) -> Iterator[Part]:
        decisions, weights, then = self.space.decisions, found.weights(), self._course(found)
        if any(len(epochs) > found.length for epochs in found.epochs.values()):
            yield Paragraph(
                f"The next two pictures end after {plural(found.length, 'epoch')}, which all searches have; tables and "
                "genotypes are those of each search's last epoch."
            )
        means = {
            name: {
                option: [round(float(weight), 4) for weight in values[:, :, index].mean(axis=0)]
                for index, option in enumerate(decisions[name])
            }
            for name, values in weights.items()
        }
        last = {name: {option: values[-1] for option, values in options.items()} for name, options in means.items()}
        figure = architecture_figure(self.space, last, then.best[-1])
        picture = Picture(f"{self.run.name}-weights", "Architecture weights, mean over searches", figure)
        yield Replay(picture, means, [dict(genotype.choices) for genotype in then.best])
        figure = history_figure(weights, decisions, found.losses(), then)
        caption = "Weights, entropy, losses and the best genotypes over the epochs"
        yield Picture(f"{self.run.name}-history", caption, figure)
        rows = [
            [
                name, one.winner, one.weight, one.spread, one.second, one.second_weight,
                Cell.percent(one.decided), Cell.percent(one.agreement),
            ]
            for name, one in self.verdicts.items()
        ]  # fmt: skip
        headings = ["decision", "winner", "weight", "\u00b1", "second", "its weight", "decided", f"{self.many} agree"]
        yield Table("What each decision comes to", headings, rows)

    def _course(self, found: History) -> Course:
        return course(self.space, found.weights(), self.run.config.top)

    def _trials(self) -> Iterator[Part]:
        config = self.run.config
        others = {name: OBJECTIVES[name] for name in config.objectives if name != "uar"}
        rows = [
            [
                one.genotype.rank, one.valid_uar, one.valid_loss, one.searches,
                *(Cell(other.in_words(one.measured[name]), one.measured[name]) for name, other in others.items()),
                *one.genotype.choices.values(),
                *(_tuned({**one.parameters, **one.recipe}[axis.name]) for axis in config.tune),
            ]
            for one in self.judged[:SHOWN]
        ]  # fmt: skip
        measured = [other.title for other in others.values()]
        tuned = [axis.name for axis in config.tune]
        headings = ["rank", "validation UAR", "loss", "searches", *measured, *self.space.decisions, *tuned]
        yield Table("The best genotypes that were judged one by one", headings, rows)
        if others:
            figure = pareto_figure(self.judged, config.objectives)
            yield Picture(f"{self.run.name}-pareto", f"What was judged, by {listed(config.objectives)}", figure)

    def _chosen(self) -> Table:
        genotypes = list(self.findings.fold_genotypes(self.space).values())
        rows = [
            [decision, option, round(share * len(genotypes)), Cell.percent(share)]
            for decision, options in shares(genotypes, self.space).items()
            for option, share in options.items()
            if share
        ]
        return Table("In how many folds each option was chosen", ["decision", "option", "folds", "share"], rows)

    def genotypes(self) -> Iterator[Part]:
        """Tell what it found best."""
        weights = [None if one.weight is None else Cell(f"{one.weight:.3g}", one.weight) for one in self.top]
        rows = [
            [f"top{one.rank}", weight, *one.choices.values()] for one, weight in zip(self.top, weights, strict=True)
        ]
        yield Table(f"Derived from {self.name}", ["genotype", "joint weight", *self.space.decisions], rows)
        if self.run.config.protocol == "nested":
            yield Paragraph(
                "These are of the mean over all folds, which together have seen every subject. The honest score is "
                f"that of what each fold has found: nas-mer retrain {self.run.path}."
            )
        for one in self.top:
            figure = architecture_figure(self.space, genotype=one)
            yield Picture(f"{self.run.name}-top{one.rank}", f"The network of top{one.rank}", figure, folded=True)


def _tuned(value: Value) -> Cell:
    """Return the cell of a tuned value, as a user writes it; numbers are sorted as such."""
    text = in_words(value)
    return Cell(text, value) if isinstance(value, int | float) and not isinstance(value, bool) else Cell.of(text)


def winners(searches: Sequence[Searched]) -> Table:
    """Return what several searches that have begun chose, decision by decision."""
    decisions = list(dict.fromkeys(name for one in searches for name in one.verdicts))
    rows = []
    for one in searches:
        found = [one.verdicts.get(name) for name in decisions]
        texts = [verdict and f"{verdict.winner} {verdict.weight:.2f}" for verdict in found]
        rows.append([one.name, one.run.config.strategy, one.run.config.protocol, *texts])
    return Table("The winners and their weights", ["search", "strategy", "protocol", *decisions], rows)
