import functools
import itertools
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from nas_mer.data import Dataset, subject_parts
from nas_mer.errors import UserError
from nas_mer.runs import choose, chosen_of, load_run, resume, retrain
from nas_mer.runs.folder import maps_of
from nas_mer.runs.retrainings.config import recipe_of
from nas_mer.runs.tensors import read_tensors
from nas_mer.train import Group, Inputs, Replica, train

NAMES = ("rcn", "rcn-f")


@pytest.fixture(scope="module")
def recipes(recipe):
    shifted = recipe.augment.model_copy(update={"shift": 2})
    return {"plain": recipe, "long": recipe.model_copy(update={"epochs": 3, "augment": shifted})}


@pytest.fixture(scope="module")
def candidates(space, recipes):
    return [(space, space.genotype(name)) for name in NAMES], recipes


@pytest.fixture(scope="module")
def run(candidates, tiny, tmp_path_factory, alone):
    return choose(*candidates, tiny, tmp_path_factory.mktemp("runs") / "choice", groups=3, seeds=2, compute=alone)


class TestChosen:
    def test_the_best_of_a_cross_validation_among_the_other_groups(self, run, candidates, space, recipes, tiny):
        """Written out, with scikit-learn's metrics."""
        dataset = Dataset.load(tiny)
        groups = subject_parts(dataset, np.arange(16), 3, seed=0)

        @functools.cache
        def said(name, recipe, seed, low, high):
            """What a network that is trained by itself says of samples of two groups, by sample."""
            genotype, held_out = space.genotype(name), np.union1d(groups[low], groups[high])
            rest = np.setdiff1d(np.arange(16), held_out)
            fold = f"groups {low} and {high}"
            replica = Replica(genotype.digest, space.freeze(genotype), fold, rest, held_out, seed)
            inputs = Inputs.of(maps_of(dataset, 16), recipes[recipe].normalise, recipes[recipe].augment)
            (trained,) = train([replica], lambda group: None, inputs, recipes[recipe])
            return dict(zip(held_out.tolist(), trained.logits.argmax(axis=1), strict=True))

        for number, group in enumerate(run.result["groups"]):
            assert group["subjects"] == np.unique(dataset.subjects[groups[number]]).tolist()
            best = []
            for (name, recipe), row in zip(itertools.product(NAMES, recipes), group["candidates"], strict=True):
                scores = []
                for seed in (0, 1):
                    labels, predicted = [], []
                    for other in {*range(3)} - {number}:
                        of = said(name, recipe, seed, *sorted((number, other)))
                        labels += dataset.labels[groups[other]].tolist()
                        predicted += [of[sample] for sample in groups[other].tolist()]
                    scores.append(
                        (
                            recall_score(labels, predicted, average="macro"),
                            f1_score(labels, predicted, average="macro"),
                        )
                    )
                assert (row["genotype"], row["recipe"]) == (name, recipe)
                assert (row["uar"], row["uf1"]) == pytest.approx(np.mean(scores, axis=0).tolist())
                best.append((np.mean(scores), (name, recipe)))
            first = max(best, key=lambda pair: round(pair[0], 12))
            assert (group["genotype"], group["recipe"]) == first[1]

    def test_candidates_over_all_groups(self, run):
        for place, row in enumerate(run.result["candidates"]):
            of_groups = [group["candidates"][place] for group in run.result["groups"]]
            assert row["uar"] == pytest.approx(np.mean([of["uar"] for of in of_groups]))
            names = [(group["genotype"], group["recipe"]) for group in run.result["groups"]]
            assert row["chosen"] == names.count((row["genotype"], row["recipe"]))
        assert run.result["notes"] == []

    def test_no_subject_has_a_say_in_the_choice_of_its_group(self, run, candidates, tiny, tmp_path, alone):
        """With other maps, and its labels dealt out anew among its clips, all that a choice rests on is as it was."""
        dataset, number = Dataset.load(tiny), 1
        subjects = run.result["groups"][number]["subjects"]
        members = np.flatnonzero(np.isin(dataset.subjects, subjects))
        maps, samples = dataset.maps.copy(), list(dataset.samples)
        maps[members] = np.random.default_rng(1).normal(size=maps[members].shape)
        for place, other in zip(members, np.roll(members, 1), strict=True):  # a subject's labels stay as many
            samples[place] = replace(dataset.samples[place], label=dataset.samples[other].label)
        replace(dataset, maps=maps, samples=tuple(samples)).save(tmp_path / "scrambled")
        other = choose(*candidates, tmp_path / "scrambled", tmp_path / "run", groups=3, seeds=2, compute=alone)
        for place, (before, after) in enumerate(zip(run.result["groups"], other.result["groups"], strict=True)):
            assert before["subjects"] == after["subjects"]
            assert before == after or place != number
        assert other.result != run.result

    def test_of_equals_the_first(self, space, recipe, tiny, tmp_path, alone):
        """By two names of one recipe."""
        same = {"second": recipe, "first": recipe}
        run = choose([(space, space.genotype("rcn"))], same, tiny, tmp_path / "run", groups=3, compute=alone)
        assert {group["recipe"] for group in run.result["groups"]} == {"second"}

    @pytest.mark.parametrize(
        ("name", "origin"), [("top1", "search s, protocol shared"), ("nested", "search s, fold alpha/s01")]
    )
    def test_a_genotype_of_a_search_may_have_seen_all(self, space, recipe, tiny, tmp_path, alone, name, origin):
        """Its score says so: one of a nested search has seen the subjects of all other folds."""
        found = replace(space.genotype("rcn"), name=name, rank=1, origin=origin)
        run = choose([(space, found)], {"r": recipe}, tiny, tmp_path / "run", groups=3, compute=alone)
        (note,) = run.result["notes"]
        assert note.startswith(f"found by a search: {name}; if that search saw this dataset, ")
        (note,) = retrain([chosen_of(run)], tiny, recipe, tmp_path / "scored", compute=alone).result["notes"]
        assert note.startswith("found by a search: run; if that search saw this dataset, ")


class TestRetrained:
    def test_a_fold_is_trained_as_its_group_chose(self, run, recipes, space, tiny, recipe, tmp_path, alone):
        """Whatever recipe the others have."""
        found = chosen_of(run)
        folds = {subject: group for group in run.result["groups"] for subject in group["subjects"]}
        assert found.folds.keys() == folds.keys()
        other = recipe.model_copy(update={"epochs": 1})
        both = [found, (space, replace(space.genotype("rcn"), name="mine"))]
        retrained = retrain(both, tiny, other, tmp_path / "run", compute=alone)
        plain = {
            name: retrain([(space, space.genotype(n)) for n in NAMES], tiny, how, tmp_path / name, compute=alone)
            for name, how in recipes.items()
        }
        for fold, group in folds.items():
            assert recipe_of(retrained, "choice", fold) == recipes[group["recipe"]]
            assert recipe_of(retrained, "mine", fold) == other
            file = f"0/{fold}.safetensors"
            tensors, about = read_tensors(retrained.path / "replicas" / "choice" / file)
            expected = read_tensors(plain[group["recipe"]].path / "replicas" / group["genotype"] / file)
            assert about == expected[1]
            for name, tensor in tensors.items():
                assert np.array_equal(tensor, expected[0][name]), (fold, name)
            assert len(read_tensors(retrained.path / "replicas" / "mine" / file)[1]["losses"]) == 1

    def test_on_another_dataset(self, run, recipe, made, tmp_path):
        made(size=17).save(tmp_path / "other")
        with pytest.raises(UserError, match=r"^choice: was found on another dataset than 'tiny'"):
            retrain([chosen_of(run)], tmp_path / "other", recipe, tmp_path / "run")

    def test_before_it_is_finished(self, run, tmp_path):
        copy = load_run(shutil.copytree(run.path, tmp_path / "copy"))
        (copy.path / "result.json").unlink()
        with pytest.raises(UserError, match=r"copy: is not finished; continue it with: nas-mer runs resume "):
            chosen_of(copy)


class TestStopped:
    def test_resuming_gives_the_result_of_an_uninterrupted_run(
        self, run, candidates, tiny, tmp_path, alone, stopping, stop, content
    ):
        path = tmp_path / "choice"
        with pytest.raises(stop):
            choose(*candidates, tiny, path, groups=3, seeds=2, compute=alone, progress=stopping(9))
        kept = {name: file for name, file in content(path / "replicas").items() if file is not None}
        progress = stopping(-1)
        again = resume(path, alone, progress)
        assert again.kind == "choose"
        assert again.result == run.result
        after = content(path / "replicas")
        assert all(after[name] == file for name, file in kept.items())
        done, totals, texts = zip(*progress.told, strict=True)
        assert list(done) == sorted(done)
        assert set(totals) == {4 * 3 * 2}
        assert done[-1] == 24
        assert any("rcn-f by long, seed 1, without groups 1 and 2" in text for text in texts)
        assert resume(path).result == run.result

    def test_the_run_holds_what_it_needs_and_nothing_else(self, run, content, space):
        names = {name for name, file in content(run.path).items() if file is not None}
        pairs = [f"{a}-{b}" for a, b in itertools.combinations(range(3), 2)]
        places = itertools.product(NAMES, ("plain", "long"), (0, 1), pairs)
        trained = {f"replicas/{'/'.join(map(str, place))}.safetensors" for place in places}
        genotypes = {f"genotypes/{name}.yaml" for name in NAMES} | {f"spaces/{space.hash}.yaml"}
        assert names == trained | genotypes | {"run.json", "result.json"}
        assert json.loads((run.path / "run.json").read_text())["kind"] == "choose"


class TestFailed:
    @pytest.fixture
    def wild(self, recipe):
        """A recipe that diverges."""
        return recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"learning_rate": 1e30})})

    def test_a_candidate_whose_training_failed_is_not_chosen(self, space, recipe, wild, tiny, tmp_path, alone):
        both = {"wild": wild, "tame": recipe}
        run = choose([(space, space.genotype("rcn"))], both, tiny, tmp_path / "run", groups=3, compute=alone)
        assert {group["recipe"] for group in run.result["groups"]} == {"tame"}
        (note,) = run.result["notes"]
        why = "since a training without them failed: seed 0, fold groups 0 and 1"
        assert note.startswith(f"rcn by wild: could not be chosen for 3 of 3 groups, {why}")

    @pytest.fixture
    def failing(self, monkeypatch, space):
        """Let trainings of some genotypes without groups 1 and 2 diverge."""

        def fail(*names):
            digests, run_epoch = {space.genotype(name).digest for name in names}, Group.run_epoch

            def run_or_fail(group):
                if {one.genotype for one in group.replicas} <= digests and group.replicas[0].fold == "groups 1 and 2":
                    next(iter(group.stack.parameters.values())).data[:] = float("nan")
                return run_epoch(group)

            monkeypatch.setattr(Group, "run_epoch", run_or_fail)

        return fail

    def test_a_failure_has_no_say_in_the_choice_of_a_group_that_was_trained_on(
        self, run, candidates, tiny, tmp_path, alone, failing
    ):
        failing("rcn")
        failed = choose(*candidates, tiny, tmp_path / "run", groups=3, seeds=2, compute=alone)
        first, *others = failed.result["groups"]
        assert first == run.result["groups"][0]
        for group, before in zip(others, run.result["groups"][1:], strict=True):
            assert group["candidates"] == [row for row in before["candidates"] if row["genotype"] == "rcn-f"]
            assert group["genotype"] == "rcn-f"
        for row, before in zip(failed.result["candidates"], run.result["candidates"], strict=True):
            if row["genotype"] == "rcn-f":
                assert row["uar"] == before["uar"]
            else:
                assert row["uar"] in [one["uar"] for one in first["candidates"]]
        why = "could not be chosen for 2 of 3 groups, since a training without them failed: seed 0, fold groups 1 and 2"
        assert [note.partition(":")[0] for note in failed.result["notes"]] == ["rcn by plain", "rcn by long"]
        assert all(why in note for note in failed.result["notes"])

    def test_none_is_left_for_a_group(self, run, candidates, tiny, tmp_path, alone, failing):
        failing(*NAMES)
        subjects = ", ".join(run.result["groups"][1]["subjects"])
        message = rf"run: no candidate could be trained without {subjects}; start another run .*: rcn by plain: "
        with pytest.raises(UserError, match=message):
            choose(*candidates, tiny, tmp_path / "run", groups=3, seeds=2, compute=alone)

    def test_all_failed(self, space, wild, tiny, tmp_path, alone):
        with pytest.raises(UserError, match=r"run: no candidate could be trained without .*: rcn by wild: "):
            choose([(space, space.genotype("rcn"))], {"wild": wild}, tiny, tmp_path / "run", groups=3, compute=alone)


class TestRefused:
    @pytest.mark.parametrize(
        ("message", "changes"),
        [
            (r"^--groups: must be at least 3, found 2", {"groups": 2}),
            (r"^dataset 'tiny': 5 parts need as many subjects, found alpha/s01, ", {"groups": 5}),
        ],
    )
    def test_groups(self, candidates, tiny, tmp_path, message, changes):
        with pytest.raises(UserError, match=message):
            choose(*candidates, tiny, tmp_path / "run", **changes)
        assert not (tmp_path / "run").exists()

    def test_a_recipe_whose_name_is_no_folders(self, candidates, tiny, tmp_path, recipe):
        with pytest.raises(UserError, match=r"a recipe's name becomes a folder's, .*: \.\./up"):
            choose(candidates[0], {"../up": recipe}, tiny, tmp_path / "run", groups=3)
