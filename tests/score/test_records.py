from nas_mer.score import compared, published_records, score, score_records
from nas_mer.score.published import SAMPLES
from nas_mer.score.records import FIELDS


def test_a_record_a_database_with_whole_numbers(simulate):
    row = score(simulate(seed=0), simulate(seed=1), resamples=20)
    records = list(score_records(row))
    assert [record["data"] for record in records] == ["composite", *row.databases]
    for record, part in zip(records, [row.composite, *row.databases.values()], strict=True):
        assert record["seed"] == "mean"
        assert (record["uar"], record["uf1_spread"]) == (part.uar, part.uf1_spread)
        assert (record["uar_low"], record["uf1_high"]) == (part.uar_interval.low, part.uf1_interval.high)
        assert (record["samples"], record["folds"]) == (part.samples, part.folds)
        assert set(record) <= set(FIELDS)


def test_what_is_not_known_is_left_out(simulate):
    records = list(score_records(score(simulate(seed=4), resamples=0)))
    assert {record["seed"] for record in records} == {4}
    assert not {"uar_spread", "uar_low", "uf1_high"} & set(records[0])


def test_what_the_paper_reports(simulate):
    (found,) = (row for row in compared(SAMPLES) if row.method == "Bi-WOOF")
    records = list(published_records(found, "Bi-WOOF"))
    assert records[0] == {
        "genotype": "Bi-WOOF", "seed": "published", "data": "composite", "source": "Tab. V", "uf1": 0.6296,
    }  # fmt: skip
    assert len(records) == 4
    assert set(records[0]) <= set(FIELDS)
