import pytest

from nas_mer.errors import UserError
from nas_mer.search.study import Study, nearest, open_storage
from nas_mer.search.trials import Trial, ranked
from nas_mer.space import SearchSpace


@pytest.fixture(scope="module")
def edges():
    """A space that keeps two of a node's edges."""
    return SearchSpace.load("darts_cnn")


def test_the_nearest_genotype_keeps_all_rules(edges):
    drawn = {name: options[-1] for name, options in edges.decisions.items()}
    found = nearest(edges, drawn)
    assert not edges.combinations.allows(drawn)
    assert edges.combinations.allows(found)
    assert nearest(edges, drawn) == found
    assert nearest(edges, found) == found


def open_study(space, file, count=10, **of):
    return Study(space, open_storage(f"sqlite:///{file}"), "study", (0,), None, count, of)


def test_a_study_of_something_else_is_refused(space, tmp_path):
    open_study(space, tmp_path / "a.db", data="one")
    open_study(space, tmp_path / "a.db", data="one")
    with pytest.raises(UserError, match=r"a\.db: its study 'study' is of another data \(one, this one is two\)"):
        open_study(space, tmp_path / "a.db", data="two")


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "nonsense", "nodb://user:secret@host/name"])
def test_a_storage_that_does_not_answer(url):
    with pytest.raises(UserError, match="cannot be used as the storage of a study") as error:
        open_storage(url)
    assert "secret" not in str(error.value)


def test_a_failure_is_no_score_and_is_not_tried_again(space, tmp_path):
    study = open_study(space, tmp_path / "a.db", count=9)
    seen = []
    while batch := study.batch():
        assert batch == study.batch()  # what is under way comes first
        for asked in batch:
            seen.append(tuple(asked.choices.values()))
            failed = len(seen) == 3
            study.tell(asked.number, Trial(asked.choices, *((None, None, "why") if failed else (0.5, 1.0))))
    assert len(seen) == len(set(seen)) == 9 == study.judged()
    assert [trial.failure for trial in study.trials().values()].count("why") == 1


def test_ranking_is_by_the_mean_over_searches(space):
    one, two = (space.genotype(name).choices for name in ("rcn-f", "rcn-s"))
    first = [Trial(one, 0.9, 1.0), Trial(two, 0.6, 0.3)]
    found = ranked(space, [first, [Trial(one, 0.3, 1.0), Trial(two, None, None, "why")]])
    assert [row.genotype.choices for row in found] in ([one, two], [two, one])
    assert [(row.valid_uar, row.searches) for row in found] == [(pytest.approx(0.6), 1), (pytest.approx(0.6), 2)]
    assert [row.genotype.rank for row in found] == [1, 2]
