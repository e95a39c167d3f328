"""What the benchmark scripts share: seconds of a call, and the machine they were measured on."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from nas_mer.workers import cores


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def machine() -> dict[str, object]:
    """Return what the machine is, with the rate of a large float32 matrix product on all cores."""
    return {
        "processor": processor(),
        "cores": cores(),
        "matrix_product_gflops": round(matrix_rate()),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def processor() -> str:
    """Return the processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.is_file()
        else []
    )
    return names[0] if names else platform.processor()


def matrix_rate() -> float:
    """Return the rate of a large float32 matrix product on all cores, in GFLOP/s."""
    size = 3000
    one = torch.randn(size, size)
    one @ one
    return 2 * size**3 / min(seconds(lambda: one @ one) for _ in range(5)) / 1e9
