import csv
import hashlib
import pickle
import re
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import openpyxl
import pytest

from nas_mer.data import read_ground_truth
from nas_mer.data.synthetic import releases
from nas_mer.data.synthetic.composite import perform
from nas_mer.data.synthetic.faces import Moment, render
from nas_mer.data.synthetic.releases import Erratum, Truth, write_releases
from nas_mer.errors import UserError

SMALL = {"subjects": 2, "clips": 3}
PATHS = {
    "smic": r"SMIC/SMIC_all_cropped/HS/(s\d+)/micro/(?:negative|positive|surprise)/(\1_(?:ne|po|sur)_\d\d)"
    r"/reg_image(\d{6})\.bmp",
    "casme2": r"CASME2/Cropped/(sub\d\d)/(EP\d\d_\d\df?)/reg_img([1-9]\d*)\.jpg",
    "samm": r"SAMM/SAMM_cropped/(\d{3})/(\1_\d_\d)/\1_(\d{4,5})\.jpg",
}
WORKBOOKS = {
    "smic": "SMIC/SMIC-HS-E_annotation.xlsx",
    "casme2": "CASME2/CASME2-coding-20140508.xlsx",
    "samm": "SAMM/SAMM_Micro_FACS_Codes_v2.xlsx",
}
CLASSES = {
    "smic": {"negative": {"negative"}, "positive": {"positive"}, "surprise": {"surprise"}},
    "casme2": {
        "negative": {"disgust", "repression"},
        "positive": {"happiness"},
        "surprise": {"surprise"},
        "": {"others", "fear", "sadness"},
    },
    "samm": {
        "negative": {"Anger", "Contempt", "Disgust", "Fear", "Sadness"},
        "positive": {"Happiness"},
        "surprise": {"Surprise"},
        "": {"Other"},
    },
}


@pytest.fixture(scope="module", autouse=True)
def short():
    with pytest.MonkeyPatch.context() as patch:
        for release in releases._RELEASES:
            patch.setattr(release, "lengths", (10, 13))
        yield


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases") / "tree"
    return folder, write_releases(folder, **SMALL, workers=1)


@pytest.fixture(scope="module")
def frames(tree):
    """The file of each frame by its number, for each clip by its folder."""
    folder, truths = tree
    return {
        truth: {int(re.findall(r"\d+", path.stem)[-1]): path for path in (folder / truth.frames).iterdir()}
        for truth in truths
    }


def rows_of(folder, database):
    sheet = openpyxl.load_workbook(folder / WORKBOOKS[database]).worksheets[0]
    rows = list(sheet.iter_rows(values_only=True))
    top = next(index for index, row in enumerate(rows) if row[0] == "Subject")
    return top + 1, rows[top], rows[top + 1 :]


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_frame_lies_where_its_database_has_it(tree):
    folder, truths = tree
    images = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix in (".bmp", ".jpg")]
    found = defaultdict(set)
    for image in images:
        database, match = next((db, m) for db, form in PATHS.items() if (m := re.fullmatch(form, image)))
        found[database].add(match.group(1, 2))
    for database, keys in found.items():
        expected = {(t.subject, t.clip) for t in truths if t.database == database}
        if database == "smic":
            expected = {(s.replace("s0", "s"), c.replace("s0", "s")) for s, c in expected}
        assert keys == expected
    assert set(found) == set(PATHS)
    padded = [len(p.stem.split("_")[1]) for p in (folder / "SAMM").rglob("*.jpg")]
    assert set(padded) == {4, 5}


def test_frames(frames):
    shapes = {"smic": (160, 140, 3), "casme2": (264, 230, 3), "samm": (256, 240)}
    for truth, found in frames.items():
        missing = set(range(min(found), max(found) + 1)) - set(found)
        assert len(missing) == (truth.erratum == Erratum.MISSING_FRAME)
        assert {truth.onset, truth.apex, truth.offset} <= set(found)
        if truth.database == "smic":
            assert (min(found), max(found)) == (truth.onset, truth.offset)
        else:
            assert min(found) < truth.onset
        assert cv2.imread(str(found[truth.apex]), cv2.IMREAD_UNCHANGED).shape == shapes[truth.database]


def test_the_ground_truth_is_the_official_form(tree):
    folder, truths = tree
    lines = (folder / "ground_truth.csv").read_text().splitlines()
    assert all(
        re.fullmatch(r"smic,(s\d\d),\1_(ne|po|sur)_\d\d,[012]|casme2,sub\d\d,EP\d\d_\d\df?,[012]", line)
        or re.fullmatch(r"samm,([1-9]\d*),0*\1_\d_\d,[012]", line)
        for line in lines
    )
    listed = {(t.database, t.subject, t.clip): t.label for t in truths if t.label}
    assert read_ground_truth(folder / "ground_truth.csv") == listed
    played = perform(0, **SMALL)
    assert len(listed) == len(played)
    assert sorted(listed.values()) == sorted(performance.sample.label for performance in played)


def test_the_truth_is_written_as_returned(tree):
    folder, truths = tree
    with (folder / "truth" / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row.values()) for row in rows] == [[str(value) for value in vars(truth).values()] for truth in truths]
    assert {"database", "subject", "clip", "label", "onset", "apex", "offset"} <= set(rows[0])


def test_emotions_are_those_of_the_databases(tree):
    for truth in tree[1]:
        if truth.erratum in (Erratum.NO_APEX, Erratum.APEX_IS_ONSET) and not truth.label:
            assert truth.emotion in {"disgust", "repression", "happiness", "surprise"}
        else:
            assert truth.emotion in CLASSES[truth.database][truth.label]


def test_the_workbook_of_smic(tree):
    folder, truths = tree
    top, header, rows = rows_of(folder, "smic")
    assert top == 1
    assert header[:10] == (
        *("Subject", "Filename", None, "OnsetF", "OffsetF", "Onset2F", "Offset2F", None),
        *("FirstF", "LastF"),
    )
    smic = [t for t in truths if t.database == "smic"]
    assert [(row[0], row[1]) for row in rows] == [
        (t.subject.replace("s0", "s"), t.clip.replace("s0", "s")) for t in smic
    ]
    assert [row[3:5] for row in rows] == [(t.onset, t.offset) for t in smic]
    assert all(row[8] < row[3] < row[4] <= row[9] for row in rows)
    wrong = [(t, row) for t, row in zip(smic, rows, strict=True) if row[10] != t.emotion]
    assert [(t.erratum, t.label, row[10]) for t, row in wrong] == [(Erratum.WRONG_LABEL, "surprise", "negative")]
    assert "_sur_" in wrong[0][0].clip
    assert "/surprise/" in wrong[0][0].frames


def test_the_workbook_of_casme2(tree):
    folder, truths = tree
    top, header, rows = rows_of(folder, "casme2")
    assert top == 1
    assert header == (
        *("Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None),
        *("Action Units", "Estimated Emotion"),
    )
    casme2 = [t for t in truths if t.database == "casme2"]
    assert {type(row[0]) for row in rows} == {int, str}
    assert [f"sub{int(row[0]):02}" for row in rows] == [t.subject for t in casme2]
    assert [(row[1], row[3], row[5], row[8]) for row in rows] == [
        (t.clip, t.onset, t.offset, t.emotion) for t in casme2
    ]
    for truth, row in zip(casme2, rows, strict=True):
        assert row[4] == {Erratum.NO_APEX: "/", Erratum.APEX_IS_ONSET: truth.onset}.get(truth.erratum, truth.apex)
        assert re.fullmatch(r"[LR]?\d+(\+[LR]?\d+)*", str(row[7]))
    broken = [t for t in casme2 if t.erratum]
    assert sorted(t.erratum for t in broken) == [Erratum.APEX_IS_ONSET, Erratum.NO_APEX]
    assert not any(t.label for t in broken)
    assert {t.emotion for t in casme2 if not t.label} >= {"others", "fear", "sadness"}
    names = defaultdict(set)
    for truth in casme2:
        names[truth.clip].add(truth.subject)
    assert any(len(subjects) > 1 for subjects in names.values()), "names repeat across subjects"


def test_the_workbook_of_samm(tree):
    folder, truths = tree
    top, header, rows = rows_of(folder, "samm")
    assert top == 14
    assert header == (
        *("Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration", "Micro"),
        *("Action Units", "Estimated Emotion", "Objective Classes", "Notes"),
    )
    samm = [t for t in truths if t.database == "samm"]
    assert {type(row[0]) for row in rows} == {int, str}
    assert [f"{int(row[0]):03}" for row in rows] == [t.subject for t in samm]
    assert [(row[1], row[3], row[9]) for row in rows] == [(t.clip, t.onset, t.emotion) for t in samm]
    assert {row[10] for row in rows} <= set(range(1, 8))
    kinds = []
    for truth, (_, _, _, onset, apex, offset, *_) in zip(samm, rows, strict=True):
        kinds.append(truth.erratum)
        assert (apex is None) == (truth.erratum == Erratum.NO_APEX)
        assert apex is None or (onset < apex < truth.offset) == (truth.erratum != Erratum.WRONG_APEX)
        assert (onset < offset) == (truth.erratum != Erratum.WRONG_OFFSET)
        if not truth.erratum:
            assert (apex, offset) == (truth.apex, truth.offset)
    assert sorted(filter(None, kinds)) == [Erratum.NO_APEX, Erratum.WRONG_APEX, Erratum.WRONG_OFFSET]
    assert all(truth.label for truth in samm if truth.erratum)
    assert "Other" in {truth.emotion for truth in samm}


def test_the_true_flow_leads_from_onset_to_apex(tree, frames):
    folder, truths = tree
    better, still, followed = [], 0.0, 0.0
    for truth in truths:
        flow = np.load(folder / "truth" / "flow" / truth.database / truth.subject / f"{truth.clip}.npy")
        assert flow.dtype == np.float16
        assert flow.shape == (truth.height, truth.width, 2)
        onset, apex = (
            cv2.GaussianBlur(cv2.imread(str(frames[truth][n]), cv2.IMREAD_GRAYSCALE).astype(np.float32), (0, 0), 1.5)
            for n in (truth.onset, truth.apex)
        )
        apex *= onset.mean() / apex.mean()
        row, column = np.mgrid[: truth.height, : truth.width].astype(np.float32)
        warped = cv2.remap(apex, column + flow[..., 0], row + flow[..., 1], cv2.INTER_CUBIC)
        inside = np.s_[10:-10, 10:-10]
        before, after = (float(np.abs(frame - onset)[inside].mean()) for frame in (apex, warped))
        still, followed = still + before, followed + after
        better.append(after < before)
    assert np.mean(better) > 0.9
    assert followed < 0.8 * still


def test_the_same_seed_gives_the_same_bytes(tree, tmp_path):
    told = []
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        write_releases(tmp_path / "again", **SMALL, workers=1, progress=lambda *numbers: told.append(numbers))
    finally:
        cv2.setNumThreads(threads)
    assert digests(tmp_path / "again") == digests(tree[0])
    assert told == [(done + 1, len(tree[1])) for done in range(len(tree[1]))]


def test_takes_can_be_sent_to_other_processes():
    takes = releases._plan(releases._RELEASES[0], perform(0, **SMALL), False, np.random.default_rng(0))
    assert pickle.loads(pickle.dumps(takes)) == takes


def unfilmed(take, report, tree):
    (tree / take.frames).parent.mkdir(parents=True)
    (tree / "truth").mkdir(exist_ok=True)
    sample, numbers = take.performance.sample, range(take.first, take.first + 3)
    return Truth(*sample.key, sample.label, take.emotion, *numbers, take.erratum, *take.box, take.frames)


def test_another_seed_replaces_a_tree_with_other_clips(tmp_path, monkeypatch):
    monkeypatch.setattr(releases, "_shoot", unfilmed)
    first, second = (write_releases(tmp_path / "tree", seed, **SMALL, workers=1) for seed in (0, 1))
    assert [truth.onset for truth in first] != [truth.onset for truth in second]
    assert rows_of(tmp_path / "tree", "samm")[0] == 1, "the seed is odd"
    folders = {p.relative_to(tmp_path / "tree").as_posix() for p in tmp_path.glob("tree/*/*/*") if p.is_dir()}
    assert {folder for folder in folders if folder.startswith("CASME2")} == {
        str(Path(truth.frames).parents[1]) for truth in second if truth.database == "casme2"
    }


def test_the_working_directory_can_be_a_tree(tmp_path, monkeypatch):
    monkeypatch.setattr(releases, "_shoot", unfilmed)
    (tmp_path / "tree").mkdir()
    monkeypatch.chdir(tmp_path / "tree")
    write_releases(Path(), **SMALL, workers=1)
    assert (tmp_path / "tree" / releases.MARK).is_file()


def test_a_tree_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    made = []

    def fails_later(take, report, folder):
        if len(made) == 2:
            raise OSError("no space left")
        made.append(take)
        (folder / take.frames).parent.mkdir(parents=True)

    monkeypatch.setattr(releases, "_shoot", fails_later)
    with pytest.raises(OSError, match="no space left"):
        write_releases(tmp_path / "tree", **SMALL, workers=1)
    assert not list(tmp_path.iterdir())


def test_other_folders_and_numbers_too_small_are_refused(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UserError, match="exists and is not a tree of synthetic releases"):
        write_releases(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    (tmp_path / releases.MARK).touch()
    with pytest.raises(UserError, match=r"holds more than a tree of synthetic releases, .*: photo\.jpg; choose"):
        write_releases(tmp_path, **SMALL)
    with pytest.raises(UserError, match="subjects must be at least 2"):
        write_releases(tmp_path / "tree", subjects=1)


def test_raw_frames_show_the_same_people_before_a_wall(tmp_path):
    played = perform(0, **SMALL)
    paths = {
        "smic": r"SMIC/SMIC_all_raw/HS/(s\d\d)/micro/\w+/\1_\w+_\d\d/image\d{6}\.bmp",
        "casme2": r"CASME2/CASME2_RAW_selected/sub\d\d/EP\d\d_\d\df?/img[1-9]\d*\.jpg",
        "samm": r"SAMM/(\d{3})/\1_\d_\d/\1_\d{4,5}\.jpg",
    }
    for index, release in enumerate(releases._RELEASES):
        raw, cropped = (
            releases._plan(release, played, cropped, np.random.default_rng((0, index))) for cropped in (False, True)
        )
        assert [take.performance.sample for take in raw] == [take.performance.sample for take in cropped]
        truth = releases._shoot(raw[0], print, tmp_path)
        files = sorted((tmp_path / truth.frames).iterdir())
        assert all(re.fullmatch(paths[release.database], p.relative_to(tmp_path).as_posix()) for p in files)
        onset = next(path for path in files if int(re.findall(r"\d+", path.stem)[-1]) == truth.onset)
        frame = cv2.imread(str(onset))
        assert frame.shape == (480, 640, 3)

        close = cropped[0].performance
        centred = render(close.face, Moment(), close.camera)
        assert centred.shape[:2] == (truth.height, truth.width)
        inside = np.s_[20:-20, 20:-20]
        match = cv2.matchTemplate(frame, np.ascontiguousarray(centred[inside]), cv2.TM_CCOEFF_NORMED)
        row, column = np.unravel_index(match.argmax(), match.shape)
        assert match.max() > 0.9
        assert abs(column - 20 - truth.left) <= 2
        assert abs(row - 20 - truth.top) <= 2
        assert Path(truth.frames).parts[0] == release.folder
