"""What a nested search or a choice hands on: a genotype for each fold, and perhaps a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nas_mer.data import Fold
from nas_mer.errors import UserError
from nas_mer.runs.folder import Run
from nas_mer.runs.searches.config import SearchConfig, space_of
from nas_mer.space import Genotype, SearchSpace
from nas_mer.train import Recipe, load_recipe
from nas_mer.words import listed


@dataclass(frozen=True)
class Choice:
    """What to train: a genotype of a space, and how, or None where that was not chosen."""

    space: SearchSpace = field(compare=False)  # the genotype tells which
    genotype: Genotype
    recipe: Recipe | None = None


@dataclass(frozen=True)
class Nested:
    """What was found for each fold without a look at the fold's subject.

    Attributes:
        name: what to call it.
        folds: the choice for each held-out subject.
        fingerprint: that of the dataset, the only one whose folds these are.
    """

    name: str
    folds: Mapping[str, Choice]
    fingerprint: str

    def check(self, dataset: str, fingerprint: str, folds: Sequence[Fold]) -> None:
        """Check that these are choices for the folds of a dataset.

        Raises:
            UserError: it is another dataset, or a fold has none.
        """
        if fingerprint != self.fingerprint:
            raise UserError(
                f"{self.name}: was found on another dataset than '{dataset}'; on this one its genotypes may have seen "
                "the subjects that they are tested on; retrain it on the dataset that it was found on, with all of its "
                "databases"
            )
        if missing := [fold.subject for fold in folds if fold.subject not in self.folds]:
            raise UserError(f"{self.name}: has no genotype for {listed(missing)}, whose search failed or is not begun")


def nested_of(run: Run[SearchConfig]) -> Nested:
    """Return what a nested search found.

    Raises:
        UserError: it has no genotypes yet.
    """
    space, folder = space_of(run), run.path / "folds"
    folds = {}
    for file in sorted(folder.rglob("*.yaml")):
        genotype, fold = Genotype.load(file), file.relative_to(folder).with_suffix("").as_posix()
        recipe = run.path / "recipes" / "folds" / f"{fold}.yaml"
        folds[fold] = Choice(
            space.accept(genotype, str(file)), genotype, load_recipe(recipe, Recipe) if recipe.is_file() else None
        )
    if not folds:
        raise UserError(f"{run.path}: has no genotypes; make them with: nas-mer derive {run.path}")
    return Nested(run.name, folds, run.config.dataset.fingerprint)
