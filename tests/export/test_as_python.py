import ast
import runpy
import subprocess
import sys

import pytest
import torch
from torch import nn

from nas_mer.errors import UserError
from nas_mer.export import as_python, export_python, model_of_genotype, model_of_run
from nas_mer.space import SearchSpace, op
from nas_mer.space.ops import OPS


def imports(nodes):
    return {name.split(".")[0] for node in nodes for name in names(node)}


def names(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) else []


class TestTrained:
    @pytest.mark.parametrize("asked", [{}, {"seed": 0, "fold": "alpha/s01"}])
    def test_load_gives_what_the_run_says(self, run, tmp_path, asked):
        model = model_of_run(run, "rcn-f", **asked)
        files = export_python(model, tmp_path / "mine.py")
        assert files == [tmp_path / "mine.py", tmp_path / "mine.safetensors"]
        made = runpy.run_path(str(files[0]))
        assert made["CLASSES"] == model.classes
        maps = model.maps(5)
        with torch.no_grad():
            torch.testing.assert_close(made["load"]()(maps), model.module(maps), rtol=1e-5, atol=1e-5)

    def test_it_needs_torch_alone_and_safetensors_for_its_weights(self, run, tmp_path):
        file, _ = export_python(model_of_run(run, "rcn-a"), tmp_path / "mine.py")
        tree = ast.parse(file.read_text())
        (load,) = (node for node in tree.body if getattr(node, "name", None) == "load")
        assert imports(tree.body) == {"collections", "math", "pathlib", "torch"}
        assert imports(ast.walk(load)) == {"safetensors"}
        assert imports(ast.walk(tree)) == imports(tree.body) | imports(ast.walk(load))

    def test_formatters_leave_it_as_it_is(self, run, tmp_path):
        file, _ = export_python(model_of_run(run, "rcn-a"), tmp_path / "mine.py")
        command = [sys.executable, "-m", "ruff", "format", "--isolated", "--diff", str(file)]
        assert subprocess.run(command, capture_output=True, check=False).stdout == b""


class TestFresh:
    def test_it_has_no_weights_and_trains(self, space, tmp_path):
        assert export_python(model_of_genotype(space, space.genotype("rcn-f")), tmp_path / "mine.py") == [
            tmp_path / "mine.py"
        ]
        assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
        network = runpy.run_path(str(tmp_path / "mine.py"))["Network"]()
        network(torch.randn(4, 3, 16, 16)).sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())

    def test_any_text_may_stand_in_its_docstring(self, space, tmp_path):
        genotype = space.genotype(space.named["rcn-f"], origin='a \\n """ and \\ "')
        export_python(model_of_genotype(space, genotype), tmp_path / "mine.py")
        tree = ast.parse((tmp_path / "mine.py").read_text())
        assert 'origin: a \\n """ and \\ "\n' in ast.get_docstring(tree, clean=False)


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


@pytest.fixture
def own_ops():
    op("doubled")(own_class)
    op("leaky")(own_torch)
    yield
    del OPS["doubled"], OPS["leaky"]


def own_class(shape) -> nn.Module:
    """Twice the map."""
    return Doubled()


def own_torch(shape) -> nn.Module:
    """A ReLU that leaks."""
    return nn.LeakyReLU(0.3)


def with_op(name):
    return SearchSpace.parse(
        f"version: 1\nname: own\ninput: {{channels: 3, size: 8}}\n"
        f"states: {{s: {{from: input, module: [conv, {name}]}}}}\nhead: {{from: s, pool: 2}}"
    )


class TestOwnOps:
    def test_of_torchs_modules(self, own_ops, tmp_path):
        space = with_op("leaky")
        export_python(model_of_genotype(space, space.genotype({})), tmp_path / "mine.py")
        assert "nn.LeakyReLU(negative_slope=0.3)," in (tmp_path / "mine.py").read_text()

    def test_of_a_class_of_its_own(self, own_ops, tmp_path):
        space = with_op("doubled")
        with pytest.raises(
            UserError, match=r"the op 'doubled' is made of .*Doubled, which --format python cannot write"
        ):
            export_python(model_of_genotype(space, space.genotype({})), tmp_path / "mine.py")
        assert not list(tmp_path.iterdir())


def test_a_file_that_computes_something_else_takes_no_place(space, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("before")
    broken = as_python.source_of
    monkeypatch.setattr(as_python, "source_of", lambda *args: broken(*args).replace("in1 = conv + r0", "in1 = conv"))
    with pytest.raises(RuntimeError, match="differs from the model by"):
        export_python(model_of_genotype(space, space.genotype("rcn-f")), tmp_path / "mine.py")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("mine.py", "before")]
