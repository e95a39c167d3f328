from dataclasses import replace

import pytest

from nas_mer.errors import UserError
from nas_mer.runs import predictions, retrain
from nas_mer.runs.retrainings.findings import notes, result_of
from nas_mer.runs.retrainings.scored import Scored


def test_an_unfinished_run_is_scored_as_far_as_it_is(begun):
    run = begun(30)  # seed by seed, then genotype by genotype: 2 folds of seed 1
    result = result_of(run, predictions(run))
    covered = [(found["genotype"], found["seed"], found["folds"]) for found in result["scores"]]
    assert covered == [("rcn-f", 0, 4), ("rcn-f", 1, 2), ("rcn", 0, 4)]
    assert result["means"] == []
    assert "6 of 16 trainings are still to come; their samples are in no score" in result["notes"]
    assert any("rcn-f: no mean or comparison includes seed 1" in note for note in result["notes"])


def test_notes_on_one_genotype_are_of_that_one(begun):
    run = begun(30)
    first, second = (Scored(run, name).notes for name in ("rcn-f", "rcn"))
    assert "2 of 8 trainings are still to come; their samples are in no score" in first
    assert "4 of 8 trainings are still to come; their samples are in no score" in second
    assert any("rcn-f: no mean" in note for note in first)
    assert not any("rcn-f" in note for note in second)


def test_nothing_yet(begun):
    run = begun(1)
    with pytest.raises(UserError, match=r"no network is trained yet; continue it with: .* resume .*retrained"):
        predictions(run)


def test_a_full_run_of_named_genotypes_needs_none(retrained):
    assert retrained.result["notes"] == []


def test_a_searched_genotype_may_have_seen_every_subject(space, tiny, recipe, tmp_path, alone):
    found = replace(space.genotype("rcn-f"), name="top1", rank=1, weight=0.5)
    run = retrain([(space, found)], tiny, recipe, tmp_path / "run", compute=alone)
    (note,) = notes(run, predictions(run))
    assert note.startswith("found by a search: top1; ")
    assert "optimistic" in note
