"""What a trained genotype said of every sample while that sample's subject was held out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

from nas_mer.errors import UserError
from nas_mer.words import listed

_DTYPES = {
    "databases": np.str_,
    "subjects": np.str_,
    "clips": np.str_,
    "labels": np.int64,
    "predicted": np.int64,
    "logits": np.float32,
}


@dataclass(frozen=True, eq=False)
class Predictions:
    """The pooled test predictions of one (genotype, seed) over all its folds: N samples of C classes.

    Samples are keyed by (subject, clip) and may stand in any order. Sequences are turned into arrays.

    Attributes:
        genotype: its name or digest.
        seed: the seed its replicas were trained with; None where those of several seeds speak together (`averaged`).
        classes: the C names of the classes.
        databases: `(N,)` names.
        subjects: `(N,)` names `database/subject`.
        clips: `(N,)` names, unique within a subject.
        labels: `(N,)` int64, true class in `0..C-1`.
        predicted: `(N,)` int64, predicted class in `0..C-1`.
        logits: `(N, C)` float32, finite.

    Raises:
        UserError: there is no sample, lengths differ, an index or logit is out of range, a sample occurs twice, or a
            subject does not carry its database's name.
    """

    genotype: str
    seed: int | None
    classes: tuple[str, ...]
    databases: NDArray[np.str_]
    subjects: NDArray[np.str_]
    clips: NDArray[np.str_]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    logits: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=dtype))
        problems = self._wrong_shapes() or self._wrong_values()
        if problems:
            raise UserError("\n".join(f"predictions of {self}: {problem}" for problem in problems))

    def __str__(self) -> str:
        return self.genotype if self.seed is None else f"{self.genotype} (seed {self.seed})"

    def _repr_html_(self) -> str:
        from nas_mer.score.scores import score  # scores are made of predictions
        from nas_mer.score.tables import class_table

        return class_table(score(self, resamples=0)).html()

    @property
    def folds(self) -> int:
        """The number of distinct subjects, each of which was held out once."""
        return len(np.unique(self.subjects))

    @property
    def database_names(self) -> tuple[str, ...]:
        """The distinct databases in order of first appearance."""
        return tuple(dict.fromkeys(self.databases.tolist()))

    def only(self, database: str) -> Predictions:
        """Return the samples of one database.

        Raises:
            UserError: no sample is of that database.
        """
        members = self.databases == database
        if not members.any():
            known = ", ".join(self.database_names)
            raise UserError(f"predictions of {self}: no sample of database '{database}'; there are: {known}")
        return replace(self, **{name: getattr(self, name)[members] for name in _DTYPES})

    def keys(self) -> list[tuple[str, str]]:
        """Return each sample's (subject, clip)."""
        return list(zip(self.subjects.tolist(), self.clips.tolist(), strict=True))

    def _wrong_shapes(self) -> list[str]:
        samples, classes = len(self.labels), len(self.classes)
        if samples == 0:
            return ["there are no samples"]
        expected = dict.fromkeys(_DTYPES, (samples,)) | {"logits": (samples, classes)}
        shapes = {name: getattr(self, name).shape for name in _DTYPES}
        return [
            f"{name} has shape {shapes[name]}, expected {shape} for {samples} labels of {classes} classes"
            for name, shape in expected.items()
            if shapes[name] != shape
        ]

    def _wrong_values(self) -> list[str]:
        classes = len(self.classes)
        keys = np.array(["/".join(key) for key in self.keys()])
        _, sample, times = np.unique(keys, return_inverse=True, return_counts=True)
        wrong = {
            f"labels must be in 0..{classes - 1}, not so for": (self.labels < 0) | (self.labels >= classes),
            f"predicted must be in 0..{classes - 1}, not so for": (self.predicted < 0) | (self.predicted >= classes),
            "logits must be finite (did the training diverge?), not so for": ~np.isfinite(self.logits).all(axis=1),
            "subjects must read database/subject, not so for": ~np.strings.startswith(
                self.subjects, np.strings.add(self.databases, "/")
            ),
            "each (subject, clip) must occur once, not so for": times[sample] > 1,
        }
        return [f"{rule} {listed(dict.fromkeys(keys[where].tolist()))}" for rule, where in wrong.items() if where.any()]


def check_same_samples(first: Predictions, other: Predictions) -> None:
    """Check that both predict the same samples, with the same labels of the same classes.

    Raises:
        UserError: they do not; what differs is listed.
    """
    if first.classes != other.classes:
        raise UserError(
            f"{first} and {other} have different classes: {', '.join(first.classes)} and {', '.join(other.classes)}"
        )
    ours, theirs = (dict(zip(side.keys(), side.labels.tolist(), strict=True)) for side in (first, other))
    differing = {
        "only the first has": ours.keys() - theirs.keys(),
        "only the second has": theirs.keys() - ours.keys(),
        "differently labelled are": {key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]},
    }
    problems = [f"{what} {listed(map('/'.join, sorted(keys)))}" for what, keys in differing.items() if keys]
    if problems:
        raise UserError(
            f"{first} and {other} do not cover the same samples; resume what is unfinished, or score them apart:\n"
            + "\n".join(problems)
        )


def fullest(seeds: Sequence[Predictions]) -> list[Predictions]:
    """Return those seeds of a genotype that cover the most samples, all of them the same.

    Means over seeds and comparisons are fair between these only; the others lack folds that failed or are to come.
    """
    covered = [set(item.keys()) for item in seeds]
    most = max(covered, key=len)
    return [item for item, samples in zip(seeds, covered, strict=True) if samples == most]


def seeds_of(predictions: Iterable[Predictions]) -> tuple[int, ...]:
    """Return the seeds of predictions; an average has none of its own."""
    return tuple(item.seed for item in predictions if item.seed is not None)


def averaged(*seeds: Predictions) -> Predictions:
    """Let the networks of several seeds speak together, by the mean of their softmax probabilities.

    The result is one system with a name of its own. Its logits are the logarithms of the mean probabilities.

    Args:
        seeds: at least one; predictions of one genotype for the same samples, with different seeds.

    Raises:
        UserError: nothing was given, the genotypes or the samples differ, or a seed occurs twice.
    """
    check_seeds(seeds)
    first = seeds[0]
    keys = first.keys()
    places = [{key: place for place, key in enumerate(item.keys())} for item in seeds]
    logits = np.stack([item.logits[[place[key] for key in keys]] for item, place in zip(seeds, places, strict=True)])
    name = f"{first.genotype}, {len(seeds)} seed{'s' if len(seeds) > 1 else ''} averaged"
    return together(name, first, logits)


def together(name: str, samples: Predictions, logits: NDArray[np.floating]) -> Predictions:
    """Let networks speak together, by the mean of their softmax probabilities.

    Args:
        name: what to call them.
        samples: what they speak of.
        logits: `(R, N, classes)` of R networks, in the order of the samples.
    """
    speaking = log_softmax(logits.astype(np.float64), axis=-1)
    pooled = logsumexp(speaking, axis=0) - np.log(len(logits))  # never the logarithm of 0
    return replace(samples, genotype=name, seed=None, predicted=pooled.argmax(axis=1), logits=pooled)


def check_seeds(seeds: Sequence[Predictions]) -> None:
    """Check that these are predictions of one genotype for the same samples, each with its own seed.

    Raises:
        UserError: they are not, or there are none.
    """
    if not seeds:
        raise UserError("there are no predictions to score; has any fold finished?")
    first = seeds[0]
    genotypes = dict.fromkeys(item.genotype for item in seeds)
    if len(genotypes) > 1:
        raise UserError(f"seeds are averaged for one genotype at a time, found {listed(genotypes)}")
    numbers = seeds_of(seeds)
    if repeated := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise UserError(f"{first.genotype}: predictions given more than once for seed {listed(repeated)}")
    for item in seeds[1:]:
        check_same_samples(first, item)
