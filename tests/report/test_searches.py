import shutil
from dataclasses import replace

import pytest

from nas_mer.report.searches import Searched, winners
from nas_mer.runs import derive, load_run
from nas_mer.runs.searches.findings import History, Member, Tried
from nas_mer.runs.tensors import packed, read_tensors, write_tensors
from nas_mer.search import Epoch, Trial, read_tune
from nas_mer.space import SearchSpace
from nas_mer.train import Recipe, load_recipe


@pytest.fixture
def cut(searched, tmp_path):
    """The search as it was when its seeds had done so many epochs."""

    def make(*epochs):
        run = load_run(shutil.copytree(searched.path, tmp_path / "cut"))
        (run.path / "result.json").unlink()
        for seed, count in enumerate(epochs):
            file = run.path / "seeds" / f"{seed}.safetensors"
            tensors, about = read_tensors(file)
            write_tensors(file, packed(tensors, {**about, "epochs": about["epochs"][:count]}))
        return Searched(run, "cut")

    return make


@pytest.fixture
def judged(searched, space):
    """A nested search that judged genotypes one by one: in two folds `rcn-f` is the best, in a third `rcn`."""
    best = {"alpha/s01": "rcn-f", "alpha/s02": "rcn", "beta/s01": "rcn-f"}
    trials = {
        Member(0, fold): tuple(
            Trial(space.genotype(name).choices, 0.9 if name == winner else 0.3, 1.0) for name in ("rcn", "rcn-f")
        )
        for fold, winner in best.items()
    }
    config = searched.config.model_copy(update={"protocol": "nested", "strategy": "random"})
    one = Searched(replace(searched, config=config), "judged")
    one.__dict__["findings"] = Tried(trials, {})
    return one


def test_a_search_for_several_objectives_shows_its_front(judged):
    assert not [part for part in judged.details() if part.kind == "picture"]
    tune = read_tune(
        ["batch_size=8..64", "optimizer.learning_rate=1e-4..1e-2"], judged.space, load_recipe("default", Recipe)
    )
    config = judged.run.config.model_copy(update={"objectives": ("uar", "flops"), "tune": tune})
    both = Searched(replace(judged.run, config=config), "judged")
    trials = {
        member: tuple(
            replace(trial, recipe={"batch_size": 9, "optimizer.learning_rate": 3e-4}, measured={"flops": 1e6})
            for trial in found
        )
        for member, found in judged.findings.trials.items()
    }
    both.__dict__["findings"] = Tried(trials, {})
    (picture,) = (part for part in both.details() if part.kind == "picture")
    assert picture.caption == "What was judged, by uar, flops"
    (shown,) = (part for part in both.details() if part.kind == "table" and "judged" in part.caption)
    assert shown.headings[4:] == ("FLOP", "conv", "attention", "recurrent", "batch_size", "optimizer.learning_rate")
    assert {(row[4].text, row[-2].text, row[-1].text) for row in shown.rows} == {("1,000,000", "9", "0.0003")}


def summary(one):
    (paragraph,) = one.summary()
    return paragraph.text


def table(parts, caption):
    (found,) = (part for part in parts if part.kind == "table" and part.caption.startswith(caption))
    return [[cell.text for cell in row] for row in found.rows]


class TestSearchesOfUnequalLength:
    def test_genotypes_are_those_that_are_derived(self, cut):
        one = cut(1, 3)
        derived = derive(one.run, one.run.config.top)
        rows = table(one.genotypes(), "Derived from cut")
        assert [row[1:] for row in rows] == [[f"{found.weight:.3g}", *found.choices.values()] for found in derived]
        assert f"After 1 to 3 of 3 epochs the best genotype is {derived[0].text}, with a joint weight of " in summary(
            one
        )

    def test_pictures_over_the_epochs_say_where_they_end(self, cut):
        parts = list(cut(2, 3).details())
        (replay,) = (part for part in parts if part.kind == "replay")
        assert replay.epochs == 2
        assert any("end after 2 epochs, which all searches have" in getattr(part, "text", "") for part in parts)

    def test_verdicts_are_of_the_last_epoch_of_each(self, cut):
        one = cut(1, 3)
        means = one.findings.mean(one.space)
        for decision, winner, weight, *_ in table(one.details(), "What each decision"):
            assert weight == f"{means[decision][winner]:.3f}"
            assert means[decision][winner] == max(means[decision].values())


def test_nothing_has_changed_or_stayed_after_one_epoch(cut):
    text = summary(cut(1, 1))
    assert "After 1 of 3 epochs the best genotype is" in text
    assert "changed" not in text
    assert "the same" not in text
    assert text == text.strip()


def test_a_finished_search_tells_since_when_its_best_genotype_is_the_same(searched):
    text = summary(Searched(searched, "mine"))
    assert text.startswith("mine is a search of rcn (56 genotypes) on tiny: strategy darts, protocol shared, 2 seeds")
    assert f"the seeds' top 3 overlap by {searched.result['overlap']:.0%}. The best genotype " in text


CONSTRAINED = """
version: 1
name: constrained
input: {channels: 3, size: 16}
modules: {either: {choose: {three: conv, five: {op: conv, kernel: 5}}}}
states: {a: {from: input, module: either}, b: {from: a, module: either}}
head: {from: b, pool: 2}
constraints: [{at_least: 1, of: {a: five, b: five}}]
"""


@pytest.mark.parametrize(
    ("undecided", "weight"),
    [(SearchSpace.load("darts_cnn"), 8**-16), (SearchSpace.parse(CONSTRAINED), 1 / 4)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_equal_weights_give_what_an_undecided_search_does(searched, undecided, weight):
    even = {name: (1 / len(options),) * len(options) for name, options in undecided.decisions.items()}
    one = Searched(searched, "mine")
    one.__dict__.update(space=undecided, findings=History({Member(0): (Epoch(1, 1.0, 1.0, 0.3, even),)}, {}, 1))
    assert f"with a joint weight of {weight:.3g}; equal weights would give {weight:.3g}." in summary(one)


class TestJudgedOneByOne:
    def test_the_best_is_named_with_what_it_was_judged_by(self, judged, space):
        best = space.genotype("rcn-f")
        assert f"Of 2 networks the best is {best.text}, with a validation UAR of 0.700" in summary(judged)
        (first, second) = table(judged.details(), "The best genotypes")
        assert first == ["1", "0.700", "1.000", "3", *best.choices.values()]
        assert second[1] == "0.500"

    def test_folds_count_that_chose_an_option(self, judged, space):
        rows = table(judged.details(), "In how many folds")
        expected = {}
        for name, times in (("rcn-f", 2), ("rcn", 1)):
            for pair in space.genotype(name).choices.items():
                expected[pair] = expected.get(pair, 0) + times
        assert {(decision, option): (folds, share) for decision, option, folds, share in rows} == {
            pair: (str(times), f"{times / 3:.0%}") for pair, times in expected.items()
        }


def test_winners_of_searches_side_by_side(searched, cut):
    found = winners([Searched(searched, "a"), cut(3, 3)])
    first, second = [[cell.text for cell in row] for row in found.rows]
    assert (first[0], second[0]) == ("a", "cut")
    assert first[1:] == second[1:]
    assert found.headings[:3] == ("search", "strategy", "protocol")
