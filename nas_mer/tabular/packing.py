"""From a search space to its table: which networks to retrain, and what came out of them in one file."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_mer.errors import UserError, refuse
from nas_mer.runs import RetrainConfig, Run, predictions
from nas_mer.runs.retrainings.retraining import genotype_file, samples_of
from nas_mer.space import Genotype, SearchSpace, load_genotype
from nas_mer.space.isomorphism import Distinct
from nas_mer.tabular.table import FORMAT, About, Benchmark, DatasetSource, SpaceSource, name_of
from nas_mer.train import Recipe, load_recipe
from nas_mer.train.recipe import RECIPES
from nas_mer.words import listed, plural

LIMIT = 200
"""How many genotypes a space may have if no other number is asked for."""

NAMED = 10
"""How many of the networks that are missing are named."""


def networks(space: SearchSpace, limit: int = LIMIT) -> list[tuple[SearchSpace, Genotype]]:
    """Return every network of a space, named by its options, for `nas_mer.runs.retrain`.

    Of isomorphic genotypes it is the first in the order of options.

    Args:
        space: the space, at the sizes to build it in.
        limit: how many genotypes it may have.

    Raises:
        UserError: it has more, or the names of two are the same.
    """
    if space.size > limit:
        raise UserError(
            f"{space.file}: has {plural(space.size, 'genotype')}, and each is trained once for every seed and subject; "
            f"to do so nevertheless, set --limit (now {limit})"
        )
    found = [replace(genotype, name=name_of(space, genotype.choices)) for genotype, _ in _distinct(space, Distinct())]
    names = [genotype.label for genotype in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{space.file}: two genotypes would be called '{twice[0]}'; rename an option of the space")
    return [(space, replace(genotype, origin="the whole space")) for genotype in found]


def pack(runs: Sequence[Run[RetrainConfig]], name: str) -> Benchmark:
    """Make the table of a space from finished retraining runs that have all its networks between them.

    Args:
        runs: at least one; all of one space at the same sizes, on one dataset, by one recipe, with the same seeds.
        name: what to call it.

    Raises:
        UserError: a run is not finished or differs from the first, a network or a prediction is missing, or two runs
            have the same network and say different things of it.
    """
    first, *others = sources = [_source(run) for run in runs]
    for other in others:
        _check_alike(first, other)
    space, distinct, found = first.space, Distinct(), dict[int, _Retrained]()
    for one in (one for source in sources for one in _retrained(source)):
        known = found.setdefault(distinct.number(space.graph.freeze(one.choices)), one)
        if not np.array_equal(known.predicted, one.predicted):
            raise UserError(
                f"{known} and {one} are the same network and predict differently; leave out one of the runs"
            )
    whole = list(itertools.islice(_distinct(space, distinct), len(found) + NAMED))
    if lacking := [name_of(space, genotype.choices) for genotype, number in whole if number not in found]:
        where = listed(run.path for run in runs)
        raise UserError(
            f"{where}: without networks of {space.name} that its table needs, such as {listed(lacking[:NAMED])}"
        )

    config, samples = first.run.config, samples_of(first.run)
    about = About(
        format=FORMAT,
        space=SpaceSource(name=space.name, hash=space.hash, source=space.source, parameters=dict(space.overrides)),
        dataset=DatasetSource(**config.dataset.model_dump(exclude={"path", "clips"})),
        recipe=config.recipe,
        protocol="loso",
        classes=config.classes,
        seeds=config.seeds,
        genotypes=tuple(dict(genotype.choices) for genotype, _ in whole),
        versions={
            program: ", ".join(dict.fromkeys(run.about["versions"][program] for run in runs))
            for program in first.run.about["versions"]
        },
        command=_command(space, config),
    )
    with np.errstate(over="ignore"):  # what is too great becomes infinite, which a table refuses
        logits = np.stack([found[number].logits for _, number in whole]).astype(np.float16)
    return Benchmark(
        name=name,
        about=about,
        subjects=np.array([f"{sample.database}/{sample.subject}" for sample in samples]),
        labels=np.array([config.classes.index(sample.label) for sample in samples], dtype=np.uint8),
        logits=logits,
        predicted=np.stack([found[number].predicted for _, number in whole]).astype(np.uint8),
    )


@dataclass(frozen=True, eq=False)
class _Source:
    """A finished run, the space of its genotypes at their sizes, and the genotypes by their names in the run."""

    run: Run[RetrainConfig]
    space: SearchSpace
    genotypes: Mapping[str, Genotype]


@dataclass(frozen=True, eq=False)
class _Retrained:
    """A genotype of a run.

    Attributes:
        run: the run.
        name: what it is called there.
        choices: one option for each decision.
        logits: `(K, N, C)`, samples in the dataset's order.
        predicted: `(K, N)`.
    """

    run: Run[RetrainConfig]
    name: str
    choices: Mapping[str, str]
    logits: NDArray[np.float32]
    predicted: NDArray[np.int64]

    def __str__(self) -> str:
        return f"{self.run.path}:{self.name}"


def _distinct(space: SearchSpace, distinct: Distinct) -> Iterator[tuple[Genotype, int]]:
    """Iterate over the networks of a space, each as its first genotype and with its number among the distinct ones."""
    seen = set[int]()
    for genotype in space:
        if (number := distinct.number(space.graph.freeze(genotype.choices))) not in seen:
            seen.add(number)
            yield genotype, number


def _source(run: Run[RetrainConfig]) -> _Source:
    """Return a run as a part of a table.

    Raises:
        UserError: it is not finished, or its genotypes are of several spaces or sizes, or differ between folds.
    """
    if not run.finished:
        raise UserError(f"{run.path}: is not finished; continue it with: nas-mer runs resume {run.path}")
    files = {name: genotype_file(run, name, "") for name in run.config.genotypes}
    if several := [name for name, file in files.items() if not file.is_file()]:
        raise UserError(f"{run.path}: '{several[0]}' has a genotype for each fold; a table holds single ones")
    genotypes = {name: Genotype.load(file) for name, file in files.items()}
    examples = {(one.space_hash, *sorted(one.parameters.items())): name for name, one in genotypes.items()}
    spaces = {}
    for name in examples.values():
        space, _ = load_genotype(files[name])
        spaces[_described(space)] = name, space
    if len(spaces) > 1:
        found = "; ".join(f"{name} of {described}" for described, (name, _) in spaces.items())
        raise UserError(f"{run.path}: a table has one space at one size, found {found}")
    return _Source(run, space, genotypes)


def _check_alike(first: _Source, other: _Source) -> None:
    """Check that two runs differ in their genotypes at most.

    Raises:
        UserError: they differ otherwise; all that differs is listed.
    """
    ours, theirs = _asked(first), _asked(other)
    refuse(
        [
            f"{other.run.path}: {what} {theirs[what]}, but {value} in {first.run.path}; a table has one"
            for what, value in ours.items()
            if theirs[what] != value
        ]
    )


def _asked(source: _Source) -> dict[str, Any]:
    """Return what the genotypes of a table have in common."""
    config = source.run.config
    return {
        "space": _described(source.space),
        "dataset": f"{config.dataset.name} ({config.dataset.fingerprint})",
        "classes": listed(config.classes),
        "seeds": listed(config.seeds),
        "protocol": config.protocol,
        **{f"recipe.{key}": value for key, value in config.recipe.model_dump().items()},
    }


def _described(space: SearchSpace) -> str:
    """Return what tells a space from others, and its sizes."""
    return ", ".join([f"{space.name} {space.hash}", *(f"{name} {value}" for name, value in space.sizes.items())])


def _retrained(source: _Source) -> Iterator[_Retrained]:
    """Iterate over the genotypes of a run.

    Raises:
        UserError: a sample was not predicted with every seed.
    """
    run = source.run
    keys = [(f"{sample.database}/{sample.subject}", sample.clip) for sample in samples_of(run)]
    found = {(one.genotype, one.seed): one for one in predictions(run)}
    rows: dict[tuple[str, int], list[int]] = {}
    problems = []
    for name, seed in itertools.product(run.config.genotypes, run.config.seeds):
        said = {key: row for row, key in enumerate(found[name, seed].keys())} if (name, seed) in found else {}
        if missing := ["/".join(key) for key in keys if key not in said]:
            problems.append(f"{run.path}:{name}: has no prediction with seed {seed} of {listed(missing, 3)}")
        else:
            rows[name, seed] = [said[key] for key in keys]
    refuse(problems)
    for name, genotype in source.genotypes.items():
        seeds = [(found[name, seed], rows[name, seed]) for seed in run.config.seeds]
        yield _Retrained(
            run=run,
            name=name,
            choices=source.space.genotype(genotype.choices).choices,
            logits=np.stack([one.logits[order] for one, order in seeds]),
            predicted=np.stack([one.predicted[order] for one, order in seeds]),
        )


def _command(space: SearchSpace, config: RetrainConfig) -> str:
    """Return the command that retrains a space so, without the places of its files."""
    shipped = {file.stem: load_recipe(file.stem, Recipe) for file in sorted(RECIPES.glob("*.yaml"))}
    recipe = next((name for name, one in shipped.items() if one == config.recipe), "RECIPE.yaml")
    words = ["nas-mer", "benchmark", "run", space.name, "--data", config.dataset.name]
    words += ["--recipe", recipe, "--seeds", str(len(config.seeds))]
    for name, value in space.overrides.items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    if config.dataset.databases:
        words += ["--databases", ",".join(config.dataset.databases)]
    return shlex.join(words)
