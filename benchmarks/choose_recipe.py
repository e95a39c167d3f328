"""How the default recipe was chosen: subject-disjoint cross-validation of the plain RCN, not LOSO.

    python benchmarks/choose_recipe.py DATASET [--seeds 3] [--only NAME ...]

Each candidate differs from the first in what its name says. `paper` is the recipe of that name; it takes up to 25 times
as long as any other and is trained only if it is named. Folds and seeds are not those of any score in the docs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from nas_mer.data import Dataset, subject_parts
from nas_mer.score.metrics import confusion, uar, uf1
from nas_mer.space import find_genotype
from nas_mer.train import Maps, Recipe, Replica, load_recipe, train
from nas_mer.workers import cores, each

BASE = load_recipe("default", Recipe).model_dump() | {"augment": {"flip": 0.0, "shift": 0}}
CANDIDATES: dict[str, dict[str, object]] = {
    "first": {},
    "learning rate 2.5e-3": {"optimizer": {"learning_rate": 2.5e-3}},
    "learning rate 1e-2": {"optimizer": {"learning_rate": 1e-2}},
    "weight decay 5e-3": {"optimizer": {"weight_decay": 5e-3}},
    "cosine": {"schedule": {"kind": "cosine"}},
    "flip": {"augment": {"flip": 0.5}},
    "shift 2": {"augment": {"shift": 2}},
    "flip and shift 2": {"augment": {"flip": 0.5, "shift": 2}},
    "balanced": {"balance": True},
    "label smoothing": {"label_smoothing": 0.1},
    "stretch": {"normalise": "stretch"},
}
SEEDS_FROM = 1000
PARTS = 5


def candidate(changes: dict[str, object]) -> Recipe:
    """Return the first candidate's recipe with some values changed."""
    merged = {k: {**v, **changes.get(k, {})} if isinstance(v, dict) else changes.get(k, v) for k, v in BASE.items()}
    return Recipe.model_validate(merged)


def task(job: tuple[Replica, Recipe], report: object, data: Maps) -> np.ndarray:
    """Train one replica with its own recipe."""
    return train(job[0], lambda _: None, data, job[1]).logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[*CANDIDATES, "paper"], default=list(CANDIDATES), metavar="NAME")
    options = parser.parse_args()
    dataset = Dataset.load(options.dataset)
    space, genotype = find_genotype("rcn")
    graph = space.freeze(genotype)
    size = graph.shapes["input"].height
    data = Maps(dataset.resized(size), torch.from_numpy(dataset.labels), len(dataset.classes), dataset.u_mirror)
    everything = np.arange(len(dataset))
    jobs = []
    for seed in range(SEEDS_FROM, SEEDS_FROM + options.seeds):
        for number, test in enumerate(subject_parts(dataset, everything, PARTS, seed)):
            rest = np.setdiff1d(everything, test)
            replica = Replica(genotype.digest, graph, f"part {number}", rest, test, seed)
            jobs += [(replica, name) for name in options.only]
    recipes = {name: candidate(changes) for name, changes in CANDIDATES.items()}
    recipes["paper"] = load_recipe("paper", Recipe)
    named = {(name, replica.seed, replica.fold): replica for replica, name in jobs}
    tasks = [(replica, recipes[name]) for (name, _, _), replica in named.items()]
    predicted: dict[tuple[str, int], np.ndarray] = {}
    keys = {id(t): key for t, key in zip(tasks, named, strict=True)}
    for done, logits in each(task, tasks, (data,), cores()):
        name, seed, _ = keys[id(done)]
        predicted.setdefault((name, seed), np.zeros(len(dataset), np.int64))[done[0].test] = logits.argmax(1)
    print(f"{PARTS}-fold cross-validation over subjects, RCN, seeds {SEEDS_FROM} to {SEEDS_FROM + options.seeds - 1}")
    print(f"{'candidate':24} {'UAR':>7} {'UF1':>7}   UAR of each seed")
    for name in options.only:
        tables = [confusion(dataset.labels, p, len(dataset.classes)) for (n, _), p in predicted.items() if n == name]
        scores = [float(uar(t)) for t in tables]
        print(f"{name:24} {np.mean(scores):7.4f} {np.mean([uf1(t) for t in tables]):7.4f}   {np.round(scores, 4)}")


if __name__ == "__main__":
    main()
