import errno
import json
import os
import re
from dataclasses import replace

import pytest

from nas_mer.data import canonical_subject, read_ground_truth
from nas_mer.data.frames import find_release, load_layout
from nas_mer.errors import UserError

SHIPPED = ("casme2", "casme3a", "mmew", "samm", "smic")


def found(release):
    """What a release holds, in the form of `Miniature.clips`."""
    return {
        clip.sample.key[1:]: (clip.sample.label, clip.onset, clip.apex, clip.offset, list(clip.frames))
        for clip in release.clips
    }


class TestEveryLayout:
    """What holds for each shipped layout and each form of frames."""

    @pytest.mark.parametrize("preamble", [0, 13])
    def test_exact_clips(self, miniature, tmp_path, preamble):
        root = miniature.write(tmp_path / "what ever", preamble=preamble)
        layout = load_layout(miniature.layout)
        release = find_release(layout, root)
        assert found(release) == miniature.clips
        assert release.form == miniature.form
        assert release.annotation == root / miniature.workbook
        assert release.root == root
        assert release.broken == {}
        assert release.unmentioned == release.archives == ()
        assert [clip.sample for clip in release.clips] == sorted(clip.sample for clip in release.clips)
        for clip in release.clips:
            assert clip.sample.database == layout.database
            assert clip.rate == layout.rate
            assert clip.cropped == layout.forms[miniature.form].cropped
            name, _, row = clip.annotated.partition(":")
            assert name == (root / miniature.workbook).name
            assert 1 + preamble < int(row) <= 1 + preamble + len(miniature.rows)
            assert all(path.is_file() for path in clip.frames.values())
        assert sum(release.counts.values()) == len(miniature.clips)
        assert sum(map(len, release.left_out.values())) == len(miniature.rows) - len(miniature.clips)
        assert json.loads(json.dumps(release.provenance()))["clips"] == len(miniature.clips)

    def test_anywhere_below_the_folder(self, miniature, tmp_path):
        miniature.write(tmp_path / "disk" / "old" / "databases")
        assert found(find_release(load_layout(miniature.layout), tmp_path / "disk")) == miniature.clips

    def test_row_order_does_not_matter(self, miniature, tmp_path):
        root = replace(miniature, rows=miniature.rows[::-1]).write(tmp_path / "a")
        assert found(find_release(load_layout(miniature.layout), root)) == miniature.clips

    def test_column_order_case_and_punctuation_do_not_matter(self, miniature, tmp_path):
        header = [cell and f" {cell.upper().replace('FRAME', ' frame')}: " for cell in miniature.header[::-1]]
        root = replace(miniature, header=header, rows=[row[::-1] for row in miniature.rows]).write(tmp_path / "a")
        assert found(find_release(load_layout(miniature.layout), root)) == miniature.clips

    def test_csv(self, miniature, tmp_path):
        root = miniature.write(tmp_path / "a", workbook=False)
        file = (root / miniature.workbook).with_suffix(".csv")
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [",".join("" if cell is None else str(cell) for cell in row) for row in miniature.rows]
        file.write_text("\n".join([",".join(cell or "" for cell in miniature.header), *lines]), encoding="utf-8-sig")
        release = find_release(load_layout(miniature.layout), root)
        assert found(release) == miniature.clips
        assert release.annotation == file

    def test_row_without_frames_and_folder_without_row(self, miniature, tmp_path):
        root = miniature.write(tmp_path / "a")
        layout = load_layout(miniature.layout)
        lost = find_release(layout, root).clips[0]
        folder = next(iter(lost.frames.values())).parent
        for path in folder.iterdir():
            path.unlink()
        release = find_release(layout, root)
        gone = {key for key in miniature.clips if key not in found(release)}
        assert lost.sample.key[1:] in gone
        assert str(lost.sample) in release.broken
        assert "no frames" in release.broken[str(lost.sample)]
        assert lost.annotated in release.broken[str(lost.sample)]

    def test_another_databases_folder(self, miniature, miniatures, tmp_path):
        root = miniature.write(tmp_path / "a")
        title = load_layout(miniature.layout).title
        for other in SHIPPED:
            if other != miniature.layout:
                with pytest.raises(UserError) as error:
                    find_release(load_layout(other), root)
                assert str(root) in str(error.value)
                assert title in str(error.value)

    def test_another_databases_annotation(self, miniature, miniatures, tmp_path):
        root = miniature.write(tmp_path / "a")
        for name in ("smic raw", "casme2 raw", "samm raw", "casme3a raw", "mmew micro"):
            other = miniatures[name]
            if other.layout != miniature.layout:
                file = other.write(tmp_path / other.layout) / other.workbook
                title = load_layout(other.layout).title
                with pytest.raises(UserError, match=re.escape(f"this is {title}'s annotation")):
                    find_release(load_layout(miniature.layout), root, annotation=file)


class TestSubjects:
    def test_as_in_the_ground_truth(self):
        for database in ("smic", "casme2", "samm"):
            layout = load_layout(database)
            for written in ("1", "01", "007", "26", layout.subject):
                assert layout.subject_of(written) == canonical_subject(database, written)

    def test_all_databases_of_the_composite_together(self, miniatures, tmp_path):
        chosen = [miniatures[name] for name in ("smic cropped", "casme2 raw", "samm raw")]
        for miniature in chosen:
            miniature.write(tmp_path)
        for miniature in chosen:
            assert found(find_release(load_layout(miniature.layout), tmp_path)) == miniature.clips


class TestSmic:
    def test_the_errata_are_told(self, miniatures, tmp_path):
        release = find_release(load_layout("smic"), miniatures["smic cropped"].write(tmp_path))
        assert list(release.corrected) == ["smic/s01/s01_ne_01", "smic/s18/s18_sur_03"]
        assert "'negative' is taken as 'surprise'" in release.corrected["smic/s18/s18_sur_03"]

    def test_a_correct_file_is_not_corrected(self, miniatures, tmp_path):
        miniature = miniatures["smic cropped"]
        rows = [miniature.rows[1], [*miniature.rows[2][:-1], "Surprise"]]
        assert find_release(load_layout("smic"), replace(miniature, rows=rows).write(tmp_path)).corrected.keys() == {
            "smic/s01/s01_ne_01"
        }

    def test_without_labels_in_the_annotation(self, miniatures, tmp_path):
        for form in ("cropped", "extended"):
            miniature = miniatures[f"smic {form}"]
            bare = replace(miniature, header=miniature.header[:-1], rows=[row[:-1] for row in miniature.rows])
            assert found(find_release(load_layout("smic"), bare.write(tmp_path / form))) == miniature.clips

    def test_without_an_annotation_a_trimmed_clip_is_all_its_frames(self, miniatures, tmp_path):
        miniature = miniatures["smic cropped"]
        release = find_release(load_layout("smic"), miniature.write(tmp_path, workbook=False))
        assert found(release) == miniature.clips
        assert release.annotation is None
        assert release.unmentioned == ()

    def test_a_trimmed_clip_that_no_row_mentions(self, miniatures, tmp_path):
        miniature = miniatures["smic cropped"]
        release = find_release(load_layout("smic"), replace(miniature, rows=miniature.rows[1:]).write(tmp_path))
        assert found(release) == miniature.clips
        assert [path.name for path in release.unmentioned] == ["s1_ne_01"]

    def test_an_extended_clip_that_no_row_mentions_is_none(self, miniatures, tmp_path):
        miniature = miniatures["smic extended"]
        release = find_release(load_layout("smic"), replace(miniature, rows=miniature.rows[1:]).write(tmp_path))
        assert set(found(release)) == set(miniature.clips) - {("s01", "s01_ne_01")}
        assert [path.as_posix() for path in release.unmentioned] == ["HS_long/SMIC-HS-E/s01/s1_ne_01"]

    def test_a_missing_first_frame_of_a_trimmed_clip(self, miniatures, tmp_path):
        root = miniatures["smic cropped"].write(tmp_path)
        (root / "SMIC_all_cropped/HS/s1/micro/negative/s1_ne_01/reg_image563854.bmp").unlink()
        release = find_release(load_layout("smic"), root)
        assert found(release)["s01", "s01_ne_01"][1:4] == (563855, None, 563859)
        assert release.corrected["smic/s01/s01_ne_01"] == (
            "the onset, 563854, has no frame; 563855 is taken; "
            "lacks 1 of its 5 frames; the others are taken as evenly spaced"
        )

    def test_a_label_that_contradicts_folder_and_name(self, miniatures, tmp_path):
        miniature = miniatures["smic cropped"]
        rows = [[*miniature.rows[0][:-1], "surprise"], *miniature.rows[1:]]
        release = find_release(load_layout("smic"), replace(miniature, rows=rows).write(tmp_path))
        assert len(release.clips) == 2
        assert release.broken == {
            "smic/s01/s01_ne_01": "the annotation says surprise, its folder says negative, its name says negative "
            "(SMIC-HS-E_annotation_2019.xlsx:2)"
        }

    def test_one_clip_in_two_folders(self, miniatures, tmp_path, write_frames):
        root = miniatures["smic cropped"].write(tmp_path)
        write_frames(root, "SMIC_all_cropped/HS/s1/micro/positive/s1_ne_01/reg_image{}.bmp", [1, 2])
        reason = find_release(load_layout("smic"), root).broken["smic/s01/s01_ne_01"]
        assert "several folders" in reason
        assert "negative/s1_ne_01" in reason
        assert "positive/s1_ne_01" in reason


class TestCasme2:
    def test_what_is_left_out(self, miniatures, tmp_path):
        release = find_release(load_layout("casme2"), miniatures["casme2 cropped"].write(tmp_path))
        by_clip = {clip: reason for reason, clips in release.left_out.items() for clip in clips}
        assert len(by_clip) == 5
        assert 'apex is "/"' in by_clip["casme2/sub04/EP12_01f"]
        assert "onset is its apex" in by_clip["casme2/sub05/EP09_05f"]
        for number, emotion in enumerate(("others", "fear", "sadness"), 1):
            assert emotion in by_clip[f"casme2/sub06/EP01_0{number}"]

    def test_a_form_can_be_chosen(self, miniatures, tmp_path):
        miniatures["casme2 cropped"].write(tmp_path)
        replace(miniatures["casme2 raw"], workbook="CASME2-coding-20140508.xlsx").write(tmp_path)
        layout = load_layout("casme2")
        (tmp_path / "CASME2_RAW_selected").rename(tmp_path / ".hidden")
        assert find_release(layout, tmp_path).form == "cropped"
        release = find_release(layout, tmp_path, "raw")
        assert release.form == "raw"
        assert not any(clip.cropped for clip in release.clips)
        assert all(path.name.startswith("img") for clip in release.clips for path in clip.frames.values())

    def test_a_chosen_form_goes_before_what_a_folder_is_called(self, miniatures, tmp_path):
        miniatures["samm raw"].write(tmp_path / "SAMM_uncropped")
        layout = load_layout("samm")
        assert find_release(layout, tmp_path).form == "cropped"
        release = find_release(layout, tmp_path, "raw")
        assert (release.form, {clip.cropped for clip in release.clips}) == ("raw", {False})

    def test_unknown_form(self, miniatures, tmp_path):
        root = miniatures["casme2 cropped"].write(tmp_path)
        with pytest.raises(UserError, match="no form 'croped' of frames; did you mean 'cropped'"):
            find_release(load_layout("casme2"), root, "croped")

    def test_a_form_that_is_not_there(self, miniatures, tmp_path):
        root = miniatures["casme2 raw"].write(tmp_path)
        with pytest.raises(UserError) as error:
            find_release(load_layout("casme2"), root, "cropped")
        assert "no cropped frames of CASME II" in str(error.value)
        assert "there are raw frames of 9 clips" in str(error.value)

    def test_frames_in_two_places(self, miniatures, tmp_path):
        miniature = miniatures["casme2 raw"]
        miniature.write(tmp_path)
        frames = {path.replace("CASME2-RAW", "CASME2_RAW_selected"): n for path, n in miniature.frames.items()}
        replace(miniature, frames=frames).write(tmp_path)
        with pytest.raises(UserError, match="raw frames of the same clips lie in CASME2-RAW, CASME2_RAW_selected"):
            find_release(load_layout("casme2"), tmp_path)

    def test_parts_of_a_database_in_two_places(self, miniatures, tmp_path):
        root = miniatures["casme2 raw"].write(tmp_path)
        (root / "rest").mkdir()
        (root / "CASME2-RAW" / "sub26").rename(root / "rest" / "sub26")
        assert found(find_release(load_layout("casme2"), root)) == miniatures["casme2 raw"].clips

    def test_links_in_a_circle(self, miniatures, tmp_path):
        root = miniatures["casme2 cropped"].write(tmp_path)
        (root / "Cropped" / "again").symlink_to(root, target_is_directory=True)
        assert found(find_release(load_layout("casme2"), root)) == miniatures["casme2 cropped"].clips


class TestSamm:
    def test_the_errata_are_told(self, miniatures, tmp_path):
        release = find_release(load_layout("samm"), miniatures["samm raw"].write(tmp_path))
        assert list(release.corrected) == ["samm/013/013_1_9", "samm/028/028_4_1", "samm/032/032_3_1"]
        assert "offset '2' is taken as 'last'" in release.corrected["samm/013/013_1_9"]
        assert "apex '999' is taken as '/'" in release.corrected["samm/032/032_3_1"]


BROKEN = {
    "onset after apex": ([1, "EP02_01f", None, 50, 49, 52], "not in this order: onset 50, apex 49, offset 52"),
    "offset before apex": ([1, "EP02_01f", None, 46, 49, 48], "not in this order: onset 46, apex 49, offset 48"),
    "onset outside": ([1, "EP02_01f", None, 12, 49, 52], "onset, 12, lies outside the clip; its frames are 40 to 59"),
    "offset outside": ([1, "EP02_01f", None, 46, 49, 60], "offset, 60, lies outside the clip"),
    "no number": ([1, "EP02_01f", None, "early", 49, 60], "its onset 'early' is not the number of a frame"),
    "no onset": ([1, "EP02_01f", None, "/", 49, 60], "its onset is not marked"),
    "no offset": ([1, "EP02_01f", None, 46, 49, None], "its offset is not marked"),
}


class TestBrokenClips:
    @pytest.mark.parametrize("case", BROKEN)
    def test_marks(self, miniatures, tmp_path, case):
        row, reason = BROKEN[case]
        miniature = miniatures["casme2 cropped"]
        rows = [[*row, None, 12, "happiness"], *miniature.rows[1:]]
        release = find_release(load_layout("casme2"), replace(miniature, rows=rows).write(tmp_path))
        assert list(release.broken) == ["casme2/sub01/EP02_01f"]
        assert reason in release.broken["casme2/sub01/EP02_01f"]
        assert release.broken["casme2/sub01/EP02_01f"].endswith("(CASME2-coding-20140508.xlsx:2)")
        assert len(release.clips) == 3

    @pytest.mark.parametrize(("number", "what"), [(46, "onset"), (49, "apex")])
    def test_missing_frame(self, miniatures, tmp_path, number, what):
        root = miniatures["casme2 cropped"].write(tmp_path)
        (root / f"Cropped/sub01/EP02_01f/reg_img{number}.jpg").unlink()
        release = find_release(load_layout("casme2"), root)
        assert f"the frame of its {what}, {number}, is missing" in release.broken["casme2/sub01/EP02_01f"]

    def test_missing_frames_elsewhere_are_told(self, miniatures, tmp_path):
        root = miniatures["casme2 cropped"].write(tmp_path)
        for number in (47, 52):
            (root / f"Cropped/sub01/EP02_01f/reg_img{number}.jpg").unlink()
        release = find_release(load_layout("casme2"), root)
        assert list(release.clips[0].frames) == [46, 48, 49, 50, 51]
        assert release.corrected == {
            "casme2/sub01/EP02_01f": "lacks 2 of its 7 frames; the others are taken as evenly spaced"
        }

    def test_two_files_for_one_frame(self, miniatures, tmp_path, write_frames):
        root = miniatures["casme2 cropped"].write(tmp_path)
        write_frames(root, "Cropped/sub01/EP02_01f/reg_img0{}.jpg", [47, 58])
        reason = find_release(load_layout("casme2"), root).broken["casme2/sub01/EP02_01f"]
        assert "several files for one frame: reg_img047.jpg, reg_img47.jpg (" in reason

    def test_no_clip_at_all(self, miniatures, tmp_path):
        miniature = miniatures["casme2 cropped"]
        root = replace(miniature, rows=[["9", *row[1:]] for row in miniature.rows[1:]]).write(tmp_path)
        with pytest.raises(UserError) as error:
            find_release(load_layout("casme2"), root)
        assert "not one clip of CASME II can be used" in str(error.value)
        assert "casme2/sub09/EP18_50: no frames; there is no sub09/EP18_50/reg_img*" in str(error.value)


class TestRefusals:
    def refusal(self, root, layout="casme2", **more):
        with pytest.raises(UserError) as error:
            find_release(load_layout(layout), root, **more)
        return str(error.value)

    def test_no_folder(self, tmp_path):
        assert self.refusal(tmp_path / "gone") == f"{tmp_path / 'gone'}: no such folder"
        (tmp_path / "Cropped.zip").touch()
        assert "not a folder; unpack it first" in self.refusal(tmp_path / "Cropped.zip")

    def test_not_unpacked(self, tmp_path):
        for name in ("Cropped.zip", "more.7z", "rest.part1.rar"):
            (tmp_path / name).touch()
        message = self.refusal(tmp_path)
        assert "cropped: {subject}/{clip}/reg_img{frame}" in message
        assert "there are no images at all" in message
        assert "have to be unpacked: Cropped.zip, more.7z, rest.part1.rar" in message

    def test_half_unpacked(self, miniatures, tmp_path):
        root = miniatures["casme2 cropped"].write(tmp_path)
        (root / "Cropped" / "sub26.zip").touch()
        release = find_release(load_layout("casme2"), root)
        assert [path.name for path in release.archives] == ["sub26.zip"]

    def test_unknown_images(self, tmp_path, write_frames):
        write_frames(tmp_path, "holiday/beach_{}.jpg", range(3))
        assert "there are 3 images such as holiday/beach_0.jpg" in self.refusal(tmp_path)

    def test_a_folder_that_may_not_be_read(self, miniatures, tmp_path, monkeypatch):
        root = miniatures["casme2 cropped"].write(tmp_path)
        scandir = os.scandir

        def guarded(folder):
            if str(folder).endswith("Cropped"):
                raise PermissionError(errno.EACCES, "Permission denied")
            return scandir(folder)

        monkeypatch.setattr(os, "scandir", guarded)
        assert self.refusal(root) == f"{root / 'Cropped'}: not readable (Permission denied)"

    def test_links_to_themselves(self, miniatures, tmp_path):
        miniature = miniatures["casme2 cropped"]
        root = miniature.write(tmp_path)
        loop = root / "Cropped" / "loop"
        loop.symlink_to(loop)
        assert self.refusal(root) == f"{loop}: not readable (Too many levels of symbolic links)"
        loop.unlink()
        file = root / miniature.workbook
        file.unlink()
        file.symlink_to("nowhere.xlsx")
        assert self.refusal(root) == f"{file}: not readable (No such file or directory)"

    def test_no_annotation(self, miniatures, tmp_path, write_workbook):
        root = miniatures["casme2 cropped"].write(tmp_path, workbook=False)
        (root / "rest.zip").touch()
        message = self.refusal(root)
        assert "no annotation of CASME II; looked for CASME2*coding*.xlsx" in message
        assert "rest.zip" in message
        write_workbook(root / "mine.xlsx", [["Hello"]])
        other = miniatures["samm raw"]
        write_workbook(root / other.workbook, [other.header, *other.rows])
        message = self.refusal(root)
        assert "there is mine.xlsx\n" in message
        assert "there is SAMM_Micro_FACS_Codes_v2.xlsx, which is of SAMM" in message

    def test_an_annotation_under_another_name(self, miniatures, tmp_path):
        miniature = miniatures["casme2 cropped"]
        root = replace(miniature, workbook="../mine.xlsx").write(tmp_path / "a")
        release = find_release(load_layout("casme2"), root, annotation=tmp_path / "mine.xlsx")
        assert found(release) == miniature.clips

    def test_several_versions(self, miniatures, tmp_path, write_workbook):
        miniature = miniatures["casme2 cropped"]
        root = miniature.write(tmp_path)
        newer = [[*miniature.rows[0][:4], 50, *miniature.rows[0][5:]], *miniature.rows[1:]]
        write_workbook(root / "new" / "CASME2-coding-20190701.xlsx", [miniature.header, *newer])
        message = self.refusal(root)
        assert "CASME2-coding-20140508.xlsx, new/CASME2-coding-20190701.xlsx" in message
        assert "--annotation casme2=FILE" in message
        release = find_release(load_layout("casme2"), root, annotation=root / "new" / "CASME2-coding-20190701.xlsx")
        assert release.annotation.name == "CASME2-coding-20190701.xlsx"
        assert release.clips[0].apex == 50

    def test_copies_of_one_version(self, miniatures, tmp_path):
        root = miniatures["casme2 cropped"].write(tmp_path)
        (root / "copy").mkdir()
        file = root / miniatures["casme2 cropped"].workbook
        (root / "copy" / file.name).write_bytes(file.read_bytes())
        (root / "~$CASME2-coding-20140508.xlsx").write_bytes(b"a lock")
        assert find_release(load_layout("casme2"), root).annotation == file

    def test_damaged_annotation(self, miniatures, tmp_path):
        root = miniatures["casme2 cropped"].write(tmp_path)
        file = root / miniatures["casme2 cropped"].workbook
        file.write_bytes(file.read_bytes()[:2000])
        assert f"{file}: damaged" in self.refusal(root)

    def test_missing_columns(self, miniatures, tmp_path):
        miniature = miniatures["casme2 cropped"]
        header = [cell if cell != "ApexFrame" else "ApecsFrame" for cell in miniature.header]
        message = self.refusal(replace(miniature, header=header).write(tmp_path, preamble=13))
        assert "coding-20140508.xlsx:14: the column 'ApexFrame' is missing" in message
        assert "did you mean 'ApecsFrame'?" in message

    def test_no_rows(self, miniatures, tmp_path):
        assert "it has no rows" in self.refusal(replace(miniatures["casme2 cropped"], rows=[]).write(tmp_path))

    def test_rows_that_cannot_be_understood(self, miniatures, tmp_path):
        miniature = miniatures["casme2 cropped"]
        rows = [
            *miniature.rows,
            ["bus3", "EP02_01f", None, 1, 2, 3, None, 4, "disgust"],
            [3, None, None, 1, 2, 3, None, 4, "disgust"],
            [3, "EP02_01f", None, 1, 2, 3, None, 4, "hapiness"],
            [3, "EP02_02f", None, 1, 2, 3, None, 4, "hapiness"],
            [1, "EP02_1f", None, 46, 50, 52, None, 4, "happiness"],
        ]
        message = self.refusal(replace(miniature, rows=rows).write(tmp_path))
        name = miniature.workbook
        assert f"{name}:11: unknown subject 'bus3'; expected one like sub01" in message
        assert f"{name}:12: no clip is named" in message
        assert f"{name}:13, {name}:14: unknown emotion 'hapiness'; did you mean 'happiness'?" in message
        assert f"{name}:15: casme2/sub01/EP02_1f has another row, {name}:2, that says something else" in message

    def test_a_row_that_stands_there_twice(self, miniatures, tmp_path):
        miniature = miniatures["casme2 cropped"]
        root = replace(miniature, rows=[*miniature.rows, miniature.rows[0]]).write(tmp_path)
        assert found(find_release(load_layout("casme2"), root)) == miniature.clips


class TestLayoutOfOnesOwn:
    @pytest.fixture
    def trimmed(self, tmp_path, write_frames, write_workbook):
        """A clip of the frames 6 to 20 whose onset is the lost frame 5."""
        write_frames(tmp_path, "P007/take3/{}.png", range(6, 21))
        write_workbook(tmp_path / "codes.xlsx", [["S", "C", "On", "Apex", "Off"], [7, "take3", 5, 6, 20]])
        (tmp_path / "mine.yaml").write_text(
            "database: mine\ntitle: Our laboratory\nrate: 120\nsubject: P001\nclip: take\\d+\n"
            "forms: {all: {path: '{subject}/{clip}/{frame}', cropped: true, trimmed: true}}\n"
            "annotation: [codes*]\n"
            "columns: {subject: [S], clip: [C], onset: [On], apex: [Apex], offset: [Off]}\n"
            "classes: {positive: [joy]}\ncodes: {take3: joy}\n"
            "left_out: {P001/take2: she laughed}\ncorrections: {P007/take03: {cells: {apex: 9}, because: seen}}\n"
        )
        return tmp_path

    def test_an_onset_that_would_move_to_the_apex(self, trimmed):
        layout = load_layout(trimmed / "mine.yaml")
        release = find_release(layout, trimmed)
        assert found(release)["P007", "take3"][1:4] == (6, 9, 20)
        assert release.unmet == ("P001/take2",)
        with pytest.raises(UserError, match="take3: its apex would be its onset: the onset, 5, has no frame"):
            find_release(layout.model_copy(update={"corrections": {}}), trimmed)

    def test_corrections_of_clips_that_no_row_mentions(self, trimmed):
        (trimmed / "codes.xlsx").unlink()
        release = find_release(load_layout(trimmed / "mine.yaml"), trimmed)
        assert found(release)["P007", "take3"][1:4] == (6, 9, 20)
        assert release.corrected == {}  # nothing was written that it changes
        assert release.unmet == ("P001/take2",)

    def test_clips_of_nobody(self, tmp_path, write_frames):
        """All would be one person."""
        write_frames(tmp_path, "joy/take3/{}.png", range(6, 21))
        (tmp_path / "mine.yaml").write_text(
            "database: mine\ntitle: Our laboratory\nrate: 120\nsubject: P001\nclip: take\\d+\n"
            "forms: {all: {path: '{emotion}/{clip}/{frame}', cropped: true, trimmed: true}}\n"
            "annotation: [codes*]\n"
            "columns: {subject: [S], clip: [C], onset: [On], offset: [Off]}\n"
            "classes: {positive: [joy]}\n"
        )
        with pytest.raises(UserError, match=r"mine/\?/take3: nothing tells whose it is"):
            find_release(load_layout(tmp_path / "mine.yaml"), tmp_path)

    def test_files_that_are_called_like_folders_to_skip(self, trimmed):
        file = trimmed / "mine.yaml"
        file.write_text(file.read_text() + "skip: [codes*]\n")
        assert find_release(load_layout(file), trimmed).annotation == trimmed / "codes.xlsx"

    def test_from_frames_to_clips(self, tmp_path, write_frames, write_workbook):
        write_frames(tmp_path, "lab/P007/take3/colour_{:06}.png", range(90, 120))
        write_workbook(tmp_path / "codes.xlsx", [["Who", "Take", "Begin", "End", "Mood"], [7, "take3", 95, 110, "Joy"]])
        (tmp_path / "mine.yaml").write_text(
            "database: mine\ntitle: Our laboratory\nrate: 120\nsubject: P001\nclip: take\\d+\n"
            "forms: {all: {path: '{subject}/{clip}/colour_{frame}', cropped: true}}\n"
            "annotation: [codes*]\n"
            "columns: {subject: [Who], clip: [Take], onset: [Begin], offset: [End], emotion: [Mood]}\n"
            "classes: {positive: [joy]}\n"
        )
        release = find_release(load_layout(tmp_path / "mine.yaml"), tmp_path)
        assert found(release) == {("P007", "take3"): ("positive", 95, None, 110, list(range(95, 111)))}
        assert str(release.clips[0].sample) == "mine/P007/take3"


def test_what_the_layouts_leave_out_is_not_in_the_ground_truth(request):
    truth = request.config.rootpath / "../shared/data/combined_3class_gt.csv"
    if not truth.is_file():
        pytest.skip("the MEGC2019 ground truth is not here")
    samples = read_ground_truth(truth)
    for database in ("smic", "casme2", "samm"):
        layout = load_layout(database)
        own = {f"{subject}/{clip}": label for (name, subject, clip), label in samples.items() if name == database}
        assert len(own) == layout.megc2019
        assert not own.keys() & layout.left_out.keys()
        for name in own:
            subject, clip = name.split("/")
            assert layout.subject_of(subject) == subject
            assert layout.clip_of(subject, clip) == clip
            assert layout.clip.fullmatch(clip)
        for name, correction in layout.corrections.items():
            if emotion := correction.cells.get("emotion"):
                assert own[name] == layout.emotions[emotion]
