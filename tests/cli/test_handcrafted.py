"""Handcrafted descriptors, from frames to scores."""

import csv
import json

import pytest

from nas_mer.data import Dataset


@pytest.fixture(scope="module")
def folder(filmed, run_all, tmp_path_factory):
    """A dataset `data` of two made-up people with clips, and `run`, which scores both descriptors on it."""
    folder = tmp_path_factory.mktemp("handcrafted")
    quick = ["--flow", "dis", "--size", "16", "--workers", "1"]
    run_all(
        ["data", "prepare", folder / "data", "--casme2", filmed / "CASME2", *quick, "--clip-frames", "6"],
        ["retrain", "bi-woof", "lbp-top", "--data", folder / "data", "--workers", "1", "--out", folder / "run"],
    )
    return folder


def test_they_are_scored_like_any_genotype(folder, done):
    scores = json.loads(done("score", folder / "run", "--json"))["scores"]
    assert [(one["genotype"], one["seed"]) for one in scores] == [("bi-woof", 0), ("lbp-top", 0)]
    assert all(one["samples"] == 8 for one in scores)
    with (folder / "run" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 8
    for row in rows:
        values = {name: float(row[f"logit_{name}"]) for name in ("negative", "positive", "surprise")}
        assert row["predicted"] == max(values, key=values.get)
    compared = json.loads(done("compare", f"{folder / 'run'}:bi-woof", f"{folder / 'run'}:lbp-top", "--json"))
    assert [compared[side]["genotype"] for side in "ab"] == ["bi-woof", "lbp-top"]


def test_they_stand_in_pictures_and_reports(folder, done, tmp_path):
    done("graph", folder / "run", "-o", tmp_path / "scores.svg")
    assert "lbp-top" in (tmp_path / "scores.svg").read_text()
    done("report", folder / "run", "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "bi-woof" in page
    assert "is a handcrafted descriptor with a support vector machine, not a network" in page


def test_what_only_networks_have_is_refused(folder, refused, tmp_path):
    run, file = folder / "run", tmp_path / "file"
    of_a_run = "run: bi-woof is a handcrafted descriptor with a support vector machine, not a network"
    assert of_a_run in refused("export", f"{run}:bi-woof", "--format", "python", "-o", file.with_suffix(".py"))
    assert of_a_run in refused("graph", f"{run}:bi-woof", "--view", "activation", "-o", file.with_suffix(".svg"))
    clip = Dataset.load(folder / "data").samples[0]
    assert of_a_run in refused("predict", f"{run}:bi-woof", clip)
    alone = "bi-woof: is a handcrafted descriptor and has no network; nas-mer retrain scores it"
    assert alone in refused("graph", "bi-woof", "-o", file.with_suffix(".svg"))
    assert alone in refused("export", "bi-woof", "--format", "python", "-o", file.with_suffix(".py"))
    assert alone in refused("choose", "bi-woof", "--data", folder / "data", "--out", file)
    assert list(tmp_path.iterdir()) == []


def test_parameters_and_what_a_dataset_lacks(folder, refused, tiny, tmp_path):
    out = tmp_path / "run"
    message = refused("retrain", "bi-woof", "--data", tiny, "--set", "blcks=3", "--out", out)
    assert message == "bi-woof: blcks: unknown key 'blcks'; did you mean 'blocks'?\n"
    message = " ".join(refused("retrain", "lbp-top", "--data", tiny, "--out", out).split())
    assert "'tiny': lbp-top describes clips, and it keeps none" in message
    assert "nas-mer data prepare OUT ... --clip-frames 10" in message
    assert not out.exists()
