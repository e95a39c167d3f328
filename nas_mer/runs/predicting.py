"""What the trained networks of a retraining run say of a clip, and what they look at."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from nas_mer.data import Dataset
from nas_mer.data.dataset import alike, resized
from nas_mer.data.flow import Floats
from nas_mer.data.frames import Preparation, in_form_of, is_told, map_of, paired, read_footage, thumbnail
from nas_mer.data.importing import read_map
from nas_mer.errors import UserError
from nas_mer.nn import Activation, Network, activation
from nas_mer.nn.activation import enlarged
from nas_mer.runs.folder import Run
from nas_mer.runs.retrainings.config import Place, RetrainConfig, genotype_file, genotype_of, places_of, recipe_of
from nas_mer.runs.retrainings.findings import predictions
from nas_mer.runs.tensors import read_tensors
from nas_mer.score import Predictions, by_genotype, fullest
from nas_mer.space import INPUT, Graph, load_genotype
from nas_mer.train.batches import Normaliser
from nas_mer.train.states import part
from nas_mer.view import Look, look_figure, save
from nas_mer.words import did_you_mean, listed
from nas_mer.workers import one_thread


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
    found = _load(run, place, _graphs())
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
    graph_of = graph_of or _graphs()
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


@dataclass(frozen=True, eq=False)
class Case:
    """What networks are asked about.

    Attributes:
        name: of the clip; `database/subject/clip` if it is the dataset's.
        flow_map: `(3, H, W)` float32, in the form of the dataset's maps.
        u_mirror: the dataset's.
        frames: small pictures of onset and apex, `(2, h, w, 3)` uint8 blue, green, red or `(2, h, w)` grey, or None.
        label: the true class, or None.
        fold: the fold in which its subject was held out, if it is the dataset's; the others have seen it.
        origin: how its map was made.
        spotted: whether its apex was looked for.
    """

    name: str
    flow_map: Floats = field(repr=False)
    u_mirror: float
    frames: NDArray[np.uint8] | None = field(default=None, repr=False)
    label: str | None = None
    fold: str | None = None
    origin: str = "of the dataset"
    spotted: bool = False


def find_case(dataset: Dataset, clip: str, how: Preparation, raw: bool = False, rate: float | None = None) -> Case:
    """Find a clip and its flow map.

    Args:
        dataset: that of the run, whose maps the clip's is to be like.
        clip: `database/subject/clip` of the dataset, or else an NPY file with a map `(3, H, W)`, or what
            `nas_mer.data.frames.read_footage` reads.
        how: what is done to frames; see `preparation_like`.
        raw: whether frames are to be cropped to the face.
        rate: frames a second, where the clip does not tell.

    Raises:
        UserError: there is no such clip, it is not readable, or its map is of another form than the dataset's.
    """
    if (index := _index(dataset, clip)) is not None:
        return _own_case(dataset, index)
    path = Path(clip)
    if not path.exists() and paired(clip) is None:
        raise UserError(f"{clip}: no such file or folder{_nearest(dataset, clip)}")
    if path.suffix.lower() == ".npy":
        return _saved_case(dataset, path)
    footage = read_footage(clip)
    footage = replace(footage, rate=rate or footage.rate)
    flow_map, pair = map_of(footage, how, raw)
    spotted = "" if footage.apex is not None else f" of {len(footage.frames)} (spotted: {how.apex})"
    origin = f"{how.flow} flow and {how.strain} strain from {footage.names[0]} to {footage.names[pair.apex]}{spotted}"
    if how.magnify > 1:
        origin += f", motion magnified {how.magnify:g} times"
    if how.register_pair:
        origin += ", head drift taken out" if pair.registered else ", no head drift found"
    if not is_told(dataset):
        origin += "; the dataset's maps do not tell how they were made, so that this is an assumption"
    frames = np.stack([thumbnail(frame) for frame in pair.frames])
    flow_map = in_form_of(dataset, flow_map)
    return Case(footage.name, flow_map, dataset.u_mirror, frames, origin=origin, spotted=footage.apex is None)


def _own_case(dataset: Dataset, index: int) -> Case:
    frames = None if dataset.frames is None else dataset.frames[index]
    sample = dataset.samples[index]
    fold = str(dataset.subjects[index])
    return Case(str(sample), dataset.maps[index], dataset.u_mirror, frames, sample.label, fold)


def _saved_case(dataset: Dataset, path: Path) -> Case:
    flow_map, u_mirror = read_map(path)
    if u_mirror and not dataset.u_mirror:
        raise UserError(
            f"{path}: holds whole numbers, a map stretched to their range, but the maps of '{dataset.name}' are flow; "
            "save the flow itself, as floating-point numbers"
        )
    return Case(path.stem, in_form_of(dataset, flow_map), dataset.u_mirror, origin="saved")


def _index(dataset: Dataset, clip: str) -> int | None:
    """Return the place of a sample that is called so, up to case and leading zeros."""
    names = [str(sample) for sample in dataset.samples]
    if clip in names:
        return names.index(clip)
    near = [index for index, name in enumerate(names) if alike(name) == alike(clip)]
    return near[0] if len(near) == 1 else None


def _nearest(dataset: Dataset, clip: str) -> str:
    """Return what a clip that is not there may have meant among the dataset's."""
    asked, keys = clip.split("/"), [sample.key for sample in dataset.samples]
    if len(asked) != 3 or asked[0] not in {database for database, _, _ in keys}:
        return f", and clips of '{dataset.name}' are named as {dataset.samples[0]}"
    known = {subject for database, subject, _ in keys if database == asked[0]}
    if asked[1] in known:
        known = {name for database, subject, name in keys if [database, subject] == asked[:2]}
        return f", and {asked[0]}/{asked[1]} has no clip '{asked[2]}'{did_you_mean(asked[2], known)}"
    return f", and {asked[0]} has no subject '{asked[1]}'{did_you_mean(asked[1], known)}"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What R networks say of a clip.

    Attributes:
        case: the clip.
        genotype: its name in the run.
        classes: the C names of the classes.
        networks: (seed, held-out subject) of each network.
        logits: `(R, C)` float32.
        class_maps: `(C, K, K)`, the mean of the networks' class activation maps (see `nas_mer.nn.Activation`).
        attention: `(K, K)` of each hop (source, target), the mean over the networks that have it.
        notes: what else to know.
    """

    case: Case
    genotype: str
    classes: tuple[str, ...]
    networks: tuple[tuple[int, str], ...]
    logits: NDArray[np.float32]
    class_maps: NDArray[np.float32] = field(repr=False)
    attention: Mapping[tuple[str, str], NDArray[np.float32]] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """`(R, C)`, each network's."""
        return np.asarray(softmax(self.logits, axis=1), np.float32)

    @property
    def predicted(self) -> str:
        """The class of the greatest mean probability."""
        return self.classes[int(self.probabilities.mean(axis=0).argmax())]

    def as_json(self) -> dict[str, Any]:
        """Return what the command line tells with `--json`; deviation and range are null for a single network."""
        count = len(self.networks)
        probabilities = self.probabilities.astype(float)
        votes = np.bincount(self.logits.argmax(axis=1), minlength=len(self.classes)) / count
        classes = {}
        for name, values, share in zip(self.classes, probabilities.T, votes.tolist(), strict=True):
            several = count > 1
            classes[name] = {
                "probability": float(values.mean()),
                "deviation": float(values.std(ddof=1)) if several else None,
                "range": np.quantile(values, (0.05, 0.95)).tolist() if several else None,
                "votes": share,
            }
        return {
            "clip": self.case.name,
            "genotype": self.genotype,
            "predicted": self.predicted,
            "label": self.case.label,
            "classes": classes,
            "networks": count,
            "seeds": sorted({seed for seed, _ in self.networks}),
            "folds": sorted({fold for _, fold in self.networks}),
            "held_out": self.case.fold,
            "map": self.case.origin,
            "notes": list(self.notes),
        }


def predict(run: Run[RetrainConfig], case: Case, genotype: str | None = None) -> Prediction:
    """Ask the networks of a run about a clip: those of all folds and seeds.

    If the clip is the dataset's, those that its subject was held out from alone: the others were trained on it.

    Args:
        run: the run.
        case: the clip.
        genotype: its name in the run, which may be left out if there is one only.

    Raises:
        UserError: no such genotype, no network is trained, or a file is damaged.
    """
    return _predict(run, case, network_of(run, genotype), _graphs())


def _predict(run: Run[RetrainConfig], case: Case, genotype: str, graph_of: Callable[[Path], Graph]) -> Prediction:
    asked = [p for p in places_of(run) if p.genotype == genotype and case.fold in (None, p.fold)]
    trained, notes = trained_networks(run, asked, graph_of)
    with one_thread():  # one map is too little for several
        looks = {(place.seed, place.fold): found.look(case.flow_map[None]) for place, found in trained.items()}
    hops = dict.fromkeys(hop for look in looks.values() for hop in look.attention)
    return Prediction(
        case=case,
        genotype=genotype,
        classes=run.config.classes,
        networks=tuple(looks),
        logits=torch.cat([look.logits for look in looks.values()]).numpy(),
        class_maps=_mean([look.classes for look in looks.values()]),
        attention={
            hop: _mean([look.attention[hop] for look in looks.values() if hop in look.attention]) for hop in hops
        },
        notes=tuple(notes),
    )


def _mean(maps: Sequence[Tensor]) -> NDArray[np.float32]:
    """Return the mean of maps `(1, ..., K, K)`, at the size of the largest: those of folds may differ."""
    size = max(one.shape[-1] for one in maps)
    grown = [one if one.shape[-1] == size else enlarged(one, (size, size)) for one in maps]
    return np.asarray(torch.cat(grown).mean(dim=0).numpy(), np.float32)


def _graphs() -> Callable[[Path], Graph]:
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


# --- pictures ---------------------------------------------------------------------------------------------------------


def activation_figure(
    run: Run[RetrainConfig], samples: Sequence[str] | None = None, genotype: str | None = None
) -> Figure:
    """Draw what a run's networks look at in samples of its dataset: see `nas_mer.view.look_figure`.

    Each sample is shown to the networks that its subject was held out from, one a seed; they are averaged.

    Args:
        run: the run.
        samples: `database/subject/clip` of each; those of `chosen_samples` if None.
        genotype: its name in the run; its first if None.

    Raises:
        UserError: the dataset is not there any more or has no such sample, there is no such genotype, or no network
            that may be asked is trained.
    """
    name = network_of(run, genotype or run.config.names[0])
    dataset = run.config.dataset.load()
    if samples is None:
        seeds = by_genotype(predictions(run)).get(name, [])
        if not seeds:
            trained_networks(run, [place for place in places_of(run) if place.genotype == name])  # raises, and says why
        samples = chosen_samples(seeds)
    graph_of = _graphs()
    looks = []
    for sample in samples:
        index = _index(dataset, sample)
        if index is None:
            raise UserError(f"{sample}: no such sample{_nearest(dataset, sample)}")
        looks.append(_look(_predict(run, _own_case(dataset, index), name, graph_of)))
    return look_figure(looks, f"What {name} looks at ({run.name})")


def draw_activation(
    run: Run[RetrainConfig], file: Path, samples: Sequence[str] | None = None, genotype: str | None = None
) -> None:
    """Write `activation_figure` as svg, png or pdf, by the suffix of `file`."""
    save(activation_figure(run, samples, genotype), file)


def draw_prediction(run: Run[RetrainConfig], prediction: Prediction, file: Path) -> None:
    """Draw what a prediction's networks look at, as svg, png or pdf, by the suffix of `file`."""
    save(look_figure([_look(prediction)], f"What {prediction.genotype} looks at ({run.name})"), file)


def chosen_samples(seeds: Sequence[Predictions], each: int = 2) -> list[str]:
    """Choose samples that are typical of what a genotype gets right and wrong.

    Of each class up to `each` right and as many wrong ones, by the mean probabilities of its seeds. They come from the
    databases in turn; of a database's, those come first whose greatest probability is nearest to the median.

    Args:
        seeds: one genotype's predictions.
        each: how many of each kind.

    Returns:
        their names `database/subject/clip`; none of a kind that does not occur.
    """
    full = fullest(seeds)
    first = full[0]
    keys = first.keys()
    places = [dict(zip(one.keys(), range(len(keys)), strict=True)) for one in full]
    logits = [one.logits[[place[key] for key in keys]] for one, place in zip(full, places, strict=True)]
    probabilities = softmax(logits, axis=-1).mean(axis=0)
    right, certainty = probabilities.argmax(axis=1) == first.labels, probabilities.max(axis=1)
    turn, chosen = 0, []
    for label in range(len(first.classes)):
        for wanted in (True, False):
            members = np.flatnonzero((first.labels == label) & (right == wanted))
            left = {
                name: _typical(members[first.databases[members] == name], certainty) for name in first.database_names
            }
            for _ in range(min(each, len(members))):
                names = [*left]
                while not left[names[turn % len(names)]]:
                    turn += 1
                index = left[names[turn % len(names)]].pop(0)
                chosen.append(f"{first.subjects[index]}/{first.clips[index]}")
                turn += 1
    return chosen


def _typical(members: NDArray[np.intp], values: NDArray[np.floating]) -> list[int]:
    """Return members by how near their values are to the median, the nearest first."""
    if not len(members):
        return []
    distance = np.abs(values[members] - np.median(values[members]))
    return [int(member) for member in members[np.argsort(distance, kind="stable")]]


def _look(prediction: Prediction) -> Look:
    case, classes = prediction.case, prediction.classes
    return Look(
        name=case.name,
        flow_map=case.flow_map,
        u_mirror=case.u_mirror,
        frames=case.frames,
        predicted=prediction.predicted,
        label=case.label,
        probabilities=dict(zip(classes, prediction.probabilities.mean(axis=0).tolist(), strict=True)),
        class_maps=dict(zip(classes, prediction.class_maps, strict=True)),
        attention=prediction.attention,
        networks=len(prediction.networks),
    )
