import csv
import json
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from nas_mer.data import CLASSES, Dataset
from nas_mer.errors import UserError
from nas_mer.runs import load_run, predictions, resume, retrain
from nas_mer.runs.retraining import notes, result_of
from nas_mer.runs.tensors import read_tensors
from nas_mer.space import SearchSpace
from nas_mer.train import train

FOLDS = ["alpha/s01", "alpha/s02", "beta/s01", "beta/s02"]


@pytest.fixture(scope="module")
def genotypes(space):
    return [(space, space.genotype("rcn-f")), (space, space.genotype("rcn"))]


@pytest.fixture(scope="module")
def retrained(genotypes, tiny, recipe, tmp_path_factory):
    """Two genotypes, two seeds, four folds: 16 trainings that nothing has interrupted."""
    return retrain(genotypes, tiny, recipe, tmp_path_factory.mktemp("runs") / "retrained", seeds=2, workers=1)


@pytest.fixture
def begun(genotypes, tiny, recipe, tmp_path, stopping, stop):
    """Begin the same retraining and stop it when it has told of its progress some times."""

    def begin(times, error=stop, workers=1):
        progress = stopping(times, error)
        with pytest.raises(error):
            retrain(genotypes, tiny, recipe, tmp_path / "retrained", seeds=2, workers=workers, progress=progress)
        return load_run(tmp_path / "retrained")

    return begin


def results(run):
    """All that a run gave, bit for bit."""
    texts = {name: (run.path / name).read_bytes() for name in ("predictions.csv", "result.json", "samples.csv")}
    return texts | {str(file.relative_to(run.path)): replica(file) for file in replicas(run)}


def replicas(run):
    return sorted(run.path.glob("replicas/*/*/*/*.safetensors"))


def replica(file):
    tensors, about = read_tensors(file)
    return about, {name: (tensor.dtype, tensor.shape, tensor.numpy().tobytes()) for name, tensor in tensors.items()}


def rows(run):
    with (run.path / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class TestRetrain:
    def test_the_run_holds_what_it_needs_and_nothing_else(self, retrained, content, space):
        names = {name for name, file in content(retrained.path).items() if file is not None}
        trained = {f"replicas/{g}/{s}/{fold}.safetensors" for g in ("rcn-f", "rcn") for s in (0, 1) for fold in FOLDS}
        spaces = {"genotypes/rcn-f.yaml", "genotypes/rcn.yaml", f"spaces/{space.hash}.yaml"}
        texts = {"run.json", "metrics.jsonl", "samples.csv", "predictions.csv", "result.json"}
        assert names == trained | spaces | texts

    def test_every_sample_is_predicted_once_by_every_genotype_and_seed(self, retrained, tiny):
        samples = {(*sample.key, sample.label) for sample in Dataset.load(tiny).samples}
        found = [
            (r["genotype"], r["seed"], r["database"], r["subject"], r["clip"], r["label"]) for r in rows(retrained)
        ]
        assert len(found) == len(set(found))
        assert set(found) == {(g, s, *sample) for g in ("rcn-f", "rcn") for s in "01" for sample in samples}

    def test_a_prediction_is_the_greatest_logit(self, retrained):
        for row in rows(retrained):
            logits = {label: float(row[f"logit_{label}"]) for label in CLASSES}
            assert row["predicted"] == max(logits, key=logits.get)

    @pytest.mark.parametrize("database", [None, "alpha", "beta"])
    def test_scores_are_those_of_scikit_learn(self, retrained, database):
        for found in retrained.result["scores"]:
            told = [r for r in rows(retrained) if (r["genotype"], r["seed"]) == (found["genotype"], str(found["seed"]))]
            told = [r for r in told if database in (None, r["database"])]
            truth, said = [r["label"] for r in told], [r["predicted"] for r in told]
            part = found if database is None else found["databases"][database]
            assert part["samples"] == len(told)
            assert part["folds"] == len({(r["database"], r["subject"]) for r in told})
            assert part["uar"] == pytest.approx(recall_score(truth, said, average="macro"))
            assert part["uf1"] == pytest.approx(f1_score(truth, said, average="macro", labels=CLASSES, zero_division=0))

    def test_metrics_hold_a_line_of_each_training(self, retrained):
        lines = [json.loads(line) for line in (retrained.path / "metrics.jsonl").read_text().splitlines()]
        places = {(line["genotype"], line["seed"], line["fold"]) for line in lines}
        assert len(lines) == len(places) == 16
        assert {len(line["losses"]) for line in lines} == {2}

    def test_progress_counts_the_trainings(self, genotypes, tiny, recipe, tmp_path, stopping):
        progress = stopping(times=0)
        retrain(genotypes[:1], tiny, recipe, tmp_path / "run", workers=1, progress=progress)
        assert [(done, total) for done, total, _ in progress.told] == [(n, 4) for n in (1, 2, 3, 4)]

    def test_a_genotype_does_not_depend_on_the_others(self, retrained, genotypes, tiny, recipe, tmp_path):
        alone = retrain(genotypes[1:], tiny, recipe, tmp_path / "alone", workers=1)
        whole = results(retrained)
        assert len(replicas(alone)) == 4
        for file in replicas(alone):
            assert replica(file) == whole[str(file.relative_to(alone.path))]

    def test_some_databases_are_as_a_dataset_of_their_own(self, genotypes, tiny, recipe, tmp_path):
        Dataset.load(tiny).select(["beta"]).save(tmp_path / "beta")
        own = retrain(genotypes[:1], tmp_path / "beta", recipe, tmp_path / "own", workers=1)
        part = retrain(genotypes[:1], tiny, recipe, tmp_path / "part", databases=["beta"], workers=1)
        assert {row["database"] for row in rows(part)} == {"beta"}
        assert results(part) == results(own)


class TestNames:
    def test_genotypes_of_one_name_are_told_apart(self, space, tiny, recipe, tmp_path):
        other = space.with_parameters(feature_maps=6)
        both = [(space, space.genotype("rcn-f")), (other, other.genotype("rcn-f"))]
        run = retrain(both, tiny, recipe, tmp_path / "run", workers=1)
        names = [f"rcn-f-{genotype.digest[:8]}" for _, genotype in both]
        assert list(run.config.genotypes) == names
        assert [found["genotype"] for found in run.result["scores"]] == names
        files = [run.path / f"replicas/{name}/0/beta/s01.safetensors" for name in names]
        assert [read_tensors(file)[0]["head.weight"].shape[1] for file in files] == [4 * 2 * 2, 6 * 2 * 2]

    def test_a_genotype_given_twice_is_trained_once(self, genotypes, tiny, recipe, tmp_path):
        run = retrain(genotypes[:1] * 2, tiny, recipe, tmp_path / "run", workers=1)
        assert run.config.genotypes == ("rcn-f",)

    def test_inputs_of_several_sizes(self, space, tiny, recipe, tmp_path):
        spaces = {f"at{size}": space.with_parameters(size=size) for size in (12, 20)}
        pairs = [(found, replace(found.genotype("rcn"), name=name)) for name, found in spaces.items()]
        run = retrain(pairs, tiny, recipe, tmp_path / "run", workers=1)
        assert len(rows(run)) == 2 * 16

    @pytest.mark.parametrize("name", ["../out", "a/b", "a\\b", ".", ".hidden"])
    def test_a_name_that_is_no_file_name(self, genotypes, tiny, recipe, tmp_path, name):
        space, genotype = genotypes[0]
        with pytest.raises(UserError, match=r"so it has no slashes and no dot first: "):
            retrain([(space, replace(genotype, name=name))], tiny, recipe, tmp_path / "runs" / "run")
        assert not (tmp_path / "runs").exists()


class TestBeforeARunIsMade:
    @pytest.fixture
    def refused(self, genotypes, tiny, recipe, tmp_path):
        def attempt(message, **changes):
            asked = {"genotypes": genotypes, "dataset": tiny, "recipe": recipe, "out": tmp_path / "runs" / "new"}
            with pytest.raises(UserError, match=message):
                retrain(**asked | changes)
            assert not (tmp_path / "runs").exists()

        return attempt

    def test_one_subject(self, refused, made, tmp_path):
        made(subjects=[("alpha", "s01")]).save(tmp_path / "one")
        refused(r"leave-one-subject-out needs two subjects or more, found alpha/s01", dataset=tmp_path / "one")

    def test_a_class_absent_from_a_fold(self, refused, made, tmp_path):
        whole, only = made(), ("beta", "s02")
        kept = [i for i, s in enumerate(whole.samples) if s.label != "surprise" or s.key[:2] == only]
        lacking = replace(whole, maps=whole.maps[kept], samples=tuple(whole.samples[i] for i in kept))
        lacking.save(tmp_path / "lacking")
        refused(r"no sample of surprise is left to train on without beta/s02", dataset=tmp_path / "lacking")

    def test_unknown_database(self, refused):
        refused(r"dataset 'tiny' has no database 'bta'; did you mean 'beta'\?", databases=["bta"])

    def test_maps_of_other_channels(self, refused, space):
        grey = SearchSpace.parse(space.source.replace("channels: 3, size", "channels: 1, size"), "grey.yaml")
        refused(r"grey\.yaml: input\.channels is 1", genotypes=[(grey, grey.genotype("rcn"))])

    def test_no_such_device(self, refused):
        refused(r"--device: 'cuda:99' is not there", device="cuda:99")


class TestStopped:
    @pytest.mark.parametrize("times", [1, 7, 16])
    def test_resuming_gives_the_result_of_an_uninterrupted_run(self, begun, retrained, times, content):
        run = begun(times)
        assert len(replicas(run)) == times
        before = content(run.path / "replicas")
        assert results(resume(run.path, workers=1)) == results(retrained)
        assert before.items() <= content(run.path / "replicas").items()  # what was there was not made again
        assert content(run.path).keys() == content(retrained.path).keys()

    def test_interrupted_with_two_workers(self, begun, retrained, content):
        run = begun(3, KeyboardInterrupt, workers=2)
        assert len(replicas(run)) == 3
        assert results(resume(run.path, workers=1)) == results(retrained)
        assert content(run.path).keys() == content(retrained.path).keys()

    @pytest.mark.parametrize(("workers", "times"), [(1, 3), (2, 1)])
    def test_killed_at_random_moments(self, begun, retrained, killed, gone, workers, times):
        """What was finished is kept, so that each worker loses the training that it was at; and no worker stays."""
        run = begun(1)
        rng = random.Random(workers)
        for _ in range(times):
            wanted = len(replicas(run)) + rng.randint(1, 3)
            pids = killed(
                run.path, workers, lambda wanted=wanted: len(replicas(run)) >= wanted, delay=rng.uniform(0, 0.05)
            )
            gone(pids)
            assert not run.finished
            assert len(replicas(run)) >= wanted
        assert results(resume(run.path, workers=1)) == results(retrained)
        assert not list(run.path.rglob(".*"))

    def test_a_finished_run_stays_as_it_is(self, retrained, content):
        before = content(retrained.path)
        resume(retrained.path, workers=1)
        assert content(retrained.path) == before

    def test_an_unfinished_run_is_scored_as_far_as_it_is(self, begun):
        run = begun(10)  # seed by seed, then genotype by genotype: 2 folds of seed 1
        result = result_of(run, predictions(run))
        covered = [(found["genotype"], found["seed"], found["folds"]) for found in result["scores"]]
        assert covered == [("rcn-f", 0, 4), ("rcn-f", 1, 2), ("rcn", 0, 4)]
        assert result["means"] == []
        assert "6 of 16 trainings are still to come; their samples are in no score" in result["notes"]
        assert any("rcn-f: no mean or comparison includes seed 1" in note for note in result["notes"])

    def test_nothing_yet(self, begun):
        run = begun(1)
        shutil.rmtree(run.path / "replicas")
        with pytest.raises(UserError, match=r"no network is trained yet; continue it with: .* resume .*retrained"):
            predictions(run)


class TestDamage:
    @pytest.mark.parametrize("keep", [0, 9, 300, -1])
    def test_a_replica_cut_short(self, begun, retrained, keep):
        run = begun(5)
        file = replicas(run)[2]
        file.write_bytes(file.read_bytes()[:keep])
        for use in (lambda: resume(run.path), lambda: predictions(run)):
            with pytest.raises(UserError, match=rf"{file.name}: is damaged .*; delete it, .* makes it again"):
                use()
        file.unlink()
        assert results(resume(run.path, workers=1)) == results(retrained)

    def test_a_finished_run_is_mended_too(self, retrained, tmp_path):
        run = load_run(shutil.copytree(retrained.path, tmp_path / "copy"))
        replicas(run)[2].unlink()
        (run.path / "result.json").unlink()
        assert results(resume(run.path, workers=1)) == results(retrained)

    def test_a_genotype_gone(self, begun):
        run = begun(1)
        (run.path / "genotypes" / "rcn.yaml").unlink()
        with pytest.raises(UserError, match=r"rcn\.yaml: no such file"):
            resume(run.path)

    def test_a_space_that_was_edited(self, begun, space):
        run = begun(1)
        file = run.path / "spaces" / f"{space.hash}.yaml"
        file.write_text(file.read_text().replace("kernel: 3, share", "kernel: 5, share"))
        with pytest.raises(UserError, match=r"rcn-f\.yaml: belongs to space 'rcn'"):
            resume(run.path)

    def test_a_dataset_that_changed_or_went(self, genotypes, made, recipe, tmp_path, stopping, stop, content):
        made().save(tmp_path / "data")
        with pytest.raises(stop):
            retrain(genotypes, tmp_path / "data", recipe, tmp_path / "run", workers=1, progress=stopping(2))
        before = content(tmp_path / "run")
        made(size=17).save(tmp_path / "data")
        with pytest.raises(UserError, match=r"data: is not the dataset of this run any more .* start a new run"):
            resume(tmp_path / "run")
        shutil.rmtree(tmp_path / "data")
        with pytest.raises(UserError, match=r"data: not a dataset: no such folder\n.*this run, which needs it back"):
            resume(tmp_path / "run")
        assert content(tmp_path / "run") == before


WILD = """
version: 1
name: wild
input: {channels: 3, size: 16}
modules:
  bare: [{op: conv, channels: 4, kernel: 3}, {op: conv, channels: 4, kernel: 3}, {op: conv, channels: 4, kernel: 3}]
states:
  conv:
    from: input
    module:
      decision: conv
      choose:
        bare: [bare, {op: conv, channels: 4, kernel: 3, stride: 4}]
        tame: [{op: conv, channels: 4, kernel: 3, stride: 4}, {op: batch_norm, affine: false}, relu]
head: {from: conv, pool: 2}
genotypes: {bare: {conv: bare}, tame: {conv: tame}}
"""


@pytest.fixture(scope="module")
def wild():
    return SearchSpace.parse(WILD, "wild.yaml")


@pytest.fixture(scope="module")
def reckless(recipe):
    """A learning rate that only a network with batch normalisation bears."""
    optimizer = recipe.optimizer.model_copy(update={"learning_rate": 1e12})
    return recipe.model_copy(update={"optimizer": optimizer})


class TestDiverged:
    def test_the_others_go_on(self, wild, tiny, reckless, tmp_path):
        both = [(wild, wild.genotype(name)) for name in ("bare", "tame")]
        run = retrain(both, tiny, reckless, tmp_path / "run", workers=1)
        assert [found["genotype"] for found in run.result["scores"]] == ["tame"]
        assert {row["genotype"] for row in rows(run)} == {"tame"}
        (note,) = run.result["notes"]
        assert note.startswith("bare: 4 failed, whose samples are in no score: seed 0, fold alpha/s01: ")
        assert note.endswith(", and 1 more")
        for line in (run.path / "metrics.jsonl").read_text().splitlines():
            json.loads(line, parse_constant=pytest.fail)  # NaN and Infinity are no JSON

    def test_none_is_left(self, wild, tiny, reckless, tmp_path):
        message = r"run: no training succeeded; start another run with another recipe: bare, seed 0, fold alpha/s01: "
        with pytest.raises(UserError, match=message):
            retrain([(wild, wild.genotype("bare"))], tiny, reckless, tmp_path / "run", workers=1)
        with pytest.raises(UserError, match=message):
            resume(tmp_path / "run")

    def test_one_fold_of_one_seed(self, genotypes, tiny, recipe, tmp_path, monkeypatch):
        def failing(replica, *about):
            trained = train(replica, *about)
            if (replica.seed, replica.fold) != (1, "beta/s01"):
                return trained
            return replace(
                trained, logits=np.zeros((0, 3), np.float32), weights={}, failure="seed 1, fold beta/s01: no"
            )

        monkeypatch.setattr("nas_mer.runs.retraining.train", failing)
        run = retrain(genotypes[:1], tiny, recipe, tmp_path / "run", seeds=3, workers=1)
        assert [found["samples"] for found in run.result["scores"]] == [16, 12, 16]
        (mean,) = run.result["means"]
        assert mean["seeds"] == [0, 2]
        assert mean["uar"] == pytest.approx((run.result["scores"][0]["uar"] + run.result["scores"][2]["uar"]) / 2)
        assert run.result["notes"] == [
            "rcn-f: 1 failed, whose samples are in no score: seed 1, fold beta/s01: no",
            "rcn-f: no mean or comparison includes seed 1, which covers fewer samples than others",
        ]


class TestNotes:
    def test_a_full_run_of_named_genotypes_needs_none(self, retrained):
        assert retrained.result["notes"] == []

    def test_a_searched_genotype_may_have_seen_every_subject(self, space, tiny, recipe, tmp_path):
        found = replace(space.genotype("rcn-f"), name="top1", rank=1, weight=0.5)
        run = retrain([(space, found)], tiny, recipe, tmp_path / "run", workers=1)
        (note,) = notes(run, predictions(run))
        assert note.startswith("found by a search: top1; ")
        assert "optimistic" in note
