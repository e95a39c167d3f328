"""What a retraining was asked for, and where it keeps what.

genotypes/rcn-f.yaml, spaces/...            what is trained
genotypes/nested/smic/s01.yaml              the same of a nested search or a choice, which has one for each fold
recipes/choice/smic/s01.yaml                the recipe that a choice has for a fold
samples.csv                                 the dataset's manifest
replicas/rcn-f/0/smic/s01.safetensors       logits, losses and network of one (genotype, seed, held-out subject)
replicas/bi-woof/0/smic/s01.safetensors     decision values of a descriptor's classifier
checkpoints/...                             trainings on their way, until the run is finished
predictions.csv                             every sample's prediction, when the run is finished
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from nas_mer.data import CLASSES, Sample
from nas_mer.data.dataset import COLUMNS as SAMPLE_COLUMNS
from nas_mer.data.tables import read_rows
from nas_mer.errors import UserError
from nas_mer.handcrafted import AnyDescriptor
from nas_mer.runs.folder import Config, Run
from nas_mer.train import Recipe, load_recipe
from nas_mer.words import did_you_mean, listed


class RetrainConfig(Config):
    """What a retraining was asked for.

    Attributes:
        recipe: how networks are trained.
        genotypes: their names in the run.
        handcrafted: descriptors by their names.
        classes: of the dataset.
        protocol: what is held out.
    """

    recipe: Recipe
    genotypes: tuple[str, ...]
    handcrafted: dict[str, AnyDescriptor] = Field(default_factory=dict)
    classes: tuple[str, ...] = CLASSES
    protocol: str = "loso"

    @property
    def names(self) -> tuple[str, ...]:
        """Those of all that is trained."""
        return (*self.genotypes, *self.handcrafted)


@dataclass(frozen=True)
class Place:
    """Where a replica's results belong.

    Attributes:
        genotype: its name in the run.
        seed: the seed.
        fold: the held-out subject, `database/subject`.
    """

    genotype: str
    seed: int
    fold: str

    def __str__(self) -> str:
        return f"{self.genotype}, seed {self.seed}, {self.fold}"

    @property
    def about(self) -> dict[str, Any]:
        """Its parts by name."""
        return {"genotype": self.genotype, "seed": self.seed, "fold": self.fold}

    def file(self, run: Run[RetrainConfig]) -> Path:
        """Return where its logits and network are kept once it is trained."""
        return run.path / "replicas" / self.genotype / str(self.seed) / f"{self.fold}.safetensors"

    def checkpoint(self, run: Run[RetrainConfig]) -> Path:
        """Return where it is kept until it is trained."""
        return checkpoints_of(run) / self.genotype / str(self.seed) / f"{self.fold}.safetensors"


def places_of(run: Run[RetrainConfig]) -> list[Place]:
    """Return the places of all replicas that a run asks for."""
    trained = [*itertools.product(run.config.genotypes, run.config.seeds)]
    trained += [(name, run.config.seeds[0]) for name in run.config.handcrafted]
    return [Place(name, seed, fold) for (name, seed), fold in itertools.product(trained, samples_by_fold(run))]


def samples_of(run: Run[RetrainConfig]) -> list[Sample]:
    """Return the samples of a run, in the order of its dataset."""
    return [Sample(*row.of(SAMPLE_COLUMNS)) for row in read_rows(run.path / "samples.csv", SAMPLE_COLUMNS)]


def samples_by_fold(run: Run[RetrainConfig]) -> dict[str, list[Sample]]:
    """Return the samples of each fold, in the order of the fold's test indices."""
    folds: dict[str, list[Sample]] = {}
    for sample in samples_of(run):
        folds.setdefault(f"{sample.database}/{sample.subject}", []).append(sample)
    return folds


def genotype_file(run: Run[RetrainConfig], genotype: str, fold: str) -> Path:
    """Return where a genotype lies; that of a nested search or a choice has a file for each fold."""
    folder = run.path / "genotypes" / genotype
    return folder / f"{fold}.yaml" if folder.is_dir() else folder.with_name(f"{genotype}.yaml")


def genotype_of(run: Run[RetrainConfig], name: str | None) -> str:
    """Return the name of one of a run's genotypes or descriptors, its only one if no name is given.

    Raises:
        UserError: the run has none of that name, or several of which none is named.
    """
    known = run.config.names
    if name is None and len(known) > 1:
        raise UserError(
            f"{run.path}: holds {len(known)} genotypes; name one, as in {run.path}:{known[0]}; known: {listed(known)}"
        )
    if name is not None and name not in known:
        raise UserError(f"{run.path}: has no genotype '{name}'{did_you_mean(name, known)}")
    return name or known[0]


def recipe_of(run: Run[RetrainConfig], genotype: str, fold: str) -> Recipe:
    """Return how a genotype is trained in a fold: as was chosen for that fold, or else as the run's others are."""
    file = run.path / "recipes" / genotype / f"{fold}.yaml"
    return load_recipe(file, Recipe) if file.is_file() else run.config.recipe


def checkpoints_of(run: Run[RetrainConfig]) -> Path:
    """Return the folder of trainings on their way."""
    return run.path / "checkpoints"
