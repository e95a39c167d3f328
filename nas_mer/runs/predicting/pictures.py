"""Pictures of what the trained networks of a retraining run look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import softmax

from nas_mer.runs.folder import Run
from nas_mer.runs.predicting.cases import sample_case
from nas_mer.runs.predicting.networks import graph_reader, network_of, trained_networks
from nas_mer.runs.predicting.prediction import Prediction, predict
from nas_mer.runs.retrainings.config import RetrainConfig, places_of
from nas_mer.runs.retrainings.findings import predictions
from nas_mer.score import Predictions, by_genotype, fullest
from nas_mer.view import Look, look_figure, save


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
    graph_of = graph_reader()
    looks = [_look(predict(run, sample_case(dataset, sample), name, graph_of)) for sample in samples]
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
