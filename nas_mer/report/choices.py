"""What a report tells of choices of genotype and recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nas_mer.report.document import Paragraph, Part, Picture, Table
from nas_mer.runs import Run
from nas_mer.runs.choosing import Candidate, ChooseConfig, genotypes_of
from nas_mer.space import Genotype, SearchSpace
from nas_mer.view import architecture_figure
from nas_mer.words import plural


@dataclass(frozen=True, eq=False)
class Chosen:
    """A choice, as far as it is. What it does not hold yet raises a `UserError`.

    Attributes:
        run: the run.
        name: what it is called in the report.
    """

    run: Run[ChooseConfig]
    name: str

    @cached_property
    def genotypes(self) -> dict[str, tuple[SearchSpace, Genotype]]:
        """Its genotypes, each with its space."""
        return genotypes_of(self.run)

    @property
    def spaces(self) -> list[SearchSpace]:
        """The spaces of these."""
        return [space for space, _ in self.genotypes.values()]

    @property
    def groups(self) -> list[dict[str, Any]]:
        """What was chosen for each group of subjects, the subjects, and by which scores."""
        found: list[dict[str, Any]] = self.run.result["groups"]
        return found

    def summary(self) -> Iterator[Part]:
        """Tell what was asked for and what came out."""
        config, groups = self.run.config, self.groups
        many = f"{plural(len(config.genotypes), 'genotype')} and {plural(len(config.recipes), 'recipe')}"
        chosen = Counter(str(Candidate(group["genotype"], group["recipe"])) for group in groups)
        told = ", ".join(f"{one} for {times}" for one, times in chosen.most_common())
        yield Paragraph(
            f"{self.name} chose among {many} on {config.dataset.name} for {len(groups)} groups of subjects, each by "
            f"the other groups alone, with {plural(len(config.seeds), 'seed')}: {told}."
        )

    def details(self) -> Iterator[Part]:
        """Tell how each candidate did, and what each group has got."""
        result, groups = self.run.result, self.groups
        yield Paragraph(
            "No subject had a say in its own group's choice: what was chosen has an honest score once it is retrained. "
            "The scores here are those that it was chosen by, as the best of several, and optimistic."
        )
        for note in result["notes"]:
            yield Paragraph(f"{note[:1].upper()}{note[1:]}.", missing=True)
        rows = [[row["genotype"], row["recipe"], row["uar"], row["uf1"], row["chosen"]] for row in result["candidates"]]
        headings = ["genotype", "recipe", "UAR", "UF1", "chosen by"]
        yield Table("Candidates in cross-validation among all groups but one, mean over that one", headings, rows)
        rows = [
            [number, len(group["subjects"]), group["genotype"], group["recipe"], group["uar"], group["uf1"]]
            for number, group in enumerate(groups, 1)
        ]
        headings = ["group", "subjects", "genotype", "recipe", "UAR of the others", "UF1 of the others"]
        yield Table("What each group has got, by the other groups", headings, rows)

    def described(self) -> Iterator[Part]:
        """Show the genotypes that a group has got."""
        for name in dict.fromkeys(group["genotype"] for group in self.groups):
            space, genotype = self.genotypes[name]
            figure = architecture_figure(space, genotype=genotype)
            yield Picture(f"{self.run.name}-{name}", f"The network of {name}", figure, folded=True)
