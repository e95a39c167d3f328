import errno
import itertools
import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import entropy

from nas_mer.data import Dataset, Sample, loso_folds
from nas_mer.errors import UserError
from nas_mer.runs import Compute, derive, history, load_run, mean_weights, resume, search
from nas_mer.runs.searches.config import State
from nas_mer.runs.searches.pictures import draw_weight_history, draw_weights
from nas_mer.runs.tensors import read_tensors
from nas_mer.search import STRATEGIES, BilevelSearch, Epoch
from nas_mer.search.recipe import EarlyStopping
from nas_mer.space import Genotype, SearchSpace, load_genotype

GENOTYPES = {f"genotypes/top{rank}.yaml" for rank in (1, 2, 3)}
FOLDS = ["alpha/s01", "alpha/s02", "beta/s01", "beta/s02"]


@pytest.fixture(scope="module")
def searched(space, tiny, search_recipe, tmp_path_factory, alone):
    """A search with two seeds that nothing has interrupted."""
    path = tmp_path_factory.mktemp("runs") / "searched"
    return search(space, tiny, search_recipe, path, seeds=2, compute=alone)


@pytest.fixture
def begun(space, tiny, search_recipe, tmp_path, stopping, stop, alone):
    """Begin the same search and stop it when it has told of its progress some times."""

    def begin(times, error=stop, name="searched", **changes):
        asked = {"recipe": search_recipe, "seeds": 2, "compute": alone, "progress": stopping(times, error)} | changes
        with pytest.raises(error):
            search(space, tiny, out=tmp_path / name, **asked)
        return load_run(tmp_path / name)

    return begin


def searching_with(monkeypatch, kind):
    """Let another class do the searches."""
    monkeypatch.setitem(STRATEGIES, "darts", replace(STRATEGIES["darts"], search=kind))


def results(run):
    """All that a run gave, bit for bit."""
    files = {file: file.relative_to(run.path).as_posix() for file in run.path.rglob("*") if file.is_file()}
    texts = {name: file.read_bytes() for file, name in files.items() if file.suffix in (".json", ".yaml")}
    texts["run.json"] = run.config
    texts["metrics"] = sorted((run.path / "metrics.jsonl").read_text().splitlines())
    return texts | {name: checkpoint(file) for file, name in files.items() if file.suffix == ".safetensors"}


def checkpoints(run):
    files = sorted(run.path.glob("seeds/**/*.safetensors"))
    return [file for file in files if not file.parent.name.startswith(".")]  # not one that is being written


def checkpoint(file):
    tensors, about = read_tensors(file)
    return about, {name: (tensor.dtype, tensor.shape, tensor.numpy().tobytes()) for name, tensor in tensors.items()}


def epochs_of(run):
    """The epochs that the run's files hold, of all searches; what was told of is among them."""
    found = sum(len(read_tensors(file)[1]["epochs"]) for file in checkpoints(run))
    metrics = run.path / "metrics.jsonl"
    assert found >= (metrics.read_text().count("\n") if metrics.exists() else 0)
    return found


def close(found, expected):
    """Whether results are the same but for the rounding of other groups, which grows from epoch to epoch."""
    assert json_numbers(found.result["weights"]) == pytest.approx(json_numbers(expected.result["weights"]), abs=5e-3)
    names = [[file.relative_to(run.path) for file in checkpoints(run)] for run in (found, expected)]
    assert names[0] == names[1]
    for name in names[0]:
        epochs, others = (read_tensors(run.path / name)[1]["epochs"] for run in (found, expected))
        assert len(epochs) == len(others)
        for epoch, other in zip(epochs, others, strict=True):
            allowed = {1: 1e-4, 2: 1e-3}.get(epoch["epoch"], 1e-2)
            for loss in ("train_loss", "valid_loss"):
                assert epoch[loss] == pytest.approx(other[loss], rel=allowed)


def json_numbers(value):
    """All numbers of a JSON value, in order."""
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    return [n for part in value for n in json_numbers(part)] if isinstance(value, list) else [value]


class TestSearch:
    def test_the_run_holds_what_it_needs_and_nothing_else(self, searched, space, content):
        seeds = {"seeds", "seeds/0.safetensors", "seeds/1.safetensors"}
        texts = {"run.json", "space.yaml", "metrics.jsonl", "result.json"}
        assert content(searched.path).keys() == {*texts, *seeds, "genotypes", *GENOTYPES}
        assert (searched.path / "space.yaml").read_text() == space.source
        assert searched.config.parameters == space.overrides

    def test_a_seed_is_the_same_whatever_others_there_are(
        self, searched, space, tiny, search_recipe, tmp_path, alone, stopping, stop
    ):
        with pytest.raises(stop):
            search(space, tiny, search_recipe, tmp_path / "run", [1], compute=alone, progress=stopping(2))
        run = resume(tmp_path / "run", alone)
        assert run.config.seeds == (1,)
        assert [file.name for file in checkpoints(run)] == ["1.safetensors"]
        assert checkpoint(checkpoints(run)[0]) == checkpoint(searched.path / "seeds" / "1.safetensors")
        assert [member.seed for member in history(run).members] == [1]

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
            assert genotype.origin == "search searched, strategy darts, protocol shared, 2 seed(s) after 3 of 3 epochs"

    def test_how_decided_it_is(self, searched, space):
        for decision, options in space.decisions.items():
            weights = searched.result["weights"][decision]
            about = searched.result["decisions"][decision]
            assert about["winner"] == max(weights, key=weights.get)
            assert about["decided"] == pytest.approx(1 - entropy(list(weights.values())) / np.log(len(options)))
            assert about["agreement"] in (0, 0.5, 1)

    def test_progress_goes_up_to_the_end(self, space, tiny, search_recipe, tmp_path, stopping, alone):
        progress = stopping(times=0)
        search(space, tiny, search_recipe, tmp_path / "run", compute=alone, progress=progress)
        done = [done for done, _, _ in progress.told]
        assert done == sorted(done)
        assert done[0] == 1
        assert {total for _, total, _ in progress.told} == {3} == {done[-1]}

    def test_any_number_of_workers_gives_the_same_run(self, searched, space, tiny, search_recipe, tmp_path):
        again = search(space, tiny, search_recipe, tmp_path / "searched", 2, compute=Compute(workers=2))
        assert results(again) == results(searched)

    def test_a_seed_does_not_depend_on_the_others(self, searched, space, tiny, search_recipe, tmp_path, alone):
        run = search(space, tiny, search_recipe, tmp_path / "alone", compute=alone)
        name = "seeds/0.safetensors"
        assert checkpoint(run.path / name) == checkpoint(searched.path / name)

    def test_pictures(self, searched, nested, tmp_path):
        for run in (searched, nested):
            for draw in (draw_weights, draw_weight_history):
                draw(run, tmp_path / "picture.svg")
                assert b"<svg" in (tmp_path / "picture.svg").read_bytes()


class TestNested:
    """A search inside each fold, on its training subjects alone."""

    def test_the_run_holds_what_it_needs_and_nothing_else(self, nested, content):
        files = {name for name, file in content(nested.path).items() if file is not None}
        searches = {f"seeds/{seed}/{fold}.safetensors" for seed in (0, 1) for fold in FOLDS}
        folds = {f"folds/{fold}.yaml" for fold in FOLDS}
        assert files == {"run.json", "space.yaml", "metrics.jsonl", "result.json"} | GENOTYPES | searches | folds

    def test_halves_are_of_the_folds_training_subjects(self, space, tiny, search_recipe, tmp_path, monkeypatch, alone):
        data, seen = Dataset.load(tiny), []

        class Watched(BilevelSearch):
            def __init__(self, space, inputs, replicas, recipe):
                seen.extend(replicas)
                super().__init__(space, inputs, replicas, recipe)

        searching_with(monkeypatch, Watched)
        once = search_recipe.model_copy(update={"epochs": 1})
        search(space, tiny, once, tmp_path / "run", seeds=2, protocol="nested", compute=alone)
        assert [replica.about for replica in seen] == [(seed, fold) for seed in (0, 1) for fold in FOLDS]
        folds = {fold.subject: fold for fold in loso_folds(data)}
        for replica in seen:
            held_out, both = replica.about[1], (replica.weights, replica.alphas)
            weights, alphas = (set(data.subjects[half].tolist()) for half in both)
            assert not weights & alphas
            assert weights | alphas == set(FOLDS) - {held_out}
            assert sorted(np.concatenate(both).tolist()) == folds[held_out].train.tolist()

    def test_the_held_out_subject_has_no_say(self, space, tiny, search_recipe, tmp_path, alone):
        """Other maps and labels there: the same alphas and genotype, bit for bit; in every other fold other ones.

        Nor in the mean and deviation that maps are standardised by.
        """
        recipe = search_recipe.model_copy(update={"normalise": "standardise", "epochs": 2})
        data, held_out = Dataset.load(tiny), "alpha/s02"
        theirs = data.subjects == held_out
        maps = data.maps.copy()
        maps[theirs] = 30 * np.random.default_rng(1).normal(size=maps[theirs].shape)
        labels = iter(data.labels[theirs][::-1].tolist())  # all classes still, elsewhere
        samples = [
            Sample(*s.key, data.classes[next(labels)]) if own else s
            for s, own in zip(data.samples, theirs.tolist(), strict=True)
        ]
        changed = Dataset(data.name, maps, tuple(samples))
        assert (changed.labels != data.labels).sum() > 1
        changed.save(tmp_path / "data")
        run, other = (
            search(space, folder, recipe, tmp_path / name, protocol="nested", compute=alone)
            for folder, name in ((tiny, "run"), (tmp_path / "data", "other"))
        )
        for fold in FOLDS:
            one, two = (checkpoint(r.path / "seeds" / "0" / f"{fold}.safetensors") for r in (run, other))
            assert (one == two) == (fold == held_out)
        file = f"folds/{held_out}.yaml"
        assert Genotype.load(run.path / file).digest == Genotype.load(other.path / file).digest
        assert run.result["folds"][held_out] == other.result["folds"][held_out]

    def test_each_fold_has_the_best_of_its_seeds_mean_weights(self, nested, space):
        assert nested.result["folds"].keys() == set(FOLDS)
        for fold, found in nested.result["folds"].items():
            files = [nested.path / "seeds" / str(seed) / f"{fold}.safetensors" for seed in (0, 1)]
            ends = [read_tensors(file)[1]["epochs"][-1]["weights"] for file in files]
            mean = {decision: np.mean([end[decision] for end in ends], axis=0) for decision in space.decisions}
            best = {decision: options[mean[decision].argmax()] for decision, options in space.decisions.items()}
            assert found["choices"] == best
            assert found["weight"] == pytest.approx(np.prod([values.max() for values in mean.values()]))
            found_space, genotype = load_genotype(nested.path / "folds" / f"{fold}.yaml")
            assert dict(genotype.choices) == best
            assert found_space.overrides == nested.config.parameters
            origin = f"search nested, strategy darts, protocol nested, 2 seed(s) after 3 of 3 epochs, fold {fold}"
            assert genotype.origin == origin

    def test_how_many_folds_chose_what(self, nested, space):
        assert nested.result["chosen"].keys() == space.decisions.keys()
        for decision, shares in nested.result["chosen"].items():
            chosen = [found["choices"][decision] for found in nested.result["folds"].values()]
            assert shares == {option: chosen.count(option) / 4 for option in space.decisions[decision]}
            assert sum(shares.values()) == pytest.approx(1)

    def test_weights_are_the_mean_over_all_searches(self, nested, space):
        ends = [read_tensors(file)[1]["epochs"][-1]["weights"] for file in checkpoints(nested)]
        assert len(ends) == 8
        for decision, options in space.decisions.items():
            weights = nested.result["weights"][decision]
            expected = np.mean([end[decision] for end in ends], axis=0)
            assert [weights[option] for option in options] == pytest.approx(expected.tolist())
            agree = np.mean([np.argmax(end[decision]) == expected.argmax() for end in ends])
            assert nested.result["decisions"][decision]["agreement"] == pytest.approx(agree)

    def test_overlap_is_that_of_all_pairs_of_searches(self, nested, space):
        tops = []
        for file in checkpoints(nested):
            end = read_tensors(file)[1]["epochs"][-1]["weights"]
            weights = {name: dict(zip(options, end[name], strict=True)) for name, options in space.decisions.items()}
            tops.append({genotype.digest for genotype in space.top(weights, 3)})
        pairs = [len(a & b) / len(a | b) for a, b in itertools.combinations(tops, 2)]
        assert nested.result["overlap"] == pytest.approx(np.mean(pairs))
        assert "seeds" not in nested.result

    def test_a_fold_does_not_depend_on_the_others(self, nested, space, tiny, search_recipe, tmp_path, alone):
        """A search of that fold's training subjects in the order of its own streams, by itself."""
        data = Dataset.load(tiny)
        run = search(space, tiny, search_recipe, tmp_path / "nested", 1, protocol="nested", compute=alone)
        for file in checkpoints(run):
            assert checkpoint(file) == checkpoint(nested.path / file.relative_to(run.path))
        assert len(checkpoints(run)) == len(loso_folds(data)) == 4

    def test_a_fold_that_cannot_be_split_is_named_before_a_run_is_made(self, space, made, search_recipe, tmp_path):
        made(subjects=[("alpha", "s01"), ("alpha", "s02")]).save(tmp_path / "two")
        with pytest.raises(UserError, match=r"2 parts need as many subjects, found alpha/s02"):
            search(space, tmp_path / "two", search_recipe, tmp_path / "run", protocol="nested")
        assert not (tmp_path / "run").exists()

    def test_a_fold_that_fails_has_no_genotype(self, nested, space, tiny, search_recipe, tmp_path, monkeypatch, alone):
        searching_with(monkeypatch, failing((0, "beta/s01"), (1, "alpha/s01")))
        run = search(space, tiny, search_recipe, tmp_path / "run", protocol="nested", compute=alone)
        why = "the search diverged in epoch 2: training loss nan, validation loss nan"
        assert run.result["failures"] == {"seed 0, fold beta/s01": f"seed 0, fold beta/s01: {why}"}
        expected = {fold: found for fold, found in nested.result["folds"].items() if fold != "beta/s01"}
        assert run.result["folds"].keys() == expected.keys()
        assert not (run.path / "folds" / "beta" / "s01.yaml").exists()
        for decision, shares in run.result["chosen"].items():
            assert sum(shares.values()) == pytest.approx(1), decision
        assert [member.fold for member in history(run).members] == [fold for fold in FOLDS if fold != "beta/s01"]

    def test_what_a_kill_leaves_half_written_is_no_search(self, begun):
        run = begun(3, protocol="nested")
        before = [derive(run, 1), history(run).members]
        half = run.path / "seeds" / "0" / "beta" / ".s01.safetensors.x1.unfinished" / "s01.safetensors"
        half.parent.mkdir(parents=True)
        half.write_bytes(b"half")
        assert [derive(run, 1), history(run).members] == before

    def test_derive_takes_it_as_far_as_it_is(self, begun, space):
        run = begun(3, protocol="nested")  # all epochs of the first fold
        (best,) = derive(run, 1)
        assert best.origin == "search searched, strategy darts, protocol nested, 1 seed(s) after 3 of 3 epochs"
        assert [file.relative_to(run.path).as_posix() for file in run.path.glob("folds/*/*")] == [
            "folds/alpha/s01.yaml"
        ]
        assert Genotype.load(run.path / "folds" / "alpha" / "s01.yaml").choices == best.choices


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

    def test_no_genotype_to_derive(self, refused):
        refused(r"--top: must be at least 1, found 0", top=0)

    @pytest.mark.parametrize("budget", [float("inf"), float("nan")])
    @pytest.mark.parametrize("strategy", ["darts", "random"])
    def test_a_budget_that_is_no_number_of_steps(self, refused, recipe, search_recipe, strategy, budget):
        how = recipe if strategy == "random" else search_recipe
        message = rf"--budget: must be a finite number of steps, found {budget}"
        refused(message, strategy=strategy, recipe=how, budget=budget)

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


class TestGroups:
    @pytest.mark.parametrize(("protocol", "seeds", "group"), [("shared", 3, 2), ("nested", 1, 3)])
    def test_searches_that_run_together_give_the_same(
        self, space, tiny, search_recipe, tmp_path, protocol, seeds, group, alone
    ):
        one, other = (
            search(space, tiny, search_recipe, tmp_path / name, seeds, protocol=protocol, compute=compute)
            for name, compute in (("one", alone), ("other", Compute(workers=1, group=group)))
        )
        assert results(one) != results(other)
        close(other, one)

    def test_a_group_is_one_task(self, space, tiny, search_recipe, tmp_path, monkeypatch):
        sizes = []

        class Watched(BilevelSearch):
            def __init__(self, space, inputs, replicas, recipe):
                sizes.append(len(replicas))
                super().__init__(space, inputs, replicas, recipe)

        searching_with(monkeypatch, Watched)
        search(space, tiny, search_recipe, tmp_path / "run", 5, compute=Compute(workers=1, group=2))
        assert sizes == [2, 2, 1]

    @pytest.mark.parametrize(("before", "after"), [(3, 1), (2, 3)])
    def test_resuming_in_other_groups(self, searched, begun, before, after, nested):
        """After one or two epochs of some searches, none of others."""
        run = begun(5, compute=Compute(workers=1, group=before), protocol="nested", name="nested")
        assert not run.finished
        close(resume(run.path, Compute(workers=1, group=after)), nested)

    def test_one_that_diverges_leaves_its_group(self, space, tiny, search_recipe, tmp_path, monkeypatch, searched):
        searching_with(monkeypatch, failing((1,), (2,)))
        run = search(space, tiny, search_recipe, tmp_path / "run", 4, compute=Compute(workers=1, group=4))
        assert run.result["failures"].keys() == {"seed 1", "seed 2"}
        assert run.result["seeds"].keys() == {"0", "3"}
        losses, expected = (history(r).losses()["train_loss"][0].tolist() for r in (run, searched))
        assert losses == pytest.approx(expected, rel=1e-3)
        lines = [(line["seed"], line["epoch"]) for line in run.metrics()]
        assert sorted(lines) == [(0, 1), (0, 2), (0, 3), (1, 1), (2, 1), (3, 1), (3, 2), (3, 3)]

    def test_a_failure_is_kept_while_the_others_go_on(self, begun, monkeypatch):
        """The search that failed is not begun again."""
        searching_with(monkeypatch, failing((1,)))
        run = begun(6, compute=Compute(workers=1, group=3), seeds=3)
        assert read_tensors(run.path / "seeds" / "1.safetensors")[1]["failure"].startswith(
            "seed 1: the search diverged"
        )
        begun_again = []

        class Watched(BilevelSearch):
            def __init__(self, space, inputs, replicas, recipe):
                begun_again.extend(replica.about for replica in replicas)
                super().__init__(space, inputs, replicas, recipe)

        searching_with(monkeypatch, Watched)
        assert resume(run.path, Compute(workers=1, group=3)).result["failures"].keys() == {"seed 1"}
        assert begun_again == [(0,), (2,)]


class TestStopped:
    @pytest.mark.parametrize("times", [1, 4, 6])
    def test_resuming_gives_the_result_of_an_uninterrupted_run(self, begun, searched, times, content, alone):
        run = begun(times)
        assert not run.finished
        assert epochs_of(run) == times
        assert results(resume(run.path, alone)) == results(searched)
        assert content(run.path).keys() == content(searched.path).keys()

    @pytest.mark.parametrize(("protocol", "seeds", "epochs"), [("shared", 2, 6), ("nested", 1, 3)])
    def test_killed_at_random_moments(
        self, begun, space, tiny, search_recipe, tmp_path, hunted, alone, protocol, seeds, epochs
    ):
        recipe = search_recipe.model_copy(update={"epochs": epochs})
        asked = {"recipe": recipe, "seeds": seeds, "protocol": protocol}
        whole = search(space, tiny, out=tmp_path / "whole" / "searched", compute=alone, **asked)
        expected = results(whole)

        def check(found):
            assert results(found) == expected

        hunted(begun(1, **asked), whole, 4, check, epochs_of)

    @pytest.mark.parametrize(
        ("protocol", "group", "number"),
        [("shared", 2, signal.SIGINT), ("nested", 1, signal.SIGTERM)],
    )
    def test_a_signal_ends_the_run_after_the_epoch(
        self, begun, searched, nested, monkeypatch, alone, number, group, protocol
    ):
        """Without checkpoints on the way: that epoch is kept all the same, and the next is not begun."""
        run_epoch, epochs = BilevelSearch.run_epoch, []

        def signalled(search):
            epochs.append(len(search.places))
            if len(epochs) == 2:
                os.kill(os.getpid(), number)
            return run_epoch(search)

        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        name = "searched" if protocol == "shared" else protocol
        compute = Compute(workers=1, group=group, checkpoint_every=1e9)
        with monkeypatch.context() as patch:
            patch.setattr(BilevelSearch, "run_epoch", signalled)
            run = begun(0, KeyboardInterrupt, compute=compute, protocol=protocol, name=name)
        assert len(epochs) == 2
        assert epochs_of(run) == sum(epochs)
        assert not run.finished
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        monkeypatch.setattr(
            BilevelSearch, "run_epoch", lambda search: epochs.append(len(search.places)) or run_epoch(search)
        )
        again = resume(run.path, Compute(workers=1, group=group))
        assert sum(epochs) == 3 * len(checkpoints(again))  # none twice
        expected = searched if protocol == "shared" else nested
        if group == 1:
            assert results(again) == results(expected)
        else:
            close(again, expected)

    def test_a_signal_with_two_workers(self, begun, nested, alone, tmp_path):
        """Nothing is lost but an epoch at most that is not told of yet."""
        told = []

        def progress(done, total, text):
            told.append(done)
            if len(told) == 3:
                os.kill(os.getpid(), signal.SIGTERM)

        run = begun(
            0, KeyboardInterrupt, compute=Compute(workers=2), protocol="nested", name="nested", progress=progress
        )
        assert not run.finished
        assert epochs_of(run) == max(told)
        assert results(resume(run.path, alone)) == results(nested)

    def test_checkpoints_are_as_far_apart_as_was_asked(self, begun, searched, alone):
        """None until the end of a search: an error loses all of the second."""
        run = begun(2, compute=Compute(workers=1, checkpoint_every=1e9))
        assert [file.name for file in checkpoints(run)] == ["0.safetensors", "1.safetensors"]
        assert epochs_of(run) == 6
        assert [(line["seed"], line["epoch"]) for line in run.metrics()] == [(s, e) for s in (0, 1) for e in (1, 2, 3)]
        run = begun(1, compute=Compute(workers=1, checkpoint_every=1e9), name="other")
        assert [file.name for file in checkpoints(run)] == ["0.safetensors"]
        assert epochs_of(run) == 3
        assert epochs_of(begun(1, compute=Compute(workers=1), name="if nothing is asked")) == 1

    def test_a_finished_run_stays_as_it_is(self, searched, content, alone):
        before = content(searched.path)
        resume(searched.path, alone)
        assert content(searched.path) == before

    @pytest.mark.parametrize("room", [1, 5])
    def test_a_full_disk(self, space, tiny, search_recipe, tmp_path, full_disk, searched, room, alone, content):
        """The last checkpoint that had room stays, and nothing half-written beside it."""
        with full_disk(room), pytest.raises(OSError, match="No space left"):
            search(space, tiny, search_recipe, tmp_path / "searched", 2, compute=alone)
        run = load_run(tmp_path / "searched")
        assert epochs_of(run) == room
        assert not list(run.path.rglob(".*"))
        assert results(resume(run.path, alone)) == results(searched)
        assert content(run.path).keys() == content(searched.path).keys()

    def test_a_full_disk_with_two_workers(self, space, tiny, search_recipe, tmp_path, full_disk, alone):
        """The workers are stopped at once: there is no room for what they would come to."""
        compute = Compute(workers=2, checkpoint_every=1e9)
        with full_disk(0), pytest.raises(OSError, match="No space left") as error:
            search(space, tiny, search_recipe, tmp_path / "run", 6, compute=compute)
        assert error.value.errno == errno.ENOSPC
        assert not multiprocessing.active_children()
        assert not checkpoints(load_run(tmp_path / "run"))


class TestDamage:
    @pytest.fixture
    def half(self, begun):
        return begun(4)

    def test_a_checkpoint_cut_short(self, half, searched):
        file = half.path / "seeds" / "0.safetensors"
        whole = file.read_bytes()
        for keep in (0, 7, 500, -1):
            file.write_bytes(whole[:keep])
            for use in (lambda: resume(half.path), lambda: derive(half, 3), lambda: history(half)):
                with pytest.raises(UserError, match=r"0\.safetensors: is damaged .*; delete it, and resuming the run"):
                    use()
        file.unlink()
        assert results(resume(half.path, Compute(workers=1))) == results(searched)

    def test_a_dataset_that_changed_or_went(self, space, made, search_recipe, tmp_path, stopping, stop, content, alone):
        made().save(tmp_path / "data")
        with pytest.raises(stop):
            search(space, tmp_path / "data", search_recipe, tmp_path / "run", compute=alone, progress=stopping(1))
        before = content(tmp_path / "run")
        made(size=17).save(tmp_path / "data")
        with pytest.raises(UserError, match=r"data: is not the dataset of this run any more .* start a new run"):
            resume(tmp_path / "run")
        shutil.rmtree(tmp_path / "data")
        with pytest.raises(UserError, match=r"data: not a dataset: no such folder\n.*this run, which needs it back"):
            resume(tmp_path / "run")
        assert content(tmp_path / "run") == before
        made().save(tmp_path / "data")
        assert resume(tmp_path / "run", alone).finished


class TestDerive:
    def test_an_unfinished_search_is_taken_as_far_as_it_is(self, begun, space):
        run = begun(2)  # two epochs of seed 0, none of seed 1
        last = read_tensors(run.path / "seeds" / "0.safetensors")[1]["epochs"][-1]["weights"]
        (best,) = derive(run, 1)
        assert best.choices == {d: max(zip(last[d], o, strict=True))[1] for d, o in space.decisions.items()}
        assert best.origin == "search searched, strategy darts, protocol shared, 1 seed(s) after 2 of 3 epochs"
        assert [file.name for file in run.path.glob("genotypes/*")] == ["top1.yaml"]

    def test_each_seed_counts_with_its_last_epoch(self, begun):
        run = begun(4)  # three epochs of seed 0, and one of seed 1
        checkpoints = [read_tensors(run.path / "seeds" / f"{seed}.safetensors")[1] for seed in (0, 1)]
        assert [len(about["epochs"]) for about in checkpoints] == [3, 1]
        ends = [about["epochs"][-1]["weights"]["conv"] for about in checkpoints]
        assert list(mean_weights(run)["conv"].values()) == pytest.approx(np.mean(ends, axis=0).tolist())
        assert derive(run, 1)[0].origin.endswith("2 seed(s) after 1 to 3 of 3 epochs")

    def test_nothing_yet(self, space, tiny, search_recipe, tmp_path, monkeypatch, stop, alone):
        def never(self):
            raise stop

        monkeypatch.setattr(BilevelSearch, "run_epoch", never)
        with pytest.raises(stop):
            search(space, tiny, search_recipe, tmp_path / "run", compute=alone)
        with pytest.raises(UserError, match=r"run: the search has no finished epoch yet; .* nas-mer runs resume .*run"):
            derive(load_run(tmp_path / "run"), 3)

    def test_other_numbers_of_genotypes(self, searched, tmp_path):
        copy = load_run(shutil.copytree(searched.path, tmp_path / "copy"))
        assert [genotype.rank for genotype in derive(copy, 2)] == [1, 2]
        assert sorted(file.name for file in copy.path.glob("genotypes/*")) == ["top1.yaml", "top2.yaml"]
        assert len(derive(copy, 1000)) == 56
        with pytest.raises(UserError, match="--top: must be at least 1, found 0"):
            derive(copy, 0)


def test_a_search_goes_back_to_no_epoch_of_the_warm_up(search_recipe):
    """However its eigenvalues rise there."""
    rule = EarlyStopping(window=1, back=1)
    recipe = search_recipe.model_copy(update={"early_stopping": rule, "warm_up": 2})
    epochs = [Epoch(n, 1.0, 1.0, 0.5, {}, eigenvalue) for n, eigenvalue in enumerate([0.1, 1.0, 9.0, 99.0], start=1)]
    for count in (1, 2, 3):
        state = State(tuple(epochs[:count]))
        assert (state.stopped(recipe), state.kept(recipe)) == (False, tuple(epochs[:count]))
    assert State(tuple(epochs)).kept(recipe) == tuple(epochs[:3])


def failing(*abouts):
    """A class of searches of which some diverge in their second epoch."""

    class Failing(BilevelSearch):
        def run_epoch(self):
            if self.epoch == 1:
                parameter = next(iter(self.stack.parameters.values()))
                for row, place in enumerate(self.places):
                    if self.replicas[place].about in abouts:
                        parameter.data[row] = float("nan")
            return super().run_epoch()

    return Failing


class TestDiverged:
    def test_the_other_seeds_go_on(self, searched, space, tiny, search_recipe, tmp_path, monkeypatch, alone):
        searching_with(monkeypatch, failing((1,)))
        run = search(space, tiny, search_recipe, tmp_path / "run", seeds=2, compute=alone)
        why = "the search diverged in epoch 2: training loss nan, validation loss nan"
        assert run.result["failures"] == {"seed 1": f"seed 1: {why}"}
        assert run.result["seeds"].keys() == {"0"}
        ends = history(searched).last()
        for decision, options in space.decisions.items():
            weights = run.result["weights"][decision]
            assert [weights[option] for option in options] == pytest.approx(ends[decision][0].tolist())

    @pytest.mark.parametrize("strategy", ["darts", "weight-sharing-random"])
    def test_no_seed_is_left(self, space, tiny, search_recipe, tmp_path, alone, strategy):
        wild = search_recipe.weights.model_copy(update={"learning_rate": 1e30})
        recipe = search_recipe.model_copy(update={"weights": wild})
        message = r"run: no search succeeded; .* another recipe: seed 0: the search diverged in epoch"
        with pytest.raises(UserError, match=message):
            search(space, tiny, recipe, tmp_path / "run", compute=alone, strategy=strategy)
        with pytest.raises(UserError, match=message):
            resume(tmp_path / "run")
