import csv
import json

import pytest

from nas_mer.cli.reproduce import Name
from nas_mer.reproduce import EXPERIMENTS

QUICK = ("--quick", "--epochs", "1", "--workers", "1")


@pytest.fixture(scope="module")
def reproduced(made, run_all, tmp_path_factory):
    """A dataset of the paper's databases, and the quick part of Table IV on it."""
    folder = tmp_path_factory.mktemp("reproduced")
    made([("smic", "s1"), ("casme2", "s1"), ("samm", "s1")]).save(folder / "data")
    run_all(["reproduce", "table4", "--data", folder / "data", *QUICK, "--out", folder / "t4"])
    return folder


def test_every_experiment_has_a_name():
    assert [*Name] == [*EXPERIMENTS]


def test_the_table(done, reproduced):
    told = done("reproduce", "table4", "--data", reproduced / "data", *QUICK, "--out", reproduced / "t4")
    assert "Table IV: UAR on two of the three databases, quick" in " ".join(told.split())
    assert told.count("in the paper") == 2
    assert "0.695" in told  # RCN-F on CASME II and SAMM
    assert told.endswith(f"runs and table in {reproduced / 't4'}\n")
    assert len(list((reproduced / "t4").glob("rcn*-s60-m16-k5-*"))) == 6


def test_json_and_csv_agree(done, reproduced):
    found = json.loads(
        done("reproduce", "table4", "--data", reproduced / "data", *QUICK, "--out", reproduced / "t4", "--json")
    )
    assert (found["experiment"], found["source"], found["quick"]) == ("table4", "Table IV", True)
    with (reproduced / "t4" / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["ours"]) for row in rows] == [entry["ours"] for entry in found["entries"]]
    assert [entry["paper"] for entry in found["entries"]] == [0.6524, 0.6163, 0.5678, 0.6873, 0.6950, 0.6166]
    assert {entry["difference"] for entry in found["entries"]} == {None}  # 12 samples are not the paper's


def test_its_runs_are_runs(done, reproduced):
    scores = json.loads(done("score", reproduced / "t4" / "rcn-f-s60-m16-k5-smic-samm", "--json"))["scores"]
    assert [(one["genotype"], sorted(one["databases"])) for one in scores] == [("rcn-f", ["samm", "smic"])]
    assert done("runs", "list", reproduced / "t4").count("finished") == 6


class TestRefused:
    def test_other_arguments(self, refused, reproduced):
        message = refused(
            "reproduce", "table4", "--data", reproduced / "data", *QUICK, "--seeds", "2", "--out", reproduced / "t4"
        )
        assert "t4: was begun with seeds 1, not 2; give the same arguments to go on" in message

    def test_another_folder(self, refused, reproduced):
        message = refused("reproduce", "table4", "--data", reproduced / "data", *QUICK, "--out", reproduced / "data")
        assert message == f"{reproduced / 'data'}: exists and holds no reproduction; choose another --out\n"

    def test_no_dataset(self, refused, tmp_path):
        message = refused("reproduce", "table2", "--data", tmp_path / "gone")
        assert message == f"{tmp_path / 'gone'}: not a dataset: no such folder\n"
