"""From a search space to its table: which networks to retrain, and what came out of them in one file."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_mer.data import Sample
from nas_mer.errors import UserError, refuse
from nas_mer.runs import RetrainConfig, Run, predictions
from nas_mer.runs.folder import DatasetReference
from nas_mer.runs.retrainings.config import genotype_file, samples_of
from nas_mer.seeds import Seeds, numbers_of, seeds_in_words
from nas_mer.space import Genotype, SearchSpace, load_genotype
from nas_mer.space.isomorphism import Distinct
from nas_mer.tabular.about import FORMAT, About, DatasetSource, SpaceSource
from nas_mer.tabular.table import Benchmark, name_of
from nas_mer.train import Recipe, load_recipe
from nas_mer.train.recipe import RECIPES
from nas_mer.words import listed, plural

NAMED = 10
"""How many of the networks that are missing are named."""


def networks(space: SearchSpace, limit: int | None = None) -> list[tuple[SearchSpace, Genotype]]:
    """Return every network of a space, named by its options, for `nas_mer.runs.retrain`.

    Of isomorphic genotypes it is the first in the order of options.

    Args:
        space: the space, at the sizes to build it in.
        limit: how many genotypes it may have; None for any number.

    Raises:
        UserError: it has more, or the names of two are the same.
    """
    if limit is not None and space.size > limit:
        raise UserError(
            f"{space.file}: has {plural(space.size, 'genotype')}, and each is trained once for every seed and subject; "
            f"to do so nevertheless, set --limit (now {limit})"
        )
    found = [replace(genotype, name=name_of(space, genotype.choices)) for genotype, _ in _distinct(space, Distinct())]
    names = [genotype.label for genotype in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{space.file}: two genotypes would be called '{twice[0]}'; rename an option of the space")
    return [(space, replace(genotype, origin="the whole space")) for genotype in found]


def missing_from(
    table: Path,
    whole: Sequence[tuple[SearchSpace, Genotype]],
    dataset: Path,
    recipe: Recipe,
    databases: Sequence[str] | None = None,
    seeds: Seeds = 1,
) -> list[tuple[SearchSpace, Genotype]]:
    """Return the networks that a table does not have with all of these seeds: those to retrain so that it is whole.

    Args:
        table: its file.
        whole: the networks of its space; see `networks`.
        dataset, recipe, databases, seeds: how they are to be retrained; see `nas_mer.runs.retrain`.

    Raises:
        UserError: the file is no table, or its networks were not retrained so; or it has all of them.
    """
    known, numbers = _of_table(table), numbers_of(seeds)
    space, _ = whole[0]
    reference, data = DatasetReference.of(dataset, databases)
    _check_alike("this run", _asked(space, _about(space, reference, recipe, data.classes, {})), known)
    distinct = Distinct()
    there = {(distinct.number(space.graph.freeze(one.choices)), one.seed) for one in known.trained}
    left = []
    for one, genotype in whole:
        number = distinct.number(space.graph.freeze(genotype.choices))
        if not there.issuperset((number, seed) for seed in numbers):
            left.append((one, genotype))
    if not left:
        raise UserError(f"{table}: has every network of {space.file} with seed {listed(numbers)}; ask for other seeds")
    return left


Source = Run[RetrainConfig] | Path
"""A retraining run, or the file of a table."""


def pack(sources: Sequence[Source], name: str, partial: bool = False) -> Benchmark:
    """Make the table of a space from finished retraining runs, and tables, that have all its networks between them.

    Args:
        sources: at least one; all of one space at the same sizes, on one dataset, by one recipe. Each may have other
            networks and other seeds.
        name: what to call it.
        partial: take runs as far as they are, and of networks and seeds those that have all predictions of each other;
            where there is a choice, the most predictions.

    Raises:
        UserError: a file is no table; a run is not finished, or a source differs from the first; a network, a seed of
            one or a prediction is missing; or two sources have the same network with the same seed and say different
            things of it.
    """
    first, *others = opened = [_of_run(one, partial) if isinstance(one, Run) else _of_table(one) for one in sources]
    where = listed(source.where for source in opened)
    for other in others:
        _check_alike(first.where, _asked(first.space, first.about), other)
    space, distinct, found = first.space, Distinct(), dict[tuple[int, int], _Trained]()
    for one in itertools.chain.from_iterable(source.trained for source in opened):
        known = found.setdefault((distinct.number(space.graph.freeze(one.choices)), one.seed), one)
        if not np.array_equal(known.predicted, one.predicted):
            raise UserError(
                f"{known.where} and {one.where} are the same network and predict differently with seed {one.seed}; "
                "leave one out"
            )
    if not found:
        raise UserError(f"{where}: no network is trained on all folds yet; continue with: nas-mer runs resume RUN")
    seeds = _fullest_seeds(found) if partial else tuple(sorted({seed for _, seed in found}))
    rows, lacking = dict[int, Mapping[str, str]](), list[str]()
    for genotype, number in _distinct(space, distinct):
        if gone := [seed for seed in seeds if (number, seed) not in found]:
            lacking.append(f"{name_of(space, genotype.choices)} with seed {listed(gone)}")
        else:
            rows[number] = genotype.choices
        if len(lacking) >= NAMED:
            break
    if lacking and not partial:
        raise UserError(f"{where}: without networks of {space.name} that its table needs, such as {'; '.join(lacking)}")
    if lacking:  # the space may be too large to go through for those that are left

        def place(one: tuple[int, Mapping[str, str]]) -> list[int]:
            return [options.index(one[1][name]) for name, options in space.decisions.items()]

        left = {
            number: one.choices
            for (number, _), one in found.items()
            if number not in rows and all((number, seed) in found for seed in seeds)
        }
        rows |= dict(sorted(left.items(), key=place))

    about = first.about.model_copy(
        update={
            "seeds": seeds,
            "genotypes": tuple(map(dict, rows.values())),
            "partial": bool(lacking),
            "versions": _joined([one.about.versions for one in opened]),
            "command": _command(space, first.about, seeds),
        }
    )
    trained = [[found[number, seed] for seed in seeds] for number in rows]
    with np.errstate(over="ignore"):  # what is too great becomes infinite, which a table refuses
        logits = np.stack([[one.logits.astype(np.float16) for one in row] for row in trained])
    predicted = np.stack([[one.predicted.astype(np.uint8) for one in row] for row in trained])
    return Benchmark(name, about, first.subjects, first.labels, logits, predicted)


@dataclass(frozen=True, eq=False)
class _Trained:
    """A network of one seed.

    Attributes:
        where: the source, and what it is called there.
        choices: one option for each decision.
        seed: the seed.
        logits: `(N, C)`, samples in the dataset's order.
        predicted: `(N,)`.
    """

    where: str
    choices: Mapping[str, str]
    seed: int
    logits: NDArray[np.floating]
    predicted: NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class _Source:
    """A run or a table, as a part of a table.

    Attributes:
        where: what it is called.
        space: the space of its genotypes, at their sizes.
        about: what it is of; of a run, without genotypes.
        subjects: `(N,)` names `database/subject`.
        labels: `(N,)` true class.
        trained: all of its networks, once.
    """

    where: str
    space: SearchSpace
    about: About
    subjects: NDArray[np.str_]
    labels: NDArray[np.uint8]
    trained: Iterator[_Trained]


def _fullest_seeds(found: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Return the seeds for which the most predictions are there, of networks that have all of them.

    Args:
        found: networks, each with a seed.
    """
    seeds: dict[int, frozenset[int]] = {}
    for number, seed in found:
        seeds[number] = seeds.get(number, frozenset()) | {seed}
    sets = set(seeds.values())  # the best is what some of these have in common
    for one in frozenset(sets):
        sets |= {one & other for other in sets}
    return max(
        sorted(tuple(sorted(some)) for some in sets if some),
        key=lambda some: len(some) * sum(each.issuperset(some) for each in seeds.values()),
    )


def _joined(versions: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return all versions of each program."""
    programs = dict.fromkeys(program for one in versions for program in one)
    said = {program: [one[program].split(", ") for one in versions if program in one] for program in programs}
    return {program: ", ".join(dict.fromkeys(itertools.chain(*each))) for program, each in said.items()}


def _distinct(space: SearchSpace, distinct: Distinct) -> Iterator[tuple[Genotype, int]]:
    """Iterate over the networks of a space, each as its first genotype and with its number among the distinct ones."""
    seen = set[int]()
    for genotype in space:
        if (number := distinct.number(space.graph.freeze(genotype.choices))) not in seen:
            seen.add(number)
            yield genotype, number


def _of_table(file: Path) -> _Source:
    """Return a table as a part of another."""
    table = Benchmark.load(file)

    def trained() -> Iterator[_Trained]:
        for place, genotype in enumerate(table.genotypes):
            where = f"{file}:{genotype.label}"
            for column, seed in enumerate(table.seeds):
                said = table.logits[place, column], table.predicted[place, column]
                yield _Trained(where, genotype.choices, seed, *said)

    return _Source(str(file), table.space, table.about, table.subjects, table.labels, trained())


def _of_run(run: Run[RetrainConfig], partial: bool) -> _Source:
    """Return a run as a part of a table.

    Raises:
        UserError: it is not finished, unless it may be partial; or it has no genotypes, or genotypes of several spaces
            or sizes, or that differ between folds.
    """
    if not (run.finished or partial):
        raise UserError(f"{run.path}: is not finished; continue it with: nas-mer runs resume {run.path}")
    if not run.config.genotypes:
        raise UserError(f"{run.path}: has {listed(run.config.names)} alone; a table holds networks")
    files = {name: genotype_file(run, name, "") for name in run.config.genotypes}
    if several := [name for name, file in files.items() if not file.is_file()]:
        raise UserError(f"{run.path}: '{several[0]}' has a genotype for each fold; a table holds single ones")
    genotypes = {name: Genotype.load(file) for name, file in files.items()}
    examples = {(one.space_hash, *sorted(one.parameters.items())): name for name, one in genotypes.items()}
    spaces = {}
    for name in examples.values():
        space, _ = load_genotype(files[name])
        spaces[space.described] = name, space
    if len(spaces) > 1:
        found = "; ".join(f"{name} of {described}" for described, (name, _) in spaces.items())
        raise UserError(f"{run.path}: a table has one space at one size, found {found}")
    config, samples = run.config, samples_of(run)
    about = _about(space, config.dataset, config.recipe, config.classes, run.about["versions"])
    subjects = np.array([f"{sample.database}/{sample.subject}" for sample in samples])
    labels = np.array([config.classes.index(sample.label) for sample in samples], dtype=np.uint8)
    return _Source(str(run.path), space, about, subjects, labels, _trained(run, samples, space, genotypes, partial))


def _about(
    space: SearchSpace, dataset: DatasetReference, recipe: Recipe, classes: tuple[str, ...], versions: dict[str, str]
) -> About:
    """Return what a table of a space retrained so is of, but for its seeds and genotypes."""
    return About.model_construct(
        format=FORMAT,
        space=SpaceSource(name=space.name, hash=space.hash, source=space.source, parameters=dict(space.overrides)),
        dataset=DatasetSource(**dataset.model_dump(exclude={"path", "clips", "magnified"})),
        recipe=recipe,
        protocol="loso",
        classes=classes,
        versions=versions,
    )


def _check_alike(where: str, ours: Mapping[str, Any], other: _Source) -> None:
    """Check that a source differs from another in its networks and seeds at most.

    Args:
        where: what the other is called.
        ours: what its networks have in common; see `_asked`.
        other: the source.

    Raises:
        UserError: they differ otherwise; all that differs is listed.
    """
    theirs = _asked(other.space, other.about)
    refuse(
        [
            f"{other.where}: {what} {theirs[what]}, but {value} in {where}; a table has one"
            for what, value in ours.items()
            if theirs[what] != value
        ]
    )


def _asked(space: SearchSpace, about: About) -> dict[str, Any]:
    """Return what the networks of a table have in common."""
    return {
        "space": space.described,
        "dataset fingerprint": about.dataset.fingerprint,
        "classes": listed(about.classes),
        "protocol": about.protocol,
        **{f"recipe.{key}": value for key, value in about.recipe.leaves()},
    }


def _trained(
    run: Run[RetrainConfig],
    samples: Sequence[Sample],
    space: SearchSpace,
    genotypes: Mapping[str, Genotype],
    partial: bool,
) -> Iterator[_Trained]:
    """Iterate over the networks of a run.

    Raises:
        UserError: a sample was not predicted with every seed, unless the run may be partial.
    """
    keys = [(f"{sample.database}/{sample.subject}", sample.clip) for sample in samples]
    found = {(one.genotype, one.seed): one for one in predictions(run, begun=not partial)}
    rows: dict[tuple[str, int], list[int]] = {}
    problems = []
    for name, seed in itertools.product(run.config.genotypes, run.config.seeds):
        said = {key: row for row, key in enumerate(found[name, seed].keys())} if (name, seed) in found else {}
        if missing := ["/".join(key) for key in keys if key not in said]:
            problems.append(f"{run.path}:{name}: has no prediction with seed {seed} of {listed(missing, 3)}")
        else:
            rows[name, seed] = [said[key] for key in keys]
    refuse([] if partial else problems)
    for (name, seed), order in rows.items():
        one, choices = found[name, seed], space.genotype(genotypes[name].choices).choices
        yield _Trained(f"{run.path}:{name}", choices, seed, one.logits[order], one.predicted[order])


def _command(space: SearchSpace, about: About, seeds: Sequence[int]) -> str:
    """Return the command that retrains a space so, without the places of its files."""
    shipped = {file.stem: load_recipe(file.stem, Recipe) for file in sorted(RECIPES.glob("*.yaml"))}
    recipe = next((name for name, one in shipped.items() if one == about.recipe), "RECIPE.yaml")
    words = ["nas-mer", "benchmark", "run", space.name, "--data", about.dataset.name]
    words += ["--recipe", recipe, "--seeds", seeds_in_words(seeds)]
    for name, value in space.overrides.items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    if about.dataset.databases:
        words += ["--databases", ",".join(about.dataset.databases)]
    return shlex.join(words)
