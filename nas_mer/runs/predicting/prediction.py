"""What the trained networks of a retraining run say of a clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from nas_mer.nn.activation import enlarged
from nas_mer.runs.folder import Run
from nas_mer.runs.predicting.cases import Case
from nas_mer.runs.predicting.networks import network_of, trained_networks
from nas_mer.runs.retrainings.config import RetrainConfig, places_of
from nas_mer.space import Graph
from nas_mer.workers import one_thread


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


def predict(
    run: Run[RetrainConfig], case: Case, genotype: str | None = None, graph_of: Callable[[Path], Graph] | None = None
) -> Prediction:
    """Ask the networks of a run about a clip: those of all folds and seeds.

    If the clip is the dataset's, those that its subject was held out from alone: the others were trained on it.

    Args:
        run: the run.
        case: the clip.
        genotype: its name in the run, which may be left out if there is one only.
        graph_of: see `graph_reader`; one for several clips reads each genotype once.

    Raises:
        UserError: no such genotype, no network is trained, or a file is damaged.
    """
    name = network_of(run, genotype)
    asked = [p for p in places_of(run) if p.genotype == name and case.fold in (None, p.fold)]
    trained, notes = trained_networks(run, asked, graph_of)
    with one_thread():  # one map is too little for several
        looks = {(place.seed, place.fold): found.look(case.flow_map[None]) for place, found in trained.items()}
    hops = dict.fromkeys(hop for look in looks.values() for hop in look.attention)
    return Prediction(
        case=case,
        genotype=name,
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
