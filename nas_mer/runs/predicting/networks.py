"""The trained networks of a retraining run, as they take maps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_mer.data.dataset import resized
from nas_mer.errors import UserError
from nas_mer.nn import Activation, Network, activation
from nas_mer.runs.folder import Run
from nas_mer.runs.retrainings.config import Place, RetrainConfig, genotype_file, genotype_of, places_of, recipe_of
from nas_mer.runs.tensors import read_tensors
from nas_mer.space import INPUT, Graph, load_genotype
from nas_mer.train.batches import Normaliser
from nas_mer.train.states import part
from nas_mer.words import did_you_mean, listed


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network of a run, with what brings maps to the form that it was trained on.

    Attributes:
        network: in evaluation mode.
        normaliser: with what was learned of the training samples.
    """

    network: Network
    normaliser: Normaliser

    def __call__(self, maps: NDArray[np.float32]) -> Tensor:
        """Return logits `(N, classes)` of maps `(N, 3, H, W)` as they are in the dataset, of any size."""
        return self.look(maps).logits

    def look(self, maps: NDArray[np.float32]) -> Activation:
        """Return logits, and what the network looks at, of maps `(N, 3, H, W)` as they are in the dataset."""
        size = self.network.graph.shapes[INPUT].height
        return activation(self.network, self.normaliser(resized(maps, size)))


def trained_network(run: Run[RetrainConfig], genotype: str, seed: int, fold: str) -> TrainedNetwork:
    """Load the network that a run has trained of a genotype with a seed, while a subject was held out.

    Args:
        run: the run; ops that its spaces take from a user's file must be loaded.
        genotype: its name in the run.
        seed: one of the run's.
        fold: the held-out subject, `database/subject`.

    Raises:
        UserError: there is no such training, it failed or is still to come, or a file is damaged.
    """
    place = Place(genotype, seed, fold)
    known = [each.about for each in places_of(run)]
    for what, asked in place.about.items():
        if asked not in (names := {each[what] for each in known}):
            raise UserError(f"{run.path}: has no {what} '{asked}'{did_you_mean(str(asked), map(str, names))}")
    if not place.file(run).is_file():
        raise UserError(
            f"{run.path}: {genotype}, seed {seed}, fold {fold} is not trained yet; continue the run with: "
            f"nas-mer runs resume {run.path}"
        )
    found = _load(run, place, graph_reader())
    if isinstance(found, str):
        raise UserError(f"{run.path}: {genotype}: the training failed: {found}")
    return found


def trained_networks(
    run: Run[RetrainConfig], places: Sequence[Place], graph_of: Callable[[Path], Graph] | None = None
) -> tuple[dict[Place, TrainedNetwork], list[str]]:
    """Load those of some networks of a run that are trained; return also what to know of the others.

    Raises:
        UserError: none of them is trained, or a file is damaged.
    """
    graph_of = graph_of or graph_reader()
    loaded = {place: _load(run, place, graph_of) for place in places if place.file(run).is_file()}
    failures = [found for found in loaded.values() if isinstance(found, str)]
    trained = {place: found for place, found in loaded.items() if isinstance(found, TrainedNetwork)}
    missing = len(places) - len(loaded)
    notes = (
        [f"{len(failures)} of {len(places)} trainings failed and have no say: {listed(failures, 3)}"]
        if failures
        else []
    )
    notes += [f"{missing} of {len(places)} trainings are still to come"] if missing else []
    if not trained:
        hint = f"; continue it with: nas-mer runs resume {run.path}" if missing else ""
        raise UserError(f"{run.path}: no network is trained of {places[0].genotype}: {'; '.join(notes)}{hint}")
    return trained, notes


def network_of(run: Run[RetrainConfig], name: str | None) -> str:
    """Return the name of one of a run's genotypes; see `genotype_of`.

    Raises:
        UserError: see there; or it is a handcrafted descriptor, of which there is no network.
    """
    found = genotype_of(run, name)
    if found in run.config.handcrafted:
        raise UserError(f"{run.path}: {found} is a handcrafted descriptor with a support vector machine, not a network")
    return found


def graph_reader() -> Callable[[Path], Graph]:
    """Return what reads the network's graph of a genotype's file, each file once."""

    @functools.cache
    def graph(file: Path) -> Graph:
        space, genotype = load_genotype(file)
        return space.freeze(genotype)

    return graph


def _load(run: Run[RetrainConfig], place: Place, graph_of: Callable[[Path], Graph]) -> TrainedNetwork | str:
    """Return a network that a run has trained, or why its training failed."""
    file = place.file(run)
    tensors, about = read_tensors(file)
    if about["failure"]:
        return str(about["failure"])
    with torch.random.fork_rng(devices=[]):  # the initial weights are drawn for nothing
        network = Network(graph_of(genotype_file(run, place.genotype, place.fold)), len(run.config.classes)).eval()
    own = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    weights = {name: tensor for name, tensor in tensors.items() if name in own}
    try:
        network.load_state_dict(weights, strict=False)  # a shared parameter is there once, and so in the file
    except RuntimeError as error:
        raise UserError(f"{file}: holds another network than its genotype's ({error})") from None
    if missing := own.keys() - weights.keys():
        raise UserError(f"{file}: holds another network than its genotype's; it lacks {listed(sorted(missing), 3)}")
    recipe = recipe_of(run, place.genotype, place.fold)
    return TrainedNetwork(network, Normaliser(recipe.normalise, **part(tensors, "normaliser")))
