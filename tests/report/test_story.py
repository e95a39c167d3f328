import shutil
from dataclasses import replace

import numpy as np
import pytest

from nas_mer.data import Dataset
from nas_mer.report.story import story
from nas_mer.runs import history, load_run, predictions
from nas_mer.score import by_genotype, compare, score


def parts(sections, ident, kind):
    """The parts of some kind of a section."""
    (section,) = (section for section in sections if section.ident == ident)
    return [part for part in section.parts if part.kind == kind]


def table(sections, ident, caption):
    """The one table whose caption begins so: heading -> texts."""
    (found,) = (part for part in parts(sections, ident, "table") if part.caption.startswith(caption))
    return [dict(zip(found.headings, [cell.text for cell in row], strict=True)) for row in found.rows]


def missing(sections, ident):
    return [part.text for part in parts(sections, ident, "paragraph") if part.missing]


@pytest.fixture(scope="module")
def told(searched, retrained):
    return story([searched, retrained])


@pytest.fixture
def copied(searched, retrained, tmp_path):
    """Copies of both runs that a test may spoil."""
    return [load_run(shutil.copytree(run.path, tmp_path / run.name)) for run in (searched, retrained)]


class TestValues:
    def test_samples_are_counted(self, told, tiny):
        dataset = Dataset.load(tiny)
        for row in table(told, "data", "Samples by database"):
            here = dataset.databases == row["database"]
            assert int(row["samples"]) == here.sum()
            assert int(row["subjects"]) == len(np.unique(dataset.subjects[here]))

    def test_scores_are_those_of_the_predictions(self, told, retrained):
        rows = table(told, "scores", "UAR and UF1")
        groups = by_genotype(predictions(retrained))
        assert [row["genotype"] for row in rows] == list(groups)
        for row in rows:
            whole = score(*groups[row["genotype"]]).composite
            assert (row["UAR"], row["UF1"]) == (f"{whole.uar:.3f}", f"{whole.uf1:.3f}")

    def test_differences_are_from_the_best(self, told, retrained):
        groups = by_genotype(predictions(retrained))
        best = max(groups, key=lambda name: score(*groups[name]).composite.uar)
        rows = table(told, "scores", f"Differences from {best}")
        assert {row["genotype"] for row in rows} == groups.keys() - {best}
        for row in rows:
            assert row["p"] == f"{compare(groups[best], groups[row['genotype']]).composite.uf1.p_value:.3f}"

    def test_genotypes_are_those_that_the_run_derived(self, told, searched):
        rows = table(told, "genotypes", "Derived from")
        for row, derived in zip(rows, searched.result["genotypes"], strict=True):
            assert {name: row[name] for name in derived["choices"]} == derived["choices"]
            assert row["joint weight"] == f"{derived['weight']:.3g}"

    def test_the_replay_holds_every_epoch(self, told, searched):
        (replay,) = parts(told, "search", "replay")
        assert replay.epochs == searched.config.recipe.epochs
        for name, values in history(searched).weights().items():
            shown = np.array(list(replay.weights[name].values()))  # options x epochs
            assert np.abs(shown - values.mean(axis=0).T).max() <= 5e-5
        assert replay.choices[-1] == searched.result["genotypes"][0]["choices"]

    def test_nothing_is_missing(self, told):
        assert not [text for section in told for text in missing(told, section.ident)]


class TestSeveralRuns:
    def test_retrainings_side_by_side(self, retrained, copied):
        first, second = retrained, replace(copied[1], path=copied[1].path.rename(copied[1].path.with_name("second")))
        told = story([first, second])
        rows = table([section_until(told, "scores", first.name)], "scores", "UAR and UF1")
        assert len(rows) == 2 * len(first.config.genotypes)
        assert {row["genotype"].partition(": ")[0] for row in rows} == {first.name, second.name}
        (same,) = table([section_until(told, "scores", first.name)], "scores", "Differences from")
        assert (same["UAR"], same["p"]) == ("+0.000", "1.000")

    def test_searches_side_by_side(self, searched, copied):
        told = story([searched, copied[0]])
        rows = table(told, "search", "The winners")
        assert [row.pop("search") for row in rows] == [str(searched.path), str(copied[0].path)]
        assert rows[0] == rows[1]
        assert rows[0]["protocol"] == "shared"

    def test_one_that_holds_nothing_yet_does_not_hide_the_others(self, searched, copied, tmp_path):
        empty = load_run(shutil.copytree(searched.path, tmp_path / "empty"))
        shutil.rmtree(empty.path / "seeds")
        told = story([empty, searched, copied[0]])
        assert len(table(told, "search", "The winners")) == 2
        assert ["no finished epoch yet" in text for text in missing(told, "search")] == [True]


def section_until(sections, ident, heading):
    """A section's parts before a heading."""
    (section,) = (section for section in sections if section.ident == ident)
    end = next(i for i, part in enumerate(section.parts) if part.kind == "heading" and part.text == heading)
    return replace(section, parts=section.parts[:end])


class TestWhatIsMissing:
    def test_a_dataset_that_has_moved(self, copied, tmp_path):
        search, retraining = copied
        gone = search.config.dataset.model_copy(update={"path": tmp_path / "gone"})
        runs = [replace(run, config=run.config.model_copy(update={"dataset": gone})) for run in (search, retraining)]
        told = story(runs)
        assert "gone" in missing(told, "data")[0]
        assert "gone" in missing(told, "attention")[0]
        assert table(told, "scores", "UAR and UF1")

    def test_no_search_and_no_retraining(self, searched, retrained):
        assert "No search run" in missing(story([retrained]), "search")[0]
        assert "No retraining run" in missing(story([searched]), "scores")[0]

    def test_a_search_before_its_first_epoch(self, copied):
        search, _ = copied
        for file in (search.path / "seeds").iterdir():
            file.unlink()
        (search.path / "result.json").unlink()
        told = story([search])
        assert "no finished epoch yet" in missing(told, "search")[0]
        assert parts(told, "space", "picture")

    def test_a_search_under_way(self, copied):
        search, _ = copied
        (search.path / "result.json").unlink()
        told = story([search])
        assert "is not finished" in missing(told, "search")[0]
        assert parts(told, "search", "replay")

    def test_a_retraining_under_way(self, copied):
        _, retraining = copied
        (retraining.path / "result.json").unlink()
        name = retraining.config.genotypes[-1]
        shutil.rmtree(retraining.path / "replicas" / name)
        told = story([retraining])
        assert len(table(told, "scores", "UAR and UF1")) == len(retraining.config.genotypes) - 1
        assert any("still to come" in part.text for part in parts(told, "scores", "paragraph"))

    def test_a_genotype_file_that_is_damaged(self, searched, copied):
        _, retraining = copied
        (retraining.path / "genotypes" / "top1.yaml").write_text("format: 1\n")
        told = story([searched, retraining])
        assert "top1.yaml" in missing(told, "genotypes")[0]
        assert parts(told, "space", "picture")
        assert table(told, "genotypes", "Derived from")

    def test_one_searched_genotype_cannot_be_ranked(self, copied):
        _, retraining = copied
        shutil.rmtree(retraining.path / "replicas" / "top2")
        assert "ranks need at least two" in missing(story([retraining]), "scores")[0]
