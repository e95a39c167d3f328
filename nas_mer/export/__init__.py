"""Networks for other programs: ONNX, and Python code that needs torch, and safetensors for its weights."""

from nas_mer.export.as_onnx import export_onnx
from nas_mer.export.as_python import export_python
from nas_mer.export.model import Model, model_of_genotype, model_of_run

__all__ = ["Model", "export_onnx", "export_python", "model_of_genotype", "model_of_run"]
