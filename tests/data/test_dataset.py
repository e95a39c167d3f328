import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nas_mer.data import CLASSES, Dataset, Sample
from nas_mer.data.dataset import alike
from nas_mer.errors import UserError


def saved(dataset, path):
    dataset.save(path)
    return path


def maps_of(count, size=4):
    return np.arange(count * 3 * size * size, dtype=np.float32).reshape(count, 3, size, size)


SAMPLES = (
    Sample("smic", "s01", "a", "negative"),
    Sample("smic", "s02", "a", "surprise"),
    Sample("casme2", "sub01", "a", "positive"),
)


class TestSample:
    def test_key(self):
        sample = Sample("casme2", "sub01", "EP02_01f", "positive")
        assert sample.key == ("casme2", "sub01", "EP02_01f")
        assert str(sample) == "casme2/sub01/EP02_01f"

    @pytest.mark.parametrize("database", ["", "CASME", "casme 2", "-x", "a/b", "é"])
    def test_databases_are_identifiers(self, database):
        with pytest.raises(UserError, match="the database must be of lower-case"):
            Sample(database, "s", "c", "negative")

    @pytest.mark.parametrize("name", ["", " a", "a ", "a/b", "a\nb", "\x00", "\ud800", "a\udcff"])
    @pytest.mark.parametrize("column", ["subject", "clip", "label"])
    def test_names(self, column, name):
        with pytest.raises(UserError, match=f"the {column} must be a name"):
            Sample(**{"database": "x", "subject": "s", "clip": "c", "label": "l"} | {column: name})

    @pytest.mark.parametrize("name", ["a", "a b", "a,b", '"', "é", "006_1_2", "."])
    def test_names_are_free_otherwise(self, name):
        assert Sample("x-1_y", name, name, name).clip == name


class TestDataset:
    def test_is_sorted_by_key_with_its_maps(self):
        maps = maps_of(3)
        dataset = Dataset("d", maps, SAMPLES)
        assert [str(sample) for sample in dataset.samples] == ["casme2/sub01/a", "smic/s01/a", "smic/s02/a"]
        np.testing.assert_array_equal(dataset.maps, maps[[2, 0, 1]])
        assert dataset.labels.tolist() == [1, 0, 2]
        assert dataset.labels.dtype == np.int64
        assert dataset.subjects.tolist() == ["casme2/sub01", "smic/s01", "smic/s02"]
        assert dataset.databases.tolist() == ["casme2", "smic", "smic"]
        assert len(dataset) == 3

    def test_counts_have_zeros(self):
        assert Dataset("d", maps_of(3), SAMPLES).counts() == {
            "casme2": {"negative": 0, "positive": 1, "surprise": 0},
            "smic": {"negative": 1, "positive": 0, "surprise": 1},
        }

    @pytest.mark.parametrize(
        ("maps", "message"),
        [
            (maps_of(2), "dataset 'd': 2 maps for 3 samples"),
            (maps_of(3).astype(np.float64), "must be float32 of shape .*found float64"),
            (maps_of(3)[:, :2], r"found float32 \(3, 2, 4, 4\)"),
            (maps_of(3)[0], r"found float32 \(3, 4, 4\)"),
            (maps_of(0), r"found float32 \(0, 3, 4, 4\)"),
        ],
    )
    def test_wrong_maps(self, maps, message):
        with pytest.raises(UserError, match=message):
            Dataset("d", maps, SAMPLES)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_is_not_finite_is_named(self, value):
        maps = maps_of(3)
        maps[0, 2, 3, 3] = maps[2, 0, 0, 0] = value
        with pytest.raises(UserError, match=r"NaN or infinity in the maps of smic/s01/a, casme2/sub01/a$"):
            Dataset("d", maps, SAMPLES)

    def test_all_that_is_wrong_with_the_manifest_is_named(self):
        samples = (*SAMPLES[:2], SAMPLES[0], Sample("x", "y", "z", "joy"))
        with pytest.raises(UserError) as caught:
            Dataset("d", maps_of(4), samples)
        assert str(caught.value).splitlines() == [
            "dataset 'd': samples that occur more than once: smic/s01/a",
            "dataset 'd': labels that are none of negative, positive, surprise: x/y/z (joy)",
        ]
        with pytest.raises(UserError, match="a class is named twice"):
            Dataset("d", maps_of(3), SAMPLES, (*CLASSES, "negative"))

    def test_a_dataset_for_other_classes(self):
        dataset = Dataset("d", maps_of(2), (Sample("x", "a", "1", "yes"), Sample("x", "b", "1", "no")), ("yes", "no"))
        assert dataset.labels.tolist() == [0, 1]

    def test_provenance_is_json(self):
        assert Dataset("d", maps_of(3), SAMPLES, provenance={"a": (1, 2)}).provenance == {"a": [1, 2]}
        with pytest.raises(TypeError):
            Dataset("d", maps_of(3), SAMPLES, provenance={"a": {1}})


class TestFingerprint:
    def test_does_not_depend_on_order_name_or_provenance(self):
        one = Dataset("d", maps_of(3), SAMPLES)
        other = Dataset("e", maps_of(3)[::-1], SAMPLES[::-1], provenance={"a": 1})
        assert one.fingerprint == other.fingerprint
        assert len(one.fingerprint) == 16
        int(one.fingerprint, 16)

    def test_depends_on_all_that_training_sees(self):
        maps = maps_of(3)
        maps[1, 2, 3, 3] = np.nextafter(maps[1, 2, 3, 3], np.float32(0))
        relabelled = (Sample("smic", "s01", "a", "positive"), *SAMPLES[1:])
        renamed = (Sample("smic", "s03", "a", "negative"), *SAMPLES[1:])
        datasets = [
            Dataset("d", maps_of(3), SAMPLES),
            Dataset("d", maps, SAMPLES),
            Dataset("d", maps_of(3), relabelled),
            Dataset("d", maps_of(3), renamed),
            Dataset("d", maps_of(3), SAMPLES, CLASSES[::-1]),
            Dataset("d", maps_of(3), SAMPLES, u_mirror=1.0),
            Dataset("d", maps_of(3).reshape(3, 3, 2, 8), SAMPLES),
        ]
        assert len({dataset.fingerprint for dataset in datasets}) == len(datasets)

    def test_is_the_same_in_another_process(self, tmp_path, composite):
        path = saved(composite(), tmp_path / "d")
        program = (
            "import sys, pathlib; from nas_mer.data import Dataset; "
            "print(Dataset.load(pathlib.Path(sys.argv[1])).fingerprint)"
        )
        environment = os.environ | {"PYTHONHASHSEED": "5"}
        out = subprocess.run([sys.executable, "-c", program, path], env=environment, capture_output=True, check=True)
        assert out.stdout.decode().strip() == composite().fingerprint


class TestFolder:
    def test_round_trip(self, tmp_path, composite):
        dataset = composite(u_mirror=1.0, provenance={"source": "é", "n": 3})
        loaded = Dataset.load(saved(dataset, tmp_path / "d"))
        assert isinstance(loaded.maps, np.memmap)
        assert not loaded.maps.flags.writeable
        np.testing.assert_array_equal(loaded.maps, dataset.maps)
        for name in ("name", "samples", "classes", "u_mirror", "provenance", "fingerprint"):
            assert getattr(loaded, name) == getattr(dataset, name)
        assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["dataset.json", "maps.npy", "samples.csv"]

    def test_is_readable_without_the_package(self, tmp_path):
        path = saved(Dataset("d", maps_of(3), SAMPLES), tmp_path / "d")
        assert (path / "samples.csv").read_text() == (
            "database,subject,clip,label\ncasme2,sub01,a,positive\nsmic,s01,a,negative\nsmic,s02,a,surprise\n"
        )
        np.testing.assert_array_equal(np.load(path / "maps.npy"), maps_of(3)[[2, 0, 1]])
        header = json.loads((path / "dataset.json").read_text())
        assert header["classes"] == list(CLASSES)
        assert header["shape"] == [3, 3, 4, 4]

    @pytest.mark.parametrize("name", ["a,b", 'say "a"', "é", "a'b", "a\u2028b", ";"])
    def test_odd_names_survive(self, tmp_path, name):
        dataset = Dataset("d", maps_of(1), (Sample("x", name, name, "negative"),))
        assert Dataset.load(saved(dataset, tmp_path / "d")).samples == dataset.samples

    def test_replaces_a_dataset_but_nothing_else(self, tmp_path, composite):
        path = tmp_path / "d"
        path.mkdir()
        composite().save(path)
        other = composite(seed=1)
        other.save(path)
        assert Dataset.load(path).fingerprint == other.fingerprint
        Dataset.load(path).save(path)  # onto the memory map it is read from
        assert Dataset.load(path).fingerprint == other.fingerprint
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "holiday.jpg").write_text("keep me")
        (tmp_path / "file").write_text("keep me")
        for taken in ("photos", "file"):
            with pytest.raises(UserError, match="exists and is not a dataset"):
                other.save(tmp_path / taken)
        assert (tmp_path / "photos" / "holiday.jpg").read_text() == (tmp_path / "file").read_text() == "keep me"

    def test_what_else_lies_in_a_datasets_folder_is_not_lost(self, tmp_path, composite):
        path = saved(composite(), tmp_path / "d")
        (path / "kept").mkdir()
        (path / "kept" / "pair.npz").write_text("hours of work")
        for folder in (path, path / "."):
            with pytest.raises(UserError, match="d: holds more than a dataset, so it is not replaced: kept; choose"):
                composite(seed=1).save(folder)
        assert (path / "kept" / "pair.npz").read_text() == "hours of work"
        assert Dataset.load(path).fingerprint == composite().fingerprint

    def test_no_dataset(self, tmp_path):
        with pytest.raises(UserError, match="not a dataset: no such folder"):
            Dataset.load(tmp_path / "nothing")
        with pytest.raises(UserError, match=r"not a dataset: it has no dataset\.json"):
            Dataset.load(tmp_path)

    @pytest.mark.parametrize("file", ["maps.npy", "samples.csv"])
    def test_a_missing_file(self, tmp_path, composite, file):
        path = saved(composite(), tmp_path / "d")
        (path / file).unlink()
        with pytest.raises(UserError, match=f"{file}: no such file"):
            Dataset.load(path)

    @pytest.mark.parametrize("keep", [0, 5, 60, 128, 1000, -4, -1])
    def test_maps_cut_short(self, tmp_path, composite, keep):
        path = saved(composite(), tmp_path / "d")
        content = (path / "maps.npy").read_bytes()
        (path / "maps.npy").write_bytes(content[:keep])
        with pytest.raises(UserError, match=r"maps\.npy: not readable as an array .*cut short$"):
            Dataset.load(path)

    @pytest.mark.parametrize("keep", [0, 20, -3])
    def test_header_cut_short(self, tmp_path, composite, keep):
        path = saved(composite(), tmp_path / "d")
        content = (path / "dataset.json").read_bytes()
        (path / "dataset.json").write_bytes(content[:keep])
        with pytest.raises(UserError, match=r"dataset\.json: not readable as JSON"):
            Dataset.load(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": 2}, r"dataset\.json: format: Input should be 1, found 2"),
            ({"u_miror": 2}, r"dataset\.json: u_miror: unknown key 'u_miror'; did you mean 'u_mirror'\?"),
            (
                {"shape": [3, 3, 4, 5]},
                r"maps\.npy: holds float32 \(3, 3, 4, 4\), but dataset\.json says .*\(3, 3, 4, 5\)",
            ),
            ({"classes": ["negative", "positive"]}, r"samples\.csv:4: smic/s02/a: unknown label 'surprise'; known"),
            ({"classes": ["positive", "negative", "surprise"]}, "is not what dataset.json describes"),
            ({"u_mirror": 1.0}, "is not what dataset.json describes"),
        ],
    )
    def test_a_changed_header(self, tmp_path, change, message):
        path = saved(Dataset("d", maps_of(3), SAMPLES), tmp_path / "d")
        header = json.loads((path / "dataset.json").read_text())
        (path / "dataset.json").write_text(json.dumps(header | change))
        with pytest.raises(UserError, match=message):
            Dataset.load(path)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("smic,s01,a,negative\n", "", r"samples\.csv: 2 samples, but maps\.npy holds 3 maps"),
            (
                "smic,s01,a,negative",
                "smic,s02,a,negative",
                r"samples\.csv:4: smic/s02/a stands at .*samples\.csv:3 already",
            ),
            ("negative", "negativ", r"samples\.csv:3: smic/s01/a: unknown label 'negativ'; did you mean 'negative'\?"),
            ("smic,s02", "SMIC,s02", r"samples\.csv:4: SMIC/s02/a: the database must be of lower-case"),
            ("smic,s02,a", "smic,s02", r"samples\.csv:4: 3 cells, expected 4"),
            ("clip", "klip", r"samples\.csv:1: the column 'clip' is missing from the header; did you mean 'klip'\?"),
            ("negative", "positive", "is not what dataset.json describes"),
        ],
    )
    def test_a_changed_manifest(self, tmp_path, old, new, message):
        path = saved(Dataset("d", maps_of(3), SAMPLES), tmp_path / "d")
        text = (path / "samples.csv").read_text()
        assert old in text
        (path / "samples.csv").write_text(text.replace(old, new))
        with pytest.raises(UserError, match=message):
            Dataset.load(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda maps: maps * 2, r"maps\.npy or samples\.csv is not what dataset\.json describes \(fingerprint"),
            (lambda maps: maps[[1, 0, 2]], "is not what dataset.json describes"),
            (lambda maps: np.where(maps == 100, np.float32(np.nan), maps), r"/d: .* in the maps of smic/s02/a$"),
            (lambda maps: maps.astype(np.float64), r"maps\.npy: holds float64"),
            (lambda maps: maps.astype(object), r"maps\.npy: not readable as an array"),
            (lambda maps: maps[:2], r"maps\.npy: holds float32 \(2, 3, 4, 4\)"),
        ],
    )
    def test_changed_maps(self, tmp_path, change, message):
        path = saved(Dataset("d", maps_of(3)[[1, 2, 0]], SAMPLES), tmp_path / "d")
        maps = np.load(path / "maps.npy")
        np.save(path / "maps.npy", change(maps))
        with pytest.raises(UserError, match=message):
            Dataset.load(path)


def frames_of(count, *, colour=True):
    shape = (count, 2, 6, 5, 3) if colour else (count, 2, 6, 5)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


class TestFrames:
    @pytest.mark.parametrize("colour", [True, False])
    def test_go_with_their_samples(self, tmp_path, colour):
        frames = frames_of(3, colour=colour)
        dataset = Dataset("d", maps_of(3), SAMPLES, frames=frames)
        np.testing.assert_array_equal(dataset.frames, frames[[2, 0, 1]])
        loaded = Dataset.load(saved(dataset, tmp_path / "d"))
        assert isinstance(loaded.frames, np.memmap)
        np.testing.assert_array_equal(loaded.frames, frames[[2, 0, 1]])
        np.testing.assert_array_equal(loaded.select(["smic"]).frames, frames[:2])
        loaded.save(tmp_path / "d")  # onto the memory map it is read from
        np.testing.assert_array_equal(Dataset.load(tmp_path / "d").frames, frames[[2, 0, 1]])

    def test_are_no_part_of_what_training_sees(self, tmp_path):
        bare, framed = Dataset("d", maps_of(3), SAMPLES), Dataset("d", maps_of(3), SAMPLES, frames=frames_of(3))
        assert bare.fingerprint == framed.fingerprint
        bare, framed = saved(bare, tmp_path / "bare"), saved(framed, tmp_path / "framed")
        for path in bare.iterdir():
            assert path.read_bytes() == (framed / path.name).read_bytes()
        (framed / "frames.npy").unlink()
        assert Dataset.load(framed).frames is Dataset.load(bare).select(["smic"]).frames is None

    @pytest.mark.parametrize(
        ("frames", "message"),
        [
            (frames_of(2), "/d: dataset 'd': 2 pairs of frames for 3 samples"),
            (frames_of(3).astype(np.float32), r"frames must be uint8 of shape .*, found float32 \(3, 2, 6, 5, 3\)"),
            (frames_of(3)[:, :1], r"found uint8 \(3, 1, 6, 5, 3\)"),
            (frames_of(3)[..., :2], r"found uint8 \(3, 2, 6, 5, 2\)"),
            (frames_of(3)[:, :, :0], r"found uint8 \(3, 2, 0, 5, 3\)"),
            (frames_of(3)[..., 0, 0], r"found uint8 \(3, 2, 6\)"),
        ],
    )
    def test_wrong_frames(self, tmp_path, frames, message):
        path = saved(Dataset("d", maps_of(3), SAMPLES), tmp_path / "d")
        np.save(path / "frames.npy", frames)
        with pytest.raises(UserError, match=message):
            Dataset.load(path)

    def test_frames_cut_short(self, tmp_path):
        path = saved(Dataset("d", maps_of(3), SAMPLES, frames=frames_of(3)), tmp_path / "d")
        (path / "frames.npy").write_bytes((path / "frames.npy").read_bytes()[:-1])
        with pytest.raises(UserError, match=r"frames\.npy: not readable as an array .*cut short$"):
            Dataset.load(path)


class TestSelect:
    def test_keeps_rows_and_maps_together(self, composite):
        whole = composite()
        part = whole.select(["beta"])
        assert set(part.databases) == {"beta"}
        assert part.samples == tuple(sample for sample in whole.samples if sample.database == "beta")
        np.testing.assert_array_equal(part.maps, whole.maps[whole.databases == "beta"])
        assert part.fingerprint != whole.fingerprint
        assert part.counts() == {"beta": whole.counts()["beta"]}

    def test_all_of_them_in_any_order_is_the_whole(self, composite):
        assert composite().select(["beta", "alpha"]).fingerprint == composite().fingerprint

    def test_unknown_databases(self, composite):
        with pytest.raises(UserError) as caught:
            composite().select(["alpah", "beta", "smic"])
        assert str(caught.value).splitlines() == [
            "dataset 'made' has no database 'alpah'; did you mean 'alpha'?",
            "dataset 'made' has no database 'smic'; known: alpha, beta",
        ]
        with pytest.raises(UserError, match="name at least one of its databases: alpha, beta"):
            composite().select([])


class TestResized:
    def test_same_size_is_a_copy(self, composite):
        dataset = composite()
        tensor = dataset.resized(4)
        assert torch.equal(tensor, torch.tensor(dataset.maps))
        tensor.zero_()
        assert dataset.maps.any()

    @pytest.mark.parametrize(("size", "new"), [(28, 60), (5, 13), (4, 8)])
    def test_growing_is_bilinear(self, composite, size, new):
        dataset = composite(size=size)
        expected = F.interpolate(torch.tensor(dataset.maps), size=(new, new), mode="bilinear", align_corners=False)
        resized = dataset.resized(new)
        assert resized.shape == (len(dataset), 3, new, new)
        assert resized.dtype == torch.float32
        assert resized.is_contiguous()
        torch.testing.assert_close(resized, expected, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize(("size", "new"), [(12, 4), (8, 4)])
    def test_shrinking_averages_areas(self, composite, size, new):
        dataset = composite(size=size)
        expected = F.avg_pool2d(torch.tensor(dataset.maps), size // new)
        torch.testing.assert_close(dataset.resized(new), expected, atol=1e-5, rtol=1e-5)

    def test_values_are_not_rescaled(self):
        maps = np.broadcast_to(np.array([3.5, -2.0, 0.25], np.float32)[:, None, None], (1, 3, 6, 9)).copy()
        dataset = Dataset("d", maps, SAMPLES[:1])
        for size in (4, 7, 20):
            torch.testing.assert_close(dataset.resized(size), torch.tensor(maps)[:, :, :1, :1].expand(1, 3, size, size))

    def test_a_memory_map_is_read(self, tmp_path, composite):
        dataset = composite()
        dataset.save(tmp_path / "d")
        for size in (4, 6):
            assert torch.equal(Dataset.load(tmp_path / "d").resized(size), dataset.resized(size))


def test_the_channels_keep_their_places_in_resizing():
    maps = np.stack([np.full((8, 8), value, np.float32) for value in (1, 2, 3)])[None]
    assert Dataset("d", maps, SAMPLES[:1]).resized(5).mean(dim=(0, 2, 3)).tolist() == pytest.approx([1, 2, 3])


def test_it_is_shown_in_short(composite):
    assert len(repr(composite())) < 200


class TestRealData:
    def test_what_is_saved_is_loaded(self, tmp_path, megc):
        megc.save(tmp_path / "d")
        loaded = Dataset.load(tmp_path / "d")
        assert loaded.fingerprint == megc.fingerprint
        assert len(np.unique(loaded.subjects)) == 68
        part = loaded.select(["smic", "casme2"])
        assert part.counts() == {name: megc.counts()[name] for name in ("casme2", "smic")}
        assert part.resized(60).shape == (309, 3, 60, 60)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("EP02_01f", "ep2_1F", True),
        ("006_1_2", "6_1_2", True),
        ("s010", "s10", True),
        ("s100", "s10", False),
        ("a_0", "a_", False),
        ("a_0", "a_00", True),
    ],
)
def test_names_that_are_spelt_alike(one, other, same):
    assert (alike(one) == alike(other)) is same


class TestClips:
    @pytest.fixture
    def clips(self, composite):
        return np.random.default_rng(3).integers(256, size=(len(composite()), 3, 5, 4)).astype(np.uint8)

    def test_they_are_kept_with_their_samples_and_are_no_part_of_the_fingerprint(self, composite, clips, tmp_path):
        plain, dataset = composite(), composite(clips=clips)
        assert dataset.fingerprint == plain.fingerprint
        assert plain.clips_fingerprint is None
        dataset.save(tmp_path / "saved")
        loaded = Dataset.load(tmp_path / "saved")
        assert (loaded.clips == dataset.clips).all()
        assert loaded.clips_fingerprint == dataset.clips_fingerprint
        chosen = dataset.select(["beta"])
        assert (chosen.clips == dataset.clips[dataset.databases == "beta"]).all()
        (tmp_path / "saved" / "clips.npy").unlink()
        assert Dataset.load(tmp_path / "saved").clips is None

    def test_other_clips_have_another_fingerprint(self, composite, clips):
        known = {composite(clips=found).clips_fingerprint for found in (clips, clips[..., ::-1], clips[:, :2])}
        assert len(known) == 3

    def test_refused(self, composite, clips):
        with pytest.raises(UserError, match=r"clips must be uint8 of shape \(N, T, h, w\), found float32 "):
            composite(clips=clips.astype(np.float32))
        with pytest.raises(UserError, match=f"{len(clips) - 1} clips for {len(clips)} samples"):
            composite(clips=clips[1:])
