"""A network as one readable Python file that needs torch, and its weights beside it."""

from __future__ import annotations

import copy
import inspect
import re
import runpy
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from nas_mer.errors import UserError
from nas_mer.export.code import PARTS, Code, Group, laid_out, literal, network_code
from nas_mer.export.model import Model
from nas_mer.files import replacing

TOLERANCE = 1e-6
WEIGHTS = ".safetensors"
"""The suffix of the weights' file."""

_IMPORTS = (
    ("import math", r"\bmath\."),
    ("from collections.abc import Iterable", r"\bIterable\b"),
    ("from pathlib import Path", r"\bPath\b"),
    ("", ""),
    ("import torch", r"\btorch\."),
    ("import torch.nn.functional as F", r"\bF\."),
    ("from torch import Tensor, nn", ""),
)
"""The lines that a file may begin with, and what it has in it if it needs them."""


def export_python(model: Model, file: Path) -> list[Path]:
    """Write a model as Python code; the weights of a trained one lie beside it.

    The file is plain torch: a class `Network` from raw flow maps to logits, and for a trained model `load()`, which
    needs safetensors, too, and returns it with its weights. Before it takes its place it is run, and its logits are
    compared with the model's in double precision.

    Args:
        model: what to export.
        file: where; what is there is replaced.

    Returns:
        the files.

    Raises:
        UserError: an op is made of modules that cannot be written as code.
    """
    first = model.networks[0]
    try:
        code = network_code(first.network, first.normaliser, _summary(model))
    except ValueError as error:
        op, kind = error.args
        raise UserError(
            f"{file}: the op '{op}' is made of {kind}, which --format python cannot write: it knows the modules of "
            "torch and of the package's own ops; try --format onnx"
        ) from None
    weights = [code.weights(one.network, one.normaliser) for one in model.networks]
    with replacing(file) as fresh:
        fresh.write_text(_text(model, code, file), encoding="utf-8")
        _check(model, fresh, weights)
        if not model.trained:
            return [file]
        beside = file.with_suffix(WEIGHTS)
        with replacing(beside) as fresh_beside:
            fresh_beside.write_bytes(save(_named(weights), metadata=dict(model.about)))
    return [file, beside]


def _named(weights: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the state of a network, or of an ensemble of them, in memory of its own."""
    several = len(weights) > 1
    return {
        f"networks.{number}.{name}" if several else name: tensor.detach().clone().contiguous()
        for number, state in enumerate(weights)
        for name, tensor in state.items()
    }


def _summary(model: Model) -> str:
    shape = ", ".join(map(str, model.shape))
    return f"Flow maps `(N, {shape})` to logits `(N, {len(model.classes)})`, in the order of CLASSES."


def _text(model: Model, code: Code, file: Path) -> str:
    """Return the whole file."""
    lines = [*code.lines, *(["", "", *_load(model, file)] if model.trained else [])]
    classes = laid_out(0, "CLASSES = ", Group("(", tuple(map(literal, model.classes))))
    return "\n".join([*_docstring(model, file), "", source_of(lines, tuple(classes))])


def source_of(lines: Sequence[str], constants: Sequence[str] = ()) -> str:
    """Return lines of code with the parts that they use before them, and the imports that all of these need."""
    text = "\n".join([*lines, ""])
    for part in reversed(PARTS):
        if re.search(rf"\b{part.__name__}\(", text):
            text = f"{inspect.getsource(part)}\n\n{text}"
    imports = [line for line, needed in _IMPORTS if re.search(needed, text)]
    while not imports[0]:
        imports.pop(0)
    return "\n".join([*imports, *(["", *constants] if constants else []), "", "", text])


def _docstring(model: Model, file: Path) -> list[str]:
    told = [f"{name}: {value}" for name, value in model.about.items()]
    if model.trained:
        told.append(f"`load()` reads the weights from {file.with_suffix(WEIGHTS).name}, which lies beside this file.")
    text = "\n".join(["A network for micro-expression recognition.", "", *told])
    return ['"""' + text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"'), '"""']


def _load(model: Model, file: Path) -> list[str]:
    """Return the function that makes the trained network."""
    count = len(model.networks)
    made = "Network()" if count == 1 else f"Ensemble(Network() for _ in range({count}))"
    return [
        'def load(weights: str | Path = Path(__file__).with_suffix(".safetensors")) -> nn.Module:',
        '    """Return the network with its trained weights, ready to predict."""',
        "    from safetensors.torch import load_file",
        "",
        f"    network = {made}",
        "    network.load_state_dict(load_file(weights))",
        "    return network.eval()",
    ]


def _check(model: Model, file: Path, weights: list[dict[str, Tensor]]) -> None:
    """Run a file and compare what its networks say with what the model's do.

    Raises:
        RuntimeError: they differ.
    """
    made = runpy.run_path(str(file))
    maps = model.maps(3).double()
    network, reference = made["Network"]().double().eval(), copy.deepcopy(model.networks[0]).double()
    with torch.no_grad():
        for one, state in zip(model.networks, weights, strict=True):
            network.load_state_dict(state)
            reference.load_state_dict(one.state_dict())
            expected, found = reference(maps), network(maps)
            if not torch.allclose(found, expected, rtol=0, atol=TOLERANCE):
                off = float((found - expected).abs().max())
                raise RuntimeError(f"{file.name}: the written network differs from the model by {off}")
