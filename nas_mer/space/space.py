"""The search space: a graph with open decisions, the rules they keep, and exact operations on them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from nas_mer.errors import UserError
from nas_mer.placed_yaml import Node, parse_yaml, read_yaml
from nas_mer.space.decisions import Decisions, Rule, Weights
from nas_mer.space.genotype import Genotype
from nas_mer.space.graph import INPUT, Graph
from nas_mer.space.isomorphism import Distinct
from nas_mer.space.reader import complete, read
from nas_mer.space.syntax import Parameters
from nas_mer.words import did_you_mean


@dataclass(frozen=True)
class SearchSpace:
    """A search space, valid by construction (`SearchSpace.load`, `SearchSpace.parse`).

    Attributes:
        name: its name.
        title: one line on what it is.
        graph: the graph of states with all options.
        rules: constraints that every genotype keeps.
        named: the genotypes that its file names.
        tune: the values that a search tries of a parameter (or of `size`) if it is to tune it and is given none.
        parameters: the sizes it is built with (`feature_maps`, `pool`, ...).
        overrides: those of them (and `size`, the input's side) that differ from its file.
        hash: the content hash that its genotypes carry.
        source: the YAML text it was read from.
        root: what that says, with the name of its file, for messages.
    """

    name: str
    title: str
    graph: Graph
    rules: tuple[Rule, ...]
    named: Mapping[str, Mapping[str, str]]
    tune: Mapping[str, tuple[int | float | bool, ...]]
    parameters: Parameters
    overrides: Parameters
    hash: str
    source: str
    root: Node

    @classmethod
    def load(cls, path: str | Path, /, **parameters: int | float | bool) -> SearchSpace:
        """Read a space from a YAML file, or a shipped one by its name (`rcn`).

        Args:
            path: the file, or the name of a shipped space.
            **parameters: other values for the space's parameters; `size` is the side of the input maps in pixels.

        Raises:
            UserError: there is no such file, or something in it is wrong (the message names file, line and key).
        """
        found = Path(path)
        if not found.suffix and not found.is_file():
            shipped = shipped_spaces()
            if str(path) not in shipped:
                known = did_you_mean(str(path), shipped)
                raise UserError(f"{path}: no such file, and no shipped space is called so{known}")
            found = shipped[str(path)]
        return cls._read(read_yaml(found), found.read_text(encoding="utf-8"), parameters)

    @classmethod
    def parse(cls, text: str, file: str = "<text>", /, **parameters: int | float | bool) -> SearchSpace:
        """Read a space from YAML text. See `load`."""
        return cls._read(parse_yaml(text, file), text, parameters)

    @classmethod
    def _read(cls, root: Node, source: str, overrides: Parameters) -> SearchSpace:
        description = read(root, overrides)
        space = cls(
            description.name,
            description.title,
            description.graph,
            description.rules,
            description.genotypes,
            description.tune,
            description.parameters,
            description.overrides,
            description.digest,
            source,
            root,
        )
        if not space.size:
            raise (root.get("constraints") or root).error("no genotype keeps all constraints of the space")
        for name, choices in space.named.items():
            if broken := space.combinations.broken(choices):
                raise root.at("genotypes").at(name).error(f"breaks the constraint {broken[0]}")
        return space

    def with_parameters(self, /, **parameters: int | float | bool) -> SearchSpace:
        """Return the same space built with other sizes; its genotypes stay its genotypes."""
        return self._read(self.root, self.source, {**self.overrides, **parameters})

    @cached_property
    def combinations(self) -> Decisions:
        """The decisions under the space's rules, for counting, sampling and enumerating."""
        return Decisions(self.graph.decisions, self.rules)

    @property
    def file(self) -> str:
        """The name of its file."""
        return self.root.file

    @property
    def decisions(self) -> Mapping[str, tuple[str, ...]]:
        """The options of each decision."""
        return self.graph.decisions

    @property
    def sizes(self) -> Parameters:
        """All sizes that it is built with: its parameters, and `size`, the side of its input."""
        return {"size": self.graph.shapes[INPUT].height, **self.parameters}

    @property
    def described(self) -> str:
        """What tells it from others, and its sizes, in words."""
        return ", ".join([f"{self.name} ({self.hash})", *(f"{name} {value}" for name, value in self.sizes.items())])

    @property
    def written(self) -> Parameters:
        """The sizes that its file gives."""
        return {"size": self.root.value["input"]["size"], **self.root.value.get("parameters", {})}

    @property
    def size(self) -> int:
        """The exact number of genotypes."""
        return self.combinations.size

    def __iter__(self) -> Iterator[Genotype]:
        """Iterate over all genotypes."""
        return (self._genotype(choices) for choices in self.combinations)

    def sample(self, rng: random.Random) -> Genotype:
        """Draw a genotype uniformly."""
        return self._genotype(self.combinations.sample(rng), origin="drawn at random")

    def genotype(self, choices: str | Mapping[str, str], **about: Any) -> Genotype:
        """Return the genotype of a name that the space's file gives, or of one option for each decision.

        Edges of "keep the best k edges" that are not mentioned are dropped.

        Raises:
            UserError: an unknown name, decision or option, a decision without one, or a broken constraint.
        """
        if isinstance(choices, str):
            if choices not in self.named:
                raise UserError(f"{self.file}: names no genotype '{choices}'{did_you_mean(choices, self.named)}")
            return self._genotype(self.named[choices], name=choices, origin=f"named in {self.name}")
        where = f"a genotype of {self.name}"
        for decision, option in choices.items():
            if decision not in self.decisions:
                raise UserError(f"{where}: no decision is called '{decision}'{did_you_mean(decision, self.decisions)}")
            if option not in self.decisions[decision]:
                known = did_you_mean(option, self.decisions[decision])
                raise UserError(f"{where}: decision '{decision}' has no option '{option}'{known}")
        full = complete(choices, self.rules, self.decisions)
        if missing := [name for name, option in full.items() if not option]:
            raise UserError(f"{where}: no option for {', '.join(missing)}")
        if broken := self.combinations.broken(full):
            raise UserError(f"{where}: breaks the constraint {broken[0]}")
        return self._genotype(full, **about)

    def accept(self, genotype: Genotype, where: str = "genotype") -> SearchSpace:
        """Return this space at the genotype's sizes, if the genotype is one of its own.

        Raises:
            UserError: the genotype belongs to another space, or its choices or parameters are not of this one.
        """
        if genotype.space_hash != self.hash:
            raise UserError(
                f"{where}: belongs to space '{genotype.space}' ({genotype.space_hash}), not to '{self.name}' as in "
                f"{self.file} ({self.hash})"
            )
        try:
            same = dict(genotype.parameters) == self.overrides
            space = self if same else self._read(self.root, self.source, genotype.parameters)
            space.completed(genotype)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        return space

    def completed(self, genotype: Genotype) -> Genotype:
        """Return a genotype of this space in which the edges that it does not mention are dropped.

        Raises:
            UserError: its choices are not of this space.
        """
        return replace(genotype, choices=self.genotype(genotype.choices).choices)

    def top(self, weights: Weights, k: int, distinct: bool = True) -> list[Genotype]:
        """Return the k genotypes of the greatest joint weight, exactly, without listing the space.

        Args:
            weights: the weight of every option of every decision.
            k: how many; fewer come back where the space has fewer.
            distinct: leave out genotypes whose network is isomorphic to one of a greater weight.
        """
        seen = Distinct()
        found: list[Genotype] = []
        for choices, weight in self.combinations.best(weights):
            if len(found) == k:
                break
            if not distinct or seen.add(self.graph.freeze(choices)):
                found.append(self._genotype(choices, weight=weight, rank=len(found) + 1))
        return found

    def freeze(self, genotype: Genotype) -> Graph:
        """Return the graph of one network.

        Raises:
            UserError: the genotype belongs to another space.
        """
        space = self.accept(genotype)
        return space.graph.freeze(space.completed(genotype).choices)

    def _genotype(self, choices: Mapping[str, str], **about: Any) -> Genotype:
        return Genotype(self.name, self.hash, dict(choices), dict(self.overrides), **about)

    def _repr_svg_(self) -> str:
        from nas_mer.view import architecture_figure, svg_of

        return svg_of(architecture_figure(self), f"space-{self.hash}", f"search space {self.name}")


def shipped_spaces() -> dict[str, Path]:
    """Return the files of the spaces that come with the package, by name."""
    package = Path(str(files("nas_mer")))
    # In an installed package the spaces lie inside it, in a checkout beside it.
    folder = next((f for f in (package / "search_spaces", package.parent / "search_spaces") if f.is_dir()), package)
    return {file.stem: file for file in sorted(folder.rglob("*.yaml"), key=lambda file: file.stem)}


def find_genotype(name: str, spaces: Sequence[str] = ()) -> tuple[SearchSpace, Genotype]:
    """Return a genotype that a space's file names, with its space.

    Args:
        name: such as `rcn-f`.
        spaces: files to look in before the shipped ones.

    Raises:
        UserError: no space names such a genotype.
    """
    known: list[str] = []
    for file in spaces:
        space = SearchSpace.load(file)
        if name in space.named:
            return space, space.genotype(name)
        known.extend(space.named)
    shipped = _shipped_genotypes()
    if name not in shipped:
        raise UserError(f"no genotype is called '{name}'{did_you_mean(name, [*known, *shipped])}")
    space = SearchSpace.load(shipped[name])
    return space, space.genotype(name)


@cache
def _shipped_genotypes() -> dict[str, Path]:
    """Return the shipped files by the genotypes that they name; to read them all as spaces would take seconds."""
    return {name: file for file in shipped_spaces().values() for name in read_yaml(file).value.get("genotypes", ())}


def load_genotype(path: Path, space_file: Path | None = None) -> tuple[SearchSpace, Genotype]:
    """Read a genotype's file and find its space: the file given, the one it points to, or a shipped one.

    Raises:
        UserError: the file is wrong, its space cannot be found, or the space is another one by now.
    """
    genotype = Genotype.load(path)
    if space_file is None and genotype.space_file is not None:
        space_file = path.parent / genotype.space_file
        if not space_file.is_file():
            raise UserError(f"{path}: its space {space_file} is not there; say where it is with --space")
    if space_file is None and genotype.space in shipped_spaces():
        space_file = shipped_spaces()[genotype.space]
    if space_file is None:
        raise UserError(
            f"{path}: its space '{genotype.space}' is not a shipped one; say where its file is with --space"
        )
    space = SearchSpace.load(space_file).accept(genotype, str(path))
    return space, replace(space.completed(genotype), name=genotype.name or path.stem)
