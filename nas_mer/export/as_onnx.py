"""A network as an ONNX file, for programs without torch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from nas_mer.errors import UserError
from nas_mer.export.model import Model, Raw
from nas_mer.files import replacing

TOLERANCE = 1e-5
IN, OUT = "maps", "logits"


def export_onnx(model: Model, file: Path) -> None:
    """Write a model as ONNX: input `maps` `(batch, C, size, size)` float32, output `logits` `(batch, classes)`.

    Its metadata say what it is. Before the file takes its place, onnxruntime computes the logits of batches of several
    sizes, which are compared with torch's.

    Args:
        model: what to export.
        file: where; what is there is replaced.

    Raises:
        UserError: the packages for it are not installed.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch exports with it
    except ImportError as error:
        raise UserError(f"--format onnx needs {error.name}, which is not there: pip install 'nas-mer[onnx]'") from None
    found = _graph(model)
    onnx.helper.set_model_props(found, {**model.about, "classes": ", ".join(model.classes)})
    with replacing(file) as fresh:
        onnx.save(found, fresh)
        session = onnxruntime.InferenceSession(fresh, providers=["CPUExecutionProvider"])
        for count in (1, 2, 7):
            maps = model.maps(count)
            with torch.no_grad():
                expected = model.module(maps)
            (logits,) = session.run([OUT], {IN: maps.numpy()})
            if not torch.allclose(torch.from_numpy(logits), expected, rtol=TOLERANCE, atol=TOLERANCE):
                raise RuntimeError(
                    f"{file}: onnxruntime's logits differ from torch's by {abs(logits - expected.numpy()).max()}"
                )


def _graph(model: Model) -> Any:
    """Return an ONNX model (a protocol buffer).

    Of several networks one is exported, and its graph repeated with the weights of each: they differ in nothing else,
    and to export every one takes minutes.
    """
    import onnx
    from onnx import compose, helper, numpy_helper

    first, *others = model.networks
    exported = _exported(first, model, optimize=not others)
    if not others:
        return exported
    graph = helper.make_graph([], "ensemble", list(exported.graph.input), list(exported.graph.output))
    probabilities = []
    for number, one in enumerate(model.networks):
        member = onnx.ModelProto()
        member.CopyFrom(exported)
        state = one.state_dict()
        for tensor in member.graph.initializer:
            if tensor.name in state:
                tensor.CopyFrom(numpy_helper.from_array(state[tensor.name].numpy(), tensor.name))
        compose.add_prefix(member, f"{number}.", rename_inputs=False, inplace=True)
        graph.node.extend(member.graph.node)
        graph.initializer.extend(member.graph.initializer)
        probabilities.append(f"{number}.probabilities")
        graph.node.append(helper.make_node("Softmax", [f"{number}.{OUT}"], probabilities[-1:], axis=1))
    graph.node.append(helper.make_node("Mean", probabilities, ["probabilities"]))
    graph.node.append(helper.make_node("Log", ["probabilities"], [OUT]))
    return helper.make_model(graph, opset_imports=exported.opset_import, ir_version=exported.ir_version)


def _exported(one: Raw, model: Model, optimize: bool) -> Any:
    """Return a network as ONNX, without the notes of torch's exporter, which name files of this machine."""
    maps = model.maps(2)
    with torch.no_grad():
        one(maps)  # what it keeps for later calls must not be made while it is traced
    with _quiet():
        program = torch.onnx.export(
            one,
            (maps,),
            dynamo=True,
            optimize=optimize,
            input_names=[IN],
            output_names=[OUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    assert program is not None  # with dynamo there is always one
    found = program.model_proto
    for part in (found, found.graph, *found.graph.node, *found.graph.input, *found.graph.output):
        part.ClearField("metadata_props")
    found.graph.ClearField("value_info")
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what torch's exporter says about itself and about packages that are not needed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
