import itertools
import json
import shutil
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from nas_mer.data import Dataset
from nas_mer.errors import UserError
from nas_mer.handcrafted import find_descriptor
from nas_mer.runs import Choice, Compute, Nested, load_run, predictions, retrain
from nas_mer.score import by_genotype, score
from nas_mer.space import SearchSpace
from nas_mer.tabular import missing_from, networks, pack


class TestNetworks:
    def test_isomorphic_genotypes_are_one(self, branches):
        assert branches.size == 4
        assert [genotype.name for _, genotype in networks(branches)] == ["conv-conv", "conv-skip", "skip-skip"]

    def test_names_begin_with_decisions_of_few_options(self):
        names = {genotype.name for _, genotype in networks(SearchSpace.load("rcn"))}
        assert len(names) == 56
        assert {"standard-plain-none", "wide-shortcut-conv-r0"} < names

    def test_a_space_that_is_too_large(self, branches):
        with pytest.raises(UserError, match=r"branches.yaml: has 4 genotypes.*--limit \(now 3\)"):
            networks(branches, limit=3)

    def test_two_of_one_name(self, branches):
        source = branches.source.replace("conv: [{op: conv}, relu], skip: skip", "x: skip, x-x: [{op: conv}, relu]")
        clashing = SearchSpace.parse(source.partition("genotypes")[0], "clashing.yaml")
        networks(clashing)  # x-x-x is one network, by either name
        odd = source.replace("x-x: [{op: conv}, relu]", "x-x: [{op: conv}]", 1).partition("genotypes")[0]
        with pytest.raises(UserError, match=r"odd.yaml: two genotypes would be called 'x-x-x'; rename"):
            networks(SearchSpace.parse(odd, "odd.yaml"))


class TestMissingFrom:
    @pytest.fixture
    def half(self, retrained, tmp_path):
        """A table of two networks with seed 0; one of them stands there by its other genotype."""
        run = edited(retrained, tmp_path / "half", genotypes=["skip-skip", "conv-skip"], seeds=[0])
        mirror = run.path / "genotypes/conv-skip.yaml"
        mirror.write_text(mirror.read_text().replace("a: conv", "a: skip").replace("b: skip", "b: conv"))
        pack([run], "half", partial=True).save(tmp_path / "half.npz")
        return tmp_path / "half.npz"

    def test_networks_and_seeds(self, half, branches, tiny, recipe):
        def missing(seeds):
            found = missing_from(half, networks(branches), tiny, recipe, seeds=seeds)
            assert all(space is branches for space, _ in found)
            return [genotype.label for _, genotype in found]

        whole = [genotype.label for _, genotype in networks(branches)]
        assert missing(1) == ["conv-conv"]
        assert missing(2) == missing([1]) == whole

    def test_it_would_not_fit(self, half, branches, tiny, recipe):
        with pytest.raises(UserError, match=r"half.npz: recipe.epochs 2, but 3 in this run; a table has one$"):
            missing_from(half, networks(branches), tiny, recipe.model_copy(update={"epochs": 3}))
        other = SearchSpace.parse(branches.source, "branches.yaml", size=20)
        with pytest.raises(
            UserError, match=r"half.npz: space branches \(\w+\), size 16, but branches \(\w+\), size 20 in"
        ):
            missing_from(half, networks(other), tiny, recipe)
        with pytest.raises(UserError, match=r"half.npz: dataset fingerprint \w+, but \w+ in this run; a table"):
            missing_from(half, networks(branches), tiny, recipe, databases=["alpha"])


def values(row):
    """All numbers of a score."""
    parts = [row.composite, *row.databases.values()]
    return [(p.uar, p.uar_spread, p.uar_interval, p.uf1, p.uf1_spread, p.uf1_interval, p.samples) for p in parts]


def edited(run, path, **changes):
    """A copy of a run that was asked for something else."""
    shutil.copytree(run.path, path)
    asked = json.loads((path / "run.json").read_text())
    asked["config"] |= changes
    (path / "run.json").write_text(json.dumps(asked))
    return load_run(path)


class TestPack:
    def test_scores_are_those_of_the_run(self, packed, retrained):
        groups = by_genotype(predictions(retrained))
        assert groups.keys() == {genotype.label for genotype in packed.genotypes}
        for name, seeds in groups.items():
            assert values(packed.score(name, resamples=200)) == values(score(*seeds, resamples=200))

    def test_predictions_are_those_of_the_run(self, packed, retrained, tiny):
        dataset = Dataset.load(tiny)
        np.testing.assert_array_equal(packed.subjects, dataset.subjects)
        np.testing.assert_array_equal(packed.labels, dataset.labels)
        keys = [(f"{one.database}/{one.subject}", one.clip) for one in dataset.samples]
        for said in predictions(retrained):
            order = [said.keys().index(key) for key in keys]
            found = packed.predictions(said.genotype, said.seed)
            np.testing.assert_array_equal(found.predicted, said.predicted[order])
            np.testing.assert_array_equal(found.logits, said.logits[order].astype(np.float16))

    def test_folds_are_what_retraining_a_nested_search_gives(self, packed, retrained, branches, tiny, recipe, tmp_path):
        subjects = ["alpha/s01", "alpha/s02", "beta/s01", "beta/s02"]
        genotypes = [branches.genotype({"a": a, "b": b}) for a, b in (("conv", "skip"), ("skip", "skip"))]
        chosen = dict(zip(subjects, genotypes * 2, strict=True))
        folds = {subject: Choice(branches, genotype) for subject, genotype in chosen.items()}
        nested = Nested("found", folds, retrained.config.dataset.fingerprint)
        run = retrain([nested], tiny, recipe, tmp_path / "nested", compute=Compute(workers=1))
        (theirs,) = predictions(run)
        ours = packed.folds(chosen, seed=0)
        for subject in subjects:  # clips are not called the same
            rows = np.argsort(theirs.clips[theirs.subjects == subject])
            said = theirs.logits[theirs.subjects == subject][rows].astype(np.float16)
            np.testing.assert_array_equal(ours.logits[ours.subjects == subject], said)

    def test_what_it_is_of(self, packed, retrained):
        about = packed.about
        assert about.recipe == retrained.config.recipe
        assert about.dataset.fingerprint == retrained.config.dataset.fingerprint
        assert about.versions == retrained.about["versions"]
        assert about.command == "nas-mer benchmark run branches --data tiny --recipe RECIPE.yaml --seeds 2"

    def test_neither_clips_nor_places_on_the_disk_are_in_it(self, packed, retrained, tiny):
        text = json.dumps(packed.about.model_dump(mode="json")) + " ".join(packed.subjects)
        clips = {sample.clip for sample in Dataset.load(tiny).samples}
        assert not any(
            word in text for word in chain(clips, map(str, tiny.parents), retrained.path.parts[1:]) if len(word) > 3
        )

    def test_several_runs_in_any_order(self, retrained, packed, tmp_path):
        parts = [
            edited(retrained, tmp_path / str(number), genotypes=names)
            for number, names in enumerate((["skip-skip", "conv-skip"], ["conv-skip", "conv-conv"]))
        ]
        mirror = parts[1].path / "genotypes/conv-skip.yaml"  # the same network by its other genotype
        mirror.write_text(mirror.read_text().replace("a: conv", "a: skip").replace("b: skip", "b: conv"))
        packed.save(tmp_path / "one.npz")
        for runs in (parts, parts[::-1]):
            pack(runs, "branches-16").save(tmp_path / "two.npz")
            assert (tmp_path / "two.npz").read_bytes() == (tmp_path / "one.npz").read_bytes()
        with pytest.raises(
            UserError, match=r"without networks of branches that its table needs, such as conv-conv with seed 0, 1$"
        ):
            pack(parts[:1], "branches-16")

    def test_runs_and_tables_of_other_networks_and_seeds(self, retrained, packed, tmp_path):
        both = ["skip-skip", "conv-skip"]
        held = [(1, both), (0, ["conv-conv"]), (0, both), (1, ["conv-conv"])]
        runs = [
            edited(retrained, tmp_path / f"run{number}", seeds=[seed], genotypes=some)
            for number, (seed, some) in enumerate(held)
        ]
        for number, (run, (_, some)) in enumerate(zip(runs, held, strict=True)):
            part = pack([run], f"part{number}", partial=True)
            assert {genotype.label for genotype in part.genotypes} == {*some}
            part.save(tmp_path / f"part{number}.npz")
        files = [tmp_path / f"part{number}.npz" for number in range(4)]
        packed.save(tmp_path / "one.npz")
        for sources in ([*files[:3], runs[3], files[0]], [runs[2], *files]):
            pack(sources, "branches-16").save(tmp_path / "two.npz")
            assert (tmp_path / "two.npz").read_bytes() == (tmp_path / "one.npz").read_bytes()
        with pytest.raises(UserError, match=r"such as conv-skip with seed 1; skip-skip with seed 1$"):
            pack(files[1:], "branches-16")
        some = pack(files[1:], "some", partial=True)
        assert some.title.startswith("some: 3 genotypes of branches at 16x16")
        assert (some.seeds, some.about.partial) == ((0,), False)
        held = pack([files[1], files[0]], "other", partial=True)  # seed 1 has more
        assert (held.seeds, [genotype.label for genotype in held.genotypes]) == ((1,), ["conv-skip", "skip-skip"])

    def test_of_networks_and_seeds_that_are_there_the_most_are_kept(self, table, tmp_path):
        rng = np.random.default_rng(5)
        for number in range(6):
            there = rng.random((6, 4)) < 0.7  # networks x seeds
            files = []
            for network, seed in np.argwhere(there):
                one = {"genotypes": (table.about.genotypes[network],), "seeds": (int(seed),)}
                said = {"logits": table.logits[network, :1][None], "predicted": table.predicted[network, :1][None]}
                files.append(tmp_path / f"{number}-{network}-{seed}.npz")
                replace(table, about=table.about.model_copy(update=one), **said).save(files[-1])
            some = pack(files, "some", partial=True)
            most = max(
                len(seeds) * there[:, seeds].all(axis=1).sum()
                for count in range(1, 5)
                for seeds in map(list, itertools.combinations(range(4), count))
            )
            assert some.predicted.shape[:2] == (len(some.genotypes), len(some.seeds))
            assert len(some.genotypes) * len(some.seeds) == most

    def test_the_same_maps_by_another_name(self, retrained, packed, tmp_path):
        named = retrained.config.dataset.model_copy(update={"name": "unpacked"}).model_dump(mode="json")
        other = edited(retrained, tmp_path / "r", dataset=named)
        found = pack([retrained, other], "branches-16")
        assert found.about == packed.about
        np.testing.assert_array_equal(found.logits, packed.logits)

    @pytest.mark.parametrize("kept", [slice(0, None, 2), slice(1, None, 2), slice(54, None), slice(0, 30)])
    def test_wherever_in_the_space_the_networks_stand(self, table, tmp_path, kept):
        rest = [place for place in range(56) if place not in range(56)[kept]]
        for name, places in (("kept", [*range(56)[kept]]), ("rest", rest)):
            genotypes = tuple(table.about.genotypes[place] for place in places)
            about = table.about.model_copy(update={"genotypes": genotypes, "versions": {name: "1"}})
            said = {"logits": table.logits[places], "predicted": table.predicted[places]}
            replace(table, name=name, about=about, **said).save(tmp_path / f"{name}.npz")
        some = pack([tmp_path / "kept.npz"], "some", partial=True)
        assert some.about.partial
        assert some.about.genotypes == table.about.genotypes[kept]
        np.testing.assert_array_equal(some.logits, table.logits[kept])
        assert some.title.startswith(f"some: {len(some.genotypes)} genotypes, not all, of rcn")
        with pytest.raises(UserError, match=r"kept.npz: without networks of rcn that its table needs, such as "):
            pack([tmp_path / "kept.npz"], "some")
        whole = pack([tmp_path / "rest.npz", tmp_path / "kept.npz"], "whole")
        assert not whole.about.partial
        assert whole.about.versions == {"rest": "1", "kept": "1"}
        np.testing.assert_array_equal(whole.predicted, table.predicted)

    def test_a_large_space_is_not_gone_through(self, table, tmp_path, monkeypatch):
        """Ten that are missing are enough to know; of the networks that are there the names are those given."""
        about = table.about.model_copy(update={"genotypes": table.about.genotypes[-2:]})
        said = {"logits": table.logits[-2:], "predicted": table.predicted[-2:]}
        replace(table, about=about, **said).save(tmp_path / "last.npz")
        looked_at, every = [], SearchSpace.__iter__
        monkeypatch.setattr(
            SearchSpace, "__iter__", lambda space: (looked_at.append(one) or one for one in every(space))
        )
        with pytest.raises(UserError, match="without networks of rcn"):
            pack([tmp_path / "last.npz"], "whole")
        assert len(looked_at) == 10
        assert pack([tmp_path / "last.npz"], "some", partial=True).about.genotypes == about.genotypes
        assert len(looked_at) == 20

    def test_a_run_that_has_just_begun(self, retrained, tmp_path):
        run = edited(retrained, tmp_path / "begun")
        for file in run.path.glob("replicas/*/*/beta/s02.safetensors"):
            file.unlink()
        with pytest.raises(UserError, match="begun: no network is trained on all folds yet; continue with: nas-mer"):
            pack([run], "none", partial=True)
        shutil.rmtree(run.path / "replicas")
        with pytest.raises(UserError, match="begun: no network is trained on all folds yet; continue with: nas-mer"):
            pack([run], "none", partial=True)
        assert pack([run, retrained], "some", partial=True).about == pack([retrained], "some").about

    def test_descriptors_alone(self, retrained, tmp_path):
        asked = find_descriptor("bi-woof", {}).model_dump(mode="json")
        other = edited(retrained, tmp_path / "r", genotypes=[], handcrafted={"bi-woof": asked})
        with pytest.raises(UserError, match="r: has bi-woof alone; a table holds networks"):
            pack([other], "branches-16")

    def test_a_table_that_differs_from_a_run(self, retrained, packed, tmp_path):
        wrong = packed.predicted.copy()
        wrong[1] = (wrong[1] + 1) % 3
        logits = np.eye(3, dtype=np.float16)[wrong]
        replace(packed, predicted=wrong, logits=logits).save(tmp_path / "other.npz")
        with pytest.raises(UserError, match=r"whole:(\S+) and \S+other.npz:\1 are the same network .* with seed 0"):
            pack([retrained, tmp_path / "other.npz"], "branches-16")

    def test_a_network_of_which_two_runs_differ(self, branches, retrained, tiny, recipe, tmp_path):
        mirrored = branches.genotype({"a": "skip", "b": "conv"}, name="mirrored")
        other = retrain([(branches, mirrored)], tiny, recipe, tmp_path / "other", seeds=2, compute=Compute(workers=1))
        with pytest.raises(
            UserError, match=r"whole:conv-skip and .*other:mirrored are the same network and predict dif"
        ):
            pack([retrained, other], "branches-16")

    def test_runs_that_differ_otherwise(self, retrained, tmp_path):
        recipe = retrained.config.recipe.model_copy(update={"epochs": 7})
        other = edited(
            retrained,
            tmp_path / "r",
            classes=["surprise", "positive", "negative"],
            recipe=recipe.model_dump(mode="json"),
        )
        with pytest.raises(UserError) as told:
            pack([retrained, other], "branches-16")
        first, second = str(told.value).splitlines()
        assert "r: classes surprise, positive, negative, but negative, positive, surprise in" in first
        assert "r: recipe.epochs 7, but 2 in" in second

    def test_genotypes_of_two_sizes(self, retrained, tmp_path):
        other = edited(retrained, tmp_path / "r")
        with (other.path / "genotypes/conv-skip.yaml").open("a") as file:
            file.write("parameters: {size: 20}\n")
        with pytest.raises(
            UserError, match=r"one size, found \S+ of branches \(\w+\), size 16; \S+ of branches \(\w+\), size 20"
        ):
            pack([other], "branches-16")

    def test_a_genotype_for_each_fold(self, retrained, tmp_path):
        other = edited(retrained, tmp_path / "r")
        (other.path / "genotypes/conv-skip.yaml").unlink()
        (other.path / "genotypes/conv-skip").mkdir()
        with pytest.raises(UserError, match=r"r: 'conv-skip' has a genotype for each fold; a table holds single ones"):
            pack([other], "branches-16")

    def test_what_is_not_trained_or_failed(self, retrained, tmp_path):
        shutil.copytree(retrained.path, tmp_path / "run")
        (tmp_path / "run/replicas/conv-skip/1/beta/s02.safetensors").unlink()
        with pytest.raises(
            UserError, match=r"run:conv-skip: has no prediction with seed 1 of beta/s02/again, beta/s02/"
        ):
            pack([load_run(tmp_path / "run")], "branches-16")
        (tmp_path / "run/result.json").unlink()
        some = pack([load_run(tmp_path / "run")], "branches-16", partial=True)
        assert [genotype.label for genotype in some.genotypes] == ["conv-conv", "skip-skip"]
        with pytest.raises(UserError, match=r"run: is not finished; continue it with: nas-mer runs resume"):
            pack([load_run(tmp_path / "run")], "branches-16")
