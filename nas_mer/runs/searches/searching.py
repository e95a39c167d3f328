"""The search command: a space searched with one or several seeds, in a run folder.

space.yaml, seeds/..., studies.db    what the searches came to, see `nas_mer.runs.searches.config`
genotypes/top1.yaml ...              the best genotypes by the mean of all searches
folds/smic/s01.yaml                  the best genotype of each fold of a nested search, by the mean of its seeds
recipes/top1.yaml, folds/...         the recipe of each of these, where keys of the recipe were tuned
"""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas_mer.compute import Compute
from nas_mer.errors import UserError
from nas_mer.files import replacing, write_text
from nas_mer.placed_yaml import write_yaml
from nas_mer.runs.folder import DatasetReference, Progress, Run, by_one_process, check_input, create_run
from nas_mer.runs.searches.config import (
    Protocol,
    SearchConfig,
    SharedStorage,
    findings,
    replicas_of,
    space_of,
    strategy_of,
    studies_of,
)
from nas_mer.runs.searches.findings import Findings
from nas_mer.runs.searches.one_by_one import run_studies
from nas_mer.runs.searches.supernets import train_supernets
from nas_mer.runs.tensorboard import follow
from nas_mer.search import ONE_BY_ONE, SearchRecipe, SupernetStrategy, TrialStrategy, find_strategy, read_tune
from nas_mer.search.decided import overlap
from nas_mer.search.tuning import Axis, Values, changed
from nas_mer.seeds import Seeds, numbers_of
from nas_mer.space import Genotype, SearchSpace
from nas_mer.train import Recipe


def search(
    space: SearchSpace,
    dataset: Path,
    recipe: SearchRecipe | Recipe,
    out: Path,
    seeds: Seeds = 1,
    top: int = 3,
    protocol: Protocol = "shared",
    compute: Compute = Compute(),
    progress: Progress | None = None,
    tensorboard: bool = False,
    strategy: str = "darts",
    budget: float | None = None,
    storage: str | None = None,
    tune: Sequence[str] = (),
    objectives: Sequence[str] = ("uar",),
) -> Run[SearchConfig]:
    """Search a space and derive its best genotypes.

    The training subjects are split into two halves. Weights are trained on one; on the other alphas are trained, or
    genotypes judged.

    Args:
        space: the space, with the sizes to build it in.
        dataset: the dataset's folder.
        recipe: how: of a supernet, or for a strategy that trains genotypes one by one, a retraining recipe.
        out: the run folder to make.
        seeds: of independent searches, how many or which; genotypes come from the mean of what they found.
        top: how many genotypes to derive.
        protocol: `shared` searches once over the whole dataset, as the paper does: the architecture has then seen every
            subject, so a LOSO score of it on the same dataset is optimistic. `nested` searches inside each fold of
            leave-one-subject-out, on its training subjects alone, and gives each fold a genotype of its own.
        compute: where and how; no choice changes the result, but for rounding between devices and sizes of groups.
        progress: told of every epoch, or of every genotype that is judged.
        tensorboard: write TensorBoard events, too.
        strategy: a name of `nas_mer.search.STRATEGIES`.
        budget: what each search may cost, in training steps of one network (`nas_mer.search.cost`); it sets the epochs
            of a supernet, or the number of genotypes that are trained one by one.
        storage: the URL of an Optuna storage, on which runs on many machines work together; the run folder without.
        tune: what is drawn along with a genotype, of a strategy that trains them one by one: parameters of the space
            and keys of the recipe, with their values, as `nas_mer.search.read_tune` takes them.
        objectives: what such a strategy makes better: names of `nas_mer.search.OBJECTIVES`, the UAR among them.

    Raises:
        UserError: an argument is wrong, or contradicts another.
    """
    _check_top(top)
    if budget is not None and not math.isfinite(budget):
        raise UserError(f"--budget: must be a finite number of steps, found {budget}")
    reference, data = DatasetReference.of(dataset)
    check_input(space, data)
    if not space.decisions:
        raise UserError(f"{space.file}: has no decision, so there is nothing to search")
    way, numbers, trials = find_strategy(strategy), numbers_of(seeds), None
    axes: tuple[Axis, ...] = ()
    replicas = replicas_of(data, numbers, protocol)  # before a run is made: can it be split?
    halves = list(replicas.values())
    if isinstance(way, TrialStrategy):
        recipe = way.accept(recipe)
        axes = read_tune(tune, space, recipe)
        trials = way.trials(budget, space, recipe, halves, axes)
    else:
        recipe = way.accept(recipe)
        if budget is not None:
            recipe = way.within(budget, space, recipe, halves)
        if storage is not None:
            raise UserError(f"--storage: strategy {strategy} keeps no study; leave it out")
        if tune or tuple(objectives) != ("uar",):
            raise UserError(
                f"{'--tune' if tune else '--objectives'}: strategy {strategy} trains one supernet for all genotypes; "
                f"take one that trains them one by one: {', '.join(ONE_BY_ONE)}"
            )
    config = SearchConfig(
        dataset=reference,
        seeds=numbers,
        recipe=recipe,
        parameters=dict(space.overrides),
        strategy=strategy,
        trials=trials,
        storage=None if storage is None else SharedStorage(url=storage, asker=uuid.uuid4().hex),
        tune=axes,
        objectives=tuple(objectives),
        protocol=protocol,
        top=top,
    )
    if storage is not None:
        studies_of(out, config, space, replicas)
    compute.check()

    def fill(folder: Path) -> None:
        write_text(folder / "space.yaml", space.source)
        if tensorboard:
            follow(folder)

    run = create_run(out, "search", config, fill)
    return continue_search(run, compute, progress)


@by_one_process
def continue_search(
    run: Run[SearchConfig], compute: Compute = Compute(), progress: Progress | None = None
) -> Run[SearchConfig]:
    """Do what a search run lacks: the same result as if it had never been stopped.

    Lost is one epoch of a supernet at most, or the genotypes that were being trained.
    """
    strategy, recipe, dataset = strategy_of(run), run.config.recipe, run.config.dataset.load()
    if isinstance(recipe, Recipe):
        run_studies(run, recipe, dataset, compute, progress)
    elif isinstance(strategy, SupernetStrategy):
        train_supernets(run, strategy, recipe, dataset, compute, progress)
    found = findings(run)
    run.finish(_result(run, found, _write(run, found, run.config.top)))
    return run


def derive(run: Run[SearchConfig], top: int) -> list[Genotype]:
    """Write and return the `top` best genotypes (mean over searches), as far as the search is.

    The best have the greatest joint weight or, where options have no weights, the greatest validation UAR. Of a nested
    search the best genotype of each fold is written, too.

    Raises:
        UserError: `top` is not at least 1, the search has found nothing yet, or all its searches failed.
    """
    _check_top(top)
    return _write(run, findings(run), top)


def _check_top(top: int) -> None:
    if top < 1:
        raise UserError(f"--top: must be at least 1, found {top}")


def _write(run: Run[SearchConfig], found: Findings, top: int) -> list[Genotype]:
    """Write and return the genotypes to keep of what was found, and of a nested search the best of each fold.

    A genotype's sizes are in its file; what was tuned of the recipe is written as a recipe of its own.
    """
    space, recipe = space_of(run), run.config.recipe
    count = len({member.seed for member in found.members})
    origin = (
        f"search {run.name}, strategy {run.config.strategy}, protocol {run.config.protocol}, {count} seed(s) "
        f"{found.extent}"
    )
    recipes: dict[str, Recipe] = {}

    def note(place: str, changes: Values) -> None:
        if isinstance(recipe, Recipe) and changes:
            recipes[place] = changed(recipe, changes)

    genotypes = []
    with replacing(run.path / "genotypes") as folder:
        for genotype, changes in found.kept(space, top):
            name = f"top{genotype.rank}"
            genotypes.append(replace(genotype, name=name, origin=origin, space_file="../space.yaml"))
            genotypes[-1].save(folder / f"{name}.yaml")
            note(name, changes)
    if run.config.protocol == "nested":
        with replacing(run.path / "folds") as folder:
            for fold, (genotype, changes) in found.fold_kept(space).items():
                above = "../" * (fold.count("/") + 1)
                named = replace(
                    genotype, name="nested", origin=f"{origin}, fold {fold}", space_file=f"{above}space.yaml"
                )
                named.save(folder / f"{fold}.yaml")
                note(f"folds/{fold}", changes)
    if recipes:
        with replacing(run.path / "recipes") as folder:
            for place, tuned in recipes.items():
                write_yaml(folder / f"{place}.yaml", tuned.model_dump(mode="json"))
    return genotypes


def _result(run: Run[SearchConfig], found: Findings, genotypes: list[Genotype]) -> dict[str, Any]:
    """Return what came out of a search, for `result.json`."""
    space, top = space_of(run), run.config.top
    tops = {member: found.of([member]).top(space, top) for member in found.members}
    result: dict[str, Any] = {
        "genotypes": [genotype_as_json(genotype) for genotype in genotypes],
        **found.result(space, top),
        "overlap": overlap(space, list(tops.values())),
        "failures": {str(member): why for member, why in found.failures.items()},
    }
    if run.config.protocol == "nested":
        chosen = found.fold_genotypes(space)
        result["folds"] = {fold: genotype_as_json(genotype) for fold, genotype in chosen.items()}
        result["chosen"] = shares(list(chosen.values()), space)
    else:
        result["seeds"] = {
            str(member.seed): {
                "valid_uar": found.valid_uar(member),
                "genotypes": [genotype_as_json(genotype) for genotype in top],
            }
            for member, top in tops.items()
        }
    return result


def shares(genotypes: Sequence[Genotype], space: SearchSpace) -> dict[str, dict[str, float]]:
    """Return decision -> option -> the share of genotypes that choose it."""
    counts = {decision: Counter(genotype.choices[decision] for genotype in genotypes) for decision in space.decisions}
    return {
        decision: {option: counts[decision][option] / len(genotypes) for option in options}
        for decision, options in space.decisions.items()
    }


def genotype_as_json(genotype: Genotype) -> dict[str, Any]:
    """Return rank, joint weight, choices, and sizes that differ from the space's file, as `--json` shows them."""
    about = {"rank": genotype.rank, "weight": genotype.weight, "choices": dict(genotype.choices)}
    return about | {"parameters": dict(genotype.parameters)}
