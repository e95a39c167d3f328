import numpy as np
import pytest
import torch

from nas_mer.data import Dataset
from nas_mer.errors import UserError
from nas_mer.export import model_of_genotype, model_of_run
from nas_mer.runs import predictions


class TestOfARun:
    def test_one_network_gives_the_logits_that_the_run_kept(self, run, tiny):
        model = model_of_run(run, "rcn-f", seed=1, fold="beta/s02")
        dataset = Dataset.load(tiny)
        (kept,) = [one for one in predictions(run) if (one.genotype, one.seed) == ("rcn-f", 1)]
        held_out = torch.from_numpy(dataset.maps[dataset.subjects == "beta/s02"])
        with torch.no_grad():
            found = model.module(held_out).numpy()
        np.testing.assert_allclose(found, kept.logits[kept.subjects == "beta/s02"], atol=1e-5)

    def test_several_average_their_probabilities(self, run):
        model = model_of_run(run, "rcn-a")
        maps = model.maps(4)
        with torch.no_grad():
            mean = torch.stack([one(maps).softmax(1) for one in model.networks]).mean(0)
            torch.testing.assert_close(model.module(maps).softmax(1), mean)
        assert len(model.networks) == 2 * 4
        assert "8 networks of seeds 0, 1, each without one of 4 subjects" in model.about["weights"]

    def test_a_seed_or_a_fold_alone(self, run):
        assert len(model_of_run(run, "rcn-a", seed=1).networks) == 4
        assert len(model_of_run(run, "rcn-a", fold="alpha/s01").networks) == 2

    def test_what_is_not_there(self, run):
        for asked, message in (
            ({}, "holds 2 genotypes; name one"),
            ({"genotype": "rcn-x"}, "has no genotype 'rcn-x'; did you mean 'rcn-"),
            ({"genotype": "rcn-f", "seed": 7}, "has no seed '7'; known: 0, 1"),
            ({"genotype": "rcn-f", "fold": "alpha/s1"}, r"has no fold 'alpha/s1'; did you mean 'alpha/s01'\?"),
        ):
            with pytest.raises(UserError, match=message):
                model_of_run(run, **asked)

    def test_it_says_what_it_is(self, run):
        about = model_of_run(run, "rcn-f", seed=0, fold="alpha/s01").about
        assert about["choices"] == "conv: wide, attention: conv-r0, recurrent: shortcut"
        assert about["weights"].endswith("protocol loso: seed 0, without alpha/s01")
        assert about["normalise"] == "instance"


def test_a_genotype_has_fresh_weights_that_do_not_depend_on_the_moment(space):
    torch.manual_seed(3)
    first, second = (model_of_genotype(space, space.genotype("rcn-f")) for _ in range(2))
    maps = first.maps(2)
    with torch.no_grad():
        assert torch.equal(first.module(maps), second.module(maps))
    assert not first.trained
