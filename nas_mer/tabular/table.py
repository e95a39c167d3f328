"""The table of a search space: what each of its networks said of every sample while that sample's subject was held out.

Tabular benchmarks (NAS-Bench-101, Ying et al., 2019; NAS-Bench-201, Dong and Yang, 2020) make search strategies
comparable without training anything. This one keeps predictions, not scores alone, so that intervals over subjects,
paired tests and validation on any part of the subjects can be had from it.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from nas_mer.data import Dataset, Sample, bilevel_halves
from nas_mer.errors import UserError, refuse
from nas_mer.files import replacing
from nas_mer.placed_yaml import Node
from nas_mer.score import RESAMPLES, Comparison, Predictions, ScoreRow, compare, confusion, score, uar, uf1
from nas_mer.score.predictions import together
from nas_mer.score.tables import score_table
from nas_mer.search import ONE_BY_ONE, Ranked, Study, Trial, TrialStrategy, find_strategy, ranked
from nas_mer.search.optuna_study import open_storage
from nas_mer.search.strategies import TRIALS
from nas_mer.space import INPUT, Genotype, SearchSpace
from nas_mer.space.genotype import in_words
from nas_mer.space.isomorphism import Distinct
from nas_mer.tabular.about import FORMAT, About
from nas_mer.words import did_you_mean, listed, plural

ARRAYS = ("about", "subjects", "labels", "logits", "predicted")
"""What a file holds."""

SHOWN = 10
"""How many of the best genotypes a notebook shows."""

Which = str | Mapping[str, str] | Genotype
"""A genotype: a name in the table or in the space's file, one option for each decision, or itself."""


@dataclass(frozen=True, eq=False)
class Benchmark:
    """G networks of a search space, each retrained with K seeds under leave-one-subject-out on N samples of C classes.

    Samples stand in the dataset's order. Their clips have running numbers instead of names.

    Attributes:
        name: what it is called.
        about: what it is of, and how it was made.
        subjects: `(N,)` names `database/subject`.
        labels: `(N,)` uint8, true class in `0..C-1`.
        logits: `(G, K, N, C)` float16, finite.
        predicted: `(G, K, N)` uint8, the class of the greatest logit.

    Raises:
        UserError: shapes, types or values are not these, the subjects are not in a dataset's order, a genotype is not
            of the space or occurs twice, or the space is read otherwise by now.
    """

    name: str
    about: About = field(repr=False)
    subjects: NDArray[np.str_] = field(repr=False)
    labels: NDArray[np.uint8] = field(repr=False)
    logits: NDArray[np.float16] = field(repr=False)
    predicted: NDArray[np.uint8] = field(repr=False)

    def __post_init__(self) -> None:
        refuse([f"{self.name}: {problem}" for problem in self._wrong_shapes() or self._wrong_values()])
        for array in (self.subjects, self.labels, self.logits, self.predicted):
            array.setflags(write=False)
        try:
            refuse(self._wrong_space() or self._wrong_rows())
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from None

    def _wrong_shapes(self) -> list[str]:
        about, samples = self.about, self.labels.size
        genotypes, seeds, classes = len(about.genotypes), len(about.seeds), len(about.classes)
        expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
            "subjects": (np.str_, (samples,)),
            "labels": (np.uint8, (samples,)),
            "logits": (np.float16, (genotypes, seeds, samples, classes)),
            "predicted": (np.uint8, (genotypes, seeds, samples)),
        }
        found = {name: getattr(self, name) for name in expected}
        return [
            f"{name} is {found[name].dtype} of shape {found[name].shape}, expected {kind.__name__} of {shape}"
            for name, (kind, shape) in expected.items()
            if (found[name].dtype.type, found[name].shape) != (kind, shape)
        ]

    def _wrong_values(self) -> list[str]:
        classes = len(self.about.classes)
        problems = [
            f"{name} must be in 0..{classes - 1}, found {values.max()}"
            for name, values in (("labels", self.labels), ("predicted", self.predicted))
            if values.max(initial=0) >= classes
        ]
        if twice := [seed for seed, times in Counter(self.about.seeds).items() if times > 1]:
            problems.append(f"seeds that occur more than once: {listed(twice)}")
        if not len(self.labels):
            problems.append("there are no samples")
        if not np.isfinite(self.logits).all():
            problems.append("logits must be finite and at most 65504, the greatest of float16")
        elif not problems:
            said = np.take_along_axis(self.logits, self.predicted[..., None], axis=-1)[..., 0]
            if (said < self.logits.max(axis=-1)).any():
                problems.append("predicted is not the class of the greatest logit")
        return problems

    def _wrong_space(self) -> list[str]:
        name, recorded = self.about.space.name, self.about.space.hash
        if self.space.hash == recorded:
            return []
        return [f"its space '{name}' reads as {self.space.hash}, not as {recorded}; was it packed by another version?"]

    def _wrong_rows(self) -> list[str]:
        problems = []
        names = Counter(genotype.label for genotype in self.genotypes)
        if twice := [name for name, times in names.items() if times > 1]:
            problems.append(f"genotypes that occur more than once: {listed(twice)}")
        if not np.array_equal(self._samples.subjects, self.subjects):
            problems.append("the subjects are not in a dataset's order, by database and subject")
        return problems

    @classmethod
    def load(cls, path: Path) -> Benchmark:
        """Read a table; it is called as its file.

        Raises:
            UserError: there is no such file, it is no table, is damaged, or is of another format.
        """
        arrays = _read(path)
        try:
            about = json.loads(arrays["about"].item())
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}: its 'about' is no JSON ({error})") from None
        head = Node(about, ("about",), str(path), {}).mapping()
        if (found := about.get("format")) != FORMAT:
            raise UserError(
                f"{path}: is a table of format {found}, this version of nas_mer reads format {FORMAT}; take a version "
                "that fits it"
            )
        try:
            return cls(path.stem, head.into(About), *(arrays[name] for name in ARRAYS[1:]))
        except UserError as error:
            text = str(error)
            raise UserError(text if text.startswith(str(path)) else f"{path}: {text}") from None

    def save(self, path: Path) -> None:
        """Write the table, whole or not at all; the same table is the same bytes."""
        about = np.array(json.dumps(self.about.model_dump(mode="json"), sort_keys=True))
        with replacing(path) as fresh, fresh.open("wb") as file:
            # numpy dates each part of the archive 1980.
            np.savez_compressed(
                file,
                about=about,
                subjects=self.subjects,
                labels=self.labels,
                logits=self.logits,
                predicted=self.predicted,
            )

    @cached_property
    def space(self) -> SearchSpace:
        """The search space, at the sizes of the networks."""
        source = self.about.space
        return SearchSpace.parse(source.source, f"{source.name}.yaml", **source.parameters)

    @cached_property
    def genotypes(self) -> tuple[Genotype, ...]:
        """The G genotypes, named by their options."""
        found = map(self.space.genotype, self.about.genotypes)
        origin = f"benchmark {self.name}"
        return tuple(replace(one, name=name_of(self.space, one.choices), origin=origin) for one in found)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The K seeds."""
        return self.about.seeds

    @property
    def classes(self) -> tuple[str, ...]:
        """The C names of the classes."""
        return self.about.classes

    @property
    def size(self) -> int:
        """The side of the networks' input maps, in pixels."""
        return self.space.graph.shapes[INPUT].height

    @cached_property
    def confusions(self) -> NDArray[np.int64]:
        """`(G, K, S, C, C)` true class by row, predicted class by column; subjects in the order of their names."""
        subjects, owner = np.unique(self.subjects, return_inverse=True)
        genotypes, seeds, classes = len(self.genotypes), len(self.seeds), len(self.classes)
        counts = np.zeros((genotypes, seeds, len(subjects), classes, classes), dtype=np.int64)
        genotype, seed = np.ogrid[:genotypes, :seeds]
        np.add.at(counts, (genotype[..., None], seed[..., None], owner, self.labels, self.predicted), 1)
        return counts

    @cached_property
    def uar(self) -> NDArray[np.float64]:
        """`(G, K)` unweighted average recall in 0..1, pooled over folds."""
        return uar(self.confusions.sum(axis=2))

    @cached_property
    def uf1(self) -> NDArray[np.float64]:
        """`(G, K)` unweighted F1 in 0..1, pooled over folds."""
        return uf1(self.confusions.sum(axis=2))

    @cached_property
    def ranking(self) -> NDArray[np.int64]:
        """`(G,)` places of the genotypes, the greatest UAR (mean over seeds) first, of equals the greatest UF1."""
        return np.lexsort((-self.uf1.mean(axis=1), -self.uar.mean(axis=1)))

    def place(self, genotype: Which) -> int:
        """Return the place of a genotype's network in the table, in `0..G-1`.

        Isomorphic genotypes are one network. A genotype of the same space at other sizes counts as the one here.

        Raises:
            UserError: the genotype is not of the space, or the table does not have it.
        """
        if isinstance(genotype, str):
            names = {one.label: one.choices for one in reversed(self.genotypes)} | dict(self.space.named)
            if genotype not in names:
                raise UserError(f"{self.name}: has no genotype '{genotype}'{did_you_mean(genotype, names)}")
            choices = names[genotype]
        elif isinstance(genotype, Genotype):
            self.space.accept(genotype, f"{self.name}: genotype {genotype.label}")
            choices = genotype.choices
        else:
            choices = genotype
        choices = self.space.genotype(choices).choices
        key = self._key(choices)
        if key not in self._places:
            self._places[key] = self._isomorphic(choices)
        return self._places[key]

    def predictions(self, genotype: Which, seed: int) -> Predictions:
        """Return what a genotype's networks of one seed said of every sample.

        They are named by the genotype's options, clips by running numbers.

        Raises:
            UserError: see `place`; or the table does not have the seed.
        """
        place = self.place(genotype)
        return self._predictions(self.genotypes[place].label, seed, place)

    def score(self, genotype: Which, resamples: int = RESAMPLES) -> ScoreRow:
        """Return the scores of a genotype, mean over seeds, with intervals over subjects; see `nas_mer.score.score`.

        Raises:
            UserError: see `place`.
        """
        return score(*self._of_all_seeds(genotype), resamples=resamples)

    def compare(self, a: Which, b: Which, resamples: int = RESAMPLES) -> Comparison:
        """Compare two genotypes, each by its mean over seeds, subjects paired; see `nas_mer.score.compare`.

        Raises:
            UserError: see `place`.
        """
        return compare(self._of_all_seeds(a), self._of_all_seeds(b), resamples)

    def folds(self, chosen: Mapping[str, Which], seed: int) -> Predictions:
        """Return the predictions of a nested search: each subject's are those of the genotype chosen for it.

        Args:
            chosen: by subject (`database/subject`) the genotype that was chosen without it.
            seed: of the networks.

        Raises:
            UserError: a subject has no genotype or is not of the table; see `place`; or the table does not have the
                seed.
        """
        known = dict.fromkeys(self.subjects.tolist())
        if strange := [subject for subject in chosen if subject not in known]:
            raise UserError(f"{self.name}: has no subject '{strange[0]}'{did_you_mean(strange[0], known)}")
        if missing := [subject for subject in known if subject not in chosen]:
            raise UserError(f"{self.name}: no genotype is chosen for {listed(missing)}")
        places = {subject: self.place(genotype) for subject, genotype in chosen.items()}
        return self._predictions("nested", seed, np.array([places[subject] for subject in self.subjects.tolist()]))

    def together(self, *genotypes: Which) -> Predictions:
        """Let the networks of some genotypes and all seeds speak together, by the mean of their softmax probabilities.

        With all genotypes nothing is chosen: no subject has a say in it, held out or not.

        Args:
            genotypes: each once; none is all.

        Returns:
            what one system of that many networks says, for `nas_mer.score.score` and `compare`; its logits are the
            logarithms of the mean probabilities.

        Raises:
            UserError: see `place`; or two are the same network.
        """
        places = [self.place(genotype) for genotype in genotypes or self.genotypes]
        if twice := [self.genotypes[place].label for place, times in Counter(places).items() if times > 1]:
            raise UserError(f"{self.name}: networks that are named more than once: {listed(twice)}")
        networks = self.logits[places].reshape(-1, len(self.labels), len(self.classes))
        samples = self._predictions("", self.seeds[0], places[0])
        return together(f"{plural(len(networks), 'network')} together", samples, networks)

    def halves(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the indices of the weights' and the alphas' half that a search over all subjects has with a seed.

        Raises:
            UserError: the subjects cannot be split.
        """
        return bilevel_halves(self._samples, np.arange(len(self.labels)), seed)

    def search(self, strategy: str, trials: int = TRIALS, seed: int = 0) -> list[Ranked]:
        """Search the space by a strategy that judges genotypes one by one, without training anything.

        A trial's validation UAR and loss are those of the table's predictions of the alphas' half of the subjects (see
        `halves`), with the table's seed number `seed % K` in all trials; it sees no other prediction. A real search
        judges a network on the same half, but trains it on the other half alone. Here a prediction comes from a network
        that was trained on all other subjects, those of both halves: on about twice as many samples, a network for each
        subject. Strategies can be compared in this way; what a search would score cannot be told.

        Args:
            strategy: `random`, `tpe` or `evolution`.
            trials: how many different networks to judge, at most.
            seed: of the draws and of the halves.

        Returns:
            the genotypes that were judged, the best first.

        Raises:
            UserError: there is no such strategy, it trains a supernet, `trials` or `seed` is out of range, the subjects
                cannot be split, or the strategy drew a network that the table does not have.
        """
        way = find_strategy(strategy)
        if not isinstance(way, TrialStrategy):
            raise UserError(
                f"strategy {strategy} trains a supernet, which no table holds; take {', '.join(ONE_BY_ONE)}"
            )
        if trials < 1 or seed < 0:
            raise UserError(f"trials must be at least 1 and the seed at least 0, found {trials} and {seed}")
        half, column = self.halves(seed)[1], seed % len(self.seeds)
        study = Study(self.space, open_storage(None), self.name, (seed,), way.sampler, trials, {})
        while batch := study.batch():
            for asked in batch:
                study.tell(asked.number, self._trial(asked.choices, column, half))
        return ranked(self.space, [study.trials().values()])

    def _repr_html_(self) -> str:
        best = [self.score(self.genotypes[place]) for place in self.ranking[:SHOWN]]
        return score_table(best, f"{self.title}; the best {len(best)}").html()

    @property
    def title(self) -> str:
        """What it is of, in words."""
        genotypes, size, data = plural(len(self.genotypes), "genotype"), f"{self.size}x{self.size}", self.about.dataset
        databases = f" ({listed(data.databases)})" if data.databases else ""
        some = ", not all," if self.about.partial else ""
        return f"{self.name}: {genotypes}{some} of {self.space.name} at {size} on {data.name}{databases}"

    def _trial(self, choices: Mapping[str, str], column: int, half: NDArray[np.int64]) -> Trial:
        """Return what the networks of one seed are worth on some samples."""
        place, labels = self.place(choices), self.labels[half].astype(np.int64)
        counts = confusion(labels, self.predicted[place, column, half], len(self.classes))
        logs = log_softmax(self.logits[place, column, half].astype(np.float64), axis=-1)
        return Trial(choices, float(uar(counts)), -float(logs[np.arange(len(half)), labels].mean()))

    def _of_all_seeds(self, genotype: Which) -> list[Predictions]:
        return [self.predictions(genotype, seed) for seed in self.seeds]

    def _predictions(self, name: str, seed: int, places: int | NDArray[np.int64]) -> Predictions:
        """Return the predictions of one genotype, or of one for each sample."""
        if seed not in self.seeds:
            raise UserError(f"{self.name}: has no seed {seed}; there are {listed(self.seeds)}")
        column, samples = self.seeds.index(seed), np.arange(len(self.labels))
        return Predictions(
            genotype=name,
            seed=seed,
            classes=self.classes,
            databases=self._samples.databases,
            subjects=self.subjects,
            clips=np.array([sample.clip for sample in self._samples.samples]),
            labels=self.labels.astype(np.int64),
            predicted=self.predicted[places, column, samples].astype(np.int64),
            logits=self.logits[places, column, samples].astype(np.float32),
        )

    @cached_property
    def _samples(self) -> Dataset:
        """The samples as a dataset of blank maps, for what only asks whose and of which class they are."""
        seen: Counter[str] = Counter()
        digits = len(str(len(self.labels)))
        samples = []
        for subject, label in zip(self.subjects.tolist(), self.labels.tolist(), strict=True):
            seen[subject] += 1
            database, _, person = subject.partition("/")
            samples.append(Sample(database, person, f"{seen[subject]:0{digits}}", self.classes[label]))
        return Dataset(self.name, np.zeros((len(samples), 3, 1, 1), np.float32), tuple(samples), self.classes)

    @cached_property
    def _places(self) -> dict[tuple[str, ...], int]:
        """The places of the genotypes by their options; those of isomorphic ones are added as they are met."""
        return {self._key(genotype.choices): place for place, genotype in enumerate(self.genotypes)}

    def _key(self, choices: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(choices[decision] for decision in self.space.decisions)

    def _isomorphic(self, choices: Mapping[str, str]) -> int:
        """Return the place of a network that the table has under other options."""
        distinct, numbers = self._networks
        number = distinct.number(self.space.graph.freeze(choices))
        if number not in numbers:
            raise UserError(f"{self.name}: has no network with {in_words(choices)}")
        return numbers[number]

    @cached_property
    def _networks(self) -> tuple[Distinct, dict[int, int]]:
        """The networks, and the place of each by its number among them."""
        distinct = Distinct()
        graphs = [self.space.graph.freeze(genotype.choices) for genotype in self.genotypes]
        return distinct, {distinct.number(graph): place for place, graph in enumerate(graphs)}


def name_of(space: SearchSpace, choices: Mapping[str, str]) -> str:
    """Return a genotype's options joined by `-`; decisions of few options come first, and order those of many."""
    order = sorted(space.decisions, key=lambda decision: len(space.decisions[decision]))
    return "-".join(choices[decision] for decision in order)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; a table is a .npz file, made of runs by: nas-mer benchmark pack RUN")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: not a benchmark's table: it is no .npz archive, or was cut short")
    try:
        with np.load(path, allow_pickle=False) as file:
            if missing := [name for name in ARRAYS if name not in file]:
                raise UserError(f"{path}: not a benchmark's table: it has no {listed(missing)}")
            return {name: file[name] for name in ARRAYS}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not readable as a benchmark's table ({error}); it may be damaged") from None
