"""What a nested search hands on: a genotype for each fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas_mer.data import Fold
from nas_mer.data.tables import listed
from nas_mer.errors import UserError
from nas_mer.runs.folder import Run
from nas_mer.runs.searched import SearchConfig, space_of
from nas_mer.space import Genotype, SearchSpace


@dataclass(frozen=True)
class Nested:
    """What a nested search found: a genotype for each fold, that has not seen the fold's subject.

    Attributes:
        name: what to call it.
        space: the space.
        folds: the genotype of each held-out subject.
        fingerprint: that of the dataset, the only one whose folds these are.
    """

    name: str
    space: SearchSpace
    folds: Mapping[str, Genotype]
    fingerprint: str

    def check(self, dataset: str, fingerprint: str, folds: Sequence[Fold]) -> None:
        """Check that these are genotypes for the folds of a dataset.

        Raises:
            UserError: it is another dataset, or a fold has none.
        """
        if fingerprint != self.fingerprint:
            raise UserError(
                f"{self.name}: is a nested search of another dataset than '{dataset}'; on this one its genotypes may "
                "have seen the subjects that they are tested on; retrain it on the dataset that was searched, with all "
                "of its databases"
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
        genotype = Genotype.load(file)
        space.accept(genotype, str(file))
        folds[file.relative_to(folder).with_suffix("").as_posix()] = genotype
    if not folds:
        raise UserError(f"{run.path}: has no genotypes; make them with: nas-mer derive {run.path}")
    return Nested(run.name, space, folds, run.config.dataset.fingerprint)
