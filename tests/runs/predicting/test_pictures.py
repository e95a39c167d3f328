import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from nas_mer.data import CLASSES
from nas_mer.errors import UserError
from nas_mer.runs import predictions
from nas_mer.runs.predicting import activation_figure, chosen_samples, draw_activation
from nas_mer.score import Predictions


class TestChosen:
    @pytest.fixture
    def made_up(self):
        """Predictions of 60 samples in three databases: classes in turn, every third one wrong."""
        count = np.arange(60)
        labels, databases = count % 3, np.array(["a", "b", "c"])[count // 20]
        predicted = np.where(count % 7 < 3, (labels + 1) % 3, labels)
        logits = np.eye(3)[predicted] * np.random.default_rng(0).uniform(0.5, 4, (60, 1))
        subjects = np.array([f"{name}/s{i % 4}" for i, name in enumerate(databases)])
        clips = np.array([f"c{i}" for i in count])
        return Predictions("g", 0, CLASSES, databases, subjects, clips, labels, predicted, logits)

    def test_as_many_right_and_wrong_ones_of_each_class_from_all_databases(self, made_up):
        chosen = chosen_samples([made_up], each=3)
        number = [int(name.rpartition("/c")[2]) for name in chosen]
        assert len(set(chosen)) == 18
        kinds = Counter((made_up.labels[i], made_up.labels[i] == made_up.predicted[i]) for i in number)
        assert set(kinds.values()) == {3}
        assert len(kinds) == 6
        assert Counter(made_up.databases[number].tolist()) == {"a": 6, "b": 6, "c": 6}

    def test_the_first_is_typical(self, made_up):
        first = int(chosen_samples([made_up], each=1)[0].rpartition("/c")[2])
        certainty = softmax(made_up.logits, axis=1).max(axis=1)
        kind = (made_up.labels == 0) & (made_up.predicted == 0) & (made_up.databases == made_up.databases[first])
        distance = np.abs(certainty - np.median(certainty[kind]))
        assert distance[first] == distance[kind].min()

    def test_does_not_depend_on_the_order_of_a_seeds_samples(self, made_up):
        order = np.random.default_rng(1).permutation(60)
        names = ("databases", "subjects", "clips", "labels", "predicted", "logits")
        other = replace(made_up, seed=1, **{name: getattr(made_up, name)[order] for name in names})
        assert chosen_samples([made_up, other]) == chosen_samples([made_up])

    def test_what_does_not_occur_is_left_out(self, made_up):
        perfect = replace(made_up, predicted=made_up.labels, logits=np.eye(3)[made_up.labels])
        assert len(chosen_samples([perfect], each=2)) == 6


class TestPictures:
    def test_held_out_networks_are_asked(self, retrained):
        figure = activation_figure(retrained, ["beta/s01/again", "alpha/s01/surprise_2"], "rcn-f")
        shown = [text.get_text() for text in figure.axes[0].texts]
        found = {f"{subject}/{clip}": i for i, (subject, clip) in enumerate(predictions(retrained)[0].keys())}
        for name in ("beta/s01/again", "alpha/s01/surprise_2"):
            seeds = [one for one in predictions(retrained) if one.genotype == "rcn-f"]
            mean = softmax([one.logits[found[name]] for one in seeds], axis=1).mean(axis=0)
            said = f"predicted {CLASSES[mean.argmax()]} {mean.max():.2f}".replace(" 0.", " .")
            assert {name, said} <= set(shown)
        assert shown.count("2 networks") == 2
        assert shown.count("conv \u2192 r0") == 2

    def test_without_being_asked_for_samples(self, retrained, tmp_path):
        draw_activation(retrained, tmp_path / "look.svg")
        found = [one for one in predictions(retrained) if one.genotype == "rcn-f"]  # the run's first
        text = (tmp_path / "look.svg").read_text()
        assert text.count("networks") == len(chosen_samples(found)) > 3  # matplotlib writes each text as a comment

    def test_a_genotype_without_a_trained_network(self, copy):
        shutil.rmtree(copy.path / "replicas" / "rcn")
        with pytest.raises(UserError, match=r"no network is trained of rcn: 8 of 8 trainings are still to come; "):
            activation_figure(copy, genotype="rcn")

    def test_a_sample_that_is_not_there(self, retrained):
        with pytest.raises(UserError, match="alpha/s01/agan: no such sample, and alpha/s01 has no clip"):
            activation_figure(retrained, ["alpha/s01/agan"])
