import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_mer.data import Dataset
from nas_mer.errors import UserError
from nas_mer.runs import Choice, Compute, Nested, load_run, nested_of, predictions, resume, retrain
from nas_mer.runs.retrainings.findings import notes
from nas_mer.runs.tensors import read_tensors
from nas_mer.score import compare
from nas_mer.space import SearchSpace, load_genotype
from nas_mer.train import train

FOLDS = {"alpha/s01": "rcn-f", "alpha/s02": "rcn", "beta/s01": "rcn-f", "beta/s02": "rcn-f"}


@pytest.fixture(scope="module")
def mine(space, tiny):
    """As if a nested search had found these."""
    folds = {fold: Choice(space, replace(space.genotype(name), name="nested")) for fold, name in FOLDS.items()}
    return Nested("mine", folds, Dataset.load(tiny).fingerprint)


@pytest.fixture(scope="module")
def retrained(mine, tiny, recipe, tmp_path_factory, alone):
    return retrain([mine], tiny, recipe, tmp_path_factory.mktemp("runs") / "run", seeds=2, compute=alone)


def replica(run, name, seed, fold):
    """All that a training gave, bit for bit."""
    tensors, about = read_tensors(run.path / "replicas" / name / str(seed) / f"{fold}.safetensors")
    return about, {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


class TestNestedOf:
    def test_a_genotype_for_each_fold_with_its_space(self, nested, space, tiny):
        found = nested_of(nested)
        assert found.name == "nested"
        assert found.fingerprint == Dataset.load(tiny).fingerprint
        assert found.folds.keys() == FOLDS.keys()
        for fold, choice in found.folds.items():
            assert (choice.space.hash, choice.space.overrides) == (space.hash, space.overrides)
            assert dict(choice.genotype.choices) == nested.result["folds"][fold]["choices"]
            assert choice.recipe is None
            space.accept(choice.genotype, fold)

    def test_a_run_without_genotypes(self, nested, tmp_path):
        copy = load_run(shutil.copytree(nested.path, tmp_path / "copy"))
        shutil.rmtree(copy.path / "folds")
        with pytest.raises(UserError, match=r"copy: has no genotypes; make them with: nas-mer derive .*copy"):
            nested_of(copy)

    def test_a_genotype_of_another_space(self, nested, tmp_path):
        copy = load_run(shutil.copytree(nested.path, tmp_path / "copy"))
        file = copy.path / "folds" / "beta" / "s01.yaml"
        file.write_text(file.read_text().replace("hash: ", "hash: a"))
        with pytest.raises(UserError, match=r"beta/s01\.yaml: belongs to space 'rcn'"):
            nested_of(copy)

    def test_it_has_its_folders_name_from_anywhere(self, nested, monkeypatch):
        monkeypatch.chdir(nested.path / "folds")
        assert nested_of(load_run(Path(".."))).name == "nested"


class TestRetrained:
    def test_a_fold_gives_what_its_genotype_gives_there(self, retrained, space, tiny, recipe, tmp_path, alone):
        """Whatever it is called, and whatever the other folds train."""
        both = [(space, space.genotype(name)) for name in ("rcn", "rcn-f")]
        plain = retrain(both, tiny, recipe, tmp_path / "plain", seeds=2, compute=alone)
        for fold, name in FOLDS.items():
            for seed in (0, 1):
                expected = replica(plain, name, seed, fold)
                assert replica(retrained, "mine", seed, fold) == expected
                other = replica(plain, "rcn" if name == "rcn-f" else "rcn-f", seed, fold)
                assert other != expected

    def test_the_run_holds_what_it_needs_and_nothing_else(self, retrained, content, space):
        names = {name for name, file in content(retrained.path).items() if file is not None}
        trained = {f"replicas/mine/{seed}/{fold}.safetensors" for seed in (0, 1) for fold in FOLDS}
        genotypes = {f"genotypes/mine/{fold}.yaml" for fold in FOLDS} | {f"spaces/{space.hash}.yaml"}
        texts = {"run.json", "metrics.jsonl", "samples.csv", "predictions.csv", "result.json"}
        assert names == trained | genotypes | texts
        for fold, name in FOLDS.items():
            found_space, genotype = load_genotype(retrained.path / "genotypes" / "mine" / f"{fold}.yaml")
            assert genotype.digest == space.genotype(name).digest
            assert found_space.overrides == space.overrides

    def test_every_sample_is_predicted_once_a_seed(self, retrained, tiny):
        assert retrained.config.genotypes == ("mine",)
        samples = sorted(sample.key for sample in Dataset.load(tiny).samples)
        for seed, found in enumerate(predictions(retrained)):
            assert (found.genotype, found.seed) == ("mine", seed)
            keys = zip(found.databases, found.subjects, found.clips, strict=True)
            assert sorted((db, subject.partition("/")[2], clip) for db, subject, clip in keys) == samples
        told = [(found["genotype"], found["seed"], found["folds"]) for found in retrained.result["scores"]]
        assert told == [("mine", 0, 4), ("mine", 1, 4)]
        (mean,) = retrained.result["means"]
        assert (mean["genotype"], mean["seeds"]) == ("mine", [0, 1])

    def test_no_genotype_has_seen_its_subject(self, retrained):
        """So there is nothing to warn of, unlike with genotypes of a search over the whole dataset."""
        assert notes(retrained, predictions(retrained)) == retrained.result["notes"] == []

    def test_beside_genotypes_it_may_be_compared_with(self, mine, space, tiny, recipe, tmp_path, alone, retrained):
        both = [mine, (space, space.genotype("rcn-f"))]
        run = retrain(both, tiny, recipe, tmp_path / "run", compute=alone)
        assert run.config.genotypes == ("rcn-f", "mine")
        plain, nested = predictions(run)
        assert (plain.genotype, nested.genotype) == ("rcn-f", "mine")
        np.testing.assert_array_equal(nested.logits, predictions(retrained)[0].logits)
        same = np.isin(plain.subjects, [fold for fold, name in FOLDS.items() if name == "rcn-f"])
        np.testing.assert_array_equal(plain.logits[same], nested.logits[same])
        assert not np.array_equal(plain.logits[~same], nested.logits[~same])
        assert compare([plain], [nested]).as_json()["b"]["genotype"] == "mine"

    def test_what_a_search_found(self, nested, tiny, recipe, tmp_path, alone):
        once = recipe.model_copy(update={"epochs": 1})
        run = retrain([nested_of(nested)], tiny, once, tmp_path / "run", compute=alone)
        assert run.result["notes"] == []
        for fold, found in nested.result["folds"].items():
            space, genotype = load_genotype(run.path / "genotypes" / "nested" / f"{fold}.yaml")
            assert dict(genotype.choices) == found["choices"]
            plain = retrain([(space, genotype)], tiny, once, tmp_path / "plain" / fold, compute=alone)
            assert replica(run, "nested", 0, fold) == replica(plain, genotype.label, 0, fold)

    def test_stopped_and_resumed(self, mine, tiny, recipe, tmp_path, alone, stopping, stop, retrained, content):
        with pytest.raises(stop):
            retrain([mine], tiny, recipe, tmp_path / "run", seeds=2, compute=alone, progress=stopping(7))
        run = resume(tmp_path / "run", alone)
        assert run.result == retrained.result
        assert content(run.path).keys() == content(retrained.path).keys()
        for fold in FOLDS:
            for seed in (0, 1):
                assert replica(run, "mine", seed, fold) == replica(retrained, "mine", seed, fold)

    def test_folds_of_one_genotype_run_together(self, mine, tiny, recipe, tmp_path, retrained, monkeypatch):
        groups = []

        def watched(replicas, *about):
            groups.append([one.fold for one in replicas])
            return train(replicas, *about)

        monkeypatch.setattr("nas_mer.runs.trainings.train", watched)
        run = retrain([mine], tiny, recipe, tmp_path / "run", compute=Compute(workers=1, group=9))
        assert sorted(groups) == [["alpha/s01", "beta/s01", "beta/s02"], ["alpha/s02"]]
        for one, other in zip(predictions(run), predictions(retrained), strict=False):
            np.testing.assert_allclose(one.logits, other.logits, rtol=1e-2, atol=2e-3)


class TestRefused:
    @pytest.fixture
    def refused(self, tiny, recipe, tmp_path):
        def attempt(message, *genotypes, **changes):
            asked = {"genotypes": genotypes, "dataset": tiny, "recipe": recipe, "out": tmp_path / "runs" / "new"}
            with pytest.raises(UserError, match=message):
                retrain(**asked | changes)
            assert not (tmp_path / "runs").exists()

        return attempt

    def test_another_dataset(self, refused, mine, made, tmp_path):
        message = r"^mine: was found on another dataset than 'tiny'; on this one its genotypes may have seen"
        made(size=17).save(tmp_path / "other")
        refused(message, mine, dataset=tmp_path / "other")
        refused(message, mine, databases=["beta"])

    def test_a_fold_without_genotype(self, refused, mine):
        folds = {fold: choice for fold, choice in mine.folds.items() if fold.startswith("alpha")}
        message = r"^mine: has no genotype for beta/s01, beta/s02, whose search failed or is not begun"
        refused(message, replace(mine, folds=folds))

    def test_two_of_one_name(self, refused, mine, space):
        message = r"two things to retrain are called 'mine'; rename one"
        refused(message, mine, (space, replace(space.genotype("rcn"), name="mine")))
        other = dict(mine.folds, **{"beta/s01": mine.folds["alpha/s02"]})
        refused(message, mine, replace(mine, folds=other))

    def test_one_that_is_given_twice_is_trained_once(self, mine, tiny, recipe, tmp_path, alone):
        once = recipe.model_copy(update={"epochs": 1})
        run = retrain([mine, replace(mine)], tiny, once, tmp_path / "run", compute=alone)
        assert run.config.genotypes == ("mine",)
        assert len(list(run.path.rglob("replicas/*/*/*/*.safetensors"))) == 4

    def test_maps_of_other_channels(self, refused, mine, space):
        grey = SearchSpace.parse(space.source.replace("channels: 3, size", "channels: 1, size"), "grey.yaml")
        refused(
            r"grey\.yaml: input\.channels is 1",
            replace(mine, folds=dict(mine.folds, **{"beta/s01": Choice(grey, grey.genotype("rcn"))})),
        )
