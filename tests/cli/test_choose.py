"""`nas-mer choose`, what takes its runs, and scores of averaged seeds."""

import csv
import io
import json

import numpy as np
import pytest
import yaml

from nas_mer.runs import load_run, predictions
from nas_mer.score import averaged, score

SIZES = ("--set", "size=16", "--set", "feature_maps=4", "--set", "pool=2")


@pytest.fixture(scope="module")
def recipes(recipe, tmp_path_factory):
    """Two files."""
    folder = tmp_path_factory.mktemp("recipes")
    files = []
    for name, epochs in (("short", 1), ("long", 2)):
        files.append(folder / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump(recipe.model_copy(update={"epochs": epochs}).model_dump(mode="json")))
    return files


@pytest.fixture(scope="module")
def chosen(run_all, tiny, recipes, tmp_path_factory):
    """A choice `c`, and a retraining `l` of it beside one genotype."""
    folder = tmp_path_factory.mktemp("runs")
    short, long = recipes
    few = ("--data", tiny, "--workers", "1")
    run_all(
        ["choose", "rcn", "--recipe", short, "--recipe", long, *few, *SIZES, "--groups", "3", "--out", folder / "c"],
        ["retrain", folder / "c", *few, "--seeds", "2", "--out", folder / "l"],
    )
    return folder


def test_it_prints_candidates_and_what_comes_next(done, chosen):
    told = done("runs", "show", chosen / "c")
    lines = told[told.index("chosen by") :].splitlines()
    rows = {row["recipe"]: row for row in load_run(chosen / "c").result["candidates"]}
    for line in lines[1:3]:
        genotype, recipe, uar, uf1, times, *_ = line.split()
        row = rows.pop(recipe)
        assert (genotype, uar, uf1) == (row["genotype"], f"{row['uar']:.3f}", f"{row['uf1']:.3f}")
        assert int(times) == row["chosen"]
    assert not rows
    assert f"score it with: nas-mer retrain {chosen / 'c'} --data ..." in told
    assert "choose" in done("runs", "list", chosen)


def test_json(done, tiny, recipes, chosen, tmp_path):
    few = ("--recipe", recipes[0], "--recipe", recipes[1], "--data", tiny, "--workers", "1", "--groups", "3")
    found = json.loads(done("choose", "rcn", *few, *SIZES, "--out", tmp_path / "c", "--json"))
    assert found == load_run(chosen / "c").result
    assert sorted(subject for group in found["groups"] for subject in group["subjects"]) == [
        "alpha/s01", "alpha/s02", "beta/s01", "beta/s02",
    ]  # fmt: skip


def test_a_finished_one_stays_as_it_is(done, chosen, content):
    before = content(chosen / "c")
    done("runs", "resume", chosen / "c")
    assert content(chosen / "c") == before


def test_refused(refused, chosen, tiny, tmp_path, recipes):
    few = ("--data", tiny, "--out", tmp_path / "run")
    assert "rcn: " not in refused("choose", chosen / "c", *few)
    assert f"nas-mer retrain {chosen / 'c'}" in refused("choose", chosen / "c", *few)
    assert "l: is a retrain run; this needs a genotype, a search run or a choose run" in refused(
        "choose", chosen / "l", *few
    )
    twice = refused("choose", "rcn", "--recipe", recipes[0], "--recipe", recipes[0], *few)
    assert twice.startswith("--recipe: two have the same name; each is called by its file: ")
    assert "did you mean 'paper'?" in refused("choose", "rcn", "--recipe", "papr", *few)
    assert "5 parts need as many subjects" in refused("choose", "rcn", "--groups", "5", *few)
    sizes = "--set: what was found for each fold is retrained at the sizes that it was found at"
    assert sizes in refused("retrain", chosen / "c", "--set", "size=20", *few)
    assert "c: is a choose run; this needs a retrain run" in refused("score", chosen / "c")
    assert "c: is a choose run, of which there is no picture" in refused(
        "graph", chosen / "c", "-o", tmp_path / "a.svg"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("named", "options", "message"),
    [
        (["c"], ["--epochs", "2"], "--epochs: nothing here is trained by it; what was chosen has its recipes"),
        (["c", "lbp-top"], ["--recipe", "paper"], "--recipe: nothing here is trained by it"),
        (["lbp-top"], ["--recipe", "paper"], "--recipe: nothing here is trained by it"),
        (["c"], ["--space", "rcn.yaml"], "--space: nothing here is looked up in it; it is for names and files of"),
    ],
)
def test_what_nothing_depends_on_is_refused(refused, chosen, tiny, tmp_path, named, options, message):
    what = [chosen / name if (chosen / name).exists() else name for name in named]
    assert message in refused("retrain", *what, "--data", tiny, *options, "--out", tmp_path / "run")


class TestAveragedSeeds:
    @pytest.fixture
    def row(self, chosen):
        return score(averaged(*predictions(load_run(chosen / "l"))))

    def test_score(self, done, chosen, row):
        (found,) = json.loads(done("score", chosen / "l", "--average-seeds", "--json"))["scores"]
        assert (found["genotype"], found["seed"]) == ("c, 2 seeds averaged", None)
        assert (found["uar"], found["uf1"]) == (row.composite.uar, row.composite.uf1)
        told = done("score", chosen / "l", "--average-seeds")
        assert "c, 2 seeds averaged " in told
        assert f"{row.composite.uar:.3f}" in told
        assert "±" not in told

    def test_csv(self, done, chosen, row):
        rows = list(csv.DictReader(io.StringIO(done("score", chosen / "l", "--average-seeds", "--format", "csv"))))
        assert {one["seed"] for one in rows} == {"averaged"}
        assert [float(one["uar"]) for one in rows if one["data"] == "composite"] == [row.composite.uar]

    def test_compare(self, done, chosen, row):
        found = json.loads(done("compare", chosen / "l", chosen / "l", "--average-seeds", "--json"))
        assert found["a"] == {"genotype": "c, 2 seeds averaged", "seeds": []}
        assert found["uar"]["a"] == row.composite.uar
        assert np.isclose(found["uar"]["difference"], 0)
        assert "one seed only" not in found["verdict"]
        told = done("compare", chosen / "l", chosen / "l", "--average-seeds")
        assert told.startswith("A: c, 2 seeds averaged   B: c, 2 seeds averaged ")

    def test_the_paper_has_no_averages(self, refused, chosen):
        message = "--average-seeds: does not go with --published, whose numbers are of single networks"
        assert message in refused("score", chosen / "l", "--average-seeds", "--published")
