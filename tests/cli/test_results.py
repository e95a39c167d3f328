"""Scores as tables and pictures: what `score` and `graph` write, and what they refuse."""

import csv
import io
import json
import re
import shutil
import xml.etree.ElementTree as ET

import cv2
import pytest

from nas_mer.runs import load_run
from nas_mer.runs.retrainings import pictures as score_pictures
from nas_mer.space import SearchSpace

SVG = "{http://www.w3.org/2000/svg}"


def width_of(file):
    """The width in inches of an SVG."""
    return float(ET.parse(file).getroot().get("width").removesuffix("pt")) / 72


class TestScore:
    def test_csv_has_the_numbers_of_json(self, done, runs):
        rows = list(csv.DictReader(io.StringIO(done("score", runs / "r", "--format", "csv"))))
        result = load_run(runs / "r").result
        assert len(rows) == 2 * 3 * 3
        for part in result["scores"]:
            (row,) = (
                r
                for r in rows
                if (r["genotype"], r["seed"], r["data"]) == (part["genotype"], str(part["seed"]), "composite")
            )
            assert (float(row["uar"]), float(row["uf1"])) == (part["uar"], part["uf1"])
            assert [float(row["uar_low"]), float(row["uar_high"])] == part["uar_interval"]
        assert [float(r["uf1"]) for r in rows if (r["seed"], r["data"]) == ("mean", "beta")] == [
            part["databases"]["beta"]["uf1"] for part in result["means"]
        ]

    def test_latex(self, done, runs):
        text = done("score", runs / "r", "--format", "latex", "--detail")
        assert text.count(r"\begin{table}") == text.count(r"\bottomrule") == 3
        assert r"\caption{UAR and UF1 on tiny, protocol LOSO, seeds 0, 1. {[}low, high]: 95 \% " in text
        assert len(re.findall(r"^    rcn-f & \d\.\d{3} \$\\pm\$ ", text, re.MULTILINE)) == 1

    def test_markdown_of_two_runs(self, done, runs):
        text = done("score", runs / "r", runs / "r", "--format", "markdown")
        lines = [line for line in text.splitlines() if line.startswith("|")]
        assert len(lines) == 2 + 4
        assert {line.count("|") for line in lines} == {9}
        assert all(line.startswith("| r:rcn") for line in lines[2:])

    def test_published_says_when_nothing_matches(self, nas_mer, runs):
        status, out, err = nas_mer("score", runs / "r", "--published")
        assert status == 0
        assert "in the paper" not in out
        assert err == "note: the paper reports nothing of these networks at these sizes on these samples\n"

    def test_refused(self, refused, nas_mer, runs):
        assert "leave out --format and --published" in refused("score", runs / "r", "--json", "--format", "csv")
        assert "does not go with --format csv" in refused("score", runs / "r", "--detail", "--format", "csv")
        status, _, err = nas_mer("score", runs / "r", "--format", "html")
        assert status == 2
        assert "'html' is not one of" in err


class TestCompare:
    def test_what_it_lacks_is_told(self, nas_mer, runs, tmp_path):
        shutil.copytree(runs / "r", tmp_path / "r")
        (tmp_path / "r/replicas/rcn-f/1/beta/s02.safetensors").unlink()
        sides = f"{tmp_path / 'r'}:rcn-f", f"{runs / 'r'}:rcn"
        status, out, err = nas_mer("compare", *sides)
        assert (status, "rcn-f (seed 0)" in out) == (0, True)
        notes = [
            "1 of 8 trainings are still to come; their samples are in no score",
            "rcn-f: no mean or comparison includes seed 1, which covers fewer samples than others",
        ]
        assert err == "".join(f"note: {note}\n" for note in notes)
        assert json.loads(nas_mer("compare", *sides, "--json")[1])["notes"] == notes


class TestGraph:
    @pytest.mark.parametrize("view", ["scores", "confusion", "subjects", "differences"])
    def test_a_view_of_a_retraining(self, done, runs, tmp_path, view):
        file = tmp_path / "picture.svg"
        assert done("graph", runs / "r", "--view", view, "-o", file) == f"{file}\n"
        assert ET.parse(file).getroot().tag == f"{SVG}svg"

    def test_scores_are_the_default_of_a_retraining(self, done, runs, tmp_path):
        done("graph", runs / "r", "-o", tmp_path / "a.svg")
        done("graph", runs / "r", "--view", "scores", "-o", tmp_path / "b.svg")
        assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()

    @pytest.mark.parametrize(("width", "inches"), [("column", 3.5), ("page", 7.16), ("12.2cm", 12.2 / 2.54)])
    def test_widths(self, done, runs, tmp_path, width, inches):
        done("graph", f"{runs / 'r'}:rcn", "--width", width, "--font", "serif", "-o", tmp_path / "a.svg")
        assert width_of(tmp_path / "a.svg") == pytest.approx(inches, abs=0.01)

    def test_a_drawing_is_scaled_to_the_page_or_says_how_wide_it_must_be(self, done, refused, tmp_path):
        done("graph", "rcn", "-o", tmp_path / "whole.svg")
        natural = width_of(tmp_path / "whole.svg")
        message = refused("graph", "rcn", "--width", "3cm", "-o", tmp_path / "a.svg")
        needed = re.search(r"it needs ([\d.]+) cm, for 5 points", message)[1]
        assert float(needed) / 2.54 == pytest.approx(natural * 5 / 7, abs=0.05)
        done("graph", "rcn", "--width", f"{needed}cm", "-o", tmp_path / "a.svg")
        assert width_of(tmp_path / "a.svg") == pytest.approx(float(needed) / 2.54, abs=0.01)

    def test_a_genotype_that_a_space_of_ones_own_names(self, done, refused, own_space, tmp_path):
        assert "no genotype is called 'parallel'" in refused("graph", "parallel", "-o", tmp_path / "a.svg")
        done("graph", "parallel", "--space", own_space, "-o", tmp_path / "a.svg")
        done("graph", "parallel", "--space", own_space, "--set", "pool=4", "-o", tmp_path / "b.svg")
        assert ET.parse(tmp_path / "a.svg").getroot().tag == f"{SVG}svg"
        assert (tmp_path / "a.svg").read_bytes() != (tmp_path / "b.svg").read_bytes()

    def test_a_file_that_does_not_find_its_space(self, done, refused, own_space, tmp_path):
        SearchSpace.load(own_space).genotype("parallel").save(tmp_path / "found.yaml")
        assert "say where its file is with --space" in refused(
            "graph", tmp_path / "found.yaml", "-o", tmp_path / "a.svg"
        )
        done("graph", tmp_path / "found.yaml", "--space", own_space, "-o", tmp_path / "a.svg")

    @pytest.mark.parametrize("view", ["scores", "confusion", "subjects", "ranks", "differences", "activation"])
    def test_a_bad_suffix_is_refused_before_anything_is_computed(self, refused, runs, tmp_path, monkeypatch, view):
        monkeypatch.setitem(score_pictures.RETRAIN_VIEWS, view, lambda scored: pytest.fail("drawn"))
        assert "found '.gif'" in refused("graph", runs / "r", "--view", view, "-o", tmp_path / "x.gif")

    def test_png_has_200_dots_an_inch(self, done, runs, tmp_path):
        done("graph", runs / "r", "--view", "confusion", "--width", "column", "-o", tmp_path / "a.png")
        assert cv2.imread(str(tmp_path / "a.png")).shape[1] == 700

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["{r}", "--view", "weights"], "is a retrain run, of which --view draws scores, confusion, subjects, "),
            (["{s}", "--view", "scores"], "is a search run, of which --view draws weights, history, pareto; found sc"),
            (["{s}", "--view", "pareto"], "was searched for uar alone, of which there is no front; search with sev"),
            (["rcn", "--view", "history"], "rcn: --view history needs a run"),
            (["{s}:rcn"], "the weights of a search are drawn whole; leave out ':rcn'"),
            (["{r}:rcn-g"], "has no genotype 'rcn-g'; did you mean 'rcn"),
            (["{r}", "--view", "ranks"], "at least two genotypes that one search found, this run has 0; "),
            (["{r}", "--set", "feature_maps=32"], "--set: a run has a space and sizes of its own; leave it out"),
            (["{s}", "--space", "own.yaml"], "--space: a run has a space and sizes of its own; leave it out"),
            (["rcn", "--space", "own.yaml"], "--space: 'rcn' is a space itself; leave it out"),
            (["rcn", "--width", "wide"], "--width: write column, page or a number such as 12.2cm, found 'wide'"),
            (["rcn", "--width", "0cm"], "--width: write column, page or a number such as 12.2cm, found '0cm'"),
            (["{r}", "-o", "x.gif"], "x.gif: pictures are written as .pdf, .png, .svg; found '.gif'"),
            (["{r}", "-o", "x.dot"], "x.dot: pictures are written as .pdf, .png, .svg; found '.dot'"),
            (["{s}", "-o", "x.gif"], "for other tools as .dot, .graphml, .json; found '.gif'"),
            (["rcn", "-o", "x"], "for other tools as .dot, .graphml, .json; found ''"),
        ],
    )
    def test_refused(self, refused, runs, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        given = [text.format(r=runs / "r", s=runs / "s") for text in arguments]
        assert message in refused("graph", *given, *([] if "-o" in given else ["-o", "x.svg"]))
        assert list(tmp_path.iterdir()) == []
