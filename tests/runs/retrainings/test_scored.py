import csv
import io
import shutil
from dataclasses import replace

import numpy as np
import pytest

from nas_mer.data import CLASSES, Dataset, Sample
from nas_mer.errors import UserError
from nas_mer.runs import Compute, retrain
from nas_mer.runs.retrainings.pictures import RETRAIN_VIEWS
from nas_mer.runs.retrainings.scored import Scored, scores_grid, scores_records
from nas_mer.score import score
from nas_mer.score.published import SAMPLES
from nas_mer.score.records import FIELDS
from nas_mer.space import SearchSpace


@pytest.fixture(scope="module")
def run(tiny, space, recipe, tmp_path_factory):
    """A retraining of rcn and, as if a search had found them, of two more."""
    found = [
        replace(space.genotype(name), name=f"top{rank}", rank=rank, weight=0.5 / rank, origin="a search")
        for rank, name in enumerate(("rcn-a", "rcn-w"), 1)
    ]
    genotypes = [(space, genotype) for genotype in (space.genotype("rcn"), *found)]
    path = tmp_path_factory.mktemp("runs") / "r_1"
    return retrain(genotypes, tiny, recipe.model_copy(update={"epochs": 1}), path, compute=Compute(workers=1), seeds=2)


@pytest.fixture
def unfinished(run, tmp_path):
    """Return a copy of the run without some of its trainings."""

    def make(*missing):
        path = tmp_path / "unfinished"
        shutil.copytree(run.path, path)
        (path / "result.json").unlink()
        for place in missing:
            target = path / "replicas" / place
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        return replace(run, path=path)

    return make


def test_a_table_of_several_runs_tells_them_apart(run):
    grid = scores_grid([Scored(run), Scored(replace(run, path=run.path.parent / "." / "r_1"), "top1")])
    names = [row[0].split("\n")[0] for section in grid.sections for row in section]
    assert names == ["rcn", "r_1:top1", "top2", "r_1:top1"]
    assert grid.title == "UAR and UF1 on tiny, protocol LOSO, seeds 0, 1"
    assert "Found by a search: top1, top2; " in grid.caption


def test_records_hold_each_seed_the_mean_and_all_data(run):
    scored = Scored(run)
    written = io.StringIO()
    table = csv.DictWriter(written, FIELDS)
    table.writeheader()
    table.writerows(scores_records([scored]))
    rows = list(csv.DictReader(io.StringIO(written.getvalue())))
    assert len(rows) == 3 * (2 + 1) * (1 + 2)  # genotypes, seeds and mean, composite and databases
    assert [row["seed"] for row in rows[:9:3]] == ["0", "1", "mean"]
    (mean,) = (r for r in rows if (r["genotype"], r["seed"], r["data"]) == ("rcn", "mean", "beta"))
    assert float(mean["uar"]) == scored.rows[0].databases["beta"].uar
    (single,) = (r for r in rows if (r["genotype"], r["seed"], r["data"]) == ("top2", "1", "composite"))
    (expected,) = (score(one) for one in scored.predictions if (one.genotype, one.seed) == ("top2", 1))
    assert float(single["uf1_high"]) == expected.composite.uf1_interval.high
    assert {row["run"] for row in rows} == {"r_1"}


def test_other_data_have_no_published_numbers(run):
    assert Scored(run).published == {}
    assert Scored(run).compared == []
    assert "reports nothing" in Scored(run).remarks()[0]


def test_the_paper_is_matched_by_network_sizes_and_samples(recipe, tmp_path):
    samples = [
        Sample(name, f"s{index % 2}", f"c{index}", CLASSES[index // 2 % 3])
        for name in ("smic", "samm")
        for index in range(SAMPLES[name])
    ]
    maps = np.zeros((len(samples), 3, 16, 16), np.float32)
    Dataset("two", maps, tuple(samples)).save(tmp_path / "two")
    paper, small = SearchSpace.load("rcn"), SearchSpace.load("rcn", feature_maps=4)
    genotypes = [(paper, replace(paper.genotype("rcn-w"), name="mine")), (small, small.genotype("rcn-s"))]
    quick = recipe.model_copy(update={"epochs": 1, "batch_size": 100})
    scored = Scored(retrain(genotypes, tmp_path / "two", quick, tmp_path / "r", compute=Compute(workers=1)))
    assert {name: (found.method, found.tables) for name, found in scored.published.items()} == {
        "mine": ("RCN-W", ("IV",))
    }
    assert scored.compared == []
    assert scores_grid([scored], published=True).sections[0][1][1:3] == ("0.604", "-")
    records = [record for record in scores_records([scored], published=True) if record["seed"] == "published"]
    assert [(record["genotype"], record["uar"]) for record in records] == [("mine", 0.6036)]
    magnified = scored.run.config.dataset.model_copy(update={"magnified": 8.0})
    config = scored.run.config.model_copy(update={"dataset": magnified})
    assert Scored(replace(scored.run, config=config)).published == {}


@pytest.mark.parametrize("view", ["scores", "confusion", "subjects", "ranks", "differences"])
def test_each_view_is_drawn(run, view):
    picture = RETRAIN_VIEWS[view](Scored(run))
    assert picture.figure.get_figwidth() > 3
    assert any("found by a search" in note for note in picture.notes)


def test_one_genotype_is_drawn_alone_or_as_what_others_differ_from(run, tmp_path):
    texts = {
        view: _texts(RETRAIN_VIEWS[view](Scored(run, "top2")).figure) for view in ("scores", "confusion", "differences")
    }
    assert "top2" in texts["scores"]
    assert "rcn" not in texts["scores"]
    assert "rcn" not in texts["confusion"]
    assert {"Difference from top2", "rcn", "top1"} <= texts["differences"]
    for view in ("scores", "confusion", "subjects", "differences"):
        with pytest.raises(UserError, match="has no genotype 'top3'; did you mean 'top"):
            RETRAIN_VIEWS[view](Scored(run, "top3"))
    with pytest.raises(UserError, match="leave out ':top1'"):
        RETRAIN_VIEWS["ranks"](Scored(run, "top1"))


def _texts(figure):
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def test_what_is_there_of_an_unfinished_run_is_drawn_with_a_note(unfinished):
    run = unfinished("top2", "top1/1/beta/s02.safetensors", "top1/0/beta/s02.safetensors")
    picture = RETRAIN_VIEWS["scores"](Scored(run))
    assert "10 of 24 trainings are still to come" in " ".join(picture.notes)
    with pytest.raises(UserError, match="no other genotype covers the samples of rcn yet; continue the run with: "):
        RETRAIN_VIEWS["differences"](Scored(run))
    with pytest.raises(UserError, match="at least two genotypes that one search found, this run has 1"):
        RETRAIN_VIEWS["ranks"](Scored(run))


def test_what_covers_fewer_samples_is_left_out_and_told(unfinished):
    run = unfinished("top2/1/beta/s02.safetensors", "top2/0/beta/s02.safetensors")
    picture = RETRAIN_VIEWS["differences"](Scored(run))
    assert "not compared, with other samples than rcn: top2" in picture.notes
    assert "top1" in _texts(picture.figure)
    with pytest.raises(UserError, match="ranks need at least two searched genotypes that cover"):
        RETRAIN_VIEWS["ranks"](Scored(run))


def test_one_genotype_differs_from_nothing(unfinished):
    with pytest.raises(UserError, match="differences need at least two genotypes, this run has rcn alone"):
        RETRAIN_VIEWS["differences"](Scored(unfinished("top1", "top2")))


def test_a_genotype_that_is_not_trained_yet(unfinished):
    run = unfinished("top1")
    with pytest.raises(UserError, match="no network of top1 is trained yet; continue the run with: nas"):
        RETRAIN_VIEWS["scores"](Scored(run, "top1"))


def test_runs_of_one_name_are_told_apart(run, tmp_path):
    other = replace(run, path=tmp_path / "r_1")
    shutil.copytree(run.path, other.path)
    scored = [Scored(run), Scored(other)]
    names = {row[0].split("\n")[0] for section in scores_grid(scored).sections for row in section}
    assert names == {f"{one.path}:{name}" for one in (run, other) for name in ("rcn", "top1", "top2")}
    assert {record["run"] for record in scores_records(scored)} == {str(run.path), str(other.path)}
