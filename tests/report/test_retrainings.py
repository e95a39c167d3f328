import shutil

import pytest

from nas_mer.report.retrainings import Retrained, side_by_side
from nas_mer.runs import load_run, predictions
from nas_mer.score import by_genotype, score


@pytest.fixture
def copied(retrained, tmp_path):
    """A copy that a test may spoil."""
    return load_run(shutil.copytree(retrained.path, tmp_path / "copied"))


@pytest.fixture
def nested(copied):
    """The same with a genotype of its own for each fold in place of the first."""
    (name, *_) = copied.config.genotypes
    file = copied.path / "genotypes" / f"{name}.yaml"
    file.with_suffix("").mkdir()
    file.rename(file.with_suffix("") / "alpha.yaml")
    return copied


def texts(parts, kind="paragraph"):
    return [part.text for part in parts if part.kind == kind]


def table(parts, caption):
    (found,) = (part for part in parts if part.kind == "table" and part.caption.startswith(caption))
    return [[cell.text for cell in row] for row in found.rows]


def test_the_summary_names_the_best_with_its_interval(retrained):
    (text,) = texts(Retrained(retrained, "mine").summary())
    scores = {name: score(*group) for name, group in by_genotype(predictions(retrained)).items()}
    best = max(scores, key=lambda name: scores[name].composite.uar)
    whole = scores[best].composite
    said = f"{whole.uar:.3f} [{whole.uar_interval.low:.3f}, {whole.uar_interval.high:.3f}]"
    assert text.startswith(
        f"mine retrained 3 genotypes with 2 seeds in 4 folds: the highest UAR is that of {best}, {said}"
    )
    assert "Of the others none differs from it beyond noise in UAR." in text


def test_one_with_few_samples_yet_is_not_the_best(copied):
    """Though it may have most of these right."""
    rows = Retrained(copied, "whole").rows
    least = min(rows, key=lambda name: rows[name].composite.uar)
    for name in rows.keys() - {least}:
        for seed in (0, 1):
            (copied.path / "replicas" / name / str(seed) / "beta" / "s02.safetensors").unlink()
    one = Retrained(copied, "cut")
    assert (one.best, one.uar) == (least, rows[least].composite.uar)


def test_pictures_are_of_the_best_or_of_all(retrained):
    one = Retrained(retrained, "mine")
    names = [part.name for part in one.scores() if part.kind == "picture"]
    best = f"retrained-{one.best}"
    assert names == ["retrained-scores", f"{best}-differences", "retrained-ranks", f"{best}-confusion",
                     "retrained-confusion", "retrained-subjects"]  # fmt: skip


def test_what_a_picture_leaves_out_is_told_beside_it(copied):
    whole = Retrained(copied, "whole")
    fewer = next(name for name in copied.config.genotypes if name != whole.best and name.startswith("top"))
    for seed in (0, 1):
        (copied.path / "replicas" / fewer / str(seed) / "beta" / "s02.safetensors").unlink()
    said = texts(Retrained(copied, "cut").scores())
    assert any(text.startswith("not compared, with other samples than") and fewer in text for text in said)
    assert len(said) == len(set(said))


def test_a_genotype_that_each_fold_has_its_own_of(nested):
    first, *others = nested.config.genotypes
    rows = table(Retrained(nested, "mine").described(), "Retrained by mine")
    assert [row[0] for row in rows] == [first, *others]
    assert rows[0][1:] == ["\u2013", "found for each fold", "one genotype a fold"]
    assert all(row[1] == "rcn" for row in rows[1:])


def test_one_has_begun_when_a_network_is_trained(copied):
    assert Retrained(copied, "mine").begun
    shutil.rmtree(copied.path / "replicas")
    assert not Retrained(copied, "mine").begun


def test_several_side_by_side(retrained, copied):
    parts = list(side_by_side([Retrained(retrained, "a"), Retrained(copied, "b")]))
    names = [row[0] for row in table(parts, "UAR and UF1")]
    assert names == [f"{run}: {name}" for run in "ab" for name in retrained.config.genotypes]
    ((_, uar, _, p, *_),) = table(parts, "Differences from a: ")
    assert (uar, p) == ("+0.000", "1.000")
