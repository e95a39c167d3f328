"""The shapes that ops give to feature maps, found by running each op once on a map of zeros."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from nas_mer.space.graph import Graph, Inputs, Module, Op, State
from nas_mer.space.ops import OPS, Shape

Shapes = Mapping[str, Shape]


def build_op(op: Op, shape: Shape, shapes: Shapes) -> nn.Module:
    """Return a fresh module of an op for an input of `shape`; `shapes` are those of the graph's states."""
    return _build(op, shape, tuple(shapes[name] for name in referenced(op)))


def referenced(op: Op) -> tuple[str, ...]:
    """Return the states that an op is sized after, in the order of its arguments."""
    return tuple(value for key, value in op.args if key in OPS[op.name].references)


def state_shape(state: State, shapes: Shapes) -> Shape:
    """Return the shape of a state; all its options must agree.

    Raises:
        ValueError: maps that are summed, concatenated or chosen between differ, or an op does not fit its input.
    """
    before = _same(
        {f"inputs {name}": combined_shape(i, shapes) for name, i in state.inputs.options.items()}, "are chosen between"
    )
    after = {name: module_shape(module, before, shapes) for name, module in state.module.options.items()}
    return _same(after, "are chosen between")


def combined_shape(inputs: Inputs, shapes: Shapes) -> Shape:
    """Return the shape of edges summed or concatenated.

    Raises:
        ValueError: they do not fit each other.
    """
    ends = {
        edge.name: _same(
            {name: module_shape(module, shapes[edge.source], shapes) for name, module in edge.module.options.items()},
            f"from '{edge.name}' are chosen between",
        )
        for edge in inputs.edges
    }
    if inputs.combine == "sum":
        return _same(ends, "are summed")
    if len({(shape.height, shape.width) for shape in ends.values()}) > 1:
        raise _differ(ends, "are concatenated")
    return next(iter(ends.values()))._replace(channels=sum(shape.channels for shape in ends.values()))


def module_shape(module: Module, shape: Shape, shapes: Shapes) -> Shape:
    """Return the shape that a module gives to a map of `shape`."""
    for op in module:
        shape = _facts(op, shape, tuple(shapes[name] for name in referenced(op))).shape
    return shape


def check_shared(graph: Graph) -> None:
    """Check that ops which share weights by name have weights of the same shapes.

    Raises:
        ValueError: two ops of one name differ; the message names both.
    """
    found: dict[str, tuple[str, tuple[tuple[int, ...], ...]]] = {}
    for place, op, shape in placed_ops(graph):
        if op.share is not None:
            weights = _facts(op, shape, tuple(graph.shapes[name] for name in referenced(op))).weights
            first, expected = found.setdefault(op.share, (place, weights))
            if weights != expected:
                raise ValueError(
                    f"'{op.share}' names weights of shapes {expected} in {first}, but of {weights} in {place}; "
                    "weights that are shared have the same shapes"
                )


def placed_ops(graph: Graph) -> Iterator[tuple[str, Op, Shape]]:
    """Iterate over (place, op, shape of its input) of all ops of a graph."""
    for state in graph.states:
        for edge in state.edges:
            yield from _placed(f"{state.name} from {edge.name}", edge.module.options, graph.shapes[edge.source], graph)
        before = combined_shape(next(iter(state.inputs.options.values())), graph.shapes)
        yield from _placed(state.name, state.module.options, before, graph)


def _placed(place: str, options: Mapping[str, Module], shape: Shape, graph: Graph) -> Iterator[tuple[str, Op, Shape]]:
    for name, module in options.items():
        at = shape
        for op in module:
            yield f"{place} ({name})", op, at
            at = module_shape((op,), at, graph.shapes)


class _Facts(NamedTuple):
    shape: Shape
    weights: tuple[tuple[int, ...], ...]


@functools.lru_cache(maxsize=4096)
def _facts(op: Op, shape: Shape, like: tuple[Shape, ...]) -> _Facts:
    try:
        with _aside(), torch.no_grad():
            module = _build(op, shape, like).eval()
            out = module(torch.zeros(1, *shape))
            if out.dim() != 4:
                raise ValueError(f"it makes a tensor of shape {tuple(out.shape)} of it, not (N, C, H, W)")
            facts = _Facts(Shape(*out.shape[1:]), tuple(tuple(weight.shape) for weight in module.parameters()))
    except (ValueError, RuntimeError, TypeError, AssertionError, ZeroDivisionError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{op} does not fit a map of {shape}: {reason}") from None
    for part in module.modules():
        if isinstance(part, _DropoutNd):
            raise ValueError(
                f"{op} has torch's {type(part).__name__}, whose draws depend on what else its process trains; it must "
                "be nas_mer.space.ops.Dropout"
            )
    return facts


@contextmanager
def _aside() -> Iterator[None]:
    """Run something small without a trace: no random numbers are used up and no threads started."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            yield
    finally:
        torch.set_num_threads(threads)


def _build(op: Op, shape: Shape, like: Sequence[Shape]) -> nn.Module:
    kind = OPS[op.name]
    others = iter(like)
    args = {key: next(others) if key in kind.references else _plain(value) for key, value in op.args}
    return kind.build(shape, **args)


def _plain(value: object) -> object:
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _same(shapes: Mapping[str, Shape], what: str) -> Shape:
    if len(set(shapes.values())) > 1:
        raise _differ(shapes, what)
    return next(iter(shapes.values()))


def _differ(shapes: Mapping[str, Shape], what: str) -> ValueError:
    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    return ValueError(f"maps of different shapes {what}: {listed}")
