import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, recall_score

from nas_mer.errors import UserError
from nas_mer.score import Predictions, as_json, by_genotype, score

NAMES = ("databases", "subjects", "clips", "labels", "predicted", "logits")


def test_composite_and_databases_agree_with_scikit_learn(simulate):
    predictions = simulate()
    row = score(predictions, resamples=0)
    assert tuple(row.databases) == ("smic", "casme2", "samm")
    for part, samples in [(row.composite, predictions)] + [
        (part, predictions.only(name)) for name, part in row.databases.items()
    ]:
        truth = samples.labels, samples.predicted
        assert part.uar == pytest.approx(balanced_accuracy_score(*truth))
        assert part.uf1 == pytest.approx(f1_score(*truth, average="macro"))
        np.testing.assert_allclose(part.recalls, recall_score(*truth, average=None))
        np.testing.assert_array_equal(part.confusion, confusion_matrix(*truth))
        assert (part.samples, part.folds) == (len(samples.labels), samples.folds)


def test_folds_are_pooled_not_averaged():
    """Subject 1: one clip, missed. Subject 2: three clips, all right. Pooled recall of class a is 3/4, not 1/2."""
    predictions = Predictions(
        genotype="g",
        seed=0,
        classes=("a", "b"),
        databases=["d"] * 5,
        subjects=["d/1", "d/2", "d/2", "d/2", "d/3"],
        clips=list("vwxyz"),
        labels=[0, 0, 0, 0, 1],
        predicted=[1, 0, 0, 0, 1],
        logits=np.zeros((5, 2)),
    )
    part = score(predictions, resamples=0).composite
    assert part.uar == pytest.approx((3 / 4 + 1) / 2)
    assert part.uf1 == pytest.approx((6 / 7 + 2 / 3) / 2)


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(simulate, random):
    predictions = simulate()
    order = list(range(len(predictions.labels)))
    random.shuffle(order)
    shuffled = replace(predictions, **{name: getattr(predictions, name)[order] for name in NAMES})
    one, other = (as_json([score(item, resamples=100)]) for item in (predictions, shuffled))
    assert one == other


def test_several_seeds_are_averaged(simulate):
    seeds = [simulate(seed=seed) for seed in (3, 1, 2)]
    row = score(*seeds, resamples=200)
    each = [score(item, resamples=200).composite for item in seeds]
    assert row.seeds == (3, 1, 2)
    assert row.composite.uar == pytest.approx(np.mean([part.uar for part in each]))
    assert row.composite.uf1 == pytest.approx(np.mean([part.uf1 for part in each]))
    assert row.composite.uar_spread == pytest.approx(np.std([part.uar for part in each], ddof=1))
    assert row.composite.uf1_spread == pytest.approx(np.std([part.uf1 for part in each], ddof=1))
    np.testing.assert_allclose(row.composite.recalls, np.mean([part.recalls for part in each], axis=0))
    np.testing.assert_array_equal(row.composite.confusion, np.sum([part.confusion for part in each], axis=0))
    assert row.composite.samples == each[0].samples
    assert each[0].uar_spread is None


def test_averaging_seeds_narrows_the_interval(simulate):
    widths = []
    for count in (1, 6):
        low, high = score(*(simulate(seed=seed) for seed in range(count)), resamples=1000).composite.uar_interval
        widths.append(high - low)
    assert widths[1] < widths[0]


def test_intervals_hold_the_score_and_repeat(simulate):
    first, again = (score(simulate(), resamples=500, seed=2) for _ in range(2))
    for part in (first.composite, *first.databases.values()):
        assert part.uar_interval.low <= part.uar <= part.uar_interval.high
        assert part.uf1_interval.low <= part.uf1 <= part.uf1_interval.high
    assert first.composite.uar_interval == again.composite.uar_interval
    assert first.composite.uar_interval != score(simulate(), resamples=500, seed=3).composite.uar_interval


def test_a_databases_score_is_that_of_its_samples_alone(simulate):
    predictions = simulate()
    within = as_json([score(predictions, resamples=100)])["scores"][0]["databases"]["samm"]
    alone = as_json([score(predictions.only("samm"), resamples=100)])["scores"][0]
    assert within == {key: alone[key] for key in within}


def test_no_interval_without_resamples_or_with_one_subject(simulate):
    assert score(simulate(), resamples=0).composite.uar_interval is None
    row = score(simulate(shape={"smic": (1, 9), "samm": (3, 3)}), resamples=50)
    assert row.databases["smic"].uar_interval is None
    assert row.databases["smic"].uf1_interval is None
    assert row.databases["samm"].uar_interval is not None
    alone = score(simulate(shape={"smic": (1, 9), "samm": (1, 6)}), resamples=50)  # the only draw there is
    assert alone.composite.uar_interval is alone.composite.uf1_interval is None


def test_seeds_that_do_not_belong_together_are_refused(simulate):
    with pytest.raises(UserError, match="one genotype at a time"):
        score(simulate("rcn"), simulate("rcn-f"))
    with pytest.raises(UserError, match="no predictions"):
        score()


def test_grouping_keeps_the_order(simulate):
    items = [simulate("b", 0), simulate("a", 0), simulate("b", 1)]
    assert by_genotype(items) == {"b": [items[0], items[2]], "a": [items[1]]}


def test_json_holds_what_the_command_line_promises(simulate):
    seeds = [simulate(seed=seed) for seed in range(2)]
    rows = [score(item, resamples=20) for item in seeds] + [score(*seeds, resamples=20)]
    document = json.loads(json.dumps(as_json(rows), allow_nan=False))
    assert [entry["seed"] for entry in document["scores"]] == [0, 1]
    for entry, row in zip(document["scores"], rows, strict=False):
        assert entry["genotype"] == "rcn-f"
        assert (entry["samples"], entry["folds"]) == (62, 15)
        assert (entry["uar"], entry["uf1"]) == (row.composite.uar, row.composite.uf1)
        assert entry["uar_interval"] == list(row.composite.uar_interval)
        assert {name: (part["uar"], part["uf1"]) for name, part in entry["databases"].items()} == {
            name: (part.uar, part.uf1) for name, part in row.databases.items()
        }
    (mean,) = document["means"]
    assert mean["seeds"] == [0, 1]
    assert mean["uar"] == pytest.approx(np.mean([entry["uar"] for entry in document["scores"]]))


def test_json_has_null_for_the_recall_of_an_absent_class(simulate):
    predictions = simulate()
    bare = replace(predictions, labels=np.minimum(predictions.labels, 1))
    (entry,) = json.loads(json.dumps(as_json([score(bare, resamples=20)]), allow_nan=False))["scores"]
    assert entry["recalls"]["surprise"] is None
    assert 0 <= entry["recalls"]["negative"] <= 1
