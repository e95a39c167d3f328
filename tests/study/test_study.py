import json
from html import escape

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from nas_mer.errors import UserError
from nas_mer.runs import load_run
from nas_mer.study import grids, study, study_as_json
from nas_mer.study.searches import Ranking
from nas_mer.study.study import Outcome, Pick, Result, outcome, selections, truth_of
from nas_mer.study.tables import markdown, study_records

EVERYTHING = np.arange(56)


def ranked(places):
    return Ranking(np.asarray(places), np.linspace(1, 0, len(places)))


class TestOutcome:
    def test_a_search_that_ranks_as_the_truth(self, stairs):
        found = outcome(ranked(EVERYTHING[::-1]), stairs, steps=100, training=20)
        assert (found.judged, found.tau, found.tau_uf1) == (56, 1, 1)
        assert (found.first.regret, found.top.regret, found.first.naive_regret) == (0, 0, 0)
        assert found.first.genotypes == (stairs.genotypes[55].label,)
        assert found.first.chance == pytest.approx(1 / 56)
        assert found.top.chance == pytest.approx(3 / 56)
        assert found.draws == 5
        assert found.chance == pytest.approx(5 / 56)

    @pytest.mark.parametrize("count", range(1, 57))
    def test_as_many_draws_as_trainings_however_their_sum_is_rounded(self, stairs, count):
        training = 20 * 3 + 221 / 3 / 64
        assert outcome(ranked(EVERYTHING), stairs, steps=count * training, training=training).draws == count

    def test_the_reverse(self, stairs):
        found = outcome(ranked(EVERYTHING), stairs, steps=100, training=200)
        assert (found.tau, found.tau_uf1) == (-1, -1)
        assert found.first.regret == pytest.approx(55 / 57)
        assert found.top.regret == pytest.approx(53 / 57)
        assert found.first.chance == 1
        assert (found.draws, found.chance) == (0, None)

    def test_of_those_that_were_tried_alone(self, stairs):
        found = outcome(ranked([40, 10]), stairs, steps=100, training=20)
        assert (found.judged, found.tau) == (2, 1)
        assert found.top.genotypes == (stairs.genotypes[40].label, stairs.genotypes[10].label)
        assert found.top.regret == pytest.approx(15 / 57)
        assert found.top.chance == pytest.approx(1 - 40 * 39 / (56 * 55))


class TestTruth:
    def test_without_noise(self, stairs):
        found = truth_of(stairs)
        for one in found.ceilings.values():
            assert (one.split_half, one.attainable, one.over_seeds) == (1, 1, 1)
            assert one.attainable_interval == one.over_seeds_interval == (1, 1)
        assert found.best == stairs.genotypes[55].label
        assert found.best_uar == pytest.approx(found.held_out_uar) == pytest.approx(56 / 57)
        assert found.mean_uar == pytest.approx(28.5 / 57)

    def test_noise_alone(self, noise):
        found = truth_of(noise)
        for one in found.ceilings.values():
            assert abs(one.split_half) < 0.2
            assert one.over_seeds < 0.3
            assert one.over_seeds_interval.low == one.attainable_interval.low == 0
            assert one.over_subjects < 0.3
        assert found.best_uar > 0.37
        assert found.held_out_uar == pytest.approx(1 / 3, abs=0.03)


def result(name, taus, strategy="darts", protocol="shared"):
    """A run whose searches have these tau, and as their regret 1 - tau."""

    def searched(tau):
        pick = Pick(("x",), 1 - tau, 1 - tau, 0.5)
        return Outcome(56, tau, tau, pick, pick, 100, 1, 0.5)

    alone = {seed: (searched(tau),) for seed, tau in enumerate(taus)}
    return Result(name, strategy, protocol, {}, alone, searched(0.0), ranked(EVERYTHING))


class TestSelections:
    def test_halves_never_mix(self):
        # One is good on even seeds, the other on odd ones: the choice never lives up to its promise.
        even, odd = result("even", [0.8, 0.1, 0.6, 0.3, 0.7]), result("odd", [0.2, 0.9, 0.0, 0.7, 0.1])
        by_tau, by_regret = selections([even, odd])
        for one in (by_tau, by_regret):
            assert [choice.name for choice in one.choices] == ["even", "odd"]
        assert [choice.chosen_by for choice in by_tau.choices] == pytest.approx([0.7, 0.8])
        assert [choice.reported for choice in by_tau.choices] == pytest.approx([0.2, 0.1])
        assert by_tau.reported == pytest.approx(0.15)
        assert by_regret.reported == pytest.approx(0.85)

    def test_what_is_reported_does_not_change_the_choice(self):
        first, second = result("first", [0.5, 0.0]), result("second", [0.4, 1.0])
        by_tau, _ = selections([first, second])
        assert [choice.name for choice in by_tau.choices] == ["first", "second"]

    def test_only_runs_of_the_same_strategy_with_several_seeds(self):
        others = [result("fair", [0, 1], "fair"), result("one", [1]), result("nested", [1, 1], protocol="nested")]
        assert list(selections([result("darts", [0, 1]), *others])) == []


class TestStudy:
    def test_one_result_a_run(self, found, runs):
        assert [(one.name, one.strategy, one.protocol, len(one.alone)) for one in found.results] == [
            ("darts", "darts", "shared", 3),
            ("warm", "darts", "shared", 2),
            ("random", "random", "shared", 2),
            ("nested", "darts", "nested", 1),
        ]
        assert found.results[1].settings["warm_up"] == 1
        assert [len(of) for of in found.results[3].alone.values()] == [4]

    def test_top_1_is_what_the_run_has_derived(self, found, runs, drawn):
        for one in found.results:
            run = load_run(runs[one.name])
            derived = [drawn.place(of["choices"]) for of in run.result["genotypes"]]
            assert one.ranking.places[:3].tolist() == derived
            assert one.together.top.genotypes == tuple(drawn.genotypes[place].label for place in derived)
            for seed, of in run.result.get("seeds", {}).items():
                first = drawn.genotypes[drawn.place(of["genotypes"][0]["choices"])].label
                assert one.alone[int(seed)][0].first.genotypes == (first,)

    def test_the_nested_score_is_assembled_subject_by_subject(self, found, runs, drawn):
        folds = load_run(runs["nested"]).result["folds"]
        expected = []
        for seed in range(3):
            said = [
                drawn.predicted[drawn.place(folds[subject]["choices"]), seed, sample]
                for sample, subject in enumerate(drawn.subjects.tolist())
            ]
            expected.append(balanced_accuracy_score(drawn.labels, said))
        (nested,) = found.nested
        assert nested.score.composite.uar == pytest.approx(np.mean(expected))
        assert nested.best.composite.uar.b == pytest.approx(np.mean(expected))
        assert nested.best.a == found.truth.best
        assert nested.random == pytest.approx(drawn.uar.mean())
        assert nested.shared.a == found.results[0].together.first.genotypes[0]

    def test_costs(self, found):
        darts, _, random, nested = found.results
        for one in (darts, random, nested):
            assert one.together.steps == pytest.approx(sum(o.steps for of in one.alone.values() for o in of))
        # A trial is 2 epochs of 8 samples and a look at 8 others: 18.67 samples of the 64 of a step.
        assert random.alone[0][0].steps == pytest.approx(random.alone[0][0].judged * (16 + 8 / 3) / 64)
        assert darts.alone[0][0].steps == darts.alone[1][0].steps

    def test_random_search_gets_to_the_best(self, found):
        assert len(found.random_regret) == 56
        assert found.random_regret[-1] == pytest.approx(0)
        assert found.random_regret[0] == pytest.approx(found.truth.held_out_uar - found.truth.mean_uar)

    def test_json_records_and_tables_say_the_same(self, found):
        document = json.loads(json.dumps(study_as_json(found), allow_nan=False))
        records = study_records(found)
        for one, run, record in zip(found.results, document["runs"], records, strict=True):
            tau = one.over_seeds(lambda outcome: outcome.tau)
            assert run["means"]["tau"]["mean"] == record["tau"] == tau.mean
            assert run["together"]["tau"] == record["tau_together"]
            assert len(run["searches"]) == record["seeds"] == len(one.alone)
        assert "tau_spread" in records[0]
        assert "tau_spread" not in records[3]  # of one seed
        text = markdown(found, ["tau.svg"])
        assert f"{records[0]['tau']:.2f} ± {records[0]['tau_spread']:.2f}" in text
        assert "![tau](tau.svg)" in text
        assert len(grids(found)) == 5
        assert all(escape(grid.title) in found._repr_html_() for grid in grids(found))


class TestRefused:
    def test_a_table_of_one_seed(self, runs, drawn, table_of, tmp_path):
        one = table_of(
            drawn.space, drawn.predicted[:, :1], drawn.labels, drawn.subjects, drawn.about.dataset.fingerprint
        )
        one.save(tmp_path / "one.npz")
        with pytest.raises(UserError, match=r"one: has one seed; .* a table of at least two"):
            study([runs["darts"]], str(tmp_path / "one.npz"))
