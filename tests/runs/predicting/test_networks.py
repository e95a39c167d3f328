import numpy as np
import pytest

from nas_mer.data import Dataset
from nas_mer.errors import UserError
from nas_mer.runs import nested_of, retrain
from nas_mer.runs.predicting import trained_network
from nas_mer.runs.tensors import packed, read_tensors, write_tensors

FOLDS = ["alpha/s01", "alpha/s02", "beta/s01", "beta/s02"]


class TestTrainedNetwork:
    def test_says_again_what_the_run_wrote_of_held_out_samples(self, retrained, standardised, tiny, stored):
        dataset = Dataset.load(tiny)
        for run, genotype, seed in ((retrained, "rcn-f", 0), (retrained, "rcn", 1), (standardised, "rcn-f", 0)):
            written = stored(run)
            for fold in FOLDS:
                index = np.flatnonzero(dataset.subjects == fold)
                logits = trained_network(run, genotype, seed, fold)(dataset.maps[index])
                expected = [written[genotype, seed, str(dataset.samples[i])] for i in index]
                np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)

    def test_of_a_nested_search_each_fold_has_its_own_genotype(self, nested, tiny, recipe, tmp_path, alone, stored):
        run = retrain([nested_of(nested)], tiny, recipe, tmp_path / "run", compute=alone)
        dataset, written = Dataset.load(tiny), stored(run)
        (name,) = run.config.genotypes
        for fold in FOLDS:
            index = np.flatnonzero(dataset.subjects == fold)
            logits = trained_network(run, name, 0, fold)(dataset.maps[index])
            expected = [written[name, 0, str(dataset.samples[i])] for i in index]
            np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)

    def test_maps_of_another_size_are_resized_as_a_datasets_are(self, retrained, tiny):
        small = Dataset("small", Dataset.load(tiny).maps[:, :, ::2, ::2].copy(), Dataset.load(tiny).samples)
        network = trained_network(retrained, "rcn", 0, FOLDS[0])
        grown = small.resized(16).numpy()
        np.testing.assert_allclose(network(small.maps), network(grown), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            (("rcn-g", 0, FOLDS[0]), "has no genotype 'rcn-g'; did you mean 'rcn-f'"),
            (("rcn", 2, FOLDS[0]), "has no seed '2'; known: 0, 1"),
            (("rcn", 0, "alpha/s03"), "has no fold 'alpha/s03'; did you mean 'alpha/s0"),
        ],
    )
    def test_one_that_does_not_exist(self, retrained, asked, message):
        with pytest.raises(UserError, match=message):
            trained_network(retrained, *asked)

    def test_one_that_failed_or_is_to_come(self, copy, fail):
        fail(copy, "rcn", 0, FOLDS[0])
        with pytest.raises(UserError, match=r"the training failed: seed 0, fold alpha/s01: it diverged"):
            trained_network(copy, "rcn", 0, FOLDS[0])
        (copy.path / "replicas" / "rcn" / "1" / f"{FOLDS[1]}.safetensors").unlink()
        with pytest.raises(UserError, match=r"rcn, seed 1, fold alpha/s02 is not trained yet; .*runs resume"):
            trained_network(copy, "rcn", 1, FOLDS[1])

    def test_a_file_of_another_network_is_named(self, copy):
        place = copy.path / "replicas" / "rcn" / "0" / f"{FOLDS[0]}.safetensors"
        tensors, about = read_tensors(place)
        short = {name: tensor for name, tensor in tensors.items() if name != "head.bias"}
        write_tensors(place, packed(short, about))
        with pytest.raises(UserError, match=r"s01\.safetensors: holds another network .* lacks head\.bias"):
            trained_network(copy, "rcn", 0, FOLDS[0])
        write_tensors(place, packed({**tensors, "head.bias": tensors["head.bias"][:2].clone()}, about))
        with pytest.raises(UserError, match=r"s01\.safetensors: holds another network"):
            trained_network(copy, "rcn", 0, FOLDS[0])
