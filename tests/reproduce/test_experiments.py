import itertools

import pytest

from nas_mer.handcrafted import DESCRIPTORS
from nas_mer.placed_yaml import read_yaml
from nas_mer.reproduce import EXPERIMENTS, Setting
from nas_mer.space import shipped_spaces

ENTRIES = {  # counted in the paper; those of a figure where its text names the values of its axis
    "table2": 7 * 3 * 2, "table3": 5 * 2 * 2, "table4": 5 * 3 * 2, "table5": 14 * 4 * 2, "table6": 5 * 4 * 2,
    "fig1": 4 * 9, "fig7": 4 * 9,
}  # fmt: skip


@pytest.fixture(params=EXPERIMENTS)
def experiment(request):
    return EXPERIMENTS[request.param]


@pytest.mark.parametrize(("name", "count"), ENTRIES.items())
def test_each_has_as_many_entries_as_the_paper(name, count):
    assert len(list(EXPERIMENTS[name].entries())) == count


def test_the_grid_is_all_that_is_trained(experiment):
    grid = experiment.grid
    points = [dict(zip(grid, labels, strict=True)) for labels in itertools.product(*grid.values())]
    settings = [experiment.setting(point) for point in points]
    assert len(set(settings)) == len(settings)
    assert set(settings) == {setting for _, setting, _, _ in experiment.entries()}


def test_runs_of_different_settings_have_different_names(experiment):
    settings = {setting for _, setting, _, _ in experiment.entries()}
    assert len({setting.name for setting in settings}) == len(settings)


def test_the_quick_part_is_a_part(experiment):
    quick = list(experiment.quickly().entries())
    assert set(quick) < set(experiment.entries())
    assert len(quick) <= 24


def test_every_genotype_is_shipped(experiment):
    known = {name for file in shipped_spaces().values() for name in read_yaml(file).value.get("genotypes", ())}
    assert {setting.genotype for _, setting, _, _ in experiment.entries()} <= known | DESCRIPTORS.keys()


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("table2", ("7", "RCN-P", "64"), Setting("RCN-P", "rcn-p", 60, 64, 7)),
        ("table3", ("100", "RCN-A", "magnified"), Setting("RCN-A", "rcn-a", 100, 16, 5, magnified=True)),
        (
            "table4",
            ("64 maps, pooling 7", "RCN-S", "SMIC, SAMM"),
            Setting("RCN-S", "rcn-s", 60, 64, 7, ("smic", "samm")),
        ),
        ("table5", ("UF1", "RCN-W", "SAMM"), Setting("RCN-W", "rcn-w", 60, 32, 7)),
        ("table5", ("UAR", "DCN-DB", "SAMM"), Setting("DCN-DB", "dcn-db")),
        ("table5", ("UF1", "Bi-WOOF", "SMIC"), Setting("Bi-WOOF", "bi-woof")),
        ("fig1", ("", "150", "Model 3"), Setting("Model 3", "model-3", 150, 16, 5)),
        ("fig8", ("100", "9", "RCN-W"), Setting("RCN-W", "rcn-w", 100, 16, 9)),
        ("fig9", ("60", "32", "RCN-A"), Setting("RCN-A", "rcn-a", 60, 32, 5)),
    ],
)
def test_settings(name, labels, expected):
    assert {found: setting for found, setting, _, _ in EXPERIMENTS[name].entries()}[labels] == expected


def test_what_is_read_off():
    found = {labels: rest for labels, *rest in EXPERIMENTS["table5"].entries()}
    assert found["UF1", "STSTNet", "CASME II"] == [Setting("STSTNet", "ststnet"), "casme2", "uf1"]
    assert {tuple(rest) for _, _, *rest in EXPERIMENTS["table6"].entries()} == {("composite", "hours")}


def test_names_of_runs():
    assert Setting("RCN-F", "rcn-f", 60, 16, 5).name == "rcn-f-s60-m16-k5"
    assert Setting("RCN", "rcn", 60, 64, 7, ("smic", "samm"), True).name == "rcn-s60-m64-k7-smic-samm-magnified"
    assert Setting("STSTNet", "ststnet").name == "ststnet"
