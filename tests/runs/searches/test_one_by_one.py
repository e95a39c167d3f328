"""Searches that tune sizes and recipes along with the genotype."""

import pytest

from nas_mer.data import Dataset
from nas_mer.errors import UserError
from nas_mer.runs import derive, load_run, nested_of, retrain, search
from nas_mer.runs import trainings as trainings_module
from nas_mer.runs.retrainings.config import genotype_file, recipe_of
from nas_mer.runs.searches.config import findings, replicas_of, studies_of
from nas_mer.runs.searches.pictures import draw_pareto, pareto_of
from nas_mer.search import strategies
from nas_mer.space import SearchSpace, load_genotype
from nas_mer.train import Recipe, load_recipe

# Without padding a kernel of 7 needs maps of at least 7 pixels.
SPACE = """
version: 1
name: kernels
input: {channels: 3, size: 16}
parameters: {kernel: 3}
states:
  conv:
    from: input
    module:
      choose:
        a: [{op: conv, kernel: $kernel, channels: 2, padding: 0}, relu]
        b: [{op: conv, kernel: $kernel, channels: 2, padding: 0}, batch_norm]
head: {from: conv, pool: 1}
"""
BOTH = ("uar", "parameters")


@pytest.fixture(scope="module")
def kernels():
    return SearchSpace.parse(SPACE, "kernels.yaml")


@pytest.fixture(scope="module")
def tuned(kernels, tiny, recipe, tmp_path_factory, alone):
    """All that there is, but for what cannot be built: 2 options, 2 kernels, 2 sizes, 2 learning rates."""
    path = tmp_path_factory.mktemp("runs") / "tuned"
    return search(
        kernels, tiny, recipe, path, compute=alone, strategy="random", objectives=BOTH,
        tune=["kernel=3,7", "size=5,8", "optimizer.learning_rate=1e-3,1e-1"],
    )  # fmt: skip


def test_what_cannot_be_built_is_a_trial_that_failed_with_its_reason(tuned):
    impossible = [line for line in tuned.metrics() if line["parameters"] == {"kernel": 7, "size": 5}]
    assert impossible
    assert all("does not fit a map of 3x5x5" in line["failure"] for line in impossible)
    assert sum(tuned.result["failed"].values()) == len(impossible)
    assert tuned.result["tried"] == 2 * 2 * (2 * 2 - 1)


def test_the_front_is_written_beside_the_best(tuned, kernels):
    """Parameters by hand: two filters of three channels with biases, a normalisation in b, two features."""
    result, ranks = tuned.result, {one["rank"] for one in tuned.result["front"]}
    for row in result["trials"]:
        normalised = 4 if row["choices"]["conv"] == "b" else 0
        assert row["measured"] == {
            "parameters": 2 * (3 * row["parameters"]["kernel"] ** 2 + 1) + normalised + 2 * 3 + 3
        }
    assert {one["rank"] for one in result["genotypes"]} == {1, 2, 3} | ranks
    for row in result["front"]:
        space, genotype = load_genotype(tuned.path / "genotypes" / f"top{row['rank']}.yaml")
        assert genotype.choices == row["choices"]
        assert (space.parameters["kernel"], space.graph.shapes["input"].height) == tuple(row["parameters"].values())
        trained_by = load_recipe(tuned.path / "recipes" / f"top{row['rank']}.yaml", Recipe)
        assert trained_by.optimizer.learning_rate == row["recipe"]["optimizer.learning_rate"]


def test_each_trial_sees_maps_and_recipe_of_its_own(kernels, tiny, recipe, tmp_path, alone, monkeypatch):
    seen = []
    trained = trainings_module.train

    def train(replicas, after_epoch, inputs, recipe, states):
        seen.append((inputs.size, inputs.normalise, recipe.normalise))
        return trained(replicas, after_epoch, inputs, recipe, states)

    monkeypatch.setattr(trainings_module, "train", train)
    tune = ["size=8,10", "normalise=none,instance"]
    search(kernels, tiny, recipe, tmp_path / "run", compute=alone, strategy="random", tune=tune)
    assert set(seen) == {((size, size), kind, kind) for size in (8, 10) for kind in ("none", "instance")}
    assert len(seen) == 8


def test_a_nested_search_hands_on_sizes_and_recipes(kernels, tiny, recipe, tmp_path, alone, monkeypatch):
    monkeypatch.setattr(strategies, "TRIALS", 2)
    folds = len({(one.database, one.subject) for one in Dataset.load(tiny).samples})
    tune = ["kernel=3,5", "optimizer.learning_rate=1e-3..1e-1"]
    asked = {"strategy": "tpe", "protocol": "nested", "tune": tune, "compute": alone}
    run = search(kernels, tiny, recipe, tmp_path / "nested", **asked)
    nested = nested_of(run)
    assert len(nested.folds) == folds
    again = retrain([nested], tiny, recipe, tmp_path / "scored", compute=alone)
    for fold, choice in nested.folds.items():
        best = run.result["folds"][fold]
        assert choice.genotype.parameters == best["parameters"]
        space, genotype = load_genotype(genotype_file(again, "nested", fold))
        assert (genotype.digest, space.parameters) == (choice.genotype.digest, choice.space.parameters)
        assert recipe_of(again, "nested", fold) == choice.recipe != recipe


@pytest.mark.parametrize("protocol", ["shared", "nested"])
def test_a_run_whose_dataset_has_moved_is_shown_as_it_was(
    kernels, made, recipe, tmp_path, alone, monkeypatch, protocol
):
    monkeypatch.setattr(strategies, "TRIALS", 2)
    made().save(tmp_path / "data")
    asked = {"strategy": "tpe", "protocol": protocol, "seeds": [3, 1], "compute": alone}
    run = search(kernels, tmp_path / "data", recipe, tmp_path / "run", **asked)
    before = {file: file.read_bytes() for name in ("genotypes", "folds") for file in (run.path / name).rglob("*.yaml")}
    (tmp_path / "data").rename(tmp_path / "moved")
    assert len(derive(run, 3)) == len(run.result["genotypes"])
    assert {file: file.read_bytes() for file in before} == before
    found = findings(run)
    assert [member.seed for member in found.members] == sorted([3, 1] * (len(found.members) // 2), reverse=True)
    if protocol == "nested":
        assert list(found.fold_genotypes(kernels)) == list(run.result["folds"])
    else:
        assert {str(member.seed) for member in found.members} == run.result["seeds"].keys()


def test_pictures(tuned, tmp_path):
    draw_pareto(tuned, tmp_path / "front.svg")
    assert b"<svg" in (tmp_path / "front.svg").read_bytes()
    assert len(pareto_of(load_run(tuned.path)).axes) == 2


def test_one_objective_has_no_front(kernels, tiny, recipe, tmp_path, alone):
    run = search(kernels, tiny, recipe, tmp_path / "run", compute=alone, strategy="random")
    with pytest.raises(UserError, match=r"searched for uar alone, .* --objectives uar,parameters"):
        draw_pareto(run, tmp_path / "front.svg")


def test_killed_at_random_moments(kernels, tiny, recipe, tmp_path, alone, stopping, stop, hunted):
    """Each trial is whole or not there, and the same are drawn in the end."""
    asked = {"strategy": "evolution", "tune": ["size=5,8"], "seeds": 2, "compute": alone}
    whole = search(kernels, tiny, recipe, tmp_path / "whole", **asked)
    with pytest.raises(stop):
        search(kernels, tiny, recipe, tmp_path / "run", progress=stopping(1), **asked)
    begun = load_run(tmp_path / "run")
    dataset = Dataset.load(tiny)

    def done(run):
        members = replicas_of(dataset, run.config.seeds, run.config.protocol)
        return sum(len(study.trials()) for study in studies_of(run.path, run.config, kernels, members).values())

    def lines(run):
        return sorted(map(str, run.metrics()))

    def check(run):
        assert run.result == whole.result
        assert lines(run) == lines(whole)

    hunted(begun, whole, 3, check, done)
