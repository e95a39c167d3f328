import runpy
import sys

import pytest

from nas_mer import cli
from nas_mer.runs import Compute, retrain


@pytest.fixture(scope="module")
def run(space, tiny, recipe, tmp_path_factory):
    """A retraining of rcn-f."""
    path = tmp_path_factory.mktemp("runs") / "loso"
    return retrain([(space, space.genotype("rcn-f"))], tiny, recipe, path, compute=Compute(workers=1))


@pytest.fixture
def nas_mer(monkeypatch, capsys):
    """Run a command; return its exit status, and what it wrote to stdout and to stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["nas-mer", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return call


def test_a_run_as_python(nas_mer, run, tmp_path):
    status, out, err = nas_mer("export", run.path, "--format", "python", "-o", tmp_path / "mine.py")
    assert (status, err) == (0, "")
    assert out.split() == [str(tmp_path / "mine.py"), str(tmp_path / "mine.safetensors")]
    assert len(runpy.run_path(str(tmp_path / "mine.py"))["load"]().networks) == 4


def test_a_genotype_of_a_run(nas_mer, run, tmp_path):
    status, out, _ = nas_mer("export", f"{run.path}:rcn-f", "--format", "python", "-o", tmp_path / "mine.py")
    assert (status, len(out.split())) == (0, 2)
    status, _, err = nas_mer("export", f"{run.path}:rcn-g", "--format", "python", "-o", tmp_path / "no.py")
    assert status == 2
    assert f"{run.path}: has no genotype 'rcn-g'; did you mean 'rcn-f'?" in err


def test_a_genotype_at_other_sizes(nas_mer, tmp_path):
    sizes = ("--set", "size=16", "--set", "feature_maps=4")
    assert nas_mer("export", "rcn-s", "--format", "python", "-o", tmp_path / "mine.py", *sizes)[0] == 0
    assert "`(N, 3, 16, 16)`" in (tmp_path / "mine.py").read_text()


def test_a_genotype_that_a_space_of_ones_own_names(nas_mer, own_space, tmp_path):
    asked = ("export", "parallel", "--format", "python", "-o", tmp_path / "mine.py")
    assert "no genotype is called 'parallel'" in nas_mer(*asked)[2]
    assert nas_mer(*asked, "--space", own_space)[0] == 0
    assert "`(N, 3, 16, 16)`" in (tmp_path / "mine.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rcn-f", "--format", "onnx", "-o", "x.py"), "-o: --format onnx writes a .onnx file, found 'x.py'"),
        (("rcn-x", "--format", "python", "-o", "x.py"), "no genotype is called 'rcn-x'; did you mean 'rcn"),
        (("rcn-f", "--format", "python", "-o", "x.py", "--seed", "1"), "--seed: chooses among the networks of a run"),
        (("RUN", "--format", "python", "-o", "x.py", "--fold", "alpha/s9"), "has no fold 'alpha/s9'; did you mean"),
        (("RUN", "--format", "python", "-o", "x.py", "--set", "size=9"), "--set: the networks of a run have the space"),
        (
            ("RUN", "--format", "python", "-o", "x.py", "--space", "rcn"),
            "--space: the networks of a run have the space",
        ),
    ],
)
def test_what_is_wrong_is_said(nas_mer, run, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = nas_mer("export", *(run.path if one == "RUN" else one for one in arguments))
    assert (status, out) == (2, "")
    assert message in err
    assert not list(tmp_path.iterdir())
