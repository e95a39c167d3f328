"""How the default recipe was chosen: subject-disjoint cross-validation of the plain RCN, not LOSO.

    python benchmarks/choose_recipe.py DATASET [--seeds 3] [--only NAME ...] [--out FILE.json]

Each candidate differs from the default in what its name says. `paper` is the recipe of that name; it takes up to 25
times as long as any other and is trained only if it is named. Folds and seeds are not those of any score in the docs.
The p-values compare with the default: a permutation test over subjects, on the predictions of all seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from machine import machine

from nas_mer.data import Dataset, subject_parts
from nas_mer.files import write_json
from nas_mer.score import Predictions, compare, score
from nas_mer.space import find_genotype
from nas_mer.train import Inputs, Maps, Recipe, Replica, load_recipe, train
from nas_mer.workers import cores, each

BASE = load_recipe("default", Recipe).model_dump()
CANDIDATES: dict[str, dict[str, object]] = {
    "default": {},
    "standardised inputs": {"normalise": "standardise"},
    "stretched inputs": {"normalise": "stretch"},
    "no flips": {"augment": {"flip": 0.0}},
    "shifts up to 2": {"augment": {"shift": 2}},
    "classes not balanced": {"balance": 0.0},
    "classes fully balanced": {"balance": 1.0},
    "standardised, not balanced": {"normalise": "standardise", "balance": 0.0},
    "learning rate 2.5e-3": {"optimizer": {"learning_rate": 2.5e-3}},
    "learning rate 1e-2": {"optimizer": {"learning_rate": 1e-2}},
    "weight decay 5e-3": {"optimizer": {"weight_decay": 5e-3}},
    "cosine": {"schedule": {"kind": "cosine"}},
    "30 epochs": {"epochs": 30, "schedule": {"every": 15}},
    "batches of 32": {"batch_size": 32},
    "label smoothing 0.1": {"label_smoothing": 0.1},
}
SEEDS_FROM = 1000
PARTS = 5


def candidate(changes: dict[str, object]) -> Recipe:
    """Return the default recipe with some values changed."""
    merged = {k: {**v, **changes.get(k, {})} if isinstance(v, dict) else changes.get(k, v) for k, v in BASE.items()}
    return Recipe.model_validate(merged)


def task(job: tuple[Replica, Recipe], report: object, data: Maps) -> np.ndarray:
    """Train one replica with its own recipe."""
    replica, recipe = job
    inputs = Inputs.of(data, recipe.normalise, recipe.augment)
    (trained,) = train([replica], lambda group: None, inputs, recipe)
    return trained.logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[*CANDIDATES, "paper"], default=list(CANDIDATES), metavar="NAME")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    dataset = Dataset.load(options.dataset)
    space, genotype = find_genotype("rcn")
    graph = space.freeze(genotype)
    size = graph.shapes["input"].height
    data = Maps(dataset.resized(size), torch.from_numpy(dataset.labels), len(dataset.classes), dataset.u_mirror)
    everything = np.arange(len(dataset))
    seeds = range(SEEDS_FROM, SEEDS_FROM + options.seeds)
    recipes = {name: candidate(changes) for name, changes in CANDIDATES.items()}
    recipes["paper"] = load_recipe("paper", Recipe)
    keys, jobs = [], []
    for seed in seeds:
        for number, test in enumerate(subject_parts(dataset, everything, PARTS, seed)):
            rest = np.setdiff1d(everything, test)
            replica = Replica(genotype.digest, graph, f"part {number}", rest, test, seed)
            for name in options.only:
                keys.append((name, seed, test))
                jobs.append((replica, recipes[name]))
    logits = {(name, seed): np.zeros((len(dataset), len(dataset.classes)), np.float32) for name, seed, _ in keys}
    places = {id(job): key for job, key in zip(jobs, keys, strict=True)}
    for job, found in each(task, jobs, (data,), cores()):
        name, seed, test = places[id(job)]
        logits[name, seed][test] = found
    said = {name: [predictions(dataset, name, seed, logits[name, seed]) for seed in seeds] for name in options.only}
    rows = []
    for name, found in said.items():
        scores = [score(one) for one in found]
        row = {
            "candidate": name,
            "uar": round(float(np.mean([one.composite.uar for one in scores])), 4),
            "uf1": round(float(np.mean([one.composite.uf1 for one in scores])), 4),
            "uar_of_each_seed": [round(one.composite.uar, 3) for one in scores],
        }
        if name != options.only[0]:
            both = compare(said[options.only[0]], found).composite
            row |= {"p_uar": round(both.uar.p_value, 4), "p_uf1": round(both.uf1.p_value, 4)}
        rows.append(row)
    print(f"{PARTS}-fold cross-validation over subjects, RCN, seeds {seeds[0]} to {seeds[-1]}")
    for row in rows:
        print(row)
    if options.out:
        write_json(options.out, {"rows": rows, "seeds": list(seeds), "parts": PARTS, "machine": machine()})


def predictions(dataset: Dataset, name: str, seed: int, logits: np.ndarray) -> Predictions:
    """Return what networks said of a whole dataset."""
    return Predictions(
        genotype=name,
        seed=seed,
        classes=dataset.classes,
        databases=dataset.databases,
        subjects=dataset.subjects,
        clips=np.array([sample.clip for sample in dataset.samples]),
        labels=dataset.labels,
        predicted=logits.argmax(axis=1),
        logits=logits,
    )


if __name__ == "__main__":
    main()
