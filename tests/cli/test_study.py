"""Searches of a space of two networks against its table."""

import csv
import json

import pytest

SPACE = """
version: 1
name: pair
input: {channels: 3, size: 16}
states:
  conv:
    from: input
    module: {choose: {small: {op: conv, channels: 4, kernel: 1}, large: {op: conv, channels: 4, kernel: 3}}}
head: {from: conv, pool: 2}
"""
QUICK = ("--epochs", "1", "--workers", "1", "--seeds", "2")


@pytest.fixture(scope="module")
def folder(tiny, run_all, tmp_path_factory):
    """A folder with a space, its table, and two searches of it."""
    folder = tmp_path_factory.mktemp("study")
    space = folder / "pair.yaml"
    space.write_text(SPACE)
    run_all(
        ["benchmark", "run", space, "--data", tiny, *QUICK, "--out", folder / "all"],
        ["benchmark", "pack", folder / "all", "-o", folder / "tiny-pair-16.npz"],
        ["search", space, "--data", tiny, *QUICK, "--out", folder / "first"],
        ["search", space, "--data", tiny, *QUICK, "--order", "exact", "--out", folder / "exact"],
    )
    return folder


def test_numbers_page_and_pictures(done, folder, tmp_path):
    arguments = folder / "first", folder / "exact", "--table", folder / "tiny-pair-16.npz", "-o", tmp_path / "out"
    said = done("study", *arguments)
    assert said.startswith("tiny-pair-16: 2 genotypes of pair at 16x16 on tiny\n")
    for title in ("How much of the table's ranking is real", "How searches rank", "What searches find", "Variants"):
        assert title in said
    assert said.endswith(f"numbers and pictures in {tmp_path / 'out'}\n")
    names = {"study.json", "study.csv", "study.md", "ranks.svg", "tau.svg", "regret.svg"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names
    document = json.loads(done("study", *arguments, "--json"))
    assert document == json.loads((tmp_path / "out/study.json").read_text())
    assert [run["settings"] for run in document["runs"]] == [{"epochs": 1}, {"epochs": 1, "order": "exact"}]
    assert [variant["criterion"] for variant in document["variants"]] == ["tau", "regret"]
    with (tmp_path / "out/study.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["tau"]) for row in rows] == [run["means"]["tau"]["mean"] for run in document["runs"]]


def test_refused(refused, folder, tmp_path):
    out = "-o", tmp_path / "out"
    table = "--table", folder / "tiny-pair-16.npz"
    assert "is a retrain run; this needs a search run" in refused("study", folder / "all", *table, *out)
    assert "no benchmark is called so" in refused("study", folder / "first", "--table", "megc", *out)
    assert "is a file; name a folder" in refused("study", folder / "first", *table, "-o", folder / "pair.yaml")
    assert not list(tmp_path.iterdir())
