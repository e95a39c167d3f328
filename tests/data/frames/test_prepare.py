"""From releases of made-up people to datasets, end to end."""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from nas_mer.data import Dataset
from nas_mer.data.flow import METHODS, assemble
from nas_mer.data.frames import Preparation, find_release, load_layout, prepare
from nas_mer.data.importing import read_ground_truth
from nas_mer.errors import UserError

FOLDERS = {"smic": "SMIC", "casme2": "CASME2", "samm": "SAMM"}
QUICK = Preparation(flow="dis")
MODULE = sys.modules["nas_mer.data.frames.prepare"]  # the function of this name hides it


@pytest.fixture(scope="session")
def releases(filmed):
    return [find_release(load_layout(layout), filmed / place) for layout, place in FOLDERS.items()]


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="session")
def prepared(releases, filmed, kept):
    return prepare(releases, QUICK, kept, name="made", ground_truth=filmed / "ground_truth.csv", workers=1)


@pytest.fixture
def counted(monkeypatch):
    """How many pairs go through optical flow, and how many files are read for pairs."""
    seen = {"flows": 0, "decoded": 0}
    flows, decode = MODULE.optical_flows, MODULE.decode

    def counting_flows(onsets, *rest):
        seen["flows"] += len(onsets)
        return flows(onsets, *rest)

    def counting_decode(paths, contents):
        seen["decoded"] += 1
        return decode(paths, contents)

    monkeypatch.setattr(MODULE, "optical_flows", counting_flows)
    monkeypatch.setattr(MODULE, "decode", counting_decode)
    return seen


def truths(filmed):
    with (filmed / "truth" / "truth.csv").open(newline="") as file:
        return {(row["database"], row["subject"], row["clip"]): row for row in csv.DictReader(file)}


def again(releases, kept, how=QUICK, **options):
    return prepare(releases, how, kept, **{"name": "made", "workers": 1} | options)


class TestTruth:
    def test_samples_are_those_of_the_ground_truth_but_for_broken_ones(self, prepared, filmed):
        truth = read_ground_truth(filmed / "ground_truth.csv")
        found = {sample.key: sample.label for sample in prepared.dataset.samples}
        assert found.items() <= truth.items()
        assert {"/".join(key) for key in truth.keys() - found.keys()} == set(prepared.broken)
        assert prepared.missing == ()

    def test_what_is_broken_is_what_was_broken(self, prepared, filmed):
        mistakes = {"/".join(key): row["erratum"] for key, row in truths(filmed).items() if row["label"]}
        assert {mistakes[clip] for clip in prepared.broken} <= {"wrong label", "wrong apex", "wrong offset"}

    def test_maps_are_near_those_of_the_true_flow(self, prepared, filmed):
        """Not equal: the flow is estimated, and spotted apexes are near the true ones at best."""
        likeness = []
        for sample, found in zip(prepared.dataset.samples, prepared.dataset.maps, strict=True):
            flow = np.load(filmed / "truth" / "flow" / f"{sample}.npy").astype(np.float32)
            true = assemble(flow, found.shape[1])
            likeness.append(np.corrcoef(found[:2].ravel(), true[:2].ravel())[0, 1])
        assert np.median(likeness) > 0.9

    def test_marked_apexes_are_taken_and_others_spotted(self, prepared, filmed):
        about = prepared.dataset.provenance["clips"]
        for key, row in truths(filmed).items():
            said = about.get("/".join(key))
            if said and said["apex_from"] == "annotation" and not row["erratum"]:
                assert said["apex"] == int(row["apex"])
            if said and key[0] == "smic":
                assert said["apex_from"] == "aligned"
                assert int(row["onset"]) <= said["apex"] <= int(row["offset"])
        assert {said["apex_from"] for said in about.values()} == {"annotation", "aligned"}

    def test_frames_and_provenance_survive_saving(self, prepared, tmp_path):
        prepared.dataset.save(tmp_path / "data")
        loaded = Dataset.load(tmp_path / "data")
        assert loaded.fingerprint == prepared.dataset.fingerprint
        assert loaded.frames.shape == (len(loaded), 2, 96, 96, 3)
        assert loaded.provenance["flow"] == "dis"
        assert [release["title"] for release in loaded.provenance["releases"]] == ["SMIC-HS", "CASME II", "SAMM"]


class TestKept:
    def test_a_second_call_has_nothing_to_do(self, prepared, releases, kept, counted):
        assert again(releases, kept).dataset.fingerprint == prepared.dataset.fingerprint
        assert counted == {"flows": 0, "decoded": 0}

    def test_another_size_and_strain_need_no_flow(self, prepared, releases, kept, counted):
        other = again(releases, kept, QUICK.model_copy(update={"size": 24, "strain": "symmetric"})).dataset
        assert other.maps.shape == (len(prepared.dataset), 3, 24, 24)
        assert counted == {"flows": 0, "decoded": 0}

    def test_more_clips_do_only_what_is_new(self, prepared, releases, tmp_path, counted):
        part = [replace(release, clips=release.clips[:-1]) for release in releases]
        again(part, tmp_path)
        before = dict(counted)
        assert again(releases, tmp_path).dataset.fingerprint == prepared.dataset.fingerprint
        assert {what: counted[what] - before[what] for what in counted} == {"flows": 3, "decoded": 3}

    def test_a_killed_call_goes_on(self, prepared, releases, tmp_path, monkeypatch, counted):
        flows, calls = MODULE.optical_flows, []

        def killed(*arguments):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return flows(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(MODULE, "optical_flows", killed)
            with pytest.raises(KeyboardInterrupt):
                again(releases, tmp_path)
        done, counted["decoded"] = counted["flows"], 0
        assert 0 < done < len(prepared.dataset)
        assert again(releases, tmp_path).dataset.fingerprint == prepared.dataset.fingerprint
        assert counted == {"flows": len(prepared.dataset), "decoded": 0}

    def test_changed_content_is_not_taken_for_the_old(self, releases, kept, tmp_path, counted):
        clip = next(clip for clip in releases[1].clips)
        other = next(clip for clip in releases[1].clips[1:])
        swapped = replace(clip, frames={**clip.frames, clip.apex: other.frames[other.apex]})
        again([replace(releases[1], clips=(swapped,), broken={})], kept)
        assert counted == {"flows": 1, "decoded": 1}

    @pytest.mark.parametrize(("flow", "processes"), [("dis", 2), ("lorentzian", 1)])
    def test_a_gpu_takes_the_place_of_processes_only_where_it_is_used(self, monkeypatch, tmp_path, flow, processes):
        asked = []
        monkeypatch.setattr(MODULE, "each", lambda *arguments: asked.append(arguments[3]) or [])
        MODULE._flow([], flow, 2, "cuda", lambda *_: None)
        assert asked == [processes]

    def test_any_number_of_workers_gives_the_same(self, prepared, releases, tmp_path):
        few = [replace(release, clips=release.clips[:2], broken={}) for release in releases]
        one, two = (again(few, tmp_path / str(workers), workers=workers).dataset for workers in (1, 2))
        assert one.fingerprint == two.fingerprint


class TestOptions:
    def test_magnified_and_registered(self, releases, kept):
        few = [replace(release, clips=release.clips[:2], broken={}) for release in releases]
        plain = again(few, kept).dataset
        larger = again(few, kept, QUICK.model_copy(update={"magnify": 2.0})).dataset
        assert np.median(np.abs(larger.maps[:, :2]) / np.abs(plain.maps[:, :2])) > 1.1
        assert larger.provenance["magnification"]["factor"] == 2.0
        steady = again(few, kept, QUICK.model_copy(update={"register_pair": True}))
        assert np.median(np.abs(steady.dataset.maps[:, :2])) < 0.5 * np.median(np.abs(plain.maps[:, :2]))
        assert steady.unregistered == ()
        assert all(said["registered"] for said in steady.dataset.provenance["clips"].values())

    def test_a_box_for_raw_frames(self, releases, kept):
        release = replace(releases[1], clips=releases[1].clips[:2], broken={})
        raw = [replace(release, clips=tuple(replace(clip, cropped=False) for clip in release.clips))]
        whole = again(raw, kept, QUICK.model_copy(update={"box": (0, 0, 230, 264)})).dataset
        plain = again([release], kept).dataset
        np.testing.assert_array_equal(whole.maps, plain.maps)
        with pytest.raises(UserError, match=r"the box 10, 0, 230, 264 .* is not within the frame's 230 x 264 pixels"):
            again(raw, kept, QUICK.model_copy(update={"box": (10, 0, 230, 264)}))


class TestRefused:
    def test_a_broken_frame_costs_its_clip_alone(self, prepared, releases, kept, tmp_path):
        clip = releases[2].clips[0]
        cut = tmp_path / "cut.jpg"
        cut.write_bytes(clip.frames[clip.apex].read_bytes()[:20])
        bad = replace(clip, frames={**clip.frames, clip.apex: cut})
        lost = {**clip.frames, clip.apex: tmp_path / "no"}
        gone = replace(clip, sample=replace(clip.sample, clip="gone"), frames=lost)
        result = again([*releases[:2], replace(releases[2], clips=(bad, gone, *releases[2].clips[1:]))], kept)
        assert f"{cut}: not readable as an image" in result.broken[str(clip.sample)]
        assert f"{tmp_path / 'no'}: not readable (No such file or directory)" in result.broken[str(gone.sample)]
        assert len(result.dataset) == len(prepared.dataset) - 1

    def test_no_clip_at_all(self, releases, tmp_path):
        clips = tuple(replace(clip, frames=dict.fromkeys(clip.frames, tmp_path / "no")) for clip in releases[1].clips)
        with pytest.raises(UserError, match="no clip can be used") as error:
            again([replace(releases[1], clips=clips, broken={})], tmp_path)
        assert all(str(clip.sample) in str(error.value) for clip in clips)

    def test_labels_that_contradict_the_ground_truth(self, releases, filmed, tmp_path):
        lines = (filmed / "ground_truth.csv").read_text().splitlines()
        wrong = [line[:-1] + str((int(line[-1]) + 1) % 3) for line in lines]
        (tmp_path / "wrong.csv").write_text("\n".join(wrong))
        with pytest.raises(UserError, match="labels that contradict the ground truth"):
            again(releases, tmp_path, ground_truth=tmp_path / "wrong.csv")

    def test_samples_that_no_release_has(self, prepared, releases, kept, filmed, tmp_path):
        more = (filmed / "ground_truth.csv").read_text() + "casme2,sub99,EP01_01,0\ncasme3a,s1,a,0\n"
        (tmp_path / "more.csv").write_text(more)
        result = again(releases, kept, ground_truth=tmp_path / "more.csv")
        assert result.missing == ("casme2/sub99/EP01_01",)

    def test_a_ground_truth_of_other_databases(self, releases, tmp_path):
        (tmp_path / "other.csv").write_text("casme3a,s1,a,0\n")
        with pytest.raises(
            UserError, match=r"other.csv: is of casme3a and says nothing about casme2, samm, smic; leave"
        ):
            again(releases, tmp_path, ground_truth=tmp_path / "other.csv")

    def test_what_is_left_out_is_not_missing(self, releases, filmed, tmp_path):
        first, *others = releases
        out, *rest = first.clips
        name = str(out.sample)
        changed = replace(first, clips=tuple(rest), left_out={**first.left_out, "she laughed": (name,)})
        result = again([changed, *others], tmp_path, ground_truth=filmed / "ground_truth.csv")
        assert name not in result.missing

    def test_broken_clips_that_the_ground_truth_spells_otherwise(self, prepared, releases, kept, filmed, tmp_path):
        respelt = (filmed / "ground_truth.csv").read_text().replace("_0", "_00").upper()
        (tmp_path / "respelt.csv").write_text(respelt)
        result = again(releases, kept, ground_truth=tmp_path / "respelt.csv")
        assert result.broken == prepared.broken
        assert result.missing == ()

    @pytest.mark.parametrize("side", [8, 31])
    def test_frames_too_small_cost_their_clip_alone(self, releases, kept, tmp_path, side):
        small = tmp_path / "small.png"
        cv2.imwrite(str(small), np.random.default_rng(0).integers(0, 256, (40, side, 3), np.uint8))
        clip, *others = releases[1].clips[:3]
        tiny = replace(clip, frames={clip.onset: small, clip.apex: small})
        result = again([replace(releases[1], clips=(tiny, *others), broken={})], kept)
        assert result.broken == {
            str(clip.sample): f"{small}: a face of {side} x 40 pixels; at least 32 a side are needed"
        }
        assert len(result.dataset) == 2

    @pytest.mark.parametrize("flow", METHODS)
    def test_the_smallest_frames_are_enough(self, releases, tmp_path, flow):
        if flow == "tvl1":
            pytest.importorskip("skimage")
        small = tmp_path / "small.png"
        cv2.imwrite(str(small), np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
        clip = releases[1].clips[0]
        tiny = replace(clip, frames={clip.onset: small, clip.apex: small})
        release = replace(releases[1], clips=(tiny,), broken={})
        assert len(again([release], tmp_path, QUICK.model_copy(update={"flow": flow})).dataset) == 1

    @pytest.mark.parametrize("folder", ["pairs", "flows/dis"])
    def test_a_damaged_kept_file(self, releases, tmp_path, folder):
        few = [replace(releases[1], clips=releases[1].clips[:1], broken={})]
        again(few, tmp_path)
        (file,) = (tmp_path / folder).iterdir()
        for content in (b"", file.read_bytes()[:-50]):
            file.write_bytes(content)
            with pytest.raises(UserError, match=r"damaged .*; delete it, and the next call makes it anew") as error:
                again(few, tmp_path)
            assert str(error.value).startswith(f"{file}: ")
        file.unlink()
        assert len(again(few, tmp_path).dataset) == 1

    def test_one_database_twice(self, releases, tmp_path):
        with pytest.raises(UserError, match="2 of the releases are of the database 'casme2'"):
            again([*releases, releases[1]], tmp_path)

    def test_a_file_in_the_place_of_finished_work(self, releases, filmed):
        with pytest.raises(UserError, match=r"ground_truth\.csv: is a file; finished work needs a folder"):
            again(releases, filmed / "ground_truth.csv")

    def test_unknown_methods(self, releases, tmp_path):
        with pytest.raises(UserError, match=r"unknown method of optical flow 'dsi'"):
            again(releases, tmp_path, QUICK.model_copy(update={"flow": "dsi"}))
        with pytest.raises(UserError, match=r"unknown method of apex spotting 'papers'; did you mean 'paper'"):
            again(releases, tmp_path, QUICK.model_copy(update={"apex": "papers"}))
        assert not any(tmp_path.iterdir())

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
    @pytest.mark.parametrize(
        ("save", "write", "finished"), [("savez", np.savez, 0), ("save", lambda disk, flow: flow.tofile(disk), 1)]
    )
    def test_a_full_disk(self, releases, tmp_path, monkeypatch, save, write, finished):
        """It may be full from the start, or after the header of an array."""

        def full(stream, *arrays, **named):
            with Path("/dev/full").open("wb", buffering=0) as disk:
                write(disk, *arrays, **named)

        few = [replace(releases[1], clips=releases[1].clips[:1], broken={})]
        with monkeypatch.context() as patch:
            patch.setattr(np, save, full)
            with pytest.raises(UserError, match="no space left on the disk; what was finished is kept"):
                again(few, tmp_path)
        assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == finished
        assert len(again(few, tmp_path).dataset) == 1


def test_clips_are_kept_if_asked_for(releases, prepared, kept, counted):
    how = QUICK.model_copy(update={"clip_frames": 5})
    with_clips = prepare(releases, how, kept, name="made", workers=1).dataset
    plain = prepared.dataset
    assert plain.clips is None
    assert with_clips.clips.shape == (len(plain), 5, 128, 128)
    assert with_clips.fingerprint == plain.fingerprint  # the same maps
    clips = {clip.sample: clip for release in releases for clip in release.clips}
    for index in (0, len(plain) // 2, len(plain) - 1):
        files = list(clips[with_clips.samples[index]].frames.values())
        ends = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in (files[0], files[-1])]
        for found, end in zip(with_clips.clips[index][[0, -1]], ends, strict=True):
            expected = cv2.resize(end, (128, 128), interpolation=cv2.INTER_AREA)
            assert np.abs(found.astype(int) - expected).mean() < 1  # other ways to turn grey differ by a rounding
    seen = counted["decoded"]
    again = prepare(releases, how, kept, name="made", workers=1).dataset
    assert counted["decoded"] == seen
    assert again.clips_fingerprint == with_clips.clips_fingerprint


def test_a_clip_that_is_kept_is_read_once(releases, counted, tmp_path):
    few = [replace(releases[0], clips=releases[0].clips[:2], broken={})]
    assert all(clip.apex is None for clip in few[0].clips)  # so that the pair, too, needs all frames
    again(few, tmp_path, QUICK.model_copy(update={"clip_frames": 5}))
    assert counted["decoded"] == 2
