import json
import zipfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

from nas_mer.data import Dataset, bilevel_halves
from nas_mer.errors import UserError
from nas_mer.score import score
from nas_mer.space import SearchSpace
from nas_mer.tabular import Benchmark
from nas_mer.tabular import table as tables


class TestFile:
    def test_what_is_written_is_read(self, table, tmp_path):
        table.save(tmp_path / "drawn-rcn-16.npz")
        again = Benchmark.load(tmp_path / "drawn-rcn-16.npz")
        assert (again.name, again.about) == (table.name, table.about)
        for name in ("subjects", "labels", "logits", "predicted"):
            np.testing.assert_array_equal(getattr(again, name), getattr(table, name))
            assert getattr(again, name).dtype == getattr(table, name).dtype

    def test_the_same_table_is_the_same_bytes(self, table, tmp_path, monkeypatch):
        table.save(tmp_path / "a.npz")
        monkeypatch.setattr("time.time", lambda: 2e9)
        table.save(tmp_path / "b.npz")
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
        with zipfile.ZipFile(tmp_path / "a.npz") as archive:
            assert {part.date_time[0] for part in archive.infolist()} == {1980}
            assert {part.filename for part in archive.infolist()} == {f"{name}.npy" for name in tables.ARRAYS}

    def test_what_is_no_table(self, table, tmp_path):
        file = tmp_path / "a.npz"
        with pytest.raises(UserError, match=r"is a folder; a table is a \.npz file, made of runs by: .* pack RUN$"):
            Benchmark.load(tmp_path)
        with pytest.raises(UserError, match=r"a\.npz: no such file"):
            Benchmark.load(file)
        file.write_text("hello")
        with pytest.raises(UserError, match=r"a\.npz: not a benchmark's table: it is no \.npz archive"):
            Benchmark.load(file)
        np.savez(file, labels=np.zeros(3))
        with pytest.raises(UserError, match=r"not a benchmark's table: it has no about, subjects, logits, predicted"):
            Benchmark.load(file)

    @pytest.mark.parametrize("damage", ["cut", "changed"])
    def test_a_damaged_file(self, table, tmp_path, damage):
        table.save(file := tmp_path / "a.npz")
        whole = bytearray(file.read_bytes())
        if damage == "changed":
            whole[len(whole) // 2] ^= 255
        file.write_bytes(whole if damage == "changed" else whole[:-100])
        with pytest.raises(
            UserError, match=r"a\.npz: (not readable as a benchmark's table \(|not a benchmark's table)"
        ):
            Benchmark.load(file)

    def test_pickles_are_not_opened(self, tmp_path):
        arrays = dict.fromkeys(tables.ARRAYS, np.array([print], dtype=object))
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(UserError, match="not readable as a benchmark's table"):
            Benchmark.load(tmp_path / "a.npz")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": 2}, r"a table of format 2, this version of nas_mer reads format 1"),
            ({"seeds": [0, 0]}, r"seeds that occur more than once: 0"),
            ({"seeds": [0]}, r"logits is float16 of shape \(56, 2, 62, 3\), expected float16 of \(56, 1, 62, 3\)"),
            ({"classes": ["a", "b"]}, r"logits is .* expected float16 of \(56, 2, 62, 2\)"),
            ({"colour": "red"}, r"a\.npz: about\.colour: unknown key 'colour'"),
        ],
    )
    def test_what_it_says_of_itself_is_checked(self, table, tmp_path, change, message):
        about = json.dumps(table.about.model_dump(mode="json") | change)
        arrays = {name: getattr(table, name) for name in tables.ARRAYS[1:]}
        np.savez(tmp_path / "a.npz", about=np.array(about), **arrays)
        with pytest.raises(UserError, match=message):
            Benchmark.load(tmp_path / "a.npz")


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


class TestConstruction:
    @pytest.mark.parametrize(
        ("name", "place", "value", "message"),
        [
            ("labels", 5, 3, r"labels must be in 0\.\.2, found 3"),
            ("predicted", (1, 1, 5), 7, r"predicted must be in 0\.\.2, found 7"),
            ("logits", (1, 1, 5, 0), np.inf, r"logits must be finite"),
            ("logits", (1, 1, 5, slice(None)), [-1, -1, 9], r"predicted is not the class of the greatest logit"),
            ("subjects", 0, "smic/s00", r"the subjects are not in a dataset's order"),
            ("subjects", 0, "Casme2/s00", r"the database must be of lower-case letters"),
        ],
    )
    def test_values_are_checked(self, table, name, place, value, message):
        arrays = {name: changed(getattr(table, name), place, value)}
        if message.startswith("predicted is not"):
            arrays["predicted"] = changed(table.predicted, (1, 1, 5), 0)
        with pytest.raises(UserError, match=f"drawn-rcn-16: .*{message}"):
            replace(table, **arrays)

    def test_types_are_checked(self, table):
        with pytest.raises(UserError, match=r"labels is int64 of shape \(62,\), expected uint8"):
            replace(table, labels=table.labels.astype(np.int64))

    def test_genotypes_are_checked(self, table):
        def refused(choices, message):
            about = table.about.model_copy(update={"genotypes": (*table.about.genotypes[:-1], choices)})
            with pytest.raises(UserError, match=f"drawn-rcn-16: {message}"):
                replace(table, about=about)

        refused(table.about.genotypes[0], "genotypes that occur more than once: standard-plain-")
        refused({"conv": "narrow"}, "a genotype of rcn: decision 'conv' has no option 'narrow'")

    def test_a_space_that_is_read_otherwise(self, table):
        other = table.about.space.model_copy(update={"hash": "0123"})
        with pytest.raises(UserError, match=r"its space 'rcn' reads as [0-9a-f]+, not as 0123"):
            replace(table, about=table.about.model_copy(update={"space": other}))


class TestScores:
    def test_uar_and_uf1_are_scikit_learns(self, table):
        assert table.uar.shape == table.uf1.shape == (56, 2)
        for place, column in ((0, 0), (17, 1), (55, 0)):
            said = table.predicted[place, column]
            assert table.uar[place, column] == pytest.approx(balanced_accuracy_score(table.labels, said))
            assert table.uf1[place, column] == pytest.approx(f1_score(table.labels, said, average="macro"))

    def test_confusions_are_counted_one_by_one(self, table):
        place, column, subjects = 9, 1, sorted(set(table.subjects.tolist()))
        counts = Counter(zip(table.subjects, table.labels, table.predicted[place, column], strict=True))
        for (subject, label, predicted), count in counts.items():
            assert table.confusions[place, column, subjects.index(subject), label, predicted] == count
        assert table.confusions.sum() == table.predicted.size

    def test_the_score_of_a_genotype_agrees_with_the_arrays(self, table):
        row = table.score("rcn-f", resamples=100)
        place = table.place("rcn-f")
        assert row.genotype == "wide-shortcut-conv-r0"
        assert row.composite.uar == pytest.approx(table.uar[place].mean())
        assert row.composite.uf1 == pytest.approx(table.uf1[place].mean())
        assert row.composite.uar_interval.low < row.composite.uar < row.composite.uar_interval.high
        assert {name: part.samples for name, part in row.databases.items()} == {"casme2": 20, "samm": 18, "smic": 24}

    def test_ranking(self, table):
        means = table.uar.mean(axis=1)[table.ranking]
        assert (np.diff(means) <= 0).all()
        assert sorted(table.ranking) == list(range(56))

    def test_compare(self, table):
        best, worst = (table.genotypes[table.ranking[end]] for end in (0, -1))
        found = table.compare(worst, best, resamples=200)
        assert (found.a, found.b) == (worst.name, best.name)
        assert found.composite.uar.change == pytest.approx(np.ptp(table.uar.mean(axis=1)))
        assert not found.composite.uar.within_noise  # drawn with skills 0.5 to 2

    def test_a_notebook_shows_the_best(self, table, monkeypatch):
        monkeypatch.setattr(tables, "SHOWN", 2)
        page = table._repr_html_()
        best = [table.genotypes[place].name for place in table.ranking]
        assert "drawn-rcn-16: 56 genotypes of rcn at 16x16 on drawn; the best 2" in page
        assert all(name in page for name in best[:2])
        assert best[2] not in page


class TestPlace:
    def test_names_choices_and_genotypes(self, table):
        space = SearchSpace.load("rcn", size=60)
        for place in (0, 30, 55):
            genotype = table.genotypes[place]
            assert table.place(genotype.name) == table.place(genotype.choices) == table.place(genotype) == place
            assert table.place(space.genotype(genotype.choices)) == place  # at another size
        assert table.genotypes[table.place("rcn-w")].name == "wide-plain-none"

    def test_isomorphic_genotypes(self, packed):
        place = packed.place("conv-skip")
        assert packed.place({"a": "skip", "b": "conv"}) == place
        assert packed.place({"a": "conv", "b": "skip"}) == place
        assert packed.place("plain") == packed.place("skip-skip") != place

    def test_what_is_not_there(self, table, packed):
        with pytest.raises(UserError, match=r"drawn-rcn-16: has no genotype 'rcn-x'; did you mean 'rcn"):
            table.place("rcn-x")
        with pytest.raises(UserError, match=r"decision 'conv' has no option 'wider'; did you mean 'wide'\?"):
            table.place({"conv": "wider", "recurrent": "plain", "attention": "none"})
        with pytest.raises(UserError, match=r"drawn-rcn-16: genotype skip-skip: belongs to space 'branches'"):
            table.place(packed.genotypes[-1])
        part = replace(
            packed,
            about=packed.about.model_copy(update={"genotypes": packed.about.genotypes[:1]}),
            logits=packed.logits[:1],
            predicted=packed.predicted[:1],
        )
        with pytest.raises(UserError, match=r"has no network with a: skip, b: skip"):
            part.place({"a": "skip", "b": "skip"})


class TestPredictions:
    def test_clips_are_numbered_within_their_subject(self, table):
        said = table.predictions("rcn", 1)
        assert said.keys()[:6] == [("casme2/s00", f"0{n}") for n in (1, 2, 3, 4)] + [
            ("casme2/s01", "01"),
            ("casme2/s01", "02"),
        ]

    def test_an_unknown_seed(self, table):
        with pytest.raises(UserError, match="drawn-rcn-16: has no seed 2; there are 0, 1"):
            table.predictions("rcn", 2)

    def test_folds_are_put_together_by_hand(self, table):
        subjects = sorted(set(table.subjects.tolist()))
        chosen = {subject: table.genotypes[7 * number % 56] for number, subject in enumerate(subjects)}
        found = table.folds(chosen, seed=1)
        for subject, genotype in chosen.items():
            whole, own = table.predictions(genotype, 1), found.subjects == subject
            np.testing.assert_array_equal(found.logits[own], whole.logits[whole.subjects == subject])
            np.testing.assert_array_equal(found.predicted[own], whole.predicted[whole.subjects == subject])
        one = table.folds(dict.fromkeys(subjects, "rcn-f"), seed=0)
        assert score(one, resamples=0).composite.uar == table.uar[table.place("rcn-f"), 0]

    def test_folds_need_every_subject(self, table):
        subjects = dict.fromkeys(table.subjects.tolist(), "rcn")
        with pytest.raises(UserError, match="no genotype is chosen for casme2/s00"):
            table.folds({name: one for name, one in subjects.items() if name != "casme2/s00"}, 0)
        with pytest.raises(UserError, match=r"has no subject 'casme/s00'; did you mean 'casme2/s00'\?"):
            table.folds(subjects | {"casme/s00": "rcn"}, 0)


class TestSearch:
    @pytest.mark.parametrize("names", [(), ("rcn", "rcn-f"), ("rcn-f",)])
    def test_together_is_the_mean_of_probabilities(self, table, names):
        places = [table.place(name) for name in names] or [*range(len(table.genotypes))]
        odds = np.exp(table.logits[places].astype(np.float64))
        mean = (odds / odds.sum(axis=-1, keepdims=True)).mean(axis=(0, 1))
        found = table.together(*names)
        np.testing.assert_allclose(np.exp(found.logits), mean, rtol=1e-5)
        np.testing.assert_array_equal(found.predicted, mean.argmax(axis=1))
        assert found.genotype == f"{len(places) * 2} networks together"
        assert score(found, resamples=200).composite.uar == pytest.approx(
            balanced_accuracy_score(table.labels, mean.argmax(axis=1))
        )

    def test_nobody_speaks_twice(self, table):
        with pytest.raises(UserError, match=r"named more than once: standard-plain-none$"):
            table.together("rcn", "rcn-f", "standard-plain-none")

    def test_halves_are_those_of_a_search_on_the_dataset(self, packed, tiny):
        dataset = Dataset.load(tiny)
        for seed in range(3):
            for ours, theirs in zip(
                packed.halves(seed), bilevel_halves(dataset, np.arange(len(dataset)), seed), strict=True
            ):
                np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.parametrize("strategy", ["random", "tpe", "evolution"])
    def test_it_is_repeatable_and_never_looks_at_the_other_half(self, table, strategy):
        weights, alphas = table.halves(1)
        assert not set(table.subjects[weights]) & set(table.subjects[alphas])
        logits, predicted = table.logits.copy(), table.predicted.copy()
        logits[:, :, weights], predicted[:, :, weights] = [5, 0, 0], 0
        logits[:, 0], predicted[:, 0] = [0, 5, 0], 1  # nor at the table's other seed
        other = replace(table, logits=logits, predicted=predicted)
        first, again = (one.search(strategy, trials=10, seed=1) for one in (table, other))
        assert first == again
        assert 1 < len(first) <= 10
        assert first != table.search(strategy, trials=10, seed=3)

    def test_it_finds_the_best_of_the_half_once_all_are_tried(self, table):
        found = table.search("random", trials=56, seed=0)
        half = table.halves(0)[1]
        uars = [balanced_accuracy_score(table.labels[half], said[0, half]) for said in table.predicted]
        assert found[0].valid_uar == pytest.approx(max(uars))
        for one in found[::11]:
            place = table.place(one.genotype)
            logits = table.logits[place, 0, half].astype(float)
            shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            assert one.valid_uar == pytest.approx(uars[place])
            assert one.valid_loss == pytest.approx(log_loss(table.labels[half], shares))

    def test_what_it_refuses(self, table):
        with pytest.raises(UserError, match=r"strategy darts trains a supernet.*take random, tpe, evolution"):
            table.search("darts")
        with pytest.raises(UserError, match="no strategy is called 'tpee'; did you mean 'tpe'"):
            table.search("tpee")
        with pytest.raises(UserError, match="trials must be at least 1"):
            table.search("tpe", trials=0)
