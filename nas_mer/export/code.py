"""A frozen network as readable Python: straight-line code of its graph, with nothing of this package in it.

Every module is written as the expression that makes it. For torch's modules that expression follows from torch's
convention to keep what a constructor is given as attributes of the same names; those of this package are in one small
table. So an op of a user's own can be written, too, where it is made of torch's modules.
"""

from __future__ import annotations

import inspect
import itertools
import json
import keyword
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from nas_mer.export import parts
from nas_mer.nn import Network
from nas_mer.space import INPUT, Shape, ops
from nas_mer.space.graph import Module
from nas_mer.train import Normaliser

WIDTH = 88  # what formatters take if nobody tells them otherwise
PARTS: tuple[Callable[..., object], ...] = (
    parts.WideConv2d,
    parts.FactorizedReduce,
    ops.Zero,
    ops.Select,
    ops.Half,
    parts.vectors_of,
    parts.squashed,
    parts.Squash,
    parts.Capsules,
    parts.Lengths,
    parts.Ensemble,
    parts.standardised,
    parts.stretched,
    parts.attended,
    parts.share_weights,
)


@dataclass(frozen=True)
class Code:
    """The class of a network.

    Attributes:
        lines: the class, `Network`, from raw flow maps to logits.
        modules: the names of its modules -> those of the same modules in the network.
    """

    lines: tuple[str, ...]
    modules: Mapping[str, str]

    def weights(self, network: Network, normaliser: Normaliser) -> dict[str, Tensor]:
        """Return the state of the class for a network of the same graph, with a normaliser of the same kind."""
        found = {
            f"{mine}.{name}": tensor
            for mine, theirs in self.modules.items()
            for name, tensor in network.get_submodule(theirs).state_dict().items()
        }
        return {**found, **normaliser.learned}


@dataclass(frozen=True)
class Group:
    """An expression in brackets, such as a call.

    Attributes:
        opening: all up to the first argument, `torch.cat(`.
        arguments: what stands in the brackets.
        closing: the closing bracket.
        tall: whether each argument has a line of its own even if all fit into one.
    """

    opening: str
    arguments: tuple[Expression, ...]
    closing: str = ")"
    tall: bool = False

    def __str__(self) -> str:
        return f"{self.opening}{', '.join(map(str, self.arguments))}{self.closing}"


@dataclass(frozen=True)
class Sum:
    """A sum of at least one term."""

    terms: tuple[Expression, ...]

    def __str__(self) -> str:
        return " + ".join(map(str, self.terms))


Expression = Group | Sum | str


def call(function: str, *arguments: object, **named: object) -> Group:
    """Return a call with plain values as arguments."""
    return Group(f"{function}(", (*map(literal, arguments), *(f"{name}={literal(v)}" for name, v in named.items())))


def literal(value: object) -> str:
    """Return a plain value as formatters write it."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def laid_out(indent: int, head: str, expression: Expression, tail: str = "") -> Iterator[str]:
    """Iterate over the lines of an expression between a head and a tail: one line if they fit.

    If not, its brackets are opened, with a comma after the last argument: formatters leave it so.
    """
    margin = " " * indent
    line = f"{margin}{head}{expression}{tail}"
    if isinstance(expression, Group) and (expression.tall or len(line) > WIDTH):
        yield f"{margin}{head}{expression.opening}"
        for argument in expression.arguments:
            yield from laid_out(indent + 4, "", argument, ",")
        yield f"{margin}{expression.closing}{tail}"
    else:
        yield line


# --- modules ---------------------------------------------------------------------------------------------------------


def constructor(module: nn.Module) -> Group:
    """Return the expression that makes a module like this one.

    Raises:
        ValueError: it is, or holds, a module of which that is not known; the message is its type.
    """
    kind = type(module)
    if kind in CONSTRUCTORS:
        return CONSTRUCTORS[kind](module)
    if not kind.__module__.startswith("torch.nn.modules."):
        raise ValueError(f"{kind.__module__}.{kind.__qualname__}")
    positional: list[object] = []
    named: dict[str, object] = {}
    for parameter in inspect.signature(kind).parameters.values():
        if parameter.name in ("device", "dtype") or parameter.kind is parameter.VAR_KEYWORD:
            continue
        try:
            value = getattr(module, parameter.name)
        except AttributeError:
            raise ValueError(f"{kind.__module__}.{kind.__qualname__}") from None
        if isinstance(parameter.default, bool) and (value is None or isinstance(value, Tensor)):
            value = value is not None  # whether there is a bias
        if parameter.name in ("kernel_size", "stride", "padding", "dilation") and isinstance(value, tuple):
            value = value[0] if len(set(value)) == 1 else value
        if parameter.default is parameter.empty:
            positional.append(value)
        elif value != parameter.default:
            named[parameter.name] = value
    return call(f"nn.{kind.__name__}", *positional, **named)


def _sequence(layers: nn.Sequential) -> Group:
    return Group("nn.Sequential(", tuple(map(constructor, layers)), tall=True)


def _convolution(conv: ops.Conv2d) -> Group:
    kernel, stride, bias = conv.kernel_size[0], conv.stride[0], conv.bias is not None
    if len(conv.dilations) > 1:
        channels = conv.in_channels, conv.out_channels
        others = {} if bias else {"bias": False}
        return call("WideConv2d", *channels, kernel, stride=stride, dilations=conv.dilations, **others)
    (dilation,) = conv.dilations
    same = dilation * (kernel // 2)
    plain = nn.Conv2d(
        conv.in_channels, conv.out_channels, kernel, stride, same, dilation, conv.groups, bias, device="meta"
    )
    return constructor(plain)


CONSTRUCTORS: Mapping[type[nn.Module], Callable[[Any], Group]] = {
    nn.Identity: lambda _: call("nn.Identity"),
    nn.Tanh: lambda _: call("nn.Tanh"),  # whose signature is that of any module
    nn.Sequential: _sequence,
    ops.Conv2d: _convolution,
    ops.Dropout: lambda dropout: call("nn.Dropout", dropout.p),
    ops.FactorizedReduce: lambda halving: call("FactorizedReduce", halving.even.in_channels, halving.norm.num_features),
    ops.Zero: lambda zero: call("Zero", zero.stride),
    ops.Select: lambda select: call("Select", select.indices),
    ops.Half: lambda half: call("Half", half.part),
    ops.Squash: lambda squash: call("Squash", squash.dimensions),
    ops.Capsules: lambda capsules: call("Capsules", *capsules.weight.shape, routings=capsules.routings),
    ops.Lengths: lambda lengths: call("Lengths", lengths.dimensions),
}
"""How the modules are written that are not torch's own."""


# --- the network -----------------------------------------------------------------------------------------------------


def network_code(network: Network, normaliser: Normaliser, summary: str) -> Code:
    """Write a network without open decisions, and what normalises its maps.

    Args:
        network: the network.
        normaliser: what stands before it.
        summary: the class's docstring, one line.

    Raises:
        ValueError: `(op, type)` of the first op with a module that cannot be written.
    """
    writer = _Writer(network, normaliser)
    lines = (
        "class Network(nn.Module):",
        f'    """{summary}"""',
        "",
        "    def __init__(self) -> None:",
        "        super().__init__()",
        *writer.init,
        "",
        "    def forward(self, maps: Tensor) -> Tensor:",
        *writer.forward,
    )
    return Code(lines, writer.modules)


class _Writer:
    """Writes the two methods of a network's class, state by state."""

    def __init__(self, network: Network, normaliser: Normaliser) -> None:
        self.init: list[str] = []
        self.forward: list[str] = []
        self.modules: dict[str, str] = {}
        self.attributes: set[str] = set()
        self.known = {module: name for name, module in network.named_modules()}
        self.shared: dict[str, list[tuple[nn.Module, str]]] = {}  # share -> modules with these weights, and attributes
        self.taken = {*_TAKEN, *keyword.kwlist, *dir(nn.Module()), *(part.__name__ for part in PARTS)}
        graph = network.graph
        variables = {INPUT: "maps"}
        self._normalise(normaliser)
        built: Any  # the module of a state
        for state, built in zip(graph.states, network.states.values(), strict=True):
            name = self._free(state.name)
            (inputs,), (layers,) = built.inputs.values(), built.module.options.values()
            ends = []
            for edge, way in zip(state.inputs.only.edges, inputs.ways.values(), strict=True):
                (option,) = way.options.values()
                ends.append(
                    self._applied(
                        edge.module.only, option, self._free(f"{name}_from_{edge.name}"), variables[edge.source]
                    )
                )
            value = _combined(ends, state.inputs.only.combine)
            if len(ends) > 1 and len(layers) and not all(isinstance(end, str) for end in ends):
                self._assign(name, value)
                value = name
            value = self._applied(state.module.only, layers, name, value)
            self._assign(name, value, graph.shapes[state.name])
            for hop in state.hops:
                source = variables[hop.source]
                self._assign(name, Group("attended(", (name, source, "self.head.weight", f"pool={graph.pool}")))
            variables[state.name] = name
        self._declare("head", network.head)
        pooled = f"F.adaptive_avg_pool2d({variables[graph.output]}, {graph.pool})"
        self.forward.append(f"        return self.head({pooled}.flatten(1))")

    def _normalise(self, normaliser: Normaliser) -> None:
        for name, value in normaliser.learned.items():
            self.init.append(f'        self.register_buffer("{name}", torch.zeros{tuple(value.shape)})')
        match normaliser.kind:
            case "standardise":
                self._assign("maps", "(maps - self.mean) / self.scale")
            case "instance":
                self._assign("maps", "standardised(maps)")
            case "stretch":
                self._assign("maps", "stretched(maps)")

    def _applied(self, module: Module, layers: nn.Module, name: str, value: Expression) -> Expression:
        """Return a value put through a module. Ops that share their weights become attributes of their own."""
        own: list[nn.Module] = []

        def through_own() -> None:
            nonlocal value
            if own:
                attribute = self._free(name) if name in self.attributes else name
                self._declare(attribute, *own)
                value = Group(f"self.{attribute}(", (value,))
                own.clear()

        for op, layer in zip(module, layers.children(), strict=True):
            try:
                constructor(layer)
            except ValueError as error:
                raise ValueError(op.name, str(error)) from None
            if isinstance(layer, nn.Identity):
                continue
            if op.share is None:
                own.append(layer)
            else:
                through_own()
                value = Group(f"self.{self._shared(op.share, layer)}(", (value,))
        through_own()
        return value

    def _shared(self, share: str, layer: nn.Module) -> str:
        """Return the attribute of a module whose weights others share: the same where it is the same in all."""
        known = self.shared.setdefault(share, [])
        for other, attribute in known:
            if constructor(other) == constructor(layer) and not list(layer.buffers()):
                return attribute
        attribute = self._free(share)
        self._declare(attribute, layer)
        if known:
            self.init.append(f"        share_weights(self.{attribute}, self.{known[0][1]})")
        known.append((layer, attribute))
        return attribute

    def _declare(self, attribute: str, *layers: nn.Module) -> None:
        """Make an attribute of one module, or of several in a sequence."""
        self.attributes.add(attribute)
        several = len(layers) > 1
        for number, layer in enumerate(layers):
            self.modules[f"{attribute}.{number}" if several else attribute] = self.known[layer]
        made = constructor(nn.Sequential(*layers) if several else layers[0])
        self.init += laid_out(8, f"self.{attribute} = ", made)

    def _assign(self, name: str, value: Expression, shape: Shape | None = None) -> None:
        """Assign a value, a sum that is too long term by term; tell the shape at the end."""
        told = "" if shape is None else f"  # {shape}"
        if value == name:
            return
        if isinstance(value, Sum) and len(f"        {name} = {value}{told}") > WIDTH:
            *before, last = value.terms
            self._assign(name, Sum(tuple(before)))
            value = Sum((name, last))
        self.forward += laid_out(8, f"{name} = ", value, told)

    def _free(self, name: str) -> str:
        """Return a name as an identifier that nothing else has."""
        base = re.sub(r"\W|^(?=\d)", "_", name)
        found = next(
            n for n in itertools.chain([base], (f"{base}_{i}" for i in itertools.count(2))) if n not in self.taken
        )
        self.taken.add(found)
        return found


_TAKEN = {"self", "torch", "F", "nn", "maps", "head", "mean", "scale"}


def _combined(ends: Sequence[Expression], combine: str) -> Expression:
    if len(ends) == 1:
        return ends[0]
    if combine == "sum":
        return Sum(tuple(ends))
    return Group("torch.cat(", (Group("[", tuple(ends), "]"), "dim=1"))
