import csv
import io
import shutil

import cv2
import numpy as np
import pytest

from nas_mer.data import CLASSES, canonical_subject, import_maps, read_ground_truth
from nas_mer.data.importing import check_labels
from nas_mer.errors import UserError

U, V, STRAIN = 10, 20, 30

ROWS = [
    ("samm", "006", "006_1_2", 0),
    ("samm", "006", "006_1_3", 2),
    ("casme2", "sub01", "EP02_01f", 1),
    ("smic", "s01", "s01_ne_01", 0),
]


def picture(value=0, size=(6, 5), kind=np.uint8):
    """An image as `cv2.imwrite` takes it (B, G, R): strain, v, u, each plus `value`."""
    return np.broadcast_to(np.array([STRAIN, V, U]) + value, (*size, 3)).astype(kind)


def write_image(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded, content = cv2.imencode(".png", image)
    assert encoded
    path.write_bytes(content.tobytes())


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture
def tree(tmp_path):
    """A published tree of ROWS, the i-th map's values raised by i."""
    for i, (_, subject, clip, label) in enumerate(ROWS):
        write_image(tmp_path / "tree" / subject / "u_test" / str(label) / f"{subject}_{clip} .png", picture(i))
    return tmp_path / "tree"


@pytest.fixture
def truth(tmp_path):
    """Its ground truth, with SAMM's subjects unpadded."""
    return write_csv(tmp_path / "truth.csv", [(d, s.lstrip("0"), c, y) for d, s, c, y in ROWS])


class TestPublishedTree:
    def test_rows(self, tree, truth):
        dataset = import_maps(tree, truth)
        assert {(*sample.key, CLASSES.index(sample.label)) for sample in dataset.samples} == set(ROWS)
        assert dataset.name == "tree"
        assert dataset.classes == CLASSES
        assert dataset.u_mirror == 1.0
        assert dataset.provenance["layout"] == "published tree"
        assert dataset.provenance["source"] == str(tree)
        assert dataset.provenance["files"] == 4
        assert dataset.provenance["ground_truth"] == {"file": str(truth), "rows_that_agree": 4}
        assert import_maps(tree).provenance["ground_truth"] is None
        assert import_maps(tree, name="mine").name == "mine"

    def test_each_map_is_its_samples_in_the_order_u_v_strain(self, tree):
        dataset = import_maps(tree)
        assert dataset.maps.shape == (4, 3, 6, 5)
        for sample, flow_map in zip(dataset.samples, dataset.maps, strict=True):
            value = [clip for _, _, clip, _ in ROWS].index(sample.clip)
            expected = np.array([U + value, V + value, STRAIN + value], np.float32) / np.float32(255)
            np.testing.assert_array_equal(flow_map, np.broadcast_to(expected[:, None, None], (3, 6, 5)))

    def test_the_pixels_are_not_turned(self, tree):
        image = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
        for path in tree.rglob("*.png"):
            write_image(path, image)
        np.testing.assert_array_equal(import_maps(tree).maps[0] * 255, image[..., ::-1].transpose(2, 0, 1))

    def test_other_orders_of_channels(self, tree):
        ours, swapped = import_maps(tree), import_maps(tree, channels="suv")
        np.testing.assert_array_equal(swapped.maps, ours.maps[:, [1, 2, 0]])
        for wrong in ("uv", "uvv", "rgb", "uvst"):
            with pytest.raises(UserError, match="channels must hold each of u, v and s"):
                import_maps(tree, channels=wrong)

    def test_u_train_hidden_files_and_others_are_left_alone(self, tree):
        before = import_maps(tree)
        for subject in ("006", "sub01", "s01"):
            write_image(tree / subject / "u_train" / "0" / "s99_x .png", picture(size=(9, 9)))
            (tree / subject / "u_test" / "0" / "._junk.png").parent.mkdir(exist_ok=True)
            (tree / subject / "u_test" / "0" / "._junk.png").write_text("junk")
            (tree / subject / "u_test" / "0" / "Thumbs.db").write_text("junk")
        (tree / ".cache").mkdir()
        (tree / "__MACOSX").mkdir()
        (tree / "readme.txt").write_text("hello")
        after = import_maps(tree)
        assert after.fingerprint == before.fingerprint
        assert after.provenance == before.provenance

    def test_names_without_the_space(self, tree):
        before = import_maps(tree)
        for path in list(tree.rglob("*.png")):
            path.rename(path.with_name(path.name.replace(" .png", ".PNG")))
        assert import_maps(tree).fingerprint == before.fingerprint

    def test_u_train_alone_does_not_do(self, tree):
        for folder in list(tree.glob("*/u_test")):
            folder.rename(folder.with_name("u_train"))
        with pytest.raises(UserError, match="no maps in any <subject>/u_test/<label>; u_train alone does not do"):
            import_maps(tree)

    def test_all_that_is_wrong_with_names_is_listed(self, tree):
        (tree / "s05" / "u_test").mkdir(parents=True)
        write_image(tree / "Bob" / "u_test" / "0" / "Bob_1.png", picture())
        write_image(tree / "Jim" / "u_test" / "0" / "Jim_1.png", picture())
        write_image(tree / "s01" / "u_test" / "3" / "s01_x.png", picture())
        write_image(tree / "s01" / "u_test" / "0" / "s02_x.png", picture())
        write_image(tree / "s01" / "u_test" / "0" / "s01_s01_ne_01.png", picture())
        with pytest.raises(UserError) as caught:
            import_maps(tree)
        message = str(caught.value)
        for part in (
            "subjects without a single map in u_test: s05",
            "no database is known by these subjects' names: Bob, Jim; expected subNN (CASME II), sNN",
            "3/s01_x.png: unknown label '3'",
            "s02_x.png: the name must be s01_<clip>.png",
            "smic/s01/s01_ne_01 has more than one map: ",
        ):
            assert part in message
        assert len(message.splitlines()) == 5


class TestFilesThatCannotBeUsed:
    @staticmethod
    def of(tree, *, clip):
        return next(tree.rglob(f"*{clip}*"))

    def test_all_are_listed_by_what_is_wrong(self, tree, capfd):
        cut, gray, alpha = (self.of(tree, clip=clip) for clip in ("006_1_2", "006_1_3", "EP02"))
        cut.write_bytes(cut.read_bytes()[:60])
        write_image(gray, picture()[..., 0])
        write_image(alpha, np.dstack([picture(), picture()[..., 0]]))
        self.of(tree, clip="s01_ne").write_bytes(b"")
        with pytest.raises(UserError) as caught:
            import_maps(tree)
        first, second = sorted(str(caught.value).splitlines())
        assert first.startswith("not an image of 3 channels: ")
        assert str(gray) in first
        assert str(alpha) in first
        assert second.startswith("not readable as an image: ")
        assert str(cut) in second
        assert "s01_ne_01" in second
        capfd.readouterr()  # what the PNG library says about it

    def test_a_link_to_nowhere(self, tree):
        link = self.of(tree, clip="006_1_2")
        link.unlink()
        link.symlink_to("nowhere.png")
        with pytest.raises(UserError) as caught:
            import_maps(tree)
        assert str(caught.value) == f"not readable (No such file or directory): '{link}'"

    def test_sizes(self, tree):
        write_image(self.of(tree, clip="EP02"), picture(size=(7, 5)))
        with pytest.raises(UserError, match=r"^size other than the 5 x 6 of most: '.*EP02_01f .png' \(5 x 7\)$"):
            import_maps(tree)

    def test_kinds(self, tree):
        write_image(self.of(tree, clip="EP02"), picture(kind=np.uint16))
        with pytest.raises(UserError, match=r"^values not 8 bits, .*, as most are: '.*EP02_01f .png' \(16 bits"):
            import_maps(tree)

    def test_sixteen_bits(self, tree):
        for path in tree.rglob("*.png"):
            write_image(path, picture(1000, kind=np.uint16))
        dataset = import_maps(tree)
        assert dataset.u_mirror == 1.0
        np.testing.assert_allclose(dataset.maps[0, :, 0, 0], [1010 / 65535, 1020 / 65535, 1030 / 65535], rtol=1e-6)


class TestGroundTruth:
    def test_reading(self, tmp_path):
        rows = [("samm", "6", "006_1_2", 0), ("SMIC", "s1", "x", 1), ("casme2", "sub2", "y", 2), ("own", "p1", "z", 1)]
        expected = {
            ("samm", "006", "006_1_2"): "negative",
            ("smic", "s01", "x"): "positive",
            ("casme2", "sub02", "y"): "surprise",
            ("own", "p1", "z"): "positive",
        }
        assert read_ground_truth(write_csv(tmp_path / "a.csv", rows)) == expected
        header = [("Label", "Subject", "Clip", "Database")]
        shuffled = [(y, s, c, d) for d, s, c, y in rows]
        assert read_ground_truth(write_csv(tmp_path / "b.csv", header + shuffled)) == expected

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([("samm", "6", "a", 0), ("samm", "006", "a", 1)], r"t\.csv:2: samm/006/a occurs a second time"),
            (
                [("samm", "6", "a", 3), ("samm", "7", "a", "x")],
                r"t\.csv:1: unknown label '3'.*\n.*t\.csv:2: unknown label",
            ),
            ([("samm", "6", "a")], r"t\.csv:1: 3 cells, expected 4 \(database, subject, clip, label\)"),
            ([("sa mm", "6", "a", 1)], r"t\.csv:1: sa mm/6/a: the database must be of lower-case"),
            ([], r"t\.csv: no rows; expected database, subject, clip, label"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, rows, message):
        with pytest.raises(UserError, match=message):
            read_ground_truth(write_csv(tmp_path / "t.csv", rows))

    def test_subjects_are_spelt_as_in_the_tree(self):
        assert [canonical_subject("samm", name) for name in ("6", "06", "006", "036")] == ["006", "006", "006", "036"]
        assert [canonical_subject("smic", name) for name in ("s1", "S01", "1", "s20")] == ["s01", "s01", "s01", "s20"]
        assert [canonical_subject("casme2", name) for name in ("sub1", "26", "sub026")] == ["sub01", "sub26", "sub26"]
        assert canonical_subject("casme2", "anna") == "anna"
        assert canonical_subject("own", "6") == "6"

    def test_all_that_disagrees_is_listed(self, tree, tmp_path):
        rows = [
            ("samm", "6", "006_1_2", 1),
            ("samm", "6", "006_1_4", 2),
            ("casme2", "sub01", "EP02_01f", 1),
            ("smic", "s01", "s01_ne_01", 2),
            ("smic", "s02", "s02_ne_01", 2),
        ]
        with pytest.raises(UserError) as caught:
            import_maps(tree, write_csv(tmp_path / "truth.csv", rows))
        name = tmp_path / "truth.csv"
        assert str(caught.value).splitlines() == [
            f"{name}: 2 labels that contradict the ground truth: samm/006/006_1_2 (here negative, there positive), "
            "smic/s01/s01_ne_01 (here negative, there surprise)",
            f"{name}: 1 samples that the ground truth does not have: samm/006/006_1_3",
            f"{name}: 2 samples of the ground truth that have no map: samm/006/006_1_4, smic/s02/s02_ne_01",
        ]

    def test_databases_that_the_tree_does_not_hold_do_not_matter(self, tree, truth):
        shutil.rmtree(tree / "s01")
        assert import_maps(tree, truth).counts().keys() == {"samm", "casme2"}

    def test_its_spelling_wins(self, tree, tmp_path):
        rows = [
            ("samm", "6", "6_1_2", 0),
            ("samm", "6", "006_01_3", 2),
            ("casme2", "1", "ep02_01F", 1),
            ("smic", "s1", "s1_ne_1", 0),
        ]
        dataset = import_maps(tree, write_csv(tmp_path / "truth.csv", rows))
        assert [sample.clip for sample in dataset.samples] == ["ep02_01F", "006_01_3", "6_1_2", "s1_ne_1"]
        np.testing.assert_array_equal(dataset.maps[:, 0, 0, 0] * 255, [U + 2, U + 1, U, U + 3])

    def test_an_ambiguous_spelling_does_not_match(self, tree, tmp_path):
        rows = [("samm", "6", "6_1_2", 0), ("samm", "6", "6_01_2", 0), *ROWS[1:]]
        with pytest.raises(UserError, match="1 samples that the ground truth does not have: samm/006/006_1_2"):
            import_maps(tree, write_csv(tmp_path / "truth.csv", rows))


class TestFolderWithATable:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "maps").mkdir()
        return tmp_path / "maps"

    @staticmethod
    def table(folder, *rows, columns=("database", "subject", "clip", "label")):
        return write_csv(folder / "table.csv", [columns, *rows])

    def test_names_of_files(self, folder):
        rows = [("samm", "6", "1_2", 0), ("own", "anna", "a", "positive"), ("own", "bo", "b", 2), ("own", "bo", "c", 1)]
        self.table(folder, *rows)
        for i, name in enumerate(("samm_6_1_2.png", "anna_a.PNG", "b .png", "own_bo_c.png")):
            write_image(folder / name, picture(i))
        dataset = import_maps(folder)
        assert [(*sample.key, sample.label) for sample in dataset.samples] == [
            ("own", "anna", "a", "positive"),
            ("own", "bo", "b", "surprise"),
            ("own", "bo", "c", "positive"),
            ("samm", "006", "1_2", "negative"),
        ]
        np.testing.assert_allclose(dataset.maps[:, 0, 0, 0] * 255, [U + 1, U + 2, U + 3, U], rtol=1e-6)
        assert dataset.provenance["layout"] == "folder with a table"

    def test_files_may_be_named_in_the_table_and_the_table_be_elsewhere(self, folder, tmp_path):
        write_image(folder / "one" / "x.png", picture(1))
        write_image(folder / "two" / "x.png", picture(2))
        columns = ("file", "database", "subject", "clip", "label")
        table = self.table(
            tmp_path, ("one/x.png", "own", "a", "x", 0), ("two/x.png", "own", "b", "x", 1), columns=columns
        )
        dataset = import_maps(folder, table=table)
        np.testing.assert_allclose(dataset.maps[:, 0, 0, 0] * 255, [U + 1, U + 2], rtol=1e-6)

    @pytest.mark.parametrize("first", [True, False])
    @pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
    def test_floating_point_is_flow(self, folder, first, kind):
        flow = np.random.default_rng(0).normal(size=(3, 6, 5)).astype(kind)
        np.save(folder / "a.npy", flow if first else flow.transpose(1, 2, 0))
        self.table(folder, ("own", "p", "a", 0))
        dataset = import_maps(folder, channels="suv")
        assert dataset.u_mirror == 0.0
        assert dataset.provenance["values"] == "flow"
        np.testing.assert_array_equal(dataset.maps[0], flow[[1, 2, 0]].astype(np.float32))

    def test_bytes_in_npy_are_as_in_png(self, folder, tmp_path):
        write_image(folder / "a.png", picture(7))
        self.table(folder, ("own", "p", "a", 0))
        from_png = import_maps(folder)
        (folder / "a.png").unlink()
        np.save(folder / "a.npy", picture(7)[..., ::-1])
        assert import_maps(folder).fingerprint == from_png.fingerprint

    def test_all_that_is_wrong_with_arrays_is_listed(self, folder):
        good = np.zeros((6, 5, 3), np.float32)
        bad = good.copy()
        bad[0, 0, 0] = np.nan
        arrays = {"a": good, "b": bad, "c": good[..., :2], "d": good.astype(int), "e": np.array([{}])}
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        zipped = io.BytesIO()
        np.savez(zipped, good)
        damaged = {"f": zipped.getvalue(), "g": zipped.getvalue()[:50], "h": (folder / "a.npy").read_bytes()}
        damaged["h"] = damaged["h"].replace(b"{", b" ", 1)
        for name, content in damaged.items():
            (folder / f"{name}.npy").write_bytes(content)
        self.table(folder, *(("own", "p", name, 0) for name in (*arrays, *damaged)))
        with pytest.raises(UserError) as caught:
            import_maps(folder)
        unreadable = ", ".join(f"'{folder / name}.npy'" for name in "efgh")
        assert str(caught.value).splitlines() == [
            f"NaN or infinity: '{folder / 'b.npy'}'",
            f"not an image of 3 channels: '{folder / 'c.npy'}'",
            f"numbers of type int64, neither unsigned of 8 or 16 bits nor floating point: '{folder / 'd.npy'}'",
            f"not readable as an NPY array: {unreadable}",
        ]

    def test_one_person_spelt_in_two_ways(self, folder):
        """Would be in training while held out."""
        for name in "ab":
            np.save(folder / f"{name}.npy", np.zeros((6, 5, 3)))
        self.table(folder, ("own", "S01", "a", 0), ("own", "s1", "b", 1))
        with pytest.raises(UserError, match="own: S01, s1 would be different people; if they are one,"):
            import_maps(folder)

    def test_flow_and_bytes_do_not_mix(self, folder):
        write_image(folder / "a.png", picture())
        write_image(folder / "b.png", picture())
        np.save(folder / "c.npy", np.zeros((6, 5, 3)))
        self.table(folder, *(("own", "p", name, 0) for name in "abc"))
        with pytest.raises(UserError, match=r"values not 8 bits, stretched to 0\.\.1, as most are: '.*c.npy' \(flow\)"):
            import_maps(folder)

    def test_all_that_is_wrong_with_the_table_is_listed(self, folder):
        for name in ("a.png", "b.png", "b.npy", "p_c.png", "e.png"):
            write_image(folder / name, picture())
        rows = [("own", "p", "a", "joy"), ("own", "p", "b", 0), ("own", "p", "c", 0), ("own", "p", "d", 1)]
        table = self.table(
            folder, *rows, ("own", "p", "e", 1), ("own", "q", "e", 1), ("own", "p", "c", 0), ("", "p", "f", 1)
        )
        with pytest.raises(UserError) as caught:
            import_maps(folder)
        message = str(caught.value)
        for part in (
            f"{table}:2: unknown label 'joy'; known: 0, 1, 2, negative, positive, surprise",
            f"{table}:3: own/p/b: more than one file could be meant: b.npy, b.png; add a column 'file'",
            f"{table}:5: own/p/d: no file in {folder} is called own_p_d, p_d, d (.png or .npy)",
            f"{table}:9: /p/f: the database must be",
            f"{table}: p_c.png is the map of more than one row: own/p/c, own/p/c; add a column 'file'",
            f"{table}: e.png is the map of more than one row: own/p/e, own/q/e; add a column 'file'",
            "own/p/c has more than one map",
        ):
            assert part in message
        assert len(message.splitlines()) == 7

    def test_tables_that_do_not_do(self, folder):
        table = self.table(folder)
        with pytest.raises(UserError, match=r"table\.csv: no rows"):
            import_maps(folder)
        shutil.copy(table, folder / "other.csv")
        with pytest.raises(UserError, match=r"more than one CSV: other\.csv, table\.csv; say which is the table"):
            import_maps(folder)
        with pytest.raises(UserError, match=r"none\.csv: no such file"):
            import_maps(folder, table=folder / "none.csv")


class TestNoLayout:
    def test_nothing_there(self, tmp_path):
        with pytest.raises(UserError, match="no such folder"):
            import_maps(tmp_path / "x")
        (tmp_path / "x").write_text("")
        with pytest.raises(UserError, match="not a folder"):
            import_maps(tmp_path / "x")

    def test_the_known_layouts_are_named(self, tmp_path):
        with pytest.raises(UserError) as caught:
            import_maps(tmp_path)
        assert str(caught.value).splitlines() == [
            f"{tmp_path}: no flow maps in a known layout",
            "known layouts:",
            "  published tree: <subject>/u_test/<0|1|2>/<subject>_<clip>.png",
            "  folder with a table: PNG or NPY files beside one CSV with the columns database, subject, clip, label",
        ]

    def test_a_tree_one_level_down_is_pointed_out(self, tree):
        with pytest.raises(UserError, match=f"no flow maps in a known layout; did you mean {tree}?"):
            import_maps(tree.parent)


class TestRealData:
    def test_the_published_counts(self, megc):
        assert len(megc) == 442
        assert {name: tuple(counts.values()) for name, counts in megc.counts().items()} == {
            "smic": (70, 51, 43),
            "casme2": (88, 32, 25),
            "samm": (92, 26, 15),
        }
        people = np.unique(megc.subjects)
        assert [sum(name.startswith(database) for name in people) for database in ("smic", "casme2", "samm")] == [
            16,
            24,
            28,
        ]
        assert megc.provenance["ground_truth"]["rows_that_agree"] == 442
        assert megc.maps.shape == (442, 3, 28, 28)
        assert megc.u_mirror == 1.0

    def test_every_channel_was_stretched(self, megc):
        assert megc.maps.min(axis=(2, 3)).max() == 0
        assert megc.maps.max(axis=(2, 3)).min() == 1

    def test_brows_rise_in_surprise_and_fall_in_negative_ones(self, megc):
        """Action units 1 and 2 against 4: the vertical flow of the brows, down positive, tells the channels apart."""
        brows = megc.maps[:, :, 4:9].mean(axis=(2, 3)) - np.median(megc.maps, axis=(2, 3))
        u, v, _ = (brows[megc.labels == 0].mean(axis=0) - brows[megc.labels == 2].mean(axis=0)).tolist()
        assert v > 0.05
        assert v > 3 * abs(u)
        strain_spread, flow_spread = (np.median(megc.maps[:, channel], axis=(1, 2)).std() for channel in (2, 0))
        assert strain_spread < flow_spread


def test_no_samples_contradict_nothing(tmp_path):
    (tmp_path / "truth.csv").write_text("casme2,sub01,EP02_01f,1\n")
    assert check_labels([], tmp_path / "truth.csv", whole=False) == ([], [])
