import itertools
import json
import random
import shutil

import numpy as np
import pytest

from nas_mer.errors import UserError
from nas_mer.runs import derive, history, load_run, mean_weights, resume, search
from nas_mer.runs.tensors import read_tensors
from nas_mer.search import BilevelSearch, DivergedError
from nas_mer.space import SearchSpace, load_genotype

RESULTS = ("result.json", "metrics.jsonl", "genotypes/top1.yaml", "genotypes/top2.yaml", "genotypes/top3.yaml")


@pytest.fixture(scope="module")
def searched(space, tiny, search_recipe, tmp_path_factory):
    """A search with two seeds that nothing has interrupted."""
    return search(space, tiny, search_recipe, tmp_path_factory.mktemp("runs") / "searched", seeds=2, workers=1)


@pytest.fixture
def begun(space, tiny, search_recipe, tmp_path, stopping, stop):
    """Begin the same search and stop it when it has told of its progress some times."""

    def begin(times, error=stop, workers=1):
        progress = stopping(times, error)
        with pytest.raises(error):
            search(space, tiny, search_recipe, tmp_path / "searched", 2, workers=workers, progress=progress)
        return load_run(tmp_path / "searched")

    return begin


def results(run):
    """All that a run gave, bit for bit."""
    texts = {name: (run.path / name).read_bytes() for name in RESULTS}
    return texts | {seed: checkpoint(run, seed) for seed in run.config.seeds}


def checkpoint(run, seed):
    tensors, about = read_tensors(run.path / "seeds" / f"{seed}.safetensors")
    return about, {name: (tensor.dtype, tensor.shape, tensor.numpy().tobytes()) for name, tensor in tensors.items()}


def epochs_of(run):
    """The epochs that the run's files hold, of all seeds."""
    return sum(len(read_tensors(file)[1]["epochs"]) for file in run.path.glob("seeds/*.safetensors"))


class TestSearch:
    def test_the_run_holds_what_it_needs_and_nothing_else(self, searched, space, content):
        seeds = {"seeds", "seeds/0.safetensors", "seeds/1.safetensors"}
        assert content(searched.path).keys() == {*RESULTS, *seeds, "genotypes", "run.json", "space.yaml"}
        assert (searched.path / "space.yaml").read_text() == space.source
        assert searched.config.parameters == space.overrides

    def test_weights_are_the_mean_over_the_seeds_of_the_last_epoch(self, searched, space):
        lines = [json.loads(line) for line in (searched.path / "metrics.jsonl").read_text().splitlines()]
        assert [(line["seed"], line["epoch"]) for line in lines] == [(seed, n) for seed in (0, 1) for n in (1, 2, 3)]
        ends = [line["weights"] for line in lines if line["epoch"] == 3]
        for decision, options in space.decisions.items():
            for index, option in enumerate(options):
                expected = (ends[0][decision][index] + ends[1][decision][index]) / 2
                assert searched.result["weights"][decision][option] == pytest.approx(expected, rel=1e-12)

    def test_genotypes_are_the_best_of_all(self, searched, space):
        weights = searched.result["weights"]
        joint = {
            choices: np.prod([weights[decision][option] for decision, option in choices])
            for choices in itertools.product(*([(d, o) for o in options] for d, options in space.decisions.items()))
        }
        best = sorted(joint, key=joint.get, reverse=True)[:3]
        assert [tuple(sorted(g["choices"].items())) for g in searched.result["genotypes"]] == [
            tuple(sorted(choices)) for choices in best
        ]
        assert [g["weight"] for g in searched.result["genotypes"]] == pytest.approx([joint[c] for c in best])
        assert [g["rank"] for g in searched.result["genotypes"]] == [1, 2, 3]

    def test_genotype_files_find_their_space(self, searched):
        for found in searched.result["genotypes"]:
            space, genotype = load_genotype(searched.path / "genotypes" / f"top{found['rank']}.yaml")
            assert dict(genotype.choices) == found["choices"]
            assert space.overrides == searched.config.parameters
            assert genotype.origin == "search searched, protocol shared, 2 seed(s) after 3 of 3 epochs"

    def test_how_decided_it_is(self, searched, space):
        for decision, options in space.decisions.items():
            weights = searched.result["weights"][decision]
            about = searched.result["decisions"][decision]
            entropy = -sum(w * np.log(w) for w in weights.values())
            assert about["winner"] == max(weights, key=weights.get)
            assert about["decided"] == pytest.approx(1 - entropy / np.log(len(options)))
            assert about["agreement"] in (0, 0.5, 1)

    def test_progress_goes_up_to_the_end(self, space, tiny, search_recipe, tmp_path, stopping):
        progress = stopping(times=0)
        search(space, tiny, search_recipe, tmp_path / "run", workers=1, progress=progress)
        done = [done for done, _, _ in progress.told]
        assert done == sorted(done)
        assert done[0] == 1
        assert {total for _, total, _ in progress.told} == {3} == {done[-1]}

    def test_any_number_of_workers_gives_the_same_run(self, searched, space, tiny, search_recipe, tmp_path):
        assert results(search(space, tiny, search_recipe, tmp_path / "searched", 2, workers=2)) == results(searched)

    def test_a_seed_does_not_depend_on_the_others(self, searched, space, tiny, search_recipe, tmp_path):
        alone = search(space, tiny, search_recipe, tmp_path / "alone", workers=1)
        assert checkpoint(alone, 0) == checkpoint(searched, 0)


class TestBeforeARunIsMade:
    @pytest.fixture
    def refused(self, space, tiny, search_recipe, tmp_path):
        def attempt(message, **changes):
            asked = {"space": space, "dataset": tiny, "recipe": search_recipe, "out": tmp_path / "runs" / "new"}
            with pytest.raises(UserError, match=message):
                search(**asked | changes)
            assert not (tmp_path / "runs").exists()

        return attempt

    def test_a_dataset_that_cannot_be_split(self, refused, made, tmp_path):
        made(subjects=[("alpha", "s01")]).save(tmp_path / "one")
        refused(r"2 parts need as many subjects, found alpha/s01", dataset=tmp_path / "one")

    def test_a_class_that_one_subject_has(self, refused, made, tmp_path):
        dataset = made(classes=("negative", "positive"))
        dataset.save(tmp_path / "two")
        refused(r"subjects with samples of 'surprise', found none", dataset=tmp_path / "two")

    def test_no_dataset(self, refused, tmp_path):
        refused(r"nowhere: not a dataset", dataset=tmp_path / "nowhere")

    def test_no_decision(self, refused):
        fixed = SearchSpace.parse(
            "{version: 1, name: fixed, input: {channels: 3, size: 16}, "
            "states: {conv: {from: input, module: {op: conv, channels: 4}}}, head: {from: conv, pool: 2}}",
            "fixed.yaml",
        )
        refused(r"fixed\.yaml: has no decision, so there is nothing to search", space=fixed)

    def test_maps_of_other_channels(self, refused, space):
        grey = SearchSpace.parse(space.source.replace("channels: 3, size", "channels: 1, size"), "grey.yaml")
        refused(r"grey\.yaml: input\.channels is 1, but the maps of 'tiny' have 3", space=grey)

    def test_no_such_device(self, refused):
        refused(r"--device: 'cuda:99' is not there", device="cuda:99")


class TestStopped:
    @pytest.mark.parametrize("times", [1, 2, 4, 6])
    def test_resuming_gives_the_result_of_an_uninterrupted_run(self, begun, searched, times, content):
        run = begun(times)
        assert not run.finished
        assert epochs_of(run) == times - (times > 3)  # a seed's last epoch is told of twice
        assert results(resume(run.path, workers=1)) == results(searched)
        assert content(run.path).keys() == content(searched.path).keys()

    def test_interrupted_with_two_workers(self, begun, searched, content):
        run = begun(2, KeyboardInterrupt, workers=2)
        assert epochs_of(run) == 2
        assert results(resume(run.path, workers=1)) == results(searched)
        assert content(run.path).keys() == content(searched.path).keys()

    def test_killed_at_random_moments(self, space, tiny, search_recipe, tmp_path, killed, stopping, stop):
        """Nothing that was told of is lost, and so at most the epoch that ran."""
        recipe = search_recipe.model_copy(update={"epochs": 30})
        whole = search(space, tiny, recipe, tmp_path / "whole" / "run", workers=1)
        with pytest.raises(stop):
            search(space, tiny, recipe, tmp_path / "killed" / "run", workers=1, progress=stopping(1))
        run = load_run(tmp_path / "killed" / "run")
        rng = random.Random(0)
        for _ in range(4):
            wanted = epochs_of(run) + rng.randint(1, 6)
            killed(run.path, 1, lambda wanted=wanted: len(run.metrics()) >= wanted, rng.uniform(0, 0.04))
            assert not run.finished
            assert epochs_of(run) >= wanted
        assert results(resume(run.path, workers=1)) == results(whole)
        assert not list(run.path.rglob(".*"))

    def test_a_finished_run_stays_as_it_is(self, searched, content):
        before = content(searched.path)
        resume(searched.path, workers=1)
        assert content(searched.path) == before


class TestDamage:
    @pytest.fixture
    def half(self, begun):
        return begun(4)

    @pytest.mark.parametrize("keep", [0, 7, 500, -1])
    def test_a_checkpoint_cut_short(self, half, keep, searched):
        file = half.path / "seeds" / "0.safetensors"
        file.write_bytes(file.read_bytes()[:keep])
        for use in (lambda: resume(half.path), lambda: derive(half, 3), lambda: history(half)):
            with pytest.raises(UserError, match=r"0\.safetensors: is damaged .*; delete it, and resuming the run"):
                use()
        file.unlink()
        assert results(resume(half.path, workers=1)) == results(searched)

    def test_a_dataset_that_changed_or_went(self, space, made, search_recipe, tmp_path, stopping, stop, content):
        made().save(tmp_path / "data")
        with pytest.raises(stop):
            search(space, tmp_path / "data", search_recipe, tmp_path / "run", workers=1, progress=stopping(1))
        before = content(tmp_path / "run")
        made(size=17).save(tmp_path / "data")
        with pytest.raises(UserError, match=r"data: is not the dataset of this run any more .* start a new run"):
            resume(tmp_path / "run")
        shutil.rmtree(tmp_path / "data")
        with pytest.raises(UserError, match=r"data: not a dataset: no such folder\n.*this run, which needs it back"):
            resume(tmp_path / "run")
        assert content(tmp_path / "run") == before
        made().save(tmp_path / "data")
        assert resume(tmp_path / "run", workers=1).finished


class TestDerive:
    def test_an_unfinished_search_is_taken_as_far_as_it_is(self, begun, space):
        run = begun(2)  # two epochs of seed 0, none of seed 1
        last = read_tensors(run.path / "seeds" / "0.safetensors")[1]["epochs"][-1]["weights"]
        (best,) = derive(run, 1)
        assert best.choices == {d: max(zip(last[d], o, strict=True))[1] for d, o in space.decisions.items()}
        assert best.origin == "search searched, protocol shared, 1 seed(s) after 2 of 3 epochs"
        assert [file.name for file in run.path.glob("genotypes/*")] == ["top1.yaml"]

    def test_each_seed_counts_with_its_last_epoch(self, begun):
        run = begun(5)  # three epochs of seed 0, told of four times, and one of seed 1
        checkpoints = [read_tensors(run.path / "seeds" / f"{seed}.safetensors")[1] for seed in (0, 1)]
        assert [len(about["epochs"]) for about in checkpoints] == [3, 1]
        ends = [about["epochs"][-1]["weights"]["conv"] for about in checkpoints]
        assert list(mean_weights(run)["conv"].values()) == pytest.approx(np.mean(ends, axis=0).tolist())
        assert derive(run, 1)[0].origin.endswith("2 seed(s) after 1 to 3 of 3 epochs")

    def test_nothing_yet(self, space, tiny, search_recipe, tmp_path, monkeypatch, stop):
        def never(self):
            raise stop

        monkeypatch.setattr(BilevelSearch, "run_epoch", never)
        with pytest.raises(stop):
            search(space, tiny, search_recipe, tmp_path / "run", workers=1)
        with pytest.raises(UserError, match=r"run: the search has no finished epoch yet; .* nas-mer runs resume .*run"):
            derive(load_run(tmp_path / "run"), 3)

    def test_other_numbers_of_genotypes(self, searched, tmp_path):
        copy = load_run(shutil.copytree(searched.path, tmp_path / "copy"))
        assert [genotype.rank for genotype in derive(copy, 2)] == [1, 2]
        assert sorted(file.name for file in copy.path.glob("genotypes/*")) == ["top1.yaml", "top2.yaml"]
        assert len(derive(copy, 1000)) == 56
        with pytest.raises(UserError, match="--top: must be at least 1, found 0"):
            derive(copy, 0)


class FailsForSeed1(BilevelSearch):
    """Diverges in the second epoch of seed 1."""

    def __init__(self, *args):
        super().__init__(*args)
        self.seed = args[-1][0]

    def run_epoch(self):
        if self.seed == 1 and self.epoch == 1:
            raise DivergedError("the search diverged in epoch 2")
        return super().run_epoch()


class TestDiverged:
    def test_the_other_seeds_go_on(self, searched, space, tiny, search_recipe, tmp_path, monkeypatch):
        monkeypatch.setattr("nas_mer.runs.searching.BilevelSearch", FailsForSeed1)
        run = search(space, tiny, search_recipe, tmp_path / "run", seeds=2, workers=1)
        assert run.result["failures"] == {"1": "seed 1: the search diverged in epoch 2"}
        assert run.result["seeds"].keys() == {"0"}
        ends = history(searched).last()
        for decision, options in space.decisions.items():
            weights = run.result["weights"][decision]
            assert [weights[option] for option in options] == pytest.approx(ends[decision][0].tolist())

    def test_no_seed_is_left(self, space, tiny, search_recipe, tmp_path):
        wild = search_recipe.weights.model_copy(update={"learning_rate": 1e30})
        recipe = search_recipe.model_copy(update={"weights": wild})
        message = r"run: no search succeeded; .* another recipe: seed 0: the search diverged in epoch"
        with pytest.raises(UserError, match=message):
            search(space, tiny, recipe, tmp_path / "run", workers=1)
        with pytest.raises(UserError, match=message):
            resume(tmp_path / "run")
