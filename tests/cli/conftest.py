"""What the tests of commands share: how a command is run, and two small runs made by commands."""

import functools
import sys

import pytest
import typer

from nas_mer import cli

QUICK = ("--set", "size=16", "--set", "feature_maps=4", "--set", "pool=2", "--epochs", "1", "--workers", "1")


@pytest.fixture(autouse=True, scope="session")
def _commands_are_built_once():
    """Each call would build all of them anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
        yield


@pytest.fixture
def nas_mer(monkeypatch, capsys):
    """Run a command; return its exit status, and what it wrote to stdout and to stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["nas-mer", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return run


@pytest.fixture
def done(nas_mer):
    """Run a command that succeeds without a word on stderr; return what it wrote to stdout."""

    def run(*arguments):
        status, out, err = nas_mer(*arguments)
        assert (status, err) == (0, "")
        return out

    return run


@pytest.fixture
def refused(nas_mer):
    """Run a command that the user has to correct; return its message."""

    def run(*arguments):
        status, out, err = nas_mer(*arguments)
        assert (status, out) == (2, "")
        assert "Traceback" not in err
        assert err.startswith("error: ")
        return err.removeprefix("error: ")

    return run


OWN_SPACE = """
version: 1
name: own
input: {channels: 3, size: 16}
parameters: {pool: 2}
states:
  a: {from: input, module: {op: conv, channels: 4}}
  b: {from: a, module: {decision: last, choose: {three: conv, five: {op: conv, kernel: 5}}}}
head: {from: b, pool: $pool}
genotypes: {parallel: {last: five}}
"""


@pytest.fixture
def own_space(tmp_path):
    """The file of a space that is not shipped, with a genotype `parallel`."""
    (tmp_path / "own.yaml").write_text(OWN_SPACE)
    return tmp_path / "own.yaml"


def run_all(*commands):
    """Run commands that succeed."""
    with pytest.MonkeyPatch.context() as patch:
        for command in commands:
            patch.setattr(sys, "argv", ["nas-mer", *map(str, command)])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            assert not ended.value.code


@pytest.fixture(name="run_all", scope="session")
def _run_all():
    return run_all


@pytest.fixture(scope="session")
def runs(tiny, tmp_path_factory):
    """A folder with a search `s` and a retraining `r` of rcn-f and rcn, made by commands."""
    folder = tmp_path_factory.mktemp("runs")
    run_all(
        ["search", "rcn", "--data", tiny, *QUICK, "--seeds", "2", "--out", folder / "s"],
        ["retrain", "rcn-f", "rcn", "--data", tiny, *QUICK, "--seeds", "2", "--out", folder / "r"],
    )
    return folder
