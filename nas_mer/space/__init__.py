"""Search spaces: YAML to a graph with decisions, genotypes, counting, sampling, top-k."""

from nas_mer.space.decisions import Decisions, Rule
from nas_mer.space.genotype import Genotype
from nas_mer.space.graph import INPUT, Graph
from nas_mer.space.ops import OPS, Like, Shape, load_ops, op, same_ops
from nas_mer.space.schema import json_schema
from nas_mer.space.space import SearchSpace, find_genotype, load_genotype, shipped_spaces

__all__ = [
    "INPUT",
    "OPS",
    "Decisions",
    "Genotype",
    "Graph",
    "Like",
    "Rule",
    "SearchSpace",
    "Shape",
    "find_genotype",
    "json_schema",
    "load_genotype",
    "load_ops",
    "op",
    "same_ops",
    "shipped_spaces",
]
