import csv
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from nas_mer.data import CLASSES, Dataset
from nas_mer.data.frames import preparation_like
from nas_mer.errors import UserError
from nas_mer.nn.activation import enlarged
from nas_mer.runs import Choice, Nested, load_run, nested_of, predictions, retrain
from nas_mer.runs.predicting import (
    activation_figure,
    chosen_samples,
    draw_activation,
    find_case,
    predict,
    trained_network,
)
from nas_mer.runs.retrainings.config import genotype_of
from nas_mer.runs.tensors import packed, read_tensors, write_tensors
from nas_mer.score import Predictions

FOLDS = ["alpha/s01", "alpha/s02", "beta/s01", "beta/s02"]


@pytest.fixture(scope="module")
def genotypes(space):
    return [(space, space.genotype("rcn-f")), (space, space.genotype("rcn"))]


@pytest.fixture(scope="module")
def retrained(genotypes, tiny, recipe, tmp_path_factory, alone):
    """Two genotypes, two seeds, four folds; each map is normalised by itself."""
    path = tmp_path_factory.mktemp("runs") / "retrained"
    return retrain(genotypes, tiny, recipe, path, seeds=2, compute=alone)


@pytest.fixture(scope="module")
def standardised(genotypes, tiny, recipe, tmp_path_factory, alone):
    """One genotype and seed; maps are normalised by what the training samples have taught."""
    how = recipe.model_copy(update={"normalise": "standardise"})
    return retrain(genotypes[:1], tiny, how, tmp_path_factory.mktemp("runs") / "standardised", compute=alone)


@pytest.fixture
def copy(retrained, tmp_path):
    """The same run, to be damaged."""
    shutil.copytree(retrained.path, tmp_path / "copy")
    return load_run(tmp_path / "copy")


@pytest.fixture
def case(tiny):
    """A clip, by its name or file."""
    dataset = Dataset.load(tiny)
    return lambda clip: find_case(dataset, str(clip), preparation_like(dataset))


@pytest.fixture
def saved(tmp_path):
    """A map in a file, which is no sample of the dataset."""
    np.save(tmp_path / "own.npy", np.random.default_rng(5).normal(size=(3, 16, 16)).astype(np.float32))
    return tmp_path / "own.npy"


def stored(run):
    """What the run wrote of each genotype, seed and sample: logits."""
    with (run.path / "predictions.csv").open(newline="") as file:
        return {
            (row["genotype"], int(row["seed"]), f"{row['database']}/{row['subject']}/{row['clip']}"): [
                float(row[f"logit_{name}"]) for name in CLASSES
            ]
            for row in csv.DictReader(file)
        }


def fail(run, genotype, seed, fold):
    """Let the training of a network have failed."""
    file = run.path / "replicas" / genotype / str(seed) / f"{fold}.safetensors"
    _, about = read_tensors(file)
    write_tensors(file, packed({}, {**about, "failure": f"seed {seed}, fold {fold}: it diverged"}))


class TestTrainedNetwork:
    def test_says_again_what_the_run_wrote_of_held_out_samples(self, retrained, standardised, tiny):
        dataset = Dataset.load(tiny)
        for run, genotype, seed in ((retrained, "rcn-f", 0), (retrained, "rcn", 1), (standardised, "rcn-f", 0)):
            written = stored(run)
            for fold in FOLDS:
                index = np.flatnonzero(dataset.subjects == fold)
                logits = trained_network(run, genotype, seed, fold)(dataset.maps[index])
                expected = [written[genotype, seed, str(dataset.samples[i])] for i in index]
                np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)

    def test_of_a_nested_search_each_fold_has_its_own_genotype(self, nested, tiny, recipe, tmp_path, alone):
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

    def test_one_that_failed_or_is_to_come(self, copy):
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

    def test_a_clip_of_the_dataset_is_shown_to_those_who_have_not_seen_its_subject(self, retrained, case):
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

    def test_what_failed_or_is_to_come_is_told(self, copy, case, saved):
        fail(copy, "rcn", 0, FOLDS[0])
        (copy.path / "replicas" / "rcn" / "1" / f"{FOLDS[1]}.safetensors").unlink()
        said = predict(copy, case(saved), "rcn")
        assert len(said.networks) == 6
        assert said.notes == (
            "1 of 8 trainings failed and have no say: seed 0, fold alpha/s01: it diverged",
            "1 of 8 trainings are still to come",
        )

    def test_no_network(self, copy, case, saved):
        for seed in (0, 1):
            fail(copy, "rcn", seed, FOLDS[0])
        with pytest.raises(UserError, match=r"no network is trained of rcn.*2 of 2 trainings failed.*it diverged"):
            predict(copy, case("alpha/s01/positive_1"), "rcn")
        shutil.rmtree(copy.path / "replicas")
        with pytest.raises(
            UserError, match="8 of 8 trainings are still to come; continue it with: nas-mer runs resume"
        ):
            predict(copy, case(saved), "rcn")

    def test_which_genotype(self, retrained):
        with pytest.raises(UserError, match=r"holds 2 genotypes; name one, as in .*:rcn-f; known: rcn-f, rcn"):
            genotype_of(retrained, None)
        assert genotype_of(retrained, "rcn") == "rcn"
        with pytest.raises(UserError, match="did you mean 'rcn-f'"):
            genotype_of(retrained, "rcn-ff")


class TestCase:
    def test_a_sample_up_to_case_and_zeros(self, case, tiny):
        dataset = Dataset.load(tiny)
        found = case("alpha/S1/Positive_01")
        index = [str(sample) for sample in dataset.samples].index("alpha/s01/positive_1")
        assert (found.name, found.label, found.fold) == ("alpha/s01/positive_1", "positive", "alpha/s01")
        np.testing.assert_array_equal(found.flow_map, dataset.maps[index])

    def test_a_sample_comes_before_a_file_of_its_name(self, case, tmp_path, monkeypatch):
        """The file's frames would be shown to networks that were trained on them."""
        (tmp_path / "alpha/s01/again").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        assert case("alpha/s01/again").fold == "alpha/s01"
        with pytest.raises(UserError, match="no pictures in it"):
            case("./alpha/s01/again")

    @pytest.mark.parametrize(
        ("clip", "hint"),
        [
            ("nothing.mp4", "and clips of 'tiny' are named as alpha/s01/again"),
            ("/a/b", "and clips of 'tiny' are named as"),
            ("alpha/s03/again", "and alpha has no subject 's03'; did you mean 's0"),
            ("alpha/s01/agan", "and alpha/s01 has no clip 'agan'; did you mean 'again'"),
        ],
    )
    def test_no_such_clip(self, case, clip, hint):
        with pytest.raises(UserError) as error:
            case(clip)
        assert f"{clip}: no such file or folder, {hint}" in str(error.value)

    def test_a_stretched_map_is_no_flow(self, case, tmp_path):
        np.save(tmp_path / "m.npy", np.zeros((3, 8, 8), np.uint8))
        with pytest.raises(UserError, match="a map stretched to their range, but the maps of 'tiny' are flow"):
            case(tmp_path / "m.npy")


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
