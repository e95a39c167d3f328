"""The tables that come with the package, by name and size."""

from __future__ import annotations

from pathlib import Path

from nas_mer.errors import UserError
from nas_mer.tabular.table import Benchmark
from nas_mer.words import did_you_mean, listed

TABLES = Path(__file__).parent / "tables"
"""Where the files of the benchmarks are that come with the package."""


def find_benchmark(name: str | Path, size: int | None = None) -> Benchmark:
    """Read a benchmark that comes with the package, or one's own file.

    Args:
        name: such as `megc2019-rcn`, or the path of a `.npz` file.
        size: the side of the networks' input maps in pixels; None takes the largest that there is.

    Raises:
        UserError: there is no such benchmark, not of this size, or the file is no table or damaged.
    """
    path = Path(name)
    if path.suffix != ".npz":
        path = _shipped(str(name), size)
    found = Benchmark.load(path)
    if size not in (None, found.size):
        raise UserError(f"{path}: its networks take maps of size {found.size}, not {size}")
    return found


def shipped_tables() -> dict[str, Path]:
    """Return the files of the benchmarks that come with the package, by name and size (`megc2019-rcn-28`)."""
    return {file.stem: file for file in sorted(TABLES.glob("*.npz"))}


def _shipped(name: str, size: int | None) -> Path:
    """Return the file of a benchmark that comes with the package."""
    known: dict[str, dict[int, Path]] = {}
    for stem, file in shipped_tables().items():
        base, _, side = stem.rpartition("-")
        known.setdefault(base, {})[int(side)] = file
    if name not in known:
        raise UserError(f"{name}: no benchmark is called so, and it is no .npz file{did_you_mean(name, known)}")
    sizes = known[name]
    if size is not None and size not in sizes:
        raise UserError(f"{name}: has no table of size {size}; there are: {listed(sorted(sizes))}")
    return sizes[max(sizes) if size is None else size]
