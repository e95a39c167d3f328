"""How fast a LOSO is, against the usual script and against what the processor can do.

    python benchmarks/loso.py DATASET TREE [--folds 68] [--out benchmarks/loso.json]

DATASET is an imported dataset, TREE the published tree of the same maps, which the usual script reads. Both train
RCN-F at 60x60 with the default recipe on the first folds, in this one run: the usual script one fold after another
(`benchmarks/usual_script.py`), this package on all cores. The share of the ceiling is the rate of the arithmetic that
the network needs to that of a large float32 matrix product on the same cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from machine import machine, matrix_rate, seconds
from torch import nn
from usual_script import loso

import nas_mer
from nas_mer.data import Dataset, loso_folds
from nas_mer.files import write_json
from nas_mer.runs.folder import maps_of
from nas_mer.space import find_genotype
from nas_mer.train import Inputs, Recipe, Replica, Trained, load_recipe, train
from nas_mer.train.batches import steps_and_batch
from nas_mer.workers import cores, each


def flops_of_a_step(network: nn.Module, size: int) -> int:
    """Return the arithmetic of one sample's training step, multiplications and additions, in convolutions and linear.

    Backward needs each product twice, but for the first layer, whose input needs no gradient. An op's own way to
    compute, such as one mostly empty kernel for several dilations, does not count.
    """
    total = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        places = output[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        forward = 2 * places * module.weight.numel()
        total += forward * (2 if inputs[0].shape[1:] == (3, size, size) else 3)

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return total


def fold_of(replica: Replica, report: object, inputs: Inputs, recipe: Recipe) -> list[Trained]:
    """Train one fold's network, as `nas-mer retrain` does on a CPU."""
    return train([replica], lambda group: None, inputs, recipe)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--folds", type=int, default=68)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    recipe = load_recipe("default", Recipe)
    dataset = Dataset.load(options.dataset)
    space, genotype = find_genotype("rcn-f")
    graph = space.freeze(genotype)
    folds = loso_folds(dataset)[: options.folds]
    replicas = [Replica(genotype.digest, graph, fold.subject, fold.train, fold.test, 0) for fold in folds]

    def ours() -> None:
        inputs = Inputs.of(maps_of(dataset, 60), recipe.normalise, recipe.augment)
        for _ in each(fold_of, replicas, (inputs, recipe), cores()):
            pass

    rate_before, taken, rate_after = matrix_rate(), seconds(ours), matrix_rate()
    usual, uar = loso(options.tree, options.folds, recipe.epochs)
    samples = sum(int(np.prod(steps_and_batch(len(fold.train), recipe.batch_size))) for fold in folds) * recipe.epochs
    flops = flops_of_a_step(nas_mer.build("rcn-f"), 60)
    rate = samples * flops / taken / 1e9
    ceiling = (rate_before + rate_after) / 2
    result = {
        "folds": len(folds),
        "seconds": round(taken, 1),
        "usual_script_seconds": round(usual, 1),
        "usual_script_uar": round(uar, 3),
        "times_faster": round(usual / taken, 2),
        "megaflop_a_sample_and_step": round(flops / 1e6, 1),
        "samples_trained_on": samples,
        "gflops": round(rate, 1),
        "share_of_matrix_product": round(rate / ceiling, 3),
        "machine": machine(),
    }
    write_json(options.out, result)
    print(options.out.read_text())


if __name__ == "__main__":
    main()
