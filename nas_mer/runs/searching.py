"""The search command: a supernet searched with one or several seeds, in a run folder.

space.yaml                       the space
seeds/0.safetensors              the last epoch of seed 0: supernet, alphas, optimisers, history
seeds/0/smic/s01.safetensors     the same of a nested search, whose fold holds out subject s01 of SMIC
genotypes/top1.yaml ...          the best genotypes by the mean weights of all searches
folds/smic/s01.yaml              the best genotype of each fold of a nested search, by the mean of its seeds' weights
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from nas_mer.compute import Compute
from nas_mer.data import Dataset, bilevel_halves, loso_folds
from nas_mer.errors import UserError
from nas_mer.files import SCRATCH, replacing, sweep, write_text
from nas_mer.runs.folder import Config, DatasetReference, Progress, Run, check_input, create_run, maps_of
from nas_mer.runs.tensorboard import Metrics, follow
from nas_mer.runs.tensors import packed, unpacked, write_tensors
from nas_mer.search import BilevelSearch, Epoch, SearchRecipe, SearchReplica
from nas_mer.search.decided import overlap, verdict
from nas_mer.space import INPUT, Genotype, Graph, SearchSpace, same_ops
from nas_mer.train import Inputs
from nas_mer.train.recipe import Count
from nas_mer.workers import Report, Stopped

Protocol = Literal["shared", "nested"]


class SearchConfig(Config):
    """What a search was asked for."""

    recipe: SearchRecipe
    parameters: dict[str, int | float | bool]
    protocol: Protocol = "shared"
    top: Count = 3


class Member(NamedTuple):
    """One search of a run: its seed, and the subject that it holds out if the protocol is nested."""

    seed: int
    fold: str | None = None

    def __str__(self) -> str:
        return f"seed {self.seed}" + (f", fold {self.fold}" if self.fold else "")

    @property
    def about(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"seed": self.seed} | ({"fold": self.fold} if self.fold else {})

    def file(self, run: Run[SearchConfig]) -> Path:
        """Return where its last epoch is kept."""
        place = f"{self.seed}/{self.fold}" if self.fold else str(self.seed)
        return run.path / "seeds" / f"{place}.safetensors"


@dataclass(frozen=True)
class History:
    """What a search run holds so far: at least one epoch of at least one search.

    Attributes:
        epochs: the epochs so far of each search that has begun and did not fail.
        failures: why each other one stopped without a result.
    """

    epochs: Mapping[Member, tuple[Epoch, ...]]
    failures: Mapping[Member, str]

    @property
    def members(self) -> list[Member]:
        """The searches that have begun and did not fail."""
        return list(self.epochs)

    @property
    def length(self) -> int:
        """The number of epochs that all of these have done."""
        return min(map(len, self.epochs.values()))

    def weights(self) -> dict[str, np.ndarray]:
        """Return decision -> `(searches, epochs, options)`."""
        common = [epochs[: self.length] for epochs in self.epochs.values()]
        return {
            decision: np.array([[epoch.weights[decision] for epoch in epochs] for epochs in common])
            for decision in common[0][0].weights
        }

    def last(self) -> dict[str, np.ndarray]:
        """Return decision -> `(searches, options)`, after the last epoch of each."""
        ends = [epochs[-1].weights for epochs in self.epochs.values()]
        return {decision: np.array([weights[decision] for weights in ends]) for decision in ends[0]}

    def losses(self) -> dict[str, np.ndarray]:
        """Return `train_loss` and `valid_loss`, `(searches, epochs)` each."""
        common = [epochs[: self.length] for epochs in self.epochs.values()]
        return {
            name: np.array([[getattr(epoch, name) for epoch in epochs] for epochs in common])
            for name in ("train_loss", "valid_loss")
        }

    def of_fold(self, fold: str) -> History:
        """Return the searches of one fold."""
        return History(
            {member: epochs for member, epochs in self.epochs.items() if member.fold == fold},
            {member: why for member, why in self.failures.items() if member.fold == fold},
        )


def search(
    space: SearchSpace,
    dataset: Path,
    recipe: SearchRecipe,
    out: Path,
    seeds: int = 1,
    top: int = 3,
    protocol: Protocol = "shared",
    compute: Compute = Compute(),
    progress: Progress | None = None,
    tensorboard: bool = False,
) -> Run[SearchConfig]:
    """Search a space and derive its best genotypes.

    The supernet's weights are trained on one half of the subjects, the architecture weights on the other.

    Args:
        space: the space, with the sizes to build it in.
        dataset: the dataset's folder.
        recipe: how.
        out: the run folder to make.
        seeds: how many independent searches, with seeds 0, 1, ...; genotypes come from the mean of their weights.
        top: how many genotypes to derive.
        protocol: `shared` searches once over the whole dataset, as the paper does: the architecture has then seen every
            subject, so a LOSO score of it on the same dataset is optimistic. `nested` searches inside each fold of
            leave-one-subject-out, on its training subjects alone, and gives each fold a genotype of its own.
        compute: where and how; no choice changes the result, but for rounding between devices and sizes of groups.
        progress: told of every epoch.
        tensorboard: write TensorBoard events, too.
    """
    reference, data = DatasetReference.of(dataset)
    check_input(space, data)
    if not space.decisions:
        raise UserError(f"{space.file}: has no decision, so there is nothing to search")
    config = SearchConfig(
        dataset=reference,
        seeds=tuple(range(seeds)),
        recipe=recipe,
        parameters=dict(space.overrides),
        protocol=protocol,
        top=top,
    )
    for _ in _replicas(config, data):  # before a run is made: can it be split?
        pass
    compute.check()

    def fill(folder: Path) -> None:
        write_text(folder / "space.yaml", space.source)
        if tensorboard:
            follow(folder)

    run = create_run(out, "search", config, fill)
    return continue_search(run, compute, progress)


def continue_search(
    run: Run[SearchConfig], compute: Compute = Compute(), progress: Progress | None = None
) -> Run[SearchConfig]:
    """Do what a search run lacks: the same result as if it had never been stopped, having lost one epoch at most."""
    sweep(run.path)
    if run.finished:
        return run
    config = run.config
    space, dataset = space_of(run), config.dataset.load()
    replicas = dict(_replicas(config, dataset))
    states = {member: _read(run, member) for member in replicas}
    inputs = Inputs.of(maps_of(dataset, space.graph.shapes[INPUT].height), config.recipe.normalise)
    lengths = {member: len(state.epochs) for member, state in states.items()}
    weights = {member: state.epochs[-1].weights for member, state in states.items() if state.epochs}
    known = [{**m.about, **asdict(epoch)} for m, state in states.items() for epoch in state.epochs]

    def best() -> str:
        """Return the genotype that would be derived now, in words."""
        means = {name: np.mean([of[name] for of in weights.values()], axis=0) for name in space.decisions}
        choices, _ = next(space.combinations.best(_by_option(space, means)))
        return ", ".join(f"{decision} {option}" for decision, option in choices.items())

    def keep(_: object, checkpoints: Mapping[Member, bytes]) -> None:
        for member, checkpoint in checkpoints.items():
            epochs = _State.of(checkpoint).epochs
            if len(epochs) < lengths[member]:
                continue  # of a task that is done again, because its process was lost
            write_tensors(member.file(run), checkpoint)
            for epoch in epochs[lengths[member] :]:
                metrics.add({**member.about, **asdict(epoch)})
            lengths[member] = len(epochs)
            if epochs:
                weights[member] = epochs[-1].weights
            if progress and epochs:
                total, now = config.recipe.epochs * len(replicas), f"validation UAR {epochs[-1].valid_uar:.3f}"
                progress(sum(lengths.values()), total, f"{member}: {now}; best so far: {best()}")

    tasks = _tasks(replicas, states, config.recipe, compute)
    shared = (space.graph, inputs, config.recipe, compute.checkpoint_every or 0.0)
    with Metrics(run, known, space.decisions) as metrics:
        for task, checkpoints in compute.each(_search, tasks, shared, keep, same_ops()):
            keep(task, checkpoints)
    genotypes = derive(run, config.top)
    run.finish(_result(run, space, genotypes))
    return run


def derive(run: Run[SearchConfig], top: int) -> list[Genotype]:
    """Write and return the `top` genotypes of the greatest joint weight (mean over searches), as far as the search is.

    Of a nested search the best genotype of each fold is written, too.

    Raises:
        UserError: `top` is not at least 1, the search has no finished epoch, or all its searches failed.
    """
    if top < 1:
        raise UserError(f"--top: must be at least 1, found {top}")
    space, found = space_of(run), history(run)
    least, most = found.length, max(map(len, found.epochs.values()))
    done = f"{most}" if least == most else f"{least} to {most}"
    count = len({member.seed for member in found.members})
    origin = (
        f"search {run.name}, protocol {run.config.protocol}, {count} seed(s) after {done} of "
        f"{run.config.recipe.epochs} epochs"
    )
    genotypes = [
        replace(genotype, name=f"top{genotype.rank}", origin=origin, space_file="../space.yaml")
        for genotype in space.top(_by_option(space, _mean(found)), top)
    ]
    with replacing(run.path / "genotypes") as folder:
        for genotype in genotypes:
            genotype.save(folder / f"{genotype.name}.yaml")
    if run.config.protocol == "nested":
        with replacing(run.path / "folds") as folder:
            for fold, genotype in _fold_genotypes(space, found).items():
                above = "../" * (fold.count("/") + 1)
                named = replace(
                    genotype, name="nested", origin=f"{origin}, fold {fold}", space_file=f"{above}space.yaml"
                )
                named.save(folder / f"{fold}.yaml")
    return genotypes


def mean_weights(run: Run[SearchConfig]) -> dict[str, dict[str, float]]:
    """Return the weight of each option after the last epoch, mean over searches."""
    return _by_option(space_of(run), _mean(history(run)))


def history(run: Run[SearchConfig]) -> History:
    """Return what a search run holds so far.

    Raises:
        UserError: no search has an epoch yet, or all failed.
    """
    states = {member: _read(run, member) for member in members(run)}
    failures = {member: state.failure for member, state in states.items() if state.failure is not None}
    epochs = {m: state.epochs for m, state in states.items() if m not in failures and state.epochs}
    if states and len(failures) == len(states):
        why = "; ".join(itertools.islice(failures.values(), 3))
        raise UserError(f"{run.path}: no search succeeded; start another run with another recipe: {why}")
    if not epochs:
        raise UserError(
            f"{run.path}: the search has no finished epoch yet; continue it with: nas-mer runs resume {run.path}"
        )
    return History(epochs, failures)


def members(run: Run[SearchConfig]) -> list[Member]:
    """Return the searches that a run has begun, seed by seed."""
    if run.config.protocol == "shared":
        return [Member(seed) for seed in run.config.seeds]
    found = []
    for seed in run.config.seeds:
        folder = run.path / "seeds" / str(seed)
        files = sorted(file for file in folder.rglob("*.safetensors") if not file.parent.name.endswith(SCRATCH))
        found += [Member(seed, file.relative_to(folder).with_suffix("").as_posix()) for file in files]
    return found


def space_of(run: Run[SearchConfig]) -> SearchSpace:
    """Return the space that a run searches, at its sizes."""
    return SearchSpace.load(run.path / "space.yaml", **run.config.parameters)


def _replicas(config: SearchConfig, dataset: Dataset) -> Iterator[tuple[Member, SearchReplica]]:
    """Iterate over all searches of a run, seed by seed."""
    everything = np.arange(len(dataset))
    folds = [(f.subject, f.train) for f in loso_folds(dataset)] if config.protocol == "nested" else [(None, everything)]
    for seed in config.seeds:
        for fold, train in folds:
            about = (seed,) if fold is None else (seed, fold)
            yield Member(seed, fold), SearchReplica(*bilevel_halves(dataset, train, seed), about)


@dataclass(frozen=True)
class _State:
    """One search as far as it has come."""

    epochs: tuple[Epoch, ...] = ()
    failure: str | None = None
    tensors: Mapping[str, torch.Tensor] | None = None

    @classmethod
    def of(cls, checkpoint: bytes) -> _State:
        tensors, about = unpacked(checkpoint)
        return cls(tuple(Epoch(**epoch) for epoch in about["epochs"]), about["failure"], tensors)


@dataclass(frozen=True)
class _Task:
    """Searches to be run as one program, from their states on where they have some."""

    members: tuple[Member, ...]
    replicas: tuple[SearchReplica, ...]
    states: tuple[_State, ...]


def _tasks(
    replicas: Mapping[Member, SearchReplica], states: Mapping[Member, _State], recipe: SearchRecipe, compute: Compute
) -> list[_Task]:
    groups: dict[Any, list[Member]] = defaultdict(list)
    for member, replica in replicas.items():
        state = states[member]
        if len(state.epochs) < recipe.epochs and state.failure is None:
            groups[len(state.epochs), *replica.alike(recipe)].append(member)
    together = compute.group or (1 if compute.devices[0].type == "cpu" else len(replicas))
    return [
        _Task(tuple(part), tuple(replicas[m] for m in part), tuple(states[m] for m in part))
        for group in groups.values()
        for part in (group[start : start + together] for start in range(0, len(group), together))
    ]


def _search(
    task: _Task, report: Report, graph: Graph, inputs: Inputs, recipe: SearchRecipe, checkpoint_every: float
) -> dict[Member, bytes]:
    """Search from the task's states on; report checkpoints and return the last of each search."""
    search = BilevelSearch(graph, inputs.to(report.device), task.replicas, recipe)
    epochs = {place: [asdict(epoch) for epoch in state.epochs] for place, state in enumerate(task.states)}
    tensors = [state.tensors for state in task.states if state.tensors]
    if tensors:
        search.restore(tensors)
    kept = time.monotonic()

    def checkpoints() -> dict[Member, bytes]:
        going_on = {
            place: packed(state, {"epochs": epochs[place], "failure": None}) for place, state in search.states().items()
        }
        failed = {
            place: packed({}, {"epochs": epochs[place], "failure": f"{task.members[place]}: {why}"})
            for place, why in search.failures.items()
        }
        return {task.members[place]: content for place, content in (going_on | failed).items()}

    while search.places and search.epoch < recipe.epochs:
        for place, record in search.run_epoch().items():
            epochs[place].append(asdict(record))
        stop = report.stop()
        if stop or (search.epoch < recipe.epochs and time.monotonic() - kept >= checkpoint_every):
            kept = time.monotonic()
            report(checkpoints())
        if stop:
            raise Stopped
    return checkpoints()


def _read(run: Run[SearchConfig], member: Member) -> _State:
    path = member.file(run)
    try:
        return _State.of(path.read_bytes()) if path.is_file() else _State()
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: is damaged ({error}); delete it, and resuming the run searches {member} again"
        ) from None


def _mean(found: History) -> dict[str, np.ndarray]:
    return {name: values.mean(axis=0) for name, values in found.last().items()}


def _fold_genotypes(space: SearchSpace, found: History) -> dict[str, Genotype]:
    """Return the best genotype of each fold, by the mean weights of its seeds."""
    folds = dict.fromkeys(member.fold for member in found.members if member.fold)
    return {fold: space.top(_by_option(space, _mean(found.of_fold(fold))), 1)[0] for fold in folds}


def _result(run: Run[SearchConfig], space: SearchSpace, genotypes: list[Genotype]) -> dict[str, Any]:
    """Return what came out of a search, for `result.json`."""
    found = history(run)
    last = found.last()  # searches x options
    tops = {
        member: space.top(_by_option(space, {name: values[i] for name, values in last.items()}), run.config.top)
        for i, member in enumerate(found.members)
    }
    result: dict[str, Any] = {
        "genotypes": [genotype_as_json(genotype) for genotype in genotypes],
        "weights": _by_option(space, _mean(found)),
        "decisions": {name: asdict(verdict(space.decisions[name], values)) for name, values in last.items()},
        "overlap": overlap(list(tops.values())),
        "failures": {str(member): why for member, why in found.failures.items()},
    }
    if run.config.protocol == "nested":
        chosen = _fold_genotypes(space, found)
        result["folds"] = {fold: genotype_as_json(genotype) for fold, genotype in chosen.items()}
        result["chosen"] = shares(list(chosen.values()), space)
    else:
        result["seeds"] = {
            str(member.seed): {
                "valid_uar": found.epochs[member][-1].valid_uar,
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


def _by_option(space: SearchSpace, weights: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    return {name: dict(zip(space.decisions[name], values.tolist(), strict=True)) for name, values in weights.items()}


def genotype_as_json(genotype: Genotype) -> dict[str, Any]:
    """Return rank, joint weight and choices, as `--json` shows them."""
    return {"rank": genotype.rank, "weight": genotype.weight, "choices": dict(genotype.choices)}
