import contextlib
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nas_mer.errors import UserError
from nas_mer.search import STRATEGIES, front, read_tune
from nas_mer.search.optuna_study import Study, nearest, open_storage
from nas_mer.search.trials import Trial, ranked
from nas_mer.space import SearchSpace
from nas_mer.train import Recipe, load_recipe


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


def open_study(space, file, count=10, tune=(), objectives=("uar",), sampler=None, **of):
    axes = read_tune(tune, space, load_recipe("default", Recipe))
    storage = open_storage(f"sqlite:///{file}")
    return Study(space, storage, "study", (0,), sampler, count, of, tune=axes, objectives=objectives)


def test_a_study_of_something_else_is_refused(space, tmp_path):
    open_study(space, tmp_path / "a.db", data="one")
    open_study(space, tmp_path / "a.db", data="one")
    with pytest.raises(UserError, match=r"a\.db: its study 'study' is of another data \(one, this one is two\)"):
        open_study(space, tmp_path / "a.db", data="two")


def test_machines_that_begin_a_study_at_the_same_moment(space, tmp_path):
    machines = 4
    start = threading.Barrier(machines)

    def begin(number):
        start.wait()
        study = open_study(space, tmp_path / "a.db", data="one", recipe="two")
        return len(study.trials())

    with ThreadPoolExecutor(machines) as pool:
        assert [*pool.map(begin, range(machines))] == [0] * machines
    open_study(space, tmp_path / "a.db", data="one", recipe="two")
    with pytest.raises(UserError, match="of another recipe"):
        open_study(space, tmp_path / "a.db", data="one", recipe="three")


def test_of_two_that_begin_different_studies_at_the_same_moment_one_is_refused(space, tmp_path):
    start = threading.Barrier(2)

    def begin(data):
        start.wait()
        try:
            open_study(space, tmp_path / "a.db", data=data)
        except UserError as error:
            return str(error)
        return "accepted"

    with ThreadPoolExecutor(2) as pool:
        said = [*pool.map(begin, ("one", "two"))]
    assert said.count("accepted") <= 1
    assert any("is of another data" in text for text in said)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"tune": ["dropout=0.1,0.2"]}, r"of another tuning \(nothing, this one is dropout=0\.1,0\.2\)"),
        ({"objectives": ("uar", "flops")}, r"of another objective \(uar, this one is uar, flops\)"),
    ],
)
def test_a_study_that_tunes_something_else_is_refused(space, tmp_path, asked, message):
    open_study(space, tmp_path / "a.db")
    with pytest.raises(UserError, match=message):
        open_study(space, tmp_path / "a.db", **asked)


@pytest.mark.parametrize("name", ["random", "tpe", "evolution"])
def test_values_are_drawn_with_the_genotype(space, tmp_path, name):
    """Each from its own, and all that is told comes back."""
    asked = {"tune": ["dropout=0.1,0.2", "batch_size=8..64"], "objectives": ("flops", "uar")}
    study = open_study(space, tmp_path / "a.db", 12, sampler=STRATEGIES[name].sampler, **asked)
    told = {}
    while batch := study.batch():
        for one in batch:
            trial = Trial(one.choices, 0.5, 1.0, None, one.parameters, one.recipe, {"flops": 7.0 + one.number})
            study.tell(one.number, trial)
            told[one.number] = trial
    assert {number: trial for number, trial in study.trials().items() if number in told} == told
    assert {trial.parameters["dropout"] for trial in told.values()} == {0.1, 0.2}
    sizes = {trial.recipe["batch_size"] for trial in told.values()}
    assert len(sizes) > 3
    assert all(isinstance(size, int) and 8 <= size <= 64 for size in sizes)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nowhere/at/all.db",
        "nonsense",
        "nodb://user:secret@host/name",
        "postgresql://user:secret@host:port/name",
        "postgresql://user:a@very:secret@host/name",
    ],
)
def test_a_storage_that_does_not_answer(url):
    with pytest.raises(UserError, match="cannot be used as the storage of a study") as error:
        open_storage(url)
    assert "secret" not in str(error.value)


def test_a_database_of_another_optuna(space, tmp_path):
    open_study(space, tmp_path / "a.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'v9.9.9'")
    with pytest.raises(UserError, match=r"a\.db: cannot be used as the storage of a study \(The runtime optuna"):
        open_storage(f"sqlite:///{tmp_path / 'a.db'}")


def test_what_goes_wrong_beside_a_storage_is_not_its_error(space, tmp_path, monkeypatch):
    def wrong(*_):
        raise ValueError("no draw")

    study = open_study(space, tmp_path / "a.db")
    monkeypatch.setattr("nas_mer.search.optuna_study.nearest", wrong)
    with pytest.raises(ValueError, match=r"^no draw$"):
        study.batch()


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


def test_sizes_and_recipes_are_ranked_apart(space):
    choices = space.genotype("rcn-f").choices
    trials = [
        Trial(choices, 0.5, 1.0, None, {"pool": 3}, {}, {"flops": 10.0}),
        Trial(choices, 0.9, 1.0, None, {"pool": 2}, {"epochs": 5}, {"flops": 20.0}),
        Trial(choices, 0.7, 1.0, None, {"pool": 2}, {"epochs": 5}, {"flops": 40.0}),
    ]
    best, other = ranked(space, [trials[:2], trials[2:]])
    assert (best.valid_uar, best.searches, best.parameters, best.recipe) == (0.8, 2, {"pool": 2}, {"epochs": 5})
    assert best.measured == {"flops": 30.0}
    assert other.genotype.parameters == {**space.overrides, "pool": 3}
    assert front([best, other], ("uar", "flops")) == [best, other]
    assert front([best, other], ("uar",)) == [best]


@pytest.mark.parametrize("seed", range(3))
def test_the_front_is_what_none_beats(space, seed):
    """By the definition, over all pairs."""
    draws, choices = np.random.default_rng(seed), space.genotype("rcn-f").choices
    trials = [
        Trial(choices, float(u), 1.0, None, {}, {"epochs": i + 1}, {"flops": float(f), "latency": float(m)})
        for i, (u, f, m) in enumerate(draws.integers(4, size=(30, 3)))
    ]
    found = ranked(space, [trials])

    def beats(one, other):
        pairs = [(one.valid_uar, other.valid_uar), *((-one.measured[k], -other.measured[k]) for k in one.measured)]
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    expected = [one for one in found if not any(beats(other, one) for other in found)]
    assert front(found, ("uar", "flops", "latency")) == expected
    assert 1 <= len(expected) < 30
