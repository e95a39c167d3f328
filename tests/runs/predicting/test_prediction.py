import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from nas_mer.data import CLASSES, Dataset
from nas_mer.data.frames import preparation_like
from nas_mer.errors import UserError
from nas_mer.nn.activation import enlarged
from nas_mer.runs import Choice, Nested, retrain
from nas_mer.runs.predicting import find_case, predict, trained_network

FOLDS = ["alpha/s01", "alpha/s02", "beta/s01", "beta/s02"]


class TestPredict:
    def test_of_networks_of_several_sizes(self, space, tiny, recipe, tmp_path, alone):
        """Their class maps are averaged at the size of the largest, that of the others enlarged."""
        choices = {}
        for fold, pool in zip(FOLDS, (2, 3, 2, 3), strict=True):
            sized = space.with_parameters(pool=pool)
            genotype = replace(sized.genotype("rcn"), parameters=dict(sized.overrides))
            choices[fold] = Choice(sized, genotype)
        mixed = Nested("mixed", choices, Dataset.load(tiny).fingerprint)
        run = retrain([mixed], tiny, recipe, tmp_path / "run", compute=alone)
        np.save(tmp_path / "clip.npy", np.random.default_rng(0).normal(size=(3, 16, 16)))
        dataset = Dataset.load(tiny)
        case = find_case(dataset, str(tmp_path / "clip.npy"), preparation_like(dataset))
        prediction = predict(run, case)
        assert prediction.class_maps.shape == (3, 3, 3)
        assert len(prediction.networks) == 4
        own = [predict(run, replace(case, fold=fold)).class_maps for fold in FOLDS]
        assert [maps.shape[-1] for maps in own] == [2, 3, 2, 3]
        grown = [maps if maps.shape[-1] == 3 else enlarged(torch.from_numpy(maps), (3, 3)).numpy() for maps in own]
        np.testing.assert_allclose(prediction.class_maps, np.mean(grown, axis=0), rtol=1e-5)

    def test_a_clip_of_the_dataset_is_shown_to_those_who_have_not_seen_its_subject(self, retrained, case, stored):
        said = predict(retrained, case("alpha/s02/positive_1"), "rcn-f")
        assert said.networks == ((0, "alpha/s02"), (1, "alpha/s02"))
        written = stored(retrained)
        expected = [written["rcn-f", seed, "alpha/s02/positive_1"] for seed in (0, 1)]
        np.testing.assert_allclose(said.logits, expected, rtol=1e-4, atol=1e-5)
        assert said.as_json()["label"] == "positive"
        assert said.as_json()["held_out"] == "alpha/s02"

    def test_another_clip_is_shown_to_all(self, retrained, case, saved):
        said = predict(retrained, case(saved), "rcn")
        one = np.load(saved)[None]
        logits = {
            (seed, fold): trained_network(retrained, "rcn", seed, fold)(one)[0].numpy()
            for seed in (0, 1)
            for fold in FOLDS
        }
        assert dict(zip(said.networks, said.logits.tolist(), strict=True)) == pytest.approx(
            {key: pytest.approx(value.tolist(), rel=1e-5) for key, value in logits.items()}
        )

    def test_numbers_over_networks(self, retrained, case, saved):
        said = predict(retrained, case(saved), "rcn")
        logits = np.array([[0, 2, 0], [0, 1, 0], [3, 0, 0], [0, 0.5, 0], [0, 4, 1]], np.float32)
        told = replace(said, logits=logits, networks=tuple((0, str(i)) for i in range(5))).as_json()
        exponents = np.exp(logits.astype(float))
        shares = exponents / exponents.sum(axis=1, keepdims=True)
        assert told["predicted"] == "positive"
        for index, name in enumerate(CLASSES):
            part = told["classes"][name]
            ordered = sorted(shares[:, index])
            assert part["probability"] == pytest.approx(sum(ordered) / 5, rel=1e-5)
            variance = sum((value - sum(ordered) / 5) ** 2 for value in ordered) / 4
            assert part["deviation"] == pytest.approx(variance**0.5, rel=1e-5)
            low = ordered[0] + 0.2 * (ordered[1] - ordered[0])  # 5 % of the way through 4 steps
            high = ordered[4] - 0.2 * (ordered[4] - ordered[3])
            assert part["range"] == pytest.approx([low, high], rel=1e-5)
        assert [told["classes"][name]["votes"] for name in CLASSES] == pytest.approx([0.2, 0.8, 0])

    def test_one_network_has_no_spread(self, retrained, case, saved):
        said = predict(retrained, case(saved), "rcn")
        told = replace(said, logits=said.logits[:1], networks=said.networks[:1]).as_json()
        assert {(part["deviation"], part["range"]) for part in told["classes"].values()} == {(None, None)}

    def test_maps_are_means_over_networks(self, retrained, case, saved):
        said = predict(retrained, case(saved), "rcn-f")
        looks = [
            trained_network(retrained, "rcn-f", seed, fold).look(np.load(saved)[None])
            for seed in (0, 1)
            for fold in FOLDS
        ]
        np.testing.assert_allclose(said.class_maps, np.mean([look.classes[0] for look in looks], axis=0), atol=1e-5)
        (hop,) = said.attention
        assert hop == ("conv", "r0")
        np.testing.assert_allclose(
            said.attention[hop], np.mean([look.attention[hop][0] for look in looks], axis=0), atol=1e-5
        )

    def test_what_failed_or_is_to_come_is_told(self, copy, case, saved, fail):
        fail(copy, "rcn", 0, FOLDS[0])
        (copy.path / "replicas" / "rcn" / "1" / f"{FOLDS[1]}.safetensors").unlink()
        said = predict(copy, case(saved), "rcn")
        assert len(said.networks) == 6
        assert said.notes == (
            "1 of 8 trainings failed and have no say: seed 0, fold alpha/s01: it diverged",
            "1 of 8 trainings are still to come",
        )

    def test_no_network(self, copy, case, saved, fail):
        for seed in (0, 1):
            fail(copy, "rcn", seed, FOLDS[0])
        with pytest.raises(UserError, match=r"no network is trained of rcn.*2 of 2 trainings failed.*it diverged"):
            predict(copy, case("alpha/s01/positive_1"), "rcn")
        shutil.rmtree(copy.path / "replicas")
        with pytest.raises(
            UserError, match="8 of 8 trainings are still to come; continue it with: nas-mer runs resume"
        ):
            predict(copy, case(saved), "rcn")
