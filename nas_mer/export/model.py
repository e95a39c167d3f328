"""What is exported: networks behind their normalisers, and what there is to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from nas_mer import __version__
from nas_mer.data import CLASSES
from nas_mer.errors import UserError
from nas_mer.export.parts import Ensemble
from nas_mer.nn import Network
from nas_mer.runs import RetrainConfig, Run
from nas_mer.runs.predicting import network_of, trained_networks
from nas_mer.runs.retrainings.config import Place, genotype_file, places_of, recipe_of
from nas_mer.space import INPUT, Genotype, SearchSpace, Shape, load_genotype
from nas_mer.train.batches import Normaliser
from nas_mer.words import did_you_mean, listed


class Raw(nn.Module):
    """A network behind its normaliser: raw flow maps to logits.

    Args:
        network: the network.
        normaliser: what brings maps to the form that it was trained on; what that learned becomes buffers.
    """

    def __init__(self, network: Network, normaliser: Normaliser) -> None:
        super().__init__()
        self.network = network
        self.kind = normaliser.kind
        for name, value in normaliser.learned.items():
            self.register_buffer(name, value)

    @property
    def normaliser(self) -> Normaliser:
        """What stands before the network."""
        return Normaliser(self.kind, **dict(self.named_buffers(recurse=False)))

    def forward(self, maps: Tensor) -> Tensor:
        """Return logits `(N, classes)` of maps `(N, C, size, size)` as they are in a dataset."""
        return cast("Tensor", self.network(self.normaliser(maps)))


@dataclass(frozen=True, eq=False)
class Model:
    """Networks of one graph with the same normaliser, and what there is to know of them.

    Attributes:
        networks: at least one, in evaluation mode.
        classes: the names of the classes, in the order of the logits.
        about: what to tell whoever finds the exported file: genotype, choices, where the weights are from.
        trained: whether the weights mean anything.
        notes: what to tell whoever exports it.
    """

    networks: tuple[Raw, ...]
    classes: tuple[str, ...]
    about: Mapping[str, str]
    trained: bool
    notes: tuple[str, ...] = ()

    @property
    def module(self) -> nn.Module:
        """From raw maps to logits: of several networks, those whose softmax is the mean of their probabilities."""
        return self.networks[0] if len(self.networks) == 1 else Ensemble(self.networks).eval()

    @property
    def shape(self) -> Shape:
        """The shape of a map."""
        return self.networks[0].network.graph.shapes[INPUT]

    def maps(self, count: int) -> Tensor:
        """Return made-up maps `(count, C, size, size)` to try it on."""
        return torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(count))


def model_of_genotype(space: SearchSpace, genotype: Genotype, seed: int = 0) -> Model:
    """Return the network of a genotype with fresh weights, and without a normaliser, which is a matter of recipes.

    Raises:
        UserError: the genotype is of another space.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(space.freeze(genotype)).eval()
    return Model(
        (Raw(network, Normaliser("none")),), CLASSES, {**_about(genotype), "weights": "not trained"}, trained=False
    )


def model_of_run(
    run: Run[RetrainConfig], genotype: str | None = None, seed: int | None = None, fold: str | None = None
) -> Model:
    """Return networks that a retraining run has trained.

    By default those of all its folds and seeds, whose probabilities are averaged as `nas-mer predict` does. Each has
    seen all subjects but its fold's.

    Args:
        run: the run; it may be in progress.
        genotype: its name in the run, which may be left out if there is one only.
        seed: the networks of this seed alone.
        fold: the networks of this fold alone, by its held-out subject, `database/subject`. Of a nested search, whose
            folds have networks of different forms, one must be given.

    Raises:
        UserError: the run has no such network, none is trained, or a file is damaged.
    """
    name = network_of(run, genotype)
    places = [place for place in places_of(run) if place.genotype == name]
    asked = {what: value for what, value in (("seed", seed), ("fold", fold)) if value is not None}
    for what, value in asked.items():
        known = list(dict.fromkeys(place.about[what] for place in places))
        if value not in known:
            raise UserError(f"{run.path}: has no {what} '{value}'{did_you_mean(str(value), map(str, known))}")
        places = [place for place in places if place.about[what] == value]
    files = {genotype_file(run, name, place.fold) for place in places}
    if len(files) > 1:
        example = places[0].fold
        raise UserError(f"{run.path}: {name} has another network in each fold; choose one, as in --fold {example}")
    trained, notes = trained_networks(run, places)
    _, kept = load_genotype(files.pop())
    recipe = recipe_of(run, name, places[0].fold)
    about = {
        **_about(kept),
        "genotype": name,
        "normalise": recipe.normalise,
        "weights": f"trained by the run {run.name}, protocol {run.config.protocol}: {_told(list(trained))}",
        "dataset": f"{run.config.dataset.name} ({run.config.dataset.fingerprint})",
    }
    return Model(
        tuple(Raw(one.network, one.normaliser) for one in trained.values()),
        run.config.classes,
        about,
        trained=True,
        notes=tuple(notes),
    )


def _about(genotype: Genotype) -> dict[str, str]:
    about = {
        "genotype": genotype.label,
        "digest": genotype.digest,
        "space": f"{genotype.space} ({genotype.space_hash})",
        "choices": genotype.text,
        "origin": genotype.origin,
        "exported by": f"nas_mer {__version__}",
    }
    return {what: text for what, text in about.items() if text}


def _told(places: list[Place]) -> str:
    """Return which networks these are, in words."""
    if len(places) == 1:
        return f"seed {places[0].seed}, without {places[0].fold}"
    seeds = listed(str(seed) for seed in dict.fromkeys(place.seed for place in places))
    folds = {place.fold for place in places}
    whose = f"without {folds.pop()}" if len(folds) == 1 else f"each without one of {len(folds)} subjects"
    return f"the mean probabilities of {len(places)} networks of seeds {seeds}, {whose}"
