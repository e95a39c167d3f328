"""How fast one LOSO is on a GPU, all folds as one program, and what makes it so.

    python benchmarks/gpu.py DATASET [--device cuda] [--epochs 20] [--folds 68] [--out benchmarks/gpu.json]

Trains RCN-F at 60x60 with the default recipe: all folds in groups of several sizes, and one fold after another on the
same device; then an epoch of all folds in each of the ways that could be quicker (TF32, bfloat16, convolutions unfolded
to matrix products, compiled with CUDA graphs). The ceilings, a large matrix product and a large copy, are measured in
the same run. Any device will do (`--device cpu`), a small number of folds and epochs too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from loso import flops_of_a_step
from machine import machine

import nas_mer
from nas_mer.data import Dataset, loso_folds
from nas_mer.files import write_json
from nas_mer.runs.folder import maps_of
from nas_mer.space import find_genotype
from nas_mer.train import Group, Inputs, Recipe, Replica, load_recipe, train
from nas_mer.train.batches import steps_and_batch


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of a call, until the device has done its work."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def ceilings(device: torch.device) -> dict[str, float]:
    """Return what the device can do: TFLOP/s of large products, GB/s of a large copy."""
    side = 8192 if device.type == "cuda" else 2048
    found = {}
    for name, dtype, tf32 in (
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bfloat16", torch.bfloat16, False),
    ):
        with precision(tf32):
            one = torch.randn(side, side, device=device, dtype=dtype)
            best = min(timed(lambda one=one: one @ one, device) for _ in range(5))
        found[f"{name}_tflops"] = round(2 * side**3 / best / 1e12, 2)
    block = torch.empty(2**28 if device.type == "cuda" else 2**24, device=device)
    best = min(timed(lambda: block.clone(), device) for _ in range(5))
    return found | {"copy_gb_per_s": round(2 * block.numel() * 4 / best / 1e9, 1)}


@contextmanager
def precision(tf32: bool) -> Iterator[None]:
    """Let float32 products and convolutions round their factors to TF32, or not."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@contextmanager
def unfolded() -> Iterator[None]:
    """Compute convolutions as matrix products of unfolded maps: batched ones, where networks are stacked."""

    def conv2d(
        x: Any, weight: Any, bias: Any, stride: Any, padding: Any = 0, dilation: Any = 1, groups: int = 1
    ) -> Any:
        if groups > 1:
            return original(x, weight, bias, stride, padding, dilation, groups)
        stride = stride if isinstance(stride, tuple) else (stride, stride)
        reach = dilation * (weight.shape[-1] - 1)
        height, width = (
            (side + 2 * padding - reach - 1) // s + 1 for side, s in zip(x.shape[-2:], stride, strict=True)
        )
        columns = F.unfold(x, weight.shape[-2:], dilation, padding, stride)
        out = weight.flatten(1) @ columns
        return (out if bias is None else out + bias[:, None]).unflatten(-1, (height, width))

    original = F.conv2d
    F.conv2d = conv2d
    try:
        yield
    finally:
        F.conv2d = original


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--folds", type=int, default=68)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    device = torch.device(options.device)
    recipe = load_recipe("default", Recipe).model_copy(update={"epochs": options.epochs})
    dataset = Dataset.load(options.dataset)
    space, genotype = find_genotype("rcn-f")
    graph = space.freeze(genotype)
    replicas = [
        Replica(genotype.digest, graph, fold.subject, fold.train, fold.test, 0)
        for fold in loso_folds(dataset)[: options.folds]
    ]
    inputs = Inputs.of(maps_of(dataset, 60), recipe.normalise, recipe.augment).to(device)
    samples = sum(int(np.prod(steps_and_batch(len(r.train), recipe.batch_size))) for r in replicas)
    flops = flops_of_a_step(nas_mer.build("rcn-f"), 60)
    correct: dict[str, int] = {}

    def whole(size: int, name: str) -> float:
        def run() -> None:
            trained = []
            for start in range(0, len(replicas), size):
                trained += train(replicas[start : start + size], lambda group: None, inputs, recipe)
            labels = inputs.labels.cpu().numpy()
            correct[name] = sum(
                int((one.logits.argmax(1) == labels[replica.test]).sum())
                for one, replica in zip(trained, replicas, strict=True)
            )

        return timed(run, device)

    def epoch(context: Any, compiled: bool = False) -> float:
        with context:
            group = Group(replicas, inputs, recipe.model_copy(update={"epochs": 9}))
            if compiled:
                group.stack._call = torch.compile(group.stack._call, mode="reduce-overhead")
            group.run_epoch()
            return min(timed(group.run_epoch, device) for _ in range(2))

    result: dict[str, Any] = {"device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"}
    result["ceilings"] = ceilings(device)
    Group(replicas[:1], inputs, recipe).run_epoch()  # warm
    sizes = sorted({len(replicas), *(n for n in (8, 17, 34) if n < len(replicas))}, reverse=True)
    result["loso_seconds"] = {f"groups of {size}": round(whole(size, f"groups of {size}"), 2) for size in sizes}
    result["loso_seconds"]["one after another"] = round(whole(1, "one after another"), 2)
    best = min(result["loso_seconds"].values())
    result["times_faster"] = round(result["loso_seconds"]["one after another"] / best, 1)
    result["correct"] = correct
    result["tflops"] = round(samples * recipe.epochs * flops / best / 1e12, 3)
    result["share_of_float32_product"] = round(result["tflops"] / result["ceilings"]["float32_tflops"], 3)
    ways: dict[str, tuple[Any, bool]] = {
        "as vmap makes it, float32": (precision(False), False),
        "tf32": (precision(True), False),
        "bfloat16 autocast": (torch.autocast(device.type, torch.bfloat16), False),
        "unfolded to matrix products": (unfolded(), False),
        "compiled, with CUDA graphs": (nullcontext(), True),
    }
    result["epoch_seconds"] = {}
    for name, (context, compiled) in ways.items():
        try:
            result["epoch_seconds"][name] = round(epoch(context, compiled), 4)
        except Exception as error:  # a way that does not work here is a result, too
            result["epoch_seconds"][name] = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:120]}"
    if device.type == "cuda":
        result["peak_memory_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
    write_json(options.out, result | {"machine": machine()})
    print(options.out.read_text())


if __name__ == "__main__":
    main()
