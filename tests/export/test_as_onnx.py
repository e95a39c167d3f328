import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from nas_mer.errors import UserError
from nas_mer.export import as_onnx, export_onnx, model_of_genotype, model_of_run


def test_networks_that_average_their_probabilities(run, tmp_path):
    model = model_of_run(run, "rcn-f", fold="beta/s01")
    export_onnx(model, tmp_path / "mine.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "mine.onnx")
    for count in (1, 3, 11):
        maps = model.maps(count)
        (logits,) = session.run(["logits"], {"maps": maps.numpy()})
        with torch.no_grad():
            mean = torch.stack([one(maps).softmax(1) for one in model.networks]).mean(0)
        np.testing.assert_allclose(np.exp(logits), mean, atol=1e-5)
    about = {entry.key: entry.value for entry in onnx.load(tmp_path / "mine.onnx").metadata_props}
    assert about["classes"] == "negative, positive, surprise"
    assert about.items() >= model.about.items()
    assert (session.get_inputs()[0].shape, session.get_outputs()[0].shape) == (["batch", 3, 16, 16], ["batch", 3])
    assert b"model.py" not in (tmp_path / "mine.onnx").read_bytes()  # no file of this machine


def test_one_network(run, tmp_path):
    model = model_of_run(run, "rcn-a", seed=0, fold="beta/s01")
    export_onnx(model, tmp_path / "mine.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "mine.onnx")
    maps = model.maps(4)
    with torch.no_grad():
        expected = model.module(maps).numpy()
    np.testing.assert_allclose(session.run(None, {"maps": maps.numpy()})[0], expected, atol=1e-5)


def test_without_the_packages(space, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"needs onnxruntime, .* pip install 'nas-mer\[onnx\]'"):
        export_onnx(model_of_genotype(space, space.genotype("rcn")), tmp_path / "mine.onnx")


def test_a_file_that_computes_something_else_takes_no_place(space, tmp_path, monkeypatch):
    model = model_of_genotype(space, space.genotype("rcn"))
    other = onnx.helper.make_model(
        onnx.helper.make_graph(
            [
                onnx.helper.make_node("ReduceMean", ["maps"], ["mean"], keepdims=0, noop_with_empty_axes=0),
                onnx.helper.make_node("Identity", ["mean"], ["logits"]),
            ],
            "other",
            [onnx.helper.make_tensor_value_info("maps", onnx.TensorProto.FLOAT, ["batch", 3, 16, 16])],
            [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None)],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 20)],
        ir_version=10,
    )
    monkeypatch.setattr(as_onnx, "_graph", lambda model: other)
    with pytest.raises(RuntimeError, match="onnxruntime's logits differ"):
        export_onnx(model, tmp_path / "mine.onnx")
    assert not list(tmp_path.iterdir())
