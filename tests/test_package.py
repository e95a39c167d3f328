import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import nas_mer
from nas_mer.errors import UserError
from nas_mer.space import SearchSpace, shipped_spaces
from nas_mer.tabular import shipped_tables

ROOT = Path(__file__).parents[1]
LAYERS = [
    "errors",
    "words",
    "seeds",
    "files",
    "placed_yaml",
    "workers",
    "cluster",
    "compute",
    "data",
    "handcrafted",
    "space",
    "nn",
    "train",
    "search",
    "score",
    "view",
    "runs",
    "tabular",
    "study",
    "export",
    "report",
    "reproduce",
    "demo",
    "cli",
]

# What a notebook shows draws itself when it is shown.
SHOWN = {"space/space.py": {"view"}, "space/genotype.py": {"view"}}


class TestBuild:
    def test_a_plain_module_from_maps_to_logits(self):
        network = nas_mer.build("rcn-f")
        assert isinstance(network, torch.nn.Module)
        assert network(torch.zeros(2, 3, 60, 60)).shape == (2, 3)

    def test_other_sizes(self):
        network = nas_mer.build("rcn-f", classes=5, feature_maps=8, pool=3, size=24)
        assert network(torch.zeros(4, 3, 24, 24)).shape == (4, 5)
        assert network.head.weight.shape == (5, 8 * 3 * 3)

    def test_all_named_genotypes_of_the_paper_have_equally_many_parameters(self):
        names = ["rcn", "rcn-w", "rcn-s", "rcn-a", "rcn-c", "rcn-f", "rcn-p"]
        assert len({sum(p.numel() for p in nas_mer.build(name).parameters()) for name in names}) == 1

    def test_a_file(self, tmp_path):
        SearchSpace.load("rcn", size=16, pool=2).genotype("rcn-w").save(tmp_path / "mine.yaml")
        assert nas_mer.build(str(tmp_path / "mine.yaml"))(torch.zeros(2, 3, 16, 16)).shape == (2, 3)

    def test_what_does_not_exist(self, tmp_path):
        with pytest.raises(UserError, match=r"no genotype is called 'rcn-x'; did you mean 'rcn"):
            nas_mer.build("rcn-x")
        with pytest.raises(UserError, match=r"no parameter 'feature_map'; did you mean 'feature_maps'\?"):
            nas_mer.build("rcn-f", feature_map=3)
        with pytest.raises(UserError, match=r"gone\.yaml: no such file"):
            nas_mer.build(str(tmp_path / "gone.yaml"))


class TestLayers:
    def test_none_is_forgotten(self):
        children = (ROOT / "nas_mer").iterdir()
        found = {path.stem for path in children if path.suffix == ".py" or (path / "__init__.py").is_file()}
        assert found - {"__init__"} == set(LAYERS)

    @pytest.mark.parametrize("layer", LAYERS)
    def test_a_layer_imports_only_those_above_it(self, layer):
        path = ROOT / "nas_mer" / layer
        for file in path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]:
            below = {name for name in imported(file) if LAYERS.index(name) > LAYERS.index(layer)}
            assert below <= SHOWN.get(f"{layer}/{file.name}", set()), f"{file} imports {below}"


def imported(file):
    """The layers that a file imports, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write the whole name of what is imported"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "nas_mer" and len(part) > 1 and part[1] in LAYERS}


def test_importing_the_package_does_not_import_torch():
    code = "import sys, nas_mer; print(nas_mer.__version__, 'torch' in sys.modules, 'pydantic' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == [nas_mer.__version__, "False", "False"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--wheel-dir", str(folder)]
    done = subprocess.run([*command, "--disable-pip-version-check"], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode and any(reason in said for reason in ("No module named pip", "No matching distribution")):
        pytest.skip("a wheel needs pip and its build backend, hatchling, which cannot be had here")
    assert done.returncode == 0, said
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        yield archive


class TestWheel:
    def test_it_holds_the_package(self, wheel):
        files = {str(path.relative_to(ROOT)) for path in (ROOT / "nas_mer").rglob("*.py")}
        assert files <= set(wheel.namelist())
        assert "nas_mer/py.typed" in wheel.namelist()

    def test_it_holds_spaces_recipes_and_tables(self, wheel):
        spaces = {f"nas_mer/{file.relative_to(ROOT)}" for file in (ROOT / "search_spaces").rglob("*.yaml")}
        recipes = {str(path.relative_to(ROOT)) for path in (ROOT / "nas_mer").rglob("recipes/*.yaml")}
        tables = {f"nas_mer/tabular/tables/{name}.npz" for name in shipped_tables()}
        assert len(spaces) >= 5
        assert len(recipes) >= 4
        assert spaces | recipes | tables <= set(wheel.namelist())

    def test_it_holds_nothing_else(self, wheel):
        kinds = {Path(name).suffix for name in wheel.namelist() if name.startswith("nas_mer/")}
        assert kinds <= {".py", ".yaml", ".typed", ".jinja", ".css", ".js", ".npz"}

    def test_spaces_are_found_beside_the_installed_package(self, wheel, tmp_path):
        wheel.extractall(tmp_path)
        code = "import nas_mer.space; print(nas_mer.__file__, *nas_mer.space.shipped_spaces())"
        command = [sys.executable, "-c", code]
        file, *names = subprocess.check_output(command, text=True, cwd=tmp_path, env={"PYTHONPATH": "."}).split()
        assert Path(file).is_relative_to(tmp_path)
        assert set(names) == shipped_spaces().keys()
