import pytest

from nas_mer.reproduce import reproduced

# Typed from the paper: by experiment its labels and the number that stands there.
PAPER = {
    "table2": {
        ("5", "RCN", "16"): 0.6773, ("5", "RCN-P", "32"): 0.6757, ("5", "RCN-A", "64"): 0.7055,
        ("7", "RCN-W", "32"): 0.7100, ("7", "RCN-C", "64"): 0.6703, ("7", "RCN-F", "16"): 0.6915,
    },
    "table3": {
        ("60", "RCN-A", "magnified"): 0.6041, ("60", "RCN-W", "as it is"): 0.6889,
        ("100", "RCN-F", "as it is"): 0.6642, ("100", "RCN", "magnified"): 0.6154,
    },
    "table4": {
        ("16 maps, pooling 5", "RCN", "SMIC, SAMM"): 0.5678, ("16 maps, pooling 5", "RCN-W", "CASME II, SAMM"): 0.7102,
        ("64 maps, pooling 7", "RCN-F", "SMIC, CASME II"): 0.7254,
        ("64 maps, pooling 7", "RCN-S", "CASME II, SAMM"): 0.7491,
    },
    "table5": {
        ("UAR", "LBP-TOP", "SMIC"): 0.5280, ("UF1", "Bi-WOOF", "CASME II"): 0.7805, ("UAR", "Bi-WOOF", "SAMM"): None,
        ("UAR", "NMER", "composite"): 0.5936, ("UF1", "STSTNet", "SAMM"): 0.7019,
        ("UF1", "RCN-A", "composite"): 0.7432, ("UAR", "RCN-S", "SMIC"): 0.6572, ("UF1", "RCN-F", "CASME II"): 0.8563,
    },
    "table6": {
        ("16 maps, pooling 5", "RCN", "60"): 1.0, ("16 maps, pooling 5", "RCN-F", "300"): 12.2,
        ("64 maps, pooling 9", "RCN-S", "200"): 6.1, ("64 maps, pooling 9", "RCN-A", "100"): 2.2,
    },
    "fig1": {("", "60", "Model 2"): 0.6773, ("", "60", "Model 1"): None, ("", "80", "Model 2"): None},
    "fig7": {("", "100", "RCN-W"): 0.6690, ("", "60", "RCN-S"): 0.7106, ("", "20", "RCN"): None},
    "fig8": {("60", "7", "RCN-A"): 0.6892, ("100", "5", "RCN"): 0.6594, ("60", "9", "RCN"): None},
    "fig9": {("60", "64", "RCN-S"): 0.6801, ("100", "16", "RCN-A"): 0.6614, ("60", "8", "RCN"): None},
}  # fmt: skip

# How many of them the paper prints in all.
PRINTED = {
    "table2": 42, "table3": 20, "table4": 30, "table5": 12 * 4 + 14 * 4, "table6": 40,
    "fig1": 2, "fig7": 2 * 4, "fig8": 3 * 4, "fig9": 4 * 4,
}  # fmt: skip


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_numbers(planned, name):
    found = reproduced(planned(name), {})
    assert {labels: found.at(*labels).paper for labels in PAPER[name]} == PAPER[name]
    assert sum(entry.paper is not None for entry in found.entries) == PRINTED[name]


def setting_of(found, *labels):
    return found.at(*labels).setting


class TestOurs:
    def test_the_number_its_spread_its_interval_and_the_difference(self, planned, outcome):
        plan = planned("table5")
        setting = setting_of(reproduced(plan, {}), "UAR", "STSTNet", "composite")
        known = outcome(0, 1)
        found = reproduced(plan, {setting: known})
        part = known.score.databases["casme2"]
        entry = found.at("UF1", "STSTNet", "CASME II")
        assert (entry.ours, entry.spread, entry.interval) == (part.uf1, part.uf1_spread, part.uf1_interval)
        assert entry.difference == part.uf1 - 0.8519
        whole = found.at("UAR", "STSTNet", "composite")
        assert (whole.ours, whole.difference) == (known.score.composite.uar, known.score.composite.uar - 0.6724)
        assert found.at("UAR", "ResNet18", "composite").ours is None

    def test_hours_are_divided(self, planned, outcome):
        plan = planned("table6")
        setting = setting_of(reproduced(plan, {}), "16 maps, pooling 5", "RCN", "100")
        known = outcome(0)
        found = reproduced(plan, {setting: type(known)(known.score, hours=0.9)})
        entry = found.at("16 maps, pooling 5", "RCN", "100")
        assert (entry.ours, entry.paper, entry.difference) == (0.9, 1.8, 0.5)

    def test_two_databases_are_compared_with_two(self, planned, outcome):
        plan = planned("table4")
        labels = ("16 maps, pooling 5", "RCN-A", "SMIC, SAMM")
        setting = setting_of(reproduced(plan, {}), *labels)
        both = outcome(0, databases=("smic", "samm"))
        assert reproduced(plan, {setting: both}).at(*labels).difference == both.score.composite.uar - 0.6489
        assert reproduced(plan, {setting: outcome(0)}).at(*labels).difference is None

    def test_other_samples_have_no_difference_and_it_is_told(self, planned, outcome):
        plan = planned("table2")
        labels = ("5", "RCN", "16")
        setting = setting_of(reproduced(plan, {}), *labels)
        found = reproduced(plan, {setting: outcome(0, databases=("smic",))})
        assert found.at(*labels).paper == 0.6773
        assert found.at(*labels).difference is None
        assert "These are not the paper's samples, so no difference is shown." in found.notes
        assert not any("paper's samples" in note for note in reproduced(plan, {setting: outcome(0)}).notes)


class TestReasons:
    def test_what_is_not_trained_yet(self, planned):
        found = reproduced(planned("table2"), {})
        assert found.reasons == ["not trained yet"]

    def test_a_database_that_is_not_there(self, planned, outcome):
        plan = planned("table5")
        setting = setting_of(reproduced(plan, {}), "UAR", "STSTNet", "composite")
        found = reproduced(plan, {setting: outcome(0, databases=("smic", "samm"))})
        assert found.at("UAR", "STSTNet", "CASME II").reason == "the dataset has no casme2"
        assert found.at("UAR", "STSTNet", "SAMM").reason == ""


class TestNotes:
    def test_the_quick_part_is_named(self, planned):
        notes = reproduced(planned("table2", quick=True), {}).notes
        assert notes[0] == "Quick, a part of the experiment only: model RCN, RCN-F; feature maps 16."
        assert not any("Quick" in note for note in reproduced(planned("table4"), {}).notes)

    def test_how_ours_were_trained(self, planned):
        assert reproduced(planned("table2", seeds=3), {}).notes[0] == (
            "Ours: leave-one-subject-out on tiny, 12 samples, maps of 16x16 pixels resized to each network's input, at "
            "most 2 epochs, 3 seeds."
        )

    def test_where_the_paper_contradicts_itself(self, planned):
        assert any("Table III prints 0.6915" in note for note in reproduced(planned("table3"), {}).notes)


def test_records(planned, outcome):
    plan = planned("table4", quick=True)
    found = reproduced(plan, {})
    setting = setting_of(found, "16 maps, pooling 5", "RCN-F", "CASME II, SAMM")
    known = outcome(0, databases=("casme2", "samm"))
    records = reproduced(plan, {setting: known}).records()
    assert len(records) == len(found.entries) == 6
    (record,) = (record for record in records if record["ours"] is not None)
    assert record == {
        "sizes": "16 maps, pooling 5",
        "model": "RCN-F",
        "databases": "CASME II, SAMM",
        "data": "composite",
        "measure": "uar",
        "ours": known.score.composite.uar,
        "spread": None,
        "low": known.score.composite.uar_interval.low,
        "high": known.score.composite.uar_interval.high,
        "paper": 0.6950,
        "difference": known.score.composite.uar - 0.6950,
        "run": str(plan.folder / "rcn-f-s60-m16-k5-casme2-samm"),
        "reason": None,
    }
