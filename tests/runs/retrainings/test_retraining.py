import csv
import errno
import itertools
import json
import os
import random
import re
import shutil
import signal
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from nas_mer.data import CLASSES, Dataset
from nas_mer.errors import UserError
from nas_mer.runs import Choice, Compute, Nested, choose, load_run, predictions, resume, retrain
from nas_mer.runs.tensors import read_tensors
from nas_mer.space import SearchSpace
from nas_mer.train import Group, train

FOLDS = ["alpha/s01", "alpha/s02", "beta/s01", "beta/s02"]


def results(run):
    """All that a run gave, bit for bit."""
    texts = {name: (run.path / name).read_bytes() for name in ("predictions.csv", "result.json", "samples.csv")}
    return texts | {str(file.relative_to(run.path)): replica(file) for file in replicas(run)}


def replicas(run):
    return sorted(run.path.glob("replicas/*/*/*/*.safetensors"))


def replica(file):
    tensors, about = read_tensors(file)
    return about, {name: (tensor.dtype, tensor.shape, tensor.numpy().tobytes()) for name, tensor in tensors.items()}


def checkpoints(run):
    """The trainings under way, by their place, with the epochs that are done of each."""
    folder, found = run.path / "checkpoints", {}
    for file in sorted(folder.rglob("*.safetensors")):
        if not file.parent.name.startswith("."):  # not one that is being written
            with suppress(FileNotFoundError):  # trained by now
                found[file.relative_to(folder).with_suffix("").as_posix()] = len(read_tensors(file)[0]["losses"])
    return found


def epochs_of(run):
    """The epochs that the run's files hold, of all trainings."""
    trained = {file.relative_to(run.path / "replicas").with_suffix("").as_posix(): file for file in replicas(run)}
    under_way = {place: epochs for place, epochs in checkpoints(run).items() if place not in trained}
    return sum(under_way.values()) + sum(len(read_tensors(file)[1]["losses"]) for file in trained.values())


def close(found, expected):
    """Whether results are the same but for the rounding of other groups."""
    assert [file.relative_to(found.path) for file in replicas(found)] == [
        file.relative_to(expected.path) for file in replicas(expected)
    ]
    for one, other in zip(replicas(found), replicas(expected), strict=True):
        (tensors, about), (others, other_about) = read_tensors(one), read_tensors(other)
        assert about["losses"] == pytest.approx(other_about["losses"], rel=1e-3)
        np.testing.assert_allclose(tensors["logits"], others["logits"], rtol=1e-2, atol=2e-3)
    assert not (found.path / "checkpoints").exists()


def failing(*places, run_epoch=Group.run_epoch):
    """A function that runs an epoch, of which some trainings diverge in their second."""

    def fail(group):
        if group.epoch == 1:
            for row, place in enumerate(group.places):
                if (group.replicas[place].seed, group.replicas[place].fold) in places:
                    next(iter(group.stack.parameters.values())).data[row] = float("nan")
        return run_epoch(group)

    return fail


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
        assert "checkpoints" not in content(retrained.path)

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

    def test_progress_counts_the_trainings(self, genotypes, tiny, recipe, tmp_path, stopping, alone):
        progress = stopping(times=0)
        retrain(genotypes[:1], tiny, recipe, tmp_path / "run", compute=alone, progress=progress)
        assert {total for _, total, _ in progress.told} == {4}
        done = [done for done, _, _ in progress.told]
        assert done == sorted(done)
        assert set(done) == {0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4}
        assert progress.told[0][2] == "rcn-f, seed 0, alpha/s01, epoch 1"

    def test_a_genotype_does_not_depend_on_the_others(self, retrained, genotypes, tiny, recipe, tmp_path, alone):
        alone = retrain(genotypes[1:], tiny, recipe, tmp_path / "alone", compute=alone)
        whole = results(retrained)
        assert len(replicas(alone)) == 4
        for file in replicas(alone):
            assert replica(file) == whole[str(file.relative_to(alone.path))]

    def test_some_databases_are_as_a_dataset_of_their_own(self, genotypes, tiny, recipe, tmp_path, alone):
        Dataset.load(tiny).select(["beta"]).save(tmp_path / "beta")
        own = retrain(genotypes[:1], tmp_path / "beta", recipe, tmp_path / "own", compute=alone)
        part = retrain(genotypes[:1], tiny, recipe, tmp_path / "part", databases=["beta"], compute=alone)
        assert {row["database"] for row in rows(part)} == {"beta"}
        assert results(part) == results(own)


class TestNames:
    def test_genotypes_of_one_name_are_told_apart(self, space, tiny, recipe, tmp_path, alone):
        other = space.with_parameters(feature_maps=6)
        both = [(space, space.genotype("rcn-f")), (other, other.genotype("rcn-f"))]
        run = retrain(both, tiny, recipe, tmp_path / "run", compute=alone)
        names = [f"rcn-f-{genotype.digest[:8]}" for _, genotype in both]
        assert list(run.config.genotypes) == names
        assert [found["genotype"] for found in run.result["scores"]] == names
        files = [run.path / f"replicas/{name}/0/beta/s01.safetensors" for name in names]
        assert [read_tensors(file)[0]["head.weight"].shape[1] for file in files] == [4 * 2 * 2, 6 * 2 * 2]

    def test_a_genotype_given_twice_is_trained_once(self, genotypes, tiny, recipe, tmp_path, alone):
        run = retrain(genotypes[:1] * 2, tiny, recipe, tmp_path / "run", compute=alone)
        assert run.config.genotypes == ("rcn-f",)

    def test_inputs_of_several_sizes(self, space, tiny, recipe, tmp_path, alone):
        spaces = {f"at{size}": space.with_parameters(size=size) for size in (12, 20)}
        pairs = [(found, replace(found.genotype("rcn"), name=name)) for name, found in spaces.items()]
        run = retrain(pairs, tiny, recipe, tmp_path / "run", compute=alone)
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


class TestGroups:
    def test_trainings_that_run_together_give_the_same(self, genotypes, tiny, recipe, tmp_path, retrained):
        """Folds of one genotype and of all seeds; three at once, and what is left."""
        compute = Compute(workers=1, group=3)
        run = retrain(genotypes, tiny, recipe, tmp_path / "retrained", seeds=2, compute=compute)
        assert results(run) != results(retrained)
        close(run, retrained)

    def test_a_group_is_one_task_of_one_genotype(self, genotypes, tiny, recipe, tmp_path, monkeypatch):
        groups = []

        def watched(replicas, *about):
            groups.append([(one.genotype, one.seed, one.fold) for one in replicas])
            return train(replicas, *about)

        monkeypatch.setattr("nas_mer.runs.trainings.train", watched)
        once = recipe.model_copy(update={"epochs": 1})
        retrain(genotypes, tiny, once, tmp_path / "run", seeds=2, compute=Compute(workers=1, group=3))
        assert sorted(map(len, groups)) == [2, 2, 3, 3, 3, 3]
        assert all(len({genotype for genotype, _, _ in group}) == 1 for group in groups)
        places = [place for group in groups for place in group]
        digests = [genotype.digest for _, genotype in genotypes]
        assert sorted(places) == sorted(itertools.product(digests, (0, 1), FOLDS))

    @pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (2, 4)])
    def test_resuming_in_other_groups(self, begun, retrained, before, after):
        """With some that are trained, some under way and some not begun."""
        run = begun(7, compute=Compute(workers=1, group=before, checkpoint_every=0.0))
        assert replicas(run)
        assert checkpoints(run)
        close(resume(run.path, Compute(workers=1, group=after)), retrained)

    def test_one_that_diverges_leaves_its_group(self, genotypes, tiny, recipe, tmp_path, monkeypatch, retrained):
        monkeypatch.setattr(Group, "run_epoch", failing((0, "alpha/s02")))
        run = retrain(genotypes, tiny, recipe, tmp_path / "run", seeds=2, compute=Compute(workers=1, group=4))
        why = "1 failed, whose samples are in no score: seed 0, fold alpha/s02: the training loss became nan in epoch 2"
        assert run.result["notes"][:2] == [f"rcn-f: {why}", f"rcn: {why}"]
        for file in replicas(run):
            tensors, about = read_tensors(file)
            expected = read_tensors(retrained.path / file.relative_to(run.path))
            if about["failure"]:
                assert about["losses"] == [pytest.approx(expected[1]["losses"][0], rel=1e-3), None]
                assert tensors.keys() == {"logits"}
            else:
                np.testing.assert_allclose(tensors["logits"], expected[0]["logits"], rtol=1e-2, atol=2e-3)

    def test_trainings_may_end_at_different_epochs(self, genotypes, tiny, recipe, tmp_path, alone):
        """By the loss at which they stop: each leaves the group with what it has alone."""
        one = retrain(genotypes[:1], tiny, recipe.model_copy(update={"epochs": 6}), tmp_path / "one", compute=alone)
        first = sorted(read_tensors(file)[1]["losses"][1] for file in replicas(one))
        stopping = recipe.model_copy(update={"epochs": 6, "stop_loss": (first[1] + first[2]) / 2})
        lonely, together = (
            retrain(genotypes[:1], tiny, stopping, tmp_path / name, compute=Compute(workers=1, group=group))
            for name, group in (("lonely", 1), ("together", 4))
        )
        lengths = {len(read_tensors(file)[1]["losses"]) for file in replicas(lonely)}
        assert len(lengths) > 1
        close(together, lonely)


def test_one_network_under_several_names_is_trained_once(genotypes, tiny, recipe, tmp_path, alone, monkeypatch):
    """Where its recipe is another one, it is another training."""
    trained, run_epoch = [], Group.run_epoch
    monkeypatch.setattr(
        Group, "run_epoch", lambda group: trained.extend(r.about for r in group.replicas) or run_epoch(group)
    )
    (space, known), _ = genotypes
    longer = recipe.model_copy(update={"epochs": 3})
    choices = {fold: Choice(space, known, longer if fold == FOLDS[0] else recipe) for fold in FOLDS}
    data = Dataset.load(tiny)
    choice = Nested("choice", choices, data.fingerprint)
    asked = [(space, known), (space, replace(known, name="alias")), choice]
    run = retrain(asked, tiny, recipe, tmp_path / "run", compute=alone)
    assert len(trained) == 2 * 4 + 3
    alike = {
        name: [replica(run.path / "replicas" / name / "0" / f"{fold}.safetensors") for fold in FOLDS]
        for name in ("rcn-f", "alias", "choice")
    }
    assert alike["rcn-f"] == alike["alias"]
    assert alike["rcn-f"][1:] == alike["choice"][1:]
    assert alike["rcn-f"][0] != alike["choice"][0]


class TestStopped:
    @pytest.mark.parametrize("times", [1, 3, 32])
    def test_resuming_gives_the_result_of_an_uninterrupted_run(self, begun, retrained, times, content, alone):
        """A training of two epochs is told of three times: after each, and when it is kept."""
        run = begun(times)
        assert len(replicas(run)) == (times + 1) // 3
        assert epochs_of(run) == 2 * (times // 3) + times % 3
        before = content(run.path / "replicas")
        assert results(resume(run.path, alone)) == results(retrained)
        assert before.items() <= content(run.path / "replicas").items()  # what was there was not made again
        assert content(run.path).keys() == content(retrained.path).keys()

    def test_killed_at_random_moments(self, begun, retrained, hunted):
        expected = results(retrained)

        def check(found):
            assert results(found) == expected
            assert not (found.path / "checkpoints").exists()

        hunted(begun(1), retrained, 4, check, epochs_of)

    def test_killed_with_two_workers(self, begun, retrained, killed, gone, alone):
        """What was finished is kept; and no worker stays."""
        run = begun(1)
        rng = random.Random(0)
        wanted = len(replicas(run)) + rng.randint(1, 3)
        gone(killed(run.path, Compute(workers=2), lambda: len(replicas(run)) >= wanted, delay=rng.uniform(0, 0.05)))
        assert not run.finished
        assert len(replicas(run)) >= wanted
        assert results(resume(run.path, alone)) == results(retrained)
        assert not list(run.path.rglob(".*"))

    @pytest.mark.parametrize(("group", "number", "seeds"), [(1, signal.SIGTERM, 1), (3, signal.SIGINT, 2)])
    def test_a_signal_ends_the_run_after_the_epoch(
        self, begun, recipe, genotypes, tiny, tmp_path, monkeypatch, alone, number, group, seeds
    ):
        """Without checkpoints on the way: that epoch is kept all the same, and the next is not begun."""
        run_epoch, epochs = Group.run_epoch, []

        def signalled(running):
            epochs.append(len(running.places))
            if len(epochs) == 5:
                os.kill(os.getpid(), number)
            return run_epoch(running)

        longer = recipe.model_copy(update={"epochs": 4})
        compute = Compute(workers=1, group=group, checkpoint_every=1e9)
        with monkeypatch.context() as patch:
            patch.setattr(Group, "run_epoch", signalled)
            run = begun(0, KeyboardInterrupt, recipe=longer, compute=compute, seeds=seeds, name="signalled")
        assert len(epochs) == 5  # four of the first group, one of the second
        assert epochs_of(run) == 5 * group
        assert list(checkpoints(run).values()) == [1] * group
        assert not run.finished
        monkeypatch.setattr(
            Group, "run_epoch", lambda running: epochs.append(len(running.places)) or run_epoch(running)
        )
        again = resume(run.path, Compute(workers=1, group=group))
        assert sum(epochs) == 8 * seeds * 4  # none twice
        if group == 1:
            expected = retrain(genotypes, tiny, longer, tmp_path / "whole", seeds=seeds, compute=alone)
            assert results(again) == results(expected)

    def test_a_signal_with_two_workers(self, begun, recipe, genotypes, tiny, tmp_path, alone):
        """Without checkpoints on the way: no epoch that any worker had done is lost."""
        longer, epochs = recipe.model_copy(update={"epochs": 30}), {}

        def progress(done, total, text):
            if found := re.fullmatch(r"(.*), seed (\d), (.*), epoch (\d+)(;.*)?", text):
                name, seed, fold, epoch, _ = found.groups()
                epochs[f"{name}/{seed}/{fold}"] = int(epoch)
            if len(epochs) == 2 and not signalled:
                signalled.append(os.getpid())
                os.kill(os.getpid(), signal.SIGTERM)

        signalled, compute = [], Compute(workers=2, checkpoint_every=1e9)
        asked = {"genotypes": genotypes[:1], "recipe": longer, "seeds": 1}
        run = begun(0, KeyboardInterrupt, compute=compute, progress=progress, **asked)
        assert not run.finished
        kept = {f"{line['genotype']}/{line['seed']}/{line['fold']}": 30 for line in run.metrics()} | checkpoints(run)
        assert kept.keys() == epochs.keys()
        assert all(kept[place] in (told, 30) for place, told in epochs.items())
        again = resume(run.path, alone)
        whole = retrain(genotypes[:1], tiny, longer, tmp_path / "whole", compute=alone)
        assert results(again) == results(whole)

    def test_checkpoints_are_as_far_apart_as_was_asked(self, begun):
        assert checkpoints(begun(1)) == {"rcn-f/0/alpha/s01": 1}
        run = begun(1, compute=Compute(workers=1, checkpoint_every=1e9), name="other")
        assert not (run.path / "checkpoints").exists()

    def test_checkpoints_if_nothing_is_asked_are_some_seconds_apart(self, begun, monkeypatch):
        monkeypatch.setattr("nas_mer.runs.retrainings.retraining.CHECKPOINT_EVERY", 1e9)
        assert checkpoints(begun(1, compute=Compute(workers=1))) == {}
        monkeypatch.setattr("nas_mer.runs.retrainings.retraining.CHECKPOINT_EVERY", 0.0)
        assert checkpoints(begun(1, compute=Compute(workers=1), name="other")) == {"rcn-f/0/alpha/s01": 1}

    def test_a_checkpoint_vanishes_when_its_training_is_done(self, begun):
        run = begun(4)
        assert [file.parent.parent.parent.name for file in replicas(run)] == ["rcn-f"]
        assert checkpoints(run) == {"rcn-f/0/alpha/s02": 1}

    @pytest.mark.parametrize("room", [2, 31])
    def test_a_full_disk(self, genotypes, tiny, recipe, tmp_path, full_disk, retrained, room, alone, content):
        """The last checkpoint that had room stays, and nothing half-written beside it."""
        with full_disk(room), pytest.raises(OSError, match="No space left") as error:
            retrain(genotypes, tiny, recipe, tmp_path / "retrained", seeds=2, compute=alone)
        assert error.value.errno == errno.ENOSPC
        run = load_run(tmp_path / "retrained")
        assert epochs_of(run) == room
        assert not list(run.path.rglob(".*"))
        assert results(resume(run.path, alone)) == results(retrained)
        assert content(run.path).keys() == content(retrained.path).keys()

    def test_a_finished_run_stays_as_it_is(self, retrained, content, alone):
        before = content(retrained.path)
        resume(retrained.path, alone)
        assert content(retrained.path) == before


class TestDamage:
    def test_a_replica_cut_short(self, begun, retrained, alone):
        run = begun(9)
        file = replicas(run)[2]
        whole = file.read_bytes()
        for keep in (0, 300, -1):
            file.write_bytes(whole[:keep])
            for use in (lambda: resume(run.path), lambda: predictions(run)):
                with pytest.raises(UserError, match=rf"{file.name}: is damaged .*; delete it, .* makes it again"):
                    use()
        file.unlink()
        assert results(resume(run.path, alone)) == results(retrained)

    def test_a_checkpoint_cut_short(self, begun, retrained, alone):
        run = begun(4)
        file = run.path / "checkpoints" / "rcn-f" / "0" / "alpha" / "s02.safetensors"
        whole = file.read_bytes()
        for keep in (0, -1):
            file.write_bytes(whole[:keep])
            with pytest.raises(UserError, match=rf"{file}: is damaged .*; delete it, .* makes it again"):
                resume(run.path)
        file.unlink()
        assert results(resume(run.path, alone)) == results(retrained)

    def test_a_finished_run_is_mended_too(self, retrained, tmp_path, alone):
        run = load_run(shutil.copytree(retrained.path, tmp_path / "copy"))
        replicas(run)[2].unlink()
        (run.path / "result.json").unlink()
        assert results(resume(run.path, alone)) == results(retrained)

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

    def test_a_dataset_that_changed_or_went(self, genotypes, made, recipe, tmp_path, stopping, stop, content, alone):
        made().save(tmp_path / "data")
        with pytest.raises(stop):
            retrain(genotypes, tmp_path / "data", recipe, tmp_path / "run", compute=alone, progress=stopping(2))
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
    def test_the_others_go_on(self, wild, tiny, reckless, tmp_path, alone):
        both = [(wild, wild.genotype(name)) for name in ("bare", "tame")]
        run = retrain(both, tiny, reckless, tmp_path / "run", compute=alone)
        assert [found["genotype"] for found in run.result["scores"]] == ["tame"]
        assert {row["genotype"] for row in rows(run)} == {"tame"}
        (note,) = run.result["notes"]
        assert note.startswith("bare: 4 failed, whose samples are in no score: seed 0, fold alpha/s01: ")
        assert note.endswith(", and 1 more")
        for line in (run.path / "metrics.jsonl").read_text().splitlines():
            json.loads(line, parse_constant=pytest.fail)  # NaN and Infinity are no JSON

    def test_none_is_left(self, wild, tiny, reckless, tmp_path, alone):
        message = r"run: no training succeeded; start another run with another recipe: bare, seed 0, fold alpha/s01: "
        with pytest.raises(UserError, match=message):
            retrain([(wild, wild.genotype("bare"))], tiny, reckless, tmp_path / "run", compute=alone)
        with pytest.raises(UserError, match=message):
            resume(tmp_path / "run")

    def test_one_fold_of_one_seed(self, genotypes, tiny, recipe, tmp_path, monkeypatch, alone):
        monkeypatch.setattr(Group, "run_epoch", failing((1, "beta/s01")))
        run = retrain(genotypes[:1], tiny, recipe, tmp_path / "run", seeds=3, compute=alone)
        assert [found["samples"] for found in run.result["scores"]] == [16, 12, 16]
        (mean,) = run.result["means"]
        assert mean["seeds"] == [0, 2]
        assert mean["uar"] == pytest.approx((run.result["scores"][0]["uar"] + run.result["scores"][2]["uar"]) / 2)
        why = "seed 1, fold beta/s01: the training loss became nan in epoch 2"
        assert run.result["notes"] == [
            f"rcn-f: 1 failed, whose samples are in no score: {why}",
            "rcn-f: no mean or comparison includes seed 1, which covers fewer samples than others",
        ]


@pytest.fixture
def wider(space):
    """The same space, whose file gives other sizes."""
    return SearchSpace.parse(space.source.replace("feature_maps: 16", "feature_maps: 32"), "wider.yaml")


def test_two_files_of_one_space_are_not_taken_for_one(space, wider, tiny, recipe, tmp_path):
    assert wider.hash == space.hash
    both = [(space, space.genotype("rcn")), (wider, replace(wider.genotype("rcn"), name="wide"))]
    folds = {subject: Choice(*both[1]) for subject in Dataset.load(tiny).subjects}
    nested = Nested("nested", folds, Dataset.load(tiny).fingerprint)
    message = (
        r"^wider\.yaml: differs from .*rcn\.yaml in its sizes alone \(feature_maps is 32, there 16\), and a run keeps "
        r"one file of a space; use one file for all, with --set feature_maps=32, or a run for each$"
    )
    for genotypes in (both, [both[0], nested], [both[0], (wider, wider.genotype("rcn"))]):
        with pytest.raises(UserError, match=message):
            retrain(genotypes, tiny, recipe, tmp_path / "run")
    with pytest.raises(UserError, match=message):
        choose(both, {"plain": recipe}, tiny, tmp_path / "run", groups=3)
    assert not (tmp_path / "run").exists()
