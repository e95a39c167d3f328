"""The search command: a supernet searched with one or several seeds, in a run folder.

space.yaml                  the space
seeds/0.safetensors         the last epoch of seed 0: supernet, alphas, optimisers, random states, history
genotypes/top1.yaml ...     the best genotypes by the mean of the seeds' weights
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nas_mer.data import bilevel_halves
from nas_mer.errors import UserError
from nas_mer.files import replacing, sweep, write_text
from nas_mer.runs.folder import (
    Config,
    DatasetReference,
    Progress,
    Run,
    check_input,
    create_run,
    maps_of,
    pick_device,
    pick_workers,
)
from nas_mer.runs.tensors import packed, unpacked, write_tensors
from nas_mer.search import BilevelSearch, DivergedError, Epoch, SearchRecipe
from nas_mer.search.decided import overlap, verdict
from nas_mer.space import INPUT, Genotype, Graph, SearchSpace, same_ops
from nas_mer.train import Maps
from nas_mer.train.recipe import Count
from nas_mer.workers import Report, each


class SearchConfig(Config):
    """What a search was asked for."""

    recipe: SearchRecipe
    parameters: dict[str, int | float | bool]
    protocol: Literal["shared"] = "shared"
    top: Count = 3


@dataclass(frozen=True)
class History:
    """What a search run holds so far: at least one epoch of at least one seed.

    Attributes:
        epochs: the epochs so far of each seed that has begun and did not fail.
        failures: why each other seed stopped without a result.
    """

    epochs: Mapping[int, tuple[Epoch, ...]]
    failures: Mapping[int, str]

    @property
    def seeds(self) -> list[int]:
        """The seeds that have begun and did not fail."""
        return list(self.epochs)

    @property
    def length(self) -> int:
        """The number of epochs that all of these seeds have done."""
        return min(map(len, self.epochs.values()))

    def weights(self) -> dict[str, np.ndarray]:
        """Return decision -> `(seeds, epochs, options)`."""
        common = [epochs[: self.length] for epochs in self.epochs.values()]
        return {
            decision: np.array([[epoch.weights[decision] for epoch in epochs] for epochs in common])
            for decision in common[0][0].weights
        }

    def last(self) -> dict[str, np.ndarray]:
        """Return decision -> `(seeds, options)`, after the last epoch of each seed."""
        ends = [epochs[-1].weights for epochs in self.epochs.values()]
        return {decision: np.array([weights[decision] for weights in ends]) for decision in ends[0]}

    def losses(self) -> dict[str, np.ndarray]:
        """Return `train_loss` and `valid_loss`, `(seeds, epochs)` each."""
        common = [epochs[: self.length] for epochs in self.epochs.values()]
        return {
            name: np.array([[getattr(epoch, name) for epoch in epochs] for epochs in common])
            for name in ("train_loss", "valid_loss")
        }


def search(
    space: SearchSpace,
    dataset: Path,
    recipe: SearchRecipe,
    out: Path,
    seeds: int = 1,
    top: int = 3,
    workers: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Run[SearchConfig]:
    """Search a space over a whole dataset (protocol `shared`, as the paper does) and derive its best genotypes.

    The supernet's weights are trained on one half of the subjects, the architecture weights on the other. The
    architecture has then seen every subject, so a LOSO score of it on the same dataset is optimistic.

    Args:
        space: the space, with the sizes to build it in.
        dataset: the dataset's folder.
        recipe: how.
        out: the run folder to make.
        seeds: how many independent searches, with seeds 0, 1, ...; genotypes come from the mean of their weights.
        top: how many genotypes to derive.
        workers: processes; each search runs in one.
        device: `auto`, `cpu`, `cuda`.
        progress: told of every epoch.
    """
    reference, data = DatasetReference.of(dataset)
    check_input(space, data)
    if not space.decisions:
        raise UserError(f"{space.file}: has no decision, so there is nothing to search")
    config = SearchConfig(
        dataset=reference, seeds=tuple(range(seeds)), recipe=recipe, parameters=dict(space.overrides), top=top
    )
    for seed in config.seeds:  # before a run is made: can it be split?
        bilevel_halves(data, np.arange(len(data)), seed)
    pick_device(device)
    run = create_run(out, "search", config, lambda folder: write_text(folder / "space.yaml", space.source))
    return continue_search(run, workers, device, progress)


def continue_search(
    run: Run[SearchConfig], workers: int | None = None, device: str = "auto", progress: Progress | None = None
) -> Run[SearchConfig]:
    """Do what a search run lacks: the same result as if it had never been stopped, having lost one epoch at most."""
    if run.finished:
        return run
    sweep(run.path)
    config, target = run.config, pick_device(device)
    space, dataset = space_of(run), config.dataset.load()
    data = maps_of(dataset, space.graph.shapes[INPUT].height, target)
    everything = np.arange(len(dataset))
    seeds = {seed: _read_seed(run, seed) for seed in config.seeds}
    tasks = [
        _Task(seed, bilevel_halves(dataset, everything, seed), state.checkpoint)
        for seed, state in seeds.items()
        if len(state.epochs) < config.recipe.epochs and state.failure is None
    ]

    def keep(task: _Task, checkpoint: bytes) -> None:
        write_tensors(_path(run, task.seed), checkpoint)
        seeds[task.seed] = state = _Seed.of(checkpoint)
        run.write_metrics({"seed": seed, **asdict(epoch)} for seed, each_ in seeds.items() for epoch in each_.epochs)
        if progress and state.epochs:
            done = sum(len(each_.epochs) for each_ in seeds.values())
            progress(done, config.recipe.epochs * len(seeds), f"validation UAR {state.epochs[-1].valid_uar:.3f}")

    shared = (space.graph, data, config.recipe)
    for task, checkpoint in each(_search, tasks, shared, pick_workers(workers, target), keep, same_ops()):
        keep(task, checkpoint)
    genotypes = derive(run, config.top)
    run.finish(_result(run, space, genotypes))
    return run


def derive(run: Run[SearchConfig], top: int) -> list[Genotype]:
    """Write and return the `top` genotypes of the greatest joint weight (mean over seeds), as far as the search is.

    Raises:
        UserError: `top` is not at least 1, the search has no finished epoch, or all its seeds failed.
    """
    if top < 1:
        raise UserError(f"--top: must be at least 1, found {top}")
    space, found = space_of(run), history(run)
    least, most = found.length, max(map(len, found.epochs.values()))
    done = f"{most}" if least == most else f"{least} to {most}"
    origin = (
        f"search {run.name}, protocol {run.config.protocol}, {len(found.seeds)} seed(s) after {done} of "
        f"{run.config.recipe.epochs} epochs"
    )
    genotypes = [
        replace(genotype, name=f"top{genotype.rank}", origin=origin, space_file="../space.yaml")
        for genotype in space.top(mean_weights(run), top)
    ]
    with replacing(run.path / "genotypes") as folder:
        for genotype in genotypes:
            genotype.save(folder / f"{genotype.name}.yaml")
    return genotypes


def mean_weights(run: Run[SearchConfig]) -> dict[str, dict[str, float]]:
    """Return the weight of each option after the last epoch, mean over seeds."""
    return _by_option(space_of(run), {name: values.mean(axis=0) for name, values in history(run).last().items()})


def history(run: Run[SearchConfig]) -> History:
    """Return what a search run holds so far.

    Raises:
        UserError: no seed has an epoch yet, or all failed.
    """
    seeds = {seed: _read_seed(run, seed) for seed in run.config.seeds}
    failures = {seed: state.failure for seed, state in seeds.items() if state.failure is not None}
    epochs = {seed: state.epochs for seed, state in seeds.items() if seed not in failures and state.epochs}
    if len(failures) == len(seeds):
        why = "; ".join(failures.values())
        raise UserError(f"{run.path}: no search succeeded; start another run with another recipe: {why}")
    if not epochs:
        raise UserError(
            f"{run.path}: the search has no finished epoch yet; continue it with: nas-mer runs resume {run.path}"
        )
    return History(epochs, failures)


def space_of(run: Run[SearchConfig]) -> SearchSpace:
    """Return the space that a run searches, at its sizes."""
    return SearchSpace.load(run.path / "space.yaml", **run.config.parameters)


@dataclass(frozen=True)
class _Task:
    seed: int
    halves: tuple[np.ndarray, np.ndarray]
    checkpoint: bytes | None


def _search(task: _Task, report: Report, graph: Graph, data: Maps, recipe: SearchRecipe) -> bytes:
    """Search with one seed from its checkpoint on; report every epoch's checkpoint and return the last."""
    search = BilevelSearch(graph, data, task.halves, recipe, (task.seed,))
    epochs: list[dict[str, Any]] = []
    checkpoint = task.checkpoint or b""
    if task.checkpoint is not None:
        tensors, about = unpacked(task.checkpoint)
        search.restore(tensors)
        epochs.extend(about["epochs"])
    while search.epoch < recipe.epochs:
        try:
            epochs.append(asdict(search.run_epoch()))
        except DivergedError as error:
            return packed(search.state(), {"epochs": epochs, "failure": f"seed {task.seed}: {error}"})
        checkpoint = packed(search.state(), {"epochs": epochs, "failure": None})
        report(checkpoint)
    return checkpoint


@dataclass(frozen=True)
class _Seed:
    """One seed's search as far as it has come."""

    epochs: tuple[Epoch, ...] = ()
    failure: str | None = None
    checkpoint: bytes | None = None

    @classmethod
    def of(cls, checkpoint: bytes) -> _Seed:
        _, about = unpacked(checkpoint)
        return cls(tuple(Epoch(**epoch) for epoch in about["epochs"]), about["failure"], checkpoint)


def _path(run: Run[SearchConfig], seed: int) -> Path:
    return run.path / "seeds" / f"{seed}.safetensors"


def _read_seed(run: Run[SearchConfig], seed: int) -> _Seed:
    path = _path(run, seed)
    try:
        return _Seed.of(path.read_bytes()) if path.is_file() else _Seed()
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: is damaged ({error}); delete it, and resuming the run searches seed {seed} again"
        ) from None


def _result(run: Run[SearchConfig], space: SearchSpace, genotypes: list[Genotype]) -> dict[str, Any]:
    """Return what came out of a search, for `result.json`."""
    found = history(run)
    last = found.last()  # seeds x options
    tops = {
        seed: space.top(_by_option(space, {name: values[i] for name, values in last.items()}), run.config.top)
        for i, seed in enumerate(found.seeds)
    }
    return {
        "genotypes": [genotype_as_json(genotype) for genotype in genotypes],
        "weights": mean_weights(run),
        "decisions": {name: asdict(verdict(space.decisions[name], values)) for name, values in last.items()},
        "seeds": {
            str(seed): {"valid_uar": found.epochs[seed][-1].valid_uar, "genotypes": [genotype_as_json(g) for g in top]}
            for seed, top in tops.items()
        },
        "overlap": overlap(tops),
        "failures": dict(found.failures),
    }


def _by_option(space: SearchSpace, weights: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    return {name: dict(zip(space.decisions[name], values.tolist(), strict=True)) for name, values in weights.items()}


def genotype_as_json(genotype: Genotype) -> dict[str, Any]:
    """Return rank, joint weight and choices, as `--json` shows them."""
    return {"rank": genotype.rank, "weight": genotype.weight, "choices": dict(genotype.choices)}
