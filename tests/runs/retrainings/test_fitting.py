from dataclasses import replace

import numpy as np
import pytest

from nas_mer.data import Dataset, loso_folds
from nas_mer.errors import UserError
from nas_mer.handcrafted import BiWoof, LbpTop
from nas_mer.handcrafted.classifier import decision_values
from nas_mer.runs import load_run, predictions, resume, retrain
from nas_mer.runs.retrainings.config import places_of

DESCRIPTORS = [LbpTop(blocks=2), BiWoof(blocks=2)]


@pytest.fixture(scope="module")
def recorded(made, tmp_path_factory):
    """The folder of a dataset with clips of noise."""
    folder = tmp_path_factory.mktemp("data") / "recorded"
    plain = made()
    clips = np.random.default_rng(1).integers(256, size=(len(plain), 4, 10, 10)).astype(np.uint8)
    replace(plain, clips=clips).save(folder)
    return folder


@pytest.fixture
def retrained(recorded, space, recipe, alone, tmp_path):
    def retrained(out="run", genotypes=(), compute=alone, **more):
        chosen = {"descriptors": DESCRIPTORS, **more}
        return retrain(genotypes, recorded, recipe, tmp_path / out, compute=compute, **chosen)

    return retrained


def test_every_sample_is_asked_about_when_its_subject_is_held_out(retrained, recorded):
    dataset = Dataset.load(recorded)
    folds = loso_folds(dataset)
    found = predictions(retrained())
    assert [one.genotype for one in found] == ["lbp-top", "bi-woof"]
    for one, descriptor in zip(found, DESCRIPTORS, strict=True):
        features = descriptor.features(descriptor.inputs(dataset))
        expected = [decision_values(descriptor, features, dataset.labels, fold) for fold in folds]
        assert (one.logits == np.concatenate(expected)).all()
        assert one.labels.tolist() == dataset.labels.tolist()


def test_beside_genotypes_with_several_seeds_they_are_fitted_once(retrained, space):
    run = retrained(genotypes=[(space, space.genotype("rcn"))], seeds=2)
    assert [(one.genotype, one.seed) for one in predictions(run)] == [
        ("rcn", 0), ("rcn", 1), ("lbp-top", 0), ("bi-woof", 0)
    ]  # fmt: skip
    assert len(places_of(run)) == 4 * 4
    assert [row["genotype"] for row in run.result["means"]] == ["rcn"]
    assert run.config.handcrafted == dict(zip(("lbp-top", "bi-woof"), DESCRIPTORS, strict=True))
    assert load_run(run.path).config == run.config


def test_a_stopped_run_goes_on(retrained, stopping, stop, alone):
    whole = retrained()
    with pytest.raises(stop):
        retrained("stopped", progress=stopping(3))
    stopped = load_run(whole.path.with_name("stopped"))
    assert len(list(stopped.path.rglob("*.safetensors"))) == 3
    again = resume(stopped.path, alone)
    assert again.result == whole.result
    assert (again.path / "predictions.csv").read_bytes() == (whole.path / "predictions.csv").read_bytes()


class TestRefused:
    def test_a_dataset_without_clips(self, tiny, recipe, tmp_path):
        with pytest.raises(UserError, match="lbp-top describes clips, and it keeps none"):
            retrain([], tiny, recipe, tmp_path / "run", descriptors=[LbpTop()])
        assert not (tmp_path / "run").exists()

    def test_two_of_one_name(self, retrained, tmp_path):
        with pytest.raises(UserError, match="two things to retrain are called 'bi-woof'; rename one"):
            retrained(descriptors=[BiWoof(), BiWoof(blocks=2)])
        assert list(tmp_path.iterdir()) == []

    def test_other_clips(self, retrained, recorded, stopping, stop, alone, tmp_path):
        for number, descriptor in enumerate(DESCRIPTORS):
            with pytest.raises(stop):
                retrained(f"run{number}", descriptors=[descriptor], progress=stopping(1))
        clips = np.load(recorded / "clips.npy")
        np.save(recorded / "clips.npy", 255 - clips)
        try:
            with pytest.raises(UserError, match="its clips are not those of this run any more"):
                resume(tmp_path / "run0")
            assert resume(tmp_path / "run1", alone).finished  # it describes maps
        finally:
            np.save(recorded / "clips.npy", clips)
