"""Search spaces evaluated whole, as tables: every network of a space retrained once, looked up ever after."""

from nas_mer.tabular.about import About
from nas_mer.tabular.packing import Source, missing_from, networks, pack
from nas_mer.tabular.shipped import find_benchmark, shipped_tables
from nas_mer.tabular.table import Benchmark, Which

__all__ = [
    "About",
    "Benchmark",
    "Source",
    "Which",
    "find_benchmark",
    "missing_from",
    "networks",
    "pack",
    "shipped_tables",
]
