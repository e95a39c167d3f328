"""The command line as a user meets it: what it prints, its exit statuses, and what it leaves behind."""

import errno
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest

from nas_mer import __version__
from nas_mer.data import CLASSES, Dataset
from nas_mer.data.synthetic import releases
from nas_mer.runs import load_run, predictions
from nas_mer.space import json_schema, shipped_spaces
from nas_mer.space.ops import OPS, OPS_FILES

SMALL = ("--set", "size=16", "--set", "feature_maps=4", "--set", "pool=2")
QUICK = (*SMALL, "--epochs", "1", "--workers", "1")


@pytest.fixture
def tree(tmp_path):
    """A small published tree: three subjects, one map of each class."""
    for subject in ("sub01", "s02", "006"):
        for label in range(3):
            folder = tmp_path / "tree" / subject / "u_test" / str(label)
            folder.mkdir(parents=True)
            image = np.full((8, 8, 3), 40 * label + 1, np.uint8)
            cv2.imwrite(str(folder / f"{subject}_clip{label}.png"), image)
    return tmp_path / "tree"


@pytest.fixture
def truth(tmp_path):
    """The ground truth of that tree, as the official file spells it."""
    rows = [(db, s, f"clip{i}", i) for db, s in (("casme2", "sub01"), ("smic", "s02"), ("samm", "6")) for i in range(3)]
    (tmp_path / "truth.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return tmp_path / "truth.csv"


NUMBER = {"type": "number"}
PAIR = {"type": "object", "required": ["uar", "uf1"], "properties": {"uar": NUMBER, "uf1": NUMBER}}
INTEGER = {"type": "integer"}
SCORES = {
    "type": "object",
    "required": ["scores"],
    "properties": {
        "scores": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["genotype", "seed", "samples", "folds", "uar", "uf1", "databases"],
                "properties": {
                    "genotype": {"type": "string"},
                    "seed": INTEGER,
                    "samples": INTEGER,
                    "folds": INTEGER,
                    "uar": NUMBER,
                    "uf1": NUMBER,
                    "databases": {"type": "object", "minProperties": 1, "additionalProperties": PAIR},
                },
            },
        }
    },
}
GENOTYPES = {
    "type": "object",
    "required": ["genotypes"],
    "properties": {
        "genotypes": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["rank", "weight", "choices"],
                "properties": {
                    "rank": INTEGER,
                    "weight": {"type": "number", "minimum": 0, "maximum": 1},
                    "choices": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
        }
    },
}
COUNTS = {
    "type": "object",
    "required": ["samples", "subjects", "counts"],
    "properties": {
        "samples": INTEGER,
        "subjects": INTEGER,
        "counts": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": INTEGER}},
    },
}
SPACE = {
    "type": "object",
    "required": ["name", "size", "decisions"],
    "properties": {
        "name": {"type": "string"},
        "size": INTEGER,
        "decisions": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
    },
}


def document(text, schema):
    """The only JSON document of a text, if it is as the schema says; JSON has no NaN."""
    value = json.loads(text, parse_constant=pytest.fail)
    jsonschema.validate(value, schema)
    return value


class TestJson:
    def test_data_show(self, done, tiny):
        found = document(done("data", "show", tiny, "--json"), COUNTS)
        assert (found["samples"], found["subjects"]) == (16, 4)
        each = {"negative": 4, "positive": 2, "surprise": 2}
        assert found["counts"] == {"alpha": each, "beta": each}

    def test_space_show(self, done):
        found = document(done("space", "show", "rcn", "--json"), SPACE)
        assert (found["name"], found["size"]) == ("rcn", 2 * 2 * 14)
        assert found["decisions"]["conv"] == ["standard", "wide"]
        assert found["decisions"]["recurrent"] == ["plain", "shortcut"]
        assert len(found["decisions"]["attention"]) == 14

    def test_space_schema(self, done):
        found = json.loads(done("space", "schema"))
        assert found == json_schema()
        jsonschema.Draft202012Validator.check_schema(found)

    def test_search_and_derive(self, done, tiny, tmp_path):
        told = done("search", "rcn", "--data", tiny, *QUICK, "--out", tmp_path / "s", "--top", "2", "--json")
        found = document(told, GENOTYPES)
        assert [genotype["rank"] for genotype in found["genotypes"]] == [1, 2]
        assert found["genotypes"][0]["choices"].keys() == {"conv", "recurrent", "attention"}
        again = document(done("derive", tmp_path / "s", "--top", "3", "--json"), GENOTYPES)
        assert again["genotypes"][:2] == found["genotypes"]
        assert again.keys() == {"genotypes"}
        assert len(again["genotypes"]) == 3

    def test_retrain_and_score(self, done, tiny, tmp_path):
        told = done("retrain", "rcn-f", "--data", tiny, *QUICK, "--out", tmp_path / "r", "--json")
        found = document(told, SCORES)
        (score,) = found["scores"]
        assert (score["genotype"], score["seed"], score["samples"], score["folds"]) == ("rcn-f", 0, 16, 4)
        assert score["databases"].keys() == {"alpha", "beta"}
        assert json.loads(done("score", tmp_path / "r", "--json")) == found

    def test_score_of_several_runs_and_seeds(self, done, runs):
        found = document(done("score", runs / "r", runs / "r", "--json"), SCORES)
        told = [(score["genotype"], score["seed"]) for score in found["scores"]]
        assert told == 2 * [("rcn-f", 0), ("rcn-f", 1), ("rcn", 0), ("rcn", 1)]
        assert [mean["seeds"] for mean in found["means"]] == 4 * [[0, 1]]

    def test_compare(self, done, runs):
        found = json.loads(done("compare", f"{runs}/r:rcn-f", f"{runs}/r:rcn", "--json"))
        assert (found["a"]["genotype"], found["b"]["genotype"]) == ("rcn-f", "rcn")
        assert found["uar"]["difference"] == found["uar"]["b"] - found["uar"]["a"]
        assert found["verdict"]

    @pytest.mark.parametrize(("name", "kind"), [("s", "search"), ("r", "retrain")])
    def test_runs_show(self, done, runs, name, kind):
        found = json.loads(done("runs", "show", runs / name, "--json"))
        assert (found["kind"], found["finished"]) == (kind, True)
        assert found["config"]["seeds"] == [0, 1]
        assert found["result"] == load_run(runs / name).result


class TestText:
    def test_help_is_plain_and_fits_a_terminal(self, nas_mer):
        commands = [[], ["data"], ["space"], ["runs"], ["demo"], ["search"], ["derive"], ["retrain"], ["score"]]
        commands += [
            ["choose"],
            ["compare"],
            ["graph"],
            ["data", "synth"],
            ["data", "import"],
            ["data", "prepare"],
            ["data", "show"],
            ["space", "ops"],
        ]
        commands += [["report"], ["predict"], ["export"], ["reproduce"]]
        commands += [["benchmark"], ["benchmark", "run"], ["benchmark", "pack"], ["benchmark", "show"]]
        commands += [["space", "check"], ["space", "show"], ["space", "schema"], ["runs", "list"], ["runs", "resume"]]
        for command in commands:
            status, out, _ = nas_mer(*command, "--help")
            assert status == 0
            assert "..." not in out.split("Commands:")[-1].replace("]...", "").replace("}...", "").replace("1, ...", "")
            assert max(map(len, out.splitlines())) <= 80

    def test_version(self, done):
        assert done("--version") == f"{__version__}\n"

    def test_data_synth_import_and_show(self, done, tmp_path, tree, truth):
        assert "casme2 " in done("data", "import", tree, tmp_path / "maps", "--ground-truth", truth)
        told = done("data", "show", tmp_path / "maps", "--figure", tmp_path / "maps.png")
        assert told.startswith(f"{tmp_path / 'maps'}: 9 maps of 3x8x8, 3 subjects\n")
        assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")
        told = done("data", "synth", tmp_path / "made", "--subjects", 2, "--clips", 3, "--size", 8)
        assert f"{tmp_path / 'made'}: " in told
        assert all(label in told for label in CLASSES)

    def test_spaces(self, done):
        for name in shipped_spaces():
            assert "fine; " in done("space", "check", name)
        told = done("space", "show", "rcn", *SMALL)
        assert "56 genotypes" in told
        assert "feature_maps = 4" in told
        assert "rcn, rcn-w, rcn-s, rcn-a, rcn-c, rcn-f, rcn-p" in told

    def test_ops_have_readable_arguments(self, done):
        told = done("space", "ops")
        assert "kernel: int = 3" in told
        assert "bias: bool = True" in told
        assert not any(word in told for word in ("Annotated", "FieldInfo", "typing", "<"))
        assert all(f"{name}(" in told for name in OPS)

    def test_numbers_may_be_set_as_yaml_writes_them(self, done):
        assert "dropout = 0.001" in done("space", "show", "rcn", "--set", "dropout=1e-3")

    def test_names_are_shown_as_they_are(self, nas_mer, tiny, tmp_path):
        out = tmp_path / "[bold]:smile:"
        _, told, _ = nas_mer("search", "rcn", "--data", tiny, *QUICK, "--out", out)
        assert f"{out}\n" in told

    def test_what_a_search_says(self, done, runs):
        told = done("runs", "show", runs / "s")
        assert "seeds agree" in told
        assert "protocol shared: the search has seen every subject" in told
        assert f"genotypes in {runs / 's' / 'genotypes'}:\n" in told
        assert [f"\ntop{rank}.yaml " in told for rank in (1, 2, 3, 4)] == [True, True, True, False]

    def test_what_a_retraining_says(self, done, runs):
        told = done("score", runs / "r", "--detail")
        assert "UAR" in told
        assert "as surprise" in told
        assert done("compare", f"{runs}/r:rcn-f", f"{runs}/r:rcn").count("UAR: ") == 1

    def test_runs_are_listed_with_what_is_wrong(self, nas_mer, done, runs, tmp_path):
        lines = done("runs", "list", runs).splitlines()
        assert {tuple(line.split()[:2]) for line in lines[1:]} == {(f"{runs}/s", "search"), (f"{runs}/r", "retrain")}
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "run.json").write_text("{")
        status, out, err = nas_mer("runs", "list", tmp_path)
        assert (status, out) == (0, f"no runs in {tmp_path}\n")
        assert err.startswith(f"note: {tmp_path / 'broken' / 'run.json'}: not readable as JSON")

    def test_searched_genotypes_are_retrained_by_naming_the_run(self, nas_mer, runs, tiny, tmp_path):
        told = ("--data", tiny, "--epochs", "1", "--workers", "1", "--out", tmp_path / "r")
        status, out, err = nas_mer("retrain", runs / "s", *told)
        assert status == 0
        assert [name in out for name in ("top1", "top2", "top3")] == 3 * [True]
        assert "found by a search: top1, top2, top3; " in err
        assert load_run(tmp_path / "r").config.genotypes == ("top1", "top2", "top3")

    @pytest.mark.parametrize("what", ["rcn", "rcn-f", "{runs}/s", "{runs}/s/genotypes/top1.yaml"])
    def test_graphs(self, done, runs, tmp_path, what):
        file = tmp_path / "picture.svg"
        assert done("graph", what.format(runs=runs), "-o", file) == f"{file}\n"
        assert b"<svg" in file.read_bytes()

    def test_a_graph_of_a_search_over_its_epochs(self, done, runs, tmp_path):
        done("graph", runs / "s", "--view", "history", "-o", tmp_path / "history.pdf")
        assert (tmp_path / "history.pdf").read_bytes().startswith(b"%PDF")


class TestNested:
    """A search in each fold, and what its genotypes score."""

    @pytest.fixture(scope="class")
    @staticmethod
    def runs(tiny, run_all, tmp_path_factory):
        """A folder with a nested search `n`, and a retraining `r` of it and of rcn-f."""
        folder = tmp_path_factory.mktemp("nested")
        quick = ["--data", tiny, "--epochs", "1", "--workers", "1"]
        run_all(
            ["search", "rcn", *quick, *SMALL, "--protocol", "nested", "--out", folder / "n"],
            ["retrain", folder / "n", "rcn-f", *quick, "--out", folder / "r"],
        )
        return folder

    def test_what_the_search_says(self, done, runs):
        told = done("runs", "show", runs / "n")
        assert "protocol: nested" in told
        assert "folds agree" in told
        assert "the folds' top 3 overlap by " in told
        assert (
            f"protocol nested: each fold's genotype, in {runs / 'n' / 'folds'}, has not seen the fold's subject" in told
        )
        assert f"score them with: nas-mer retrain {runs / 'n'} --data ..." in told
        lines = told[told.index("chosen in how many folds") :].splitlines()
        for decision, line in zip(("attention", "conv", "recurrent"), sorted(lines[1:4]), strict=True):
            assert line.startswith(f"{decision} ")
            assert sum(int(part.split()[-1]) for part in line.split(",")) == 4
        assert re.fullmatch(r"\d different genotypes? in 4 folds; in \d of them .*: .*", lines[4])
        assert "optimistic" not in told

    def test_json(self, done, runs, tiny, tmp_path):
        shown = json.loads(done("runs", "show", runs / "n", "--json"))
        assert shown["config"]["protocol"] == "nested"
        found = document(json.dumps(shown["result"]), GENOTYPES)
        assert found["folds"].keys() == {"alpha/s01", "alpha/s02", "beta/s01", "beta/s02"}
        assert all(genotype["choices"].keys() == found["chosen"].keys() for genotype in found["folds"].values())
        assert all(sum(shares.values()) == pytest.approx(1) for shares in found["chosen"].values())
        quick = ("--data", tiny, *QUICK, "--protocol", "nested", "--out", tmp_path / "n", "--json")
        assert document(done("search", "rcn", *quick), GENOTYPES) == found

    def test_derive(self, done, runs, tmp_path):
        shutil.copytree(runs / "n", tmp_path / "n")
        shutil.rmtree(tmp_path / "n" / "folds")
        found = document(done("derive", tmp_path / "n", "--top", "2", "--json"), GENOTYPES)
        assert found["genotypes"] == load_run(runs / "n").result["genotypes"][:2]
        files = [
            {file.relative_to(run) for file in run.rglob("folds/*/*.yaml")} for run in (runs / "n", tmp_path / "n")
        ]
        assert files[0] == files[1]
        assert len(files[0]) == 4
        assert "top1.yaml" in done("derive", tmp_path / "n")

    def test_its_scores(self, done, runs):
        found = document(done("score", runs / "r", "--json"), SCORES)
        told = [(score["genotype"], score["samples"], score["folds"]) for score in found["scores"]]
        assert told == [("rcn-f", 16, 4), ("n", 16, 4)]
        assert found["notes"] == []
        compared = json.loads(done("compare", f"{runs}/r:n", f"{runs}/r:rcn-f", "--json"))
        assert (compared["a"]["genotype"], compared["b"]["genotype"]) == ("n", "rcn-f")
        assert "n " in done("runs", "show", runs / "r")

    def test_a_picture_of_its_weights(self, done, runs, tmp_path):
        done("graph", runs / "n", "-o", tmp_path / "picture.svg")
        assert b"<svg" in (tmp_path / "picture.svg").read_bytes()

    def test_refused(self, refused, runs, tiny, made, tmp_path):
        made(size=17).save(tmp_path / "other")
        out = ("--out", tmp_path / "run")
        another = f"n: was found on another dataset than '{tiny.name}'; on this one its genotypes may have seen"
        assert another in refused("retrain", runs / "n", "--data", tmp_path / "other", *out)
        assert another in refused("retrain", runs / "n", "--data", tiny, "--databases", "beta", *out)
        sizes = "--set: what was found for each fold is retrained at the sizes that it was found at"
        assert sizes in refused("retrain", runs / "n", "--data", tiny, "--set", "feature_maps=3", *out)
        shutil.copytree(runs / "n", tmp_path / "n")
        (tmp_path / "n" / "folds" / "beta" / "s01.yaml").unlink()
        missing = "n: has no genotype for beta/s01, whose search failed or is not begun"
        assert missing in refused("retrain", tmp_path / "n", "--data", tiny, *out)
        shutil.rmtree(tmp_path / "n" / "folds")
        message = refused("retrain", tmp_path / "n", "--data", tiny, *out)
        assert f"n: has no genotypes; make them with: nas-mer derive {tmp_path / 'n'}" in message
        twice = "two things to retrain are called 'n'; rename one"
        (tmp_path / "deep").mkdir()
        other = tmp_path / "deep" / "n"
        shutil.copytree(runs / "n", other)
        choices = (other / "folds" / "beta" / "s01.yaml").read_text()
        changed = choices.replace("conv: wide", "conv: standard")
        (other / "folds" / "beta" / "s01.yaml").write_text(
            changed if changed != choices else choices.replace("conv: standard", "conv: wide")
        )
        assert twice in refused("retrain", runs / "n", other, "--data", tiny, *out)
        assert not (tmp_path / "run").exists()


class TestCompute:
    """Options that change the time and not the result, but for rounding."""

    def test_search(self, done, runs, tiny, tmp_path):
        together = ("--seeds", "2", "--group", "2", "--checkpoint-every", "60", "--device", "cpu", "--engine", "local")
        done("search", "rcn", "--data", tiny, *QUICK, *together, "--out", tmp_path / "s")
        found, expected = load_run(tmp_path / "s").result["weights"], load_run(runs / "s").result["weights"]
        for decision, weights in expected.items():
            assert found[decision] == pytest.approx(weights, abs=1e-3)

    def test_retrain_and_resume(self, done, runs, tiny, tmp_path):
        together = ("--seeds", "2", "--group", "3", "--checkpoint-every", "60")
        done("retrain", "rcn-f", "rcn", "--data", tiny, *QUICK, *together, "--out", tmp_path / "r")
        shutil.rmtree(tmp_path / "r" / "replicas" / "rcn")
        (tmp_path / "r" / "result.json").unlink()
        done("runs", "resume", tmp_path / "r", "--workers", "1", "--group", "8", "--checkpoint-every", "0.5")
        for one, other in zip(*(predictions(load_run(folder / "r")) for folder in (runs, tmp_path)), strict=True):
            assert (one.genotype, one.seed) == (other.genotype, other.seed)
            np.testing.assert_allclose(one.logits, other.logits, rtol=1e-2, atol=1e-3)


class TestPrepare:
    """From frames to a dataset."""

    @pytest.fixture(scope="class")
    @staticmethod
    def options(filmed):
        folders = (("smic", "SMIC"), ("casme2", "CASME2"), ("samm", "SAMM"))
        return [word for name, folder in folders for word in (f"--{name}", filmed / folder)]

    def test_all_that_was_found_is_told(self, nas_mer, options, filmed, tmp_path):
        quick = [*options, "--flow", "dis", "--size", 16, "--workers", 1, "--keep", tmp_path / "kept"]
        truth = ["--ground-truth", filmed / "ground_truth.csv"]
        status, out, err = nas_mer("data", "prepare", tmp_path / "made", *quick, *truth)
        dataset = Dataset.load(tmp_path / "made")
        rows = (filmed / "ground_truth.csv").read_text().splitlines()
        broken = err.splitlines()[1:]
        assert status == 2
        assert err.startswith(f"error: {len(broken)} clips could not be used; the dataset has all others\n")
        assert len(dataset) == len(rows) - len(broken)
        for title, form in (("SMIC-HS", "cropped"), ("CASME II", "cropped"), ("SAMM", "cropped")):
            assert re.search(rf"{title}: \d+ clips \(.*\)\n  {form} frames below .*, annotated by .*\.xlsx\n", out)
        assert re.search(r"left out \d+, the emotion is others, which is in no class: casme2/sub0\d/EP", out)
        assert re.search(r"apex spotted in \d+ clips where nobody had marked it", out)
        assert f"{tmp_path / 'made'}: {len(dataset)} maps of 3x16x16" in out
        status, out, err = nas_mer("data", "prepare", tmp_path / "again", *quick, "--json")
        assert status == 2
        assert json.loads(out)["fingerprint"] == dataset.fingerprint

    def test_one_whole_database(self, done, filmed, tmp_path):
        casme2 = ["--casme2", filmed / "CASME2", "--flow", "dis", "--workers", 1]
        told = done("data", "prepare", tmp_path / "made", *casme2)
        assert "the MEGC2019 composite has 145 of it" in told
        assert (tmp_path / "made.kept" / "flows" / "dis").is_dir()
        done("data", "show", tmp_path / "made", "--figure", tmp_path / "made.png")
        assert cv2.imread(str(tmp_path / "made.png")).shape[2] == 3

    def test_names_that_are_no_text(self, done, filmed, tmp_path):
        (tmp_path / "CASME2").symlink_to(filmed / "CASME2")
        (tmp_path / "\udcff.zip").touch()
        quick = ["--flow", "dis", "--size", 16, "--workers", 1, "--keep", tmp_path / ".kept"]
        told = done("data", "prepare", tmp_path / "made", "--casme2", tmp_path, *quick)
        assert f"perhaps to be unpacked: {tmp_path}/\\udcff.zip\n" in told

    def test_samples_that_are_not_there(self, nas_mer, filmed, tmp_path):
        (tmp_path / "truth.csv").write_text((filmed / "ground_truth.csv").read_text() + "casme2,sub09,EP01_01f,0\n")
        casme2 = ["--casme2", filmed / "CASME2", "--flow", "dis", "--size", 16, "--workers", 1]
        status, _, err = nas_mer(
            "data", "prepare", tmp_path / "made", *casme2, "--ground-truth", tmp_path / "truth.csv"
        )
        assert status == 2
        assert "error: not there of the ground truth: 1 sample; is all unpacked?\n  casme2/sub09/EP01_01f\n" in err
        assert len(Dataset.load(tmp_path / "made")) == 8

    def test_a_folder_that_is_a_dot(self, done, filmed, tmp_path, monkeypatch):
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path / "empty")
        done("data", "prepare", ".", "--casme2", filmed / "CASME2", "--flow", "dis", "--size", 16, "--workers", 1)
        assert Dataset.load(tmp_path / "empty").name == "empty"
        assert (tmp_path / "empty.kept").is_dir()

    def test_a_full_disk(self, nas_mer, filmed, tmp_path, monkeypatch):
        def full(self, path):
            raise OSError("774144 requested and 106368 written")

        monkeypatch.setattr(Dataset, "save", full)
        casme2 = ["--casme2", filmed / "CASME2", "--flow", "dis", "--size", 16, "--workers", 1]
        status, _, err = nas_mer("data", "prepare", tmp_path / "made", *casme2)
        assert (status, "error: no space left on the disk" in err) == (2, True)

    def test_synth_writes_frames(self, done, tmp_path, monkeypatch):
        for release in releases._RELEASES:
            monkeypatch.setattr(release, "lengths", (10, 13))
        told = done("data", "synth", tmp_path / "filmed", "--frames", "--subjects", 2, "--clips", 3, "--workers", 1)
        assert re.match(rf"{tmp_path / 'filmed'}: \d+ clips of made-up people, with the truth about them\n", told)
        assert f"--samm {tmp_path / 'filmed' / 'SAMM'} --ground-truth" in told
        assert (tmp_path / "filmed" / "truth" / "truth.csv").is_file()

    def test_refused(self, refused, filmed, tmp_path):
        made, casme2 = tmp_path / "made", ["--casme2", filmed / "CASME2"]
        for words, message in (
            ([], "no database is given: --smic DIR, --casme2 DIR, --samm DIR or --other LAYOUT=DIR"),
            (["--smic", tmp_path / "no"], "no: no such folder"),
            (["--smic", filmed / "CASME2"], "these look like CASME II's"),
            (["--other", "mmew"], "--other: write NAME=VALUE, found 'mmew'"),
            (["--other", f"mmev={filmed}"], "no layout is called so; did you mean 'mmew'?"),
            ([*casme2, "--form", "casme=raw"], "--form: no database 'casme' is given; did you mean 'casme2'?"),
            ([*casme2, "--form", "casme2=row"], "CASME II has no form 'row' of frames; did you mean 'raw'?"),
            ([*casme2, "--annotation", "casme2=no.xlsx"], "no.xlsx"),
            ([*casme2, "--annotation", f"casme2={filmed / 'SAMM/SAMM_Micro_FACS_Codes_v2.xlsx'}"], "SAMM's annotation"),
            (
                ["--smic", tmp_path / "no", "--samm", tmp_path / "nor"],
                f"no such folder\n{tmp_path / 'nor'}: no such folder",
            ),
            ([*casme2, "--other", f"casme2={filmed}"], "--other: 'casme2' is given by --casme2 already"),
            ([*casme2, "--box", "1,2,3"], "--box: write X,Y,WIDTH,HEIGHT in whole pixels"),
            ([*casme2, "--box", "1,2,3,4²"], "--box: write X,Y,WIDTH,HEIGHT in whole pixels"),
            ([*casme2, "--device", "tpu"], "tpu"),
            ([*casme2, "--keep", made / "kept"], f"--keep: {made / 'kept'} is within {made}, which each call makes"),
            ([*casme2, "--keep", made / ".." / "made"], f"made is within {made}, which each call makes anew"),
        ):
            assert message in refused("data", "prepare", made, *words), words
        for words, message in (
            (["--raw"], "--raw is about frames; add --frames"),
            (["--workers", 1], "--workers is about frames; add --frames"),
            (["--frames", "--size", 60], "--size is about maps; give it to nas-mer data prepare"),
            (["--frames", "--flow", "dis"], "--flow is about maps; give it to nas-mer data prepare"),
        ):
            assert message in refused("data", "synth", made, *words), words
        assert not list(tmp_path.iterdir())


class TestRefused:
    def test_space_and_parameters(self, refused, tmp_path):
        assert "did you mean 'rcn'?" in refused("space", "check", "rnc")
        assert "did you mean 'feature_maps'?" in refused("space", "check", "rcn", "--set", "feature_map=3")
        for wrong in ("pool", "pool=", "pool=[", "pool=big", "pool={a: 1}", "pool=no"):
            assert f"write NAME=VALUE with a number, true or false, found '{wrong}'" in refused(
                "space", "check", "rcn", "--set", wrong
            )
        (tmp_path / "mine.yaml").write_text("version: 1\nname: mine\nsttes: {}\n")
        message = refused("space", "check", tmp_path / "mine.yaml")
        assert f"{tmp_path / 'mine.yaml'}:3: sttes: unknown key 'sttes'; did you mean 'states'?" in message

    @pytest.mark.parametrize("seeds", ["0", "two", "3-1"])
    def test_seeds(self, refused, tiny, tmp_path, seeds):
        for command in (["search", "rcn"], ["retrain", "rcn"], ["benchmark", "run", "rcn"], ["choose", "rcn", "rcn-f"]):
            said = refused(*command, "--data", tiny, "--seeds", seeds, "--out", tmp_path / "run")
            assert said.startswith("--seeds: expected ")
            assert said.endswith(f"found '{seeds}'\n")
            assert not (tmp_path / "run").exists()

    def test_typos_of_commands_and_options(self, nas_mer, tiny):
        search = ["search", "rcn", "--data", tiny]
        options = (["--group", "0"], ["--checkpoint-every", "-1"], ["--protocol", "neste"])
        for wrong in (["serch"], ["search"], ["score"], ["runs", "x"], *([*search, *option] for option in options)):
            status, out, err = nas_mer(*wrong)
            assert (status, out) == (2, "")
            assert "Usage: nas-mer" in err
            assert "Traceback" not in err

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("sub01_clip1.png", b"\x89PNG\r\n cut short", "not readable as an image: '{file}'"),
            ("sub01_clip1.png", b"", "not readable as an image: '{file}'"),
            ("sub01_clip1.png", (9, 8), "size other than the 8 x 8 of most: '{file}' (8 x 9)"),
            ("clip1.png", (8, 8), "{file}: the name must be sub01_<clip>.png"),
        ],
    )
    def test_import_of_a_wrong_image(self, refused, tree, tmp_path, name, content, message):
        file = tree / "sub01" / "u_test" / "1" / name
        file.write_bytes(content) if isinstance(content, bytes) else cv2.imwrite(str(file), np.zeros((*content, 3)))
        assert message.format(file=file) in refused("data", "import", tree, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_import_of_labels_that_contradict_the_ground_truth(self, refused, tree, truth, tmp_path):
        truth.write_text(truth.read_text().replace("samm,6,clip2,2", "samm,6,clip2,0"))
        message = refused("data", "import", tree, tmp_path / "out", "--ground-truth", truth)
        assert "truth.csv: 1 labels that contradict the ground truth: " in message
        assert "samm/006/clip2 (here surprise, there negative)" in message
        assert not (tmp_path / "out").exists()

    def test_import_of_a_subject_without_samples(self, refused, tree, tmp_path):
        (tree / "sub07" / "u_test" / "0").mkdir(parents=True)
        assert "subjects without a single map in u_test: sub07" in refused("data", "import", tree, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_import_of_a_map_with_nan(self, refused, tmp_path):
        (tmp_path / "maps").mkdir()
        np.save(tmp_path / "maps" / "good.npy", np.zeros((3, 8, 8), np.float32))
        np.save(tmp_path / "maps" / "bad.npy", np.full((3, 8, 8), np.nan, np.float32))
        (tmp_path / "maps" / "table.csv").write_text(
            "database,subject,clip,label\nmine,s1,good,negative\nmine,s2,bad,positive\n"
        )
        message = refused("data", "import", tmp_path / "maps", tmp_path / "out")
        assert message == f"NaN or infinity: '{tmp_path / 'maps' / 'bad.npy'}'\n"
        assert not (tmp_path / "out").exists()

    def test_import_of_the_folder_above(self, refused, tree, truth, tmp_path):
        assert f"did you mean {tree}?" in refused("data", "import", tmp_path, tmp_path / "out")

    def test_a_place_that_is_taken(self, refused, tiny, runs, tree, tmp_path, content):
        (tmp_path / "taken").mkdir()
        (tmp_path / "taken" / "thesis.txt").write_text("dear")
        for command in (["data", "import", tree], ["data", "synth"]):
            assert "exists and is not a dataset" in refused(*command, tmp_path / "taken")
        assert "exists and is not a demo" in refused("demo", "--out", tmp_path / "taken")
        assert "exists and is not a demo" in refused("demo", "--out", tiny.parent)
        for command in (["search", "rcn"], ["retrain", "rcn-f"]):
            assert "taken: exists already" in refused(*command, "--data", tiny, "--out", tmp_path / "taken")
        assert content(tmp_path / "taken").keys() == {"thesis.txt"}

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["search", "rcn", "--data", "nowhere"], "nowhere: not a dataset: no such folder"),
            (["search", "rcn", "--data", "{tiny}", "--recipe", "defult"], "did you mean 'default'?"),
            (["search", "rcn", "--data", "{tiny}", "--recipe", "paper"], "known: darts, default"),
            (["search", "rcn", "--data", "{tiny}", "--recipe", "gone.yaml"], "gone.yaml: no such file"),
            (["search", "rcn", "--data", "{tiny}", "--device", "cuda:77"], "--device: 'cuda:77' is not there"),
            (["search", "gone.yaml", "--data", "{tiny}"], "gone.yaml: no such file"),
            (["retrain", "rcn-ff", "--data", "{tiny}"], "no genotype is called 'rcn-ff'; did you mean 'rcn-f'?"),
            (["retrain", "gone.yaml", "--data", "{tiny}"], "gone.yaml: no such file"),
            (["retrain", "rcn-f", "--data", "{tiny}", "--databases", "alpa"], "did you mean 'alpha'?"),
            (["retrain", "rcn-f", "--data", "{tiny}", "--databases", ""], "has no database ''"),
            (["retrain", "rcn-f", "--data", "{tiny}", "--set", "size=3"], "max_pool(kernel=2) does not fit"),
            (["retrain", "rcn-f", "--data", "{tiny}", "--device", "gpu"], "--device: must be auto, cpu, cuda or"),
        ],
    )
    def test_what_is_not_there(self, refused, tiny, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        arguments = [argument.format(tiny=tiny) for argument in arguments]
        assert message in refused(*arguments, "--out", "out/new")
        assert list(tmp_path.iterdir()) == []

    def test_datasets_that_cannot_be_split(self, refused, made, tmp_path):
        made(subjects=[("alpha", "s01")]).save(tmp_path / "one")
        made(classes=("negative", "positive")).save(tmp_path / "two")
        for command, one, two in (
            (["search", "rcn"], "2 parts need as many subjects, found alpha/s01", "samples of 'surprise', found none"),
            (["retrain", "rcn-f"], "needs two subjects or more, found alpha/s01", "no sample of surprise is left"),
        ):
            assert one in refused(*command, "--data", tmp_path / "one", "--out", tmp_path / "run")
            assert two in refused(*command, "--data", tmp_path / "two", "--out", tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_a_recipe_with_mistakes(self, refused, tiny, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text("epochs: 0\nbatchsize: 3\noptimizer: {learning_rate: fast}\n")
        message = refused("retrain", "rcn-f", "--data", tiny, "--recipe", file, "--out", tmp_path / "run")
        assert f"{file}:1: epochs: " in message
        assert f"{file}:2: batchsize: unknown key 'batchsize'; did you mean 'batch_size'?" in message
        assert f"{file}:3: optimizer.learning_rate: " in message
        assert not (tmp_path / "run").exists()

    def test_a_genotype_of_another_space(self, refused, runs, tiny, tmp_path):
        genotype = runs / "s" / "genotypes" / "top1.yaml"
        message = refused(
            "retrain", genotype, "--data", tiny, "--space", shipped_spaces()["rcn_hops"], "--out", tmp_path / "run"
        )
        assert f"{genotype}: belongs to space 'rcn' (" in message
        assert ", not to 'rcn_hops'" in message
        assert not (tmp_path / "run").exists()

    def test_runs_of_the_wrong_kind(self, refused, runs, tmp_path):
        assert "r: is a retrain run; this needs a search run" in refused("derive", runs / "r")
        for command in (["score", runs / "s"], ["compare", runs / "s", runs / "s"]):
            assert "s: is a search run; this needs a retrain run" in refused(*command)
        assert "found '.gif'" in refused("graph", "rcn", "-o", tmp_path / "x.gif")
        for command in ("score", "derive"):
            assert "no such run" in refused(command, tmp_path / "gone")
            assert "no run.json in it" in refused(command, tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_run_folder_cut_short(self, refused, runs, tmp_path):
        (tmp_path / "run").mkdir()
        whole = (runs / "r" / "run.json").read_text()
        (tmp_path / "run" / "run.json").write_text(whole[: len(whole) // 2])
        for command in (["score"], ["derive"], ["runs", "show"], ["runs", "resume"]):
            message = refused(*command, tmp_path / "run")
            assert f"{tmp_path / 'run' / 'run.json'}: not readable as JSON" in message
            assert "cut short" in message

    def test_comparing_what_cannot_be_compared(self, refused, nas_mer, runs, tiny, tmp_path):
        nas_mer("retrain", "rcn", "--data", tiny, *QUICK, "--databases", "beta", "--out", tmp_path / "part")
        message = refused("compare", f"{runs}/r:rcn", tmp_path / "part")
        assert "do not cover the same samples" in message
        assert "only the first has alpha/s01/again, alpha/s01/negative_0" in message
        assert f"r: holds 2 genotypes; name one, as in {runs}/r:rcn-f" in refused("compare", runs / "r", runs / "r")
        assert "no genotype 'rcn-g'; did you mean 'rcn-f'?" in refused("compare", f"{runs}/r:rcn", f"{runs}/r:rcn-g")


BLUR = '''
from torch import nn

from nas_mer.space import Shape, op


@op("{name}")
def blur(shape: Shape, *, kernel: int = 3) -> nn.Module:
    """A fixed box filter."""
    return nn.AvgPool2d(kernel, stride=1, padding=kernel // 2)
'''
BLURRED = """
version: 1
name: blurred
input: {{channels: 3, size: 16}}
states:
  conv:
    from: input
    module:
      decision: conv
      choose:
        sharp: [{{op: conv, channels: 4, kernel: 3, stride: 3}}, batch_norm, relu]
        soft: [{name}, {{op: conv, channels: 4, kernel: 3, stride: 3}}, batch_norm, relu]
head: {{from: conv, pool: 2}}
genotypes: {{soft-one: {{conv: soft}}}}
"""


class TestOps:
    @pytest.fixture
    def blurred(self, tmp_path, request):
        """A user's file of ops, and a space that uses one."""
        name = f"blur{len(OPS_FILES)}"
        (tmp_path / "json.py").write_text(BLUR.format(name=name))  # the name of a module that is in use
        (tmp_path / "blurred.yaml").write_text(BLURRED.format(name=name))
        yield name, tmp_path / "json.py", tmp_path / "blurred.yaml"
        OPS.pop(name, None)

    def test_an_op_of_ones_own(self, done, nas_mer, refused, blurred, tiny, tmp_path):
        name, ops, space = blurred
        message = refused("search", space, "--data", tiny, "--out", tmp_path / "s")
        assert f"blurred.yaml:12: states.conv.module.choose.soft[0]: no op or module is called '{name}'" in message
        assert "--ops" in message
        assert not (tmp_path / "s").exists()

        assert f"{name}(kernel: int = 3)\n    A fixed box filter." in done("--ops", ops, "space", "ops")
        assert "2 genotypes of 1 decision" in done("--ops", ops, "--ops", ops, "space", "check", space)
        told = done("--ops", ops, "search", space, "--data", tiny, "--epochs", 1, "--out", tmp_path / "s", "--json")
        found = json.loads(told)
        assert found["genotypes"][0]["choices"].keys() == {"conv"}

    def test_worker_processes_know_it(self, done, nas_mer, blurred, tiny, tmp_path):
        _, ops, space = blurred
        told = ("--data", tiny, "--epochs", 1, "--workers", 2, "--out", tmp_path / "r")
        assert "soft-one" in done("--ops", ops, "retrain", "soft-one", "--space", space, *told)

    def test_a_run_is_scored_without_it(self, done, nas_mer, blurred, tiny, tmp_path):
        name, ops, space = blurred
        told = ("--data", tiny, "--epochs", 1, "--workers", 1, "--out", tmp_path / "r")
        done("--ops", ops, "retrain", "soft-one", "--space", space, *told)
        OPS.pop(name)
        assert "soft-one" in done("score", tmp_path / "r")

    def test_files_that_are_none(self, refused, tmp_path):
        (tmp_path / "broken.py").write_text("1 / 0")
        (tmp_path / "notes.txt").write_text("hello")
        assert "broken.py: ZeroDivisionError: division" in refused("--ops", tmp_path / "broken.py", "space", "ops")
        assert "notes.txt: not a Python file" in refused("--ops", tmp_path / "notes.txt", "space", "ops")
        assert "gone.py: no such file" in refused("--ops", tmp_path / "gone.py", "space", "ops")


class TestStopped:
    def test_it_says_how_to_go_on(self, nas_mer, tiny, tmp_path, monkeypatch):
        def stopped(self):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("nas_mer.search.BilevelSearch.run_epoch", stopped)
            status, out, err = nas_mer("search", "rcn", "--data", tiny, *QUICK, "--out", tmp_path / "s")
        assert (status, out) == (1, "")
        assert err == f"interrupted; continue it with: nas-mer runs resume {tmp_path / 's'}\n"
        status, _, err = nas_mer("derive", tmp_path / "s")
        assert status == 2
        assert "the search has no finished epoch yet" in err
        status, out, err = nas_mer("runs", "resume", tmp_path / "s", "--workers", "1")
        assert (status, err) == (0, "")
        assert "top1.yaml" in out

    def test_derive_says_that_there_is_more_to_come(self, nas_mer, runs, tmp_path, content):
        shutil.copytree(runs / "s", tmp_path / "s")
        (tmp_path / "s" / "result.json").unlink()
        status, out, err = nas_mer("derive", tmp_path / "s", "--json")
        assert status == 0
        document(out, GENOTYPES)
        assert err == f"note: the search is not finished; continue it with: nas-mer runs resume {tmp_path / 's'}\n"
        status, out, _ = nas_mer("runs", "show", tmp_path / "s")
        assert status == 0
        assert f"not finished; continue it with: nas-mer runs resume {tmp_path / 's'}" in out


class TestPaths:
    def test_nothing_can_be_made_in_a_file(self, refused, tiny, tmp_path):
        (tmp_path / "file").touch()
        search = ("search", "rcn", "--data", tiny, *QUICK)
        assert refused("graph", "rcn", "-o", tmp_path / "file" / "rcn.svg") == f"{tmp_path / 'file'}: File exists\n"
        assert refused(*search, "--out", tmp_path / "file" / "run") == f"{tmp_path / 'file'}: File exists\n"


class TestDisk:
    @pytest.mark.parametrize("command", ["search rcn", "retrain rcn-f"])
    def test_a_full_one(self, nas_mer, done, tiny, tmp_path, monkeypatch, command):
        """It is said; and there is nothing to repair before the run goes on."""

        def full(path, content):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

        run = tmp_path / "run"
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            status, out, err = nas_mer(*command.split(), "--data", tiny, *QUICK, "--out", run)
        assert (status, out) == (2, "")
        assert err.startswith("error: no space left on the disk (")
        assert not list(run.rglob("*.safetensors"))
        done("runs", "resume", run, "--workers", "1")
        assert load_run(run).finished

    def test_one_that_may_not_be_written_to(self, nas_mer, tiny, tmp_path, monkeypatch):
        def refuse(path, content):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr(Path, "write_bytes", refuse)
        status, out, err = nas_mer("search", "rcn", "--data", tiny, *QUICK, "--out", tmp_path / "s")
        assert (status, out, err) == (2, "", f"error: {tmp_path / 's' / 'seeds'}: Permission denied\n")


class TestProcess:
    """The same from outside."""

    # A process that was started in the background may have been told to ignore Ctrl-C.
    HEAR = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    COMMAND = (sys.executable, "-c", f"{HEAR}; from nas_mer.cli import main; main()")

    def test_an_error(self, tmp_path):
        command = [*self.COMMAND, "score", "gone"]
        told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert (told.returncode, told.stdout, told.stderr) == (2, "", "error: gone: no such run\n")

    @pytest.mark.parametrize(
        ("asked", "number", "begun"),
        [
            ("retrain rcn-f --workers 2", signal.SIGINT, "metrics.jsonl"),
            ("search rcn --seeds 1 --workers 1", signal.SIGTERM, "seeds/0.safetensors"),
        ],
    )
    def test_interrupted(self, tiny, tmp_path, asked, number, begun):
        """Once is enough, also while the workers start."""
        run = tmp_path / "run"
        told = ("--data", str(tiny), *SMALL, "--epochs", "100000", "--out", str(run))
        command = [*self.COMMAND, *asked.split(), *told]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            while not (run / begun).exists():
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)
            process.send_signal(number)
            out, err = process.communicate(timeout=300)
        assert (process.returncode, out) == (1, "")
        assert err == f"interrupted; continue it with: nas-mer runs resume {run}\n"
