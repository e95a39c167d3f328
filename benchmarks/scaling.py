"""How time and memory of training grow: with replicas, samples, the maps' size, feature maps and processes.

    python benchmarks/scaling.py [--device cpu] [--out benchmarks/scaling.json] [--plot docs/images/scaling.svg]

Each point trains RCN-F for a few epochs on random maps in a process of its own, on one thread of a CPU or on a GPU.
Seconds are those of the last epoch; memory is the peak of the process (of the GPU, with --device cuda) less that of one
that has loaded everything and trained on next to nothing. Processes are counted as folds a second, all at work at once.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from machine import machine

from nas_mer.files import write_json
from nas_mer.space import find_genotype
from nas_mer.train import Group, Inputs, Maps, Recipe, Replica, load_recipe
from nas_mer.workers import cores, each, keep_memory, one_thread


@dataclass(frozen=True)
class Point:
    """One setting; all others are those of the MEGC2019 composite."""

    replicas: int = 1
    samples: int = 442
    size: int = 60
    feature_maps: int = 16

    def group(self, device: torch.device) -> Group:
        """Return a group in training, as large as the point says."""
        space, genotype = find_genotype("rcn-f")
        space = space.with_parameters(size=self.size, feature_maps=self.feature_maps)
        graph = space.graph.freeze(genotype.choices)
        recipe = load_recipe("default", Recipe)
        draws = torch.Generator().manual_seed(0)
        maps = torch.rand(self.samples, 3, self.size, self.size, generator=draws)
        data = Maps(maps, torch.arange(self.samples) % 3, 3, 1.0)
        everything = np.arange(self.samples)
        replicas = [Replica("", graph, str(n), everything[1:], everything[:1], 0) for n in range(self.replicas)]
        return Group(replicas, Inputs.of(data, recipe.normalise, recipe.augment).to(device), recipe)


AXES: dict[str, list[int]] = {
    "replicas": [1, 2, 4, 8, 16],
    "samples": [64, 128, 256, 512, 1024],
    "size": [20, 40, 60, 100, 200],
    "feature_maps": [4, 8, 16, 32, 64],
}


def measure(point: Point, device: str, answer: Any) -> None:
    """Send the seconds of an epoch and the peak memory in MiB."""
    keep_memory()
    target = torch.device(device)
    with one_thread():
        Point(samples=8, size=20, feature_maps=4).group(target).run_epoch()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        group = point.group(target)
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            group.run_epoch()
            seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    if target.type == "cuda":
        peak = torch.cuda.max_memory_allocated(target) / 2**20
    answer.send((min(seconds[1:]), peak))


def epochs_of(_: int, report: object) -> int:
    """Train one fold for some epochs."""
    group = Point().group(torch.device("cpu"))
    for _ in range(4):
        group.run_epoch()
    return 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--plot", type=Path, default=Path("docs/images/scaling.svg"))
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    rows = []
    for axis, values in AXES.items():
        for value in values:
            point = replace(Point(), **{axis: value})
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=measure, args=(point, options.device, there))
            process.start()
            seconds, peak = here.recv()
            process.join()
            rows.append(asdict(point) | {"axis": axis, "seconds": round(seconds, 4), "mib": round(peak, 1)})
            print(rows[-1], flush=True)
    folds = {}
    for workers in range(1, cores() + 1) if options.device == "cpu" else ():
        start = time.perf_counter()
        done = sum(count for _, count in each(epochs_of, range(4 * workers), (), workers))
        folds[workers] = round(done / (time.perf_counter() - start), 3)
    write_json(options.out, {"points": rows, "folds_a_second_by_processes": folds, "machine": machine()})
    draw(rows, options.plot)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw seconds and memory along each axis, both axes logarithmic."""
    figure, axes = plt.subplots(2, len(AXES), figsize=(11, 5), sharey="row", layout="constrained")
    labels = {
        "replicas": "replicas in a group",
        "samples": "samples",
        "size": "maps' side",
        "feature_maps": "feature maps",
    }
    for column, axis in enumerate(AXES):
        points = [row for row in rows if row["axis"] == axis]
        for line, (key, colour) in enumerate((("seconds", "#0072b2"), ("mib", "#d55e00"))):
            part = axes[line, column]
            values = [row[axis] for row in points]
            part.loglog(values, [row[key] for row in points], "o-", color=colour)
            part.grid(True, which="both", linewidth=0.3)
            part.spines[["top", "right"]].set_visible(False)
            part.set_xticks(values, map(str, values))
            part.tick_params(axis="x", which="minor", labelbottom=False)
        axes[1, column].set_xlabel(labels[axis])
    axes[0, 0].set_ylabel("seconds an epoch")
    axes[1, 0].set_ylabel("memory, MiB")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


if __name__ == "__main__":
    main()
