"""A small experiment, and outcomes of the right size without a training."""

from dataclasses import replace

import pytest

from nas_mer.compute import Compute
from nas_mer.data import Dataset
from nas_mer.reproduce import EXPERIMENTS, Experiment, Factor, Outcome, Plan, plan
from nas_mer.score import score

COMPOSITE = {"smic": (2, 82), "casme2": (5, 29), "samm": (7, 19)}  # 164, 145 and 133 samples, as in the paper

SMALL = Experiment(
    source="Table 0",
    title="UAR of small networks",
    rows=Factor(
        "model", {"RCN": {"method": "RCN", "genotype": "rcn"}, "RCN-W": {"method": "RCN-W", "genotype": "rcn-w"}}
    ),
    columns=Factor("feature maps", {str(number): {"feature_maps": number} for number in (2, 3, 4)}),
    common={"size": 16, "pool": 2},
    quick={"model": ("RCN",)},
)


@pytest.fixture
def alone():
    return Compute(workers=1)


@pytest.fixture(scope="session")
def three(made, tmp_path_factory):
    """The folder of a dataset: a subject of each of the paper's three databases."""
    folder = tmp_path_factory.mktemp("data") / "three"
    made([("smic", "s1"), ("casme2", "s1"), ("samm", "s1")]).save(folder)
    return folder


@pytest.fixture
def small(monkeypatch, three, recipe, tmp_path):
    """Plan the small experiment, of which 2 feature maps are impossible: three dilations cannot share them."""

    def small(seeds=1, quick=False, changed=None, folder=tmp_path / "small", **recipe_changes):
        monkeypatch.setitem(EXPERIMENTS, "small", replace(SMALL, **(changed or {})))
        return plan("small", three, recipe.model_copy(update={"epochs": 1, **recipe_changes}), folder, seeds, quick)

    return small


@pytest.fixture
def planned(three, recipe, tmp_path):
    """Plan an experiment of the paper, without a look at what is possible."""
    dataset = Dataset.load(three)

    def planned(name, quick=False, seeds=1):
        experiment = EXPERIMENTS[name].quickly() if quick else EXPERIMENTS[name]
        return Plan(name, experiment, quick, tmp_path / name, three, None, dataset, recipe, seeds, {}, {})

    return planned


@pytest.fixture(scope="session")
def outcome(simulate):
    """What could have come of a training on as many samples as the paper's."""

    def outcome(*seeds, databases=("smic", "casme2", "samm")):
        shape = {name: COMPOSITE[name] for name in databases}
        return Outcome(score(*(simulate(seed=seed, shape=shape) for seed in seeds), resamples=100))

    return outcome
