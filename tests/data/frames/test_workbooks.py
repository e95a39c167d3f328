import datetime
import zipfile

import pytest
from openpyxl import Workbook

from nas_mer.data.frames.workbooks import read_table
from nas_mer.errors import UserError

COLUMNS = {"clip": ["Filename", "File"], "onset": ["Onset Frame"], "emotion": ["Emotion", "Label"]}
HEADER = ["Filename", "OnsetFrame", "Label"]


def read(path, **more):
    return [(row.place, row.cells) for row in read_table(path, COLUMNS, **more)]


def refusal(path):
    with pytest.raises(UserError) as error:
        read_table(path, COLUMNS)
    return str(error.value)


class TestCells:
    def test_whatever_was_typed_comes_as_text(self, tmp_path, write_workbook):
        typed = ["a", " b ", 12, 12.0, "12.0", " 012 ", 1.5, None, "/", -1, "", datetime.date(2014, 5, 8)]
        file = write_workbook(tmp_path / "a.xlsx", [HEADER, *([f"clip{i}", cell] for i, cell in enumerate(typed))])
        cells = [row.cells["onset"] for row in read_table(file, COLUMNS)]
        assert cells[:-1] == ["a", "b", "12", "12", "12", "012", "1.5", "", "/", "-1", ""]
        assert cells[-1].startswith("2014-05-08")

    def test_short_and_blank_rows(self, tmp_path, write_workbook):
        file = write_workbook(tmp_path / "a.xlsx", [HEADER, ["x"], [], [None, " "], ["y", 1, "joy", "more"]])
        assert read(file) == [
            ("a.xlsx:2", {"clip": "x", "onset": "", "emotion": ""}),
            ("a.xlsx:5", {"clip": "y", "onset": "1", "emotion": "joy"}),
        ]

    def test_results_of_formulas_not_the_formulas(self, tmp_path):
        book = Workbook()
        for row in (HEADER, ["x", "=1+1", "joy"]):
            book.active.append(row)
        book.save(tmp_path / "a.xlsx")
        assert read(tmp_path / "a.xlsx")[0][1]["onset"] == ""  # nobody has computed it


class TestHeader:
    @pytest.mark.parametrize("above", [0, 1, 13, 49])
    def test_wherever_it_stands(self, tmp_path, write_workbook, above):
        file = write_workbook(tmp_path / "a.xlsx", [HEADER, ["x", 3, "joy"]], above)
        assert read(file) == [(f"a.xlsx:{above + 2}", {"clip": "x", "onset": "3", "emotion": "joy"})]

    def test_text_that_names_one_column_is_none(self, tmp_path, write_workbook):
        file = write_workbook(tmp_path / "a.xlsx", [["Filename"], HEADER, ["x", 3, "joy"]])
        assert [place for place, _ in read(file)] == ["a.xlsx:3"]

    def test_the_best_spelling(self, tmp_path, write_workbook):
        header = ["label", "FILE ", " filename:", "onset_frame", "EMOTION"]
        file = write_workbook(tmp_path / "a.xlsx", [header, [1, 2, 3, 4, 5]])
        assert read(file)[0][1] == {"clip": "3", "onset": "4", "emotion": "5"}

    def test_an_optional_column(self, tmp_path, write_workbook):
        file = write_workbook(tmp_path / "a.xlsx", [HEADER[:2], ["x", 3]])
        assert read(file, optional=["emotion"])[0][1] == {"clip": "x", "onset": "3"}
        file = write_workbook(tmp_path / "b.xlsx", [HEADER, ["x", 3, "joy"]])
        assert read(file, optional=["emotion"])[0][1] == {"clip": "x", "onset": "3", "emotion": "joy"}

    def test_on_a_later_sheet(self, tmp_path):
        book = Workbook()
        book.active.append(["About this file"])
        for row in (HEADER, ["x", 3, "joy"]):
            book.create_sheet("codes") if len(book.worksheets) == 1 else None
            book["codes"].append(row)
        book.save(tmp_path / "a.xlsx")
        assert read(tmp_path / "a.xlsx") == [("a.xlsx:2", {"clip": "x", "onset": "3", "emotion": "joy"})]

    def test_none(self, tmp_path, write_workbook):
        file = write_workbook(tmp_path / "a.xlsx", [["x", 3, "joy"]])
        assert refusal(file) == f"{file}: no header row with Filename, Onset Frame, Emotion"

    def test_missing_columns(self, tmp_path, write_workbook):
        file = write_workbook(tmp_path / "a.xlsx", [["About"], ["Filename", "Onset", "Label"], ["x", 3, "joy"]])
        assert refusal(file) == (
            f"{file}:2: the column 'Onset Frame' is missing from the header; did you mean 'Onset'?"
        )

    def test_a_column_twice(self, tmp_path, write_workbook):
        file = write_workbook(tmp_path / "a.xlsx", [[*HEADER, "Onset Frame"], ["x", 3, "joy", 4]])
        assert refusal(file) == f"{file}:1: the header names OnsetFrame more than once"


class TestFiles:
    def test_csv(self, tmp_path):
        file = tmp_path / "a.CSV"
        file.write_text('\ufeffSome,words\nFilename,"Onset\nFrame",Label\n x ,3.0,"joy, great"\n', encoding="utf-8")
        assert read(file) == [("a.CSV:3", {"clip": "x", "onset": "3", "emotion": "joy, great"})]

    def test_csv_in_another_encoding(self, tmp_path):
        (tmp_path / "a.csv").write_bytes("Filename,Gefühl\n".encode("latin-1"))
        assert "a.csv: not readable as CSV in UTF-8" in refusal(tmp_path / "a.csv")

    def test_missing(self, tmp_path):
        assert refusal(tmp_path / "a.xlsx") == f"{tmp_path / 'a.xlsx'}: no such file"
        (tmp_path / "b.xlsx").mkdir()
        assert refusal(tmp_path / "b.xlsx") == f"{tmp_path / 'b.xlsx'}: not a file"

    def test_of_another_kind(self, tmp_path):
        (tmp_path / "a.pdf").touch()
        assert "not a table that can be read; expected .xlsx or .csv" in refusal(tmp_path / "a.pdf")

    def test_protected_by_a_password(self, tmp_path):
        content = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(80)
        (tmp_path / "a.xlsx").write_bytes(content)
        assert "a.xlsx: protected by a password" in refusal(tmp_path / "a.xlsx")

    def test_of_the_old_form(self, tmp_path):
        (tmp_path / "a.xls").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600))
        assert "save it as .xlsx" in refusal(tmp_path / "a.xls")

    @pytest.mark.parametrize("left", [0, 5, 700, -40])
    def test_cut_short(self, tmp_path, write_workbook, left):
        file = write_workbook(tmp_path / "a.xlsx", [HEADER, ["x", 3, "joy"]])
        file.write_bytes(file.read_bytes()[:left])
        assert f"{file}: damaged" in refusal(file)

    @pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "[Content_Types].xml"])
    def test_damaged_inside(self, tmp_path, write_workbook, part):
        whole = zipfile.ZipFile(write_workbook(tmp_path / "a.xlsx", [HEADER, ["x", 3, "joy"]]))
        with whole, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as broken:
            for name in whole.namelist():
                broken.writestr(name, whole.read(name)[: 80 if name == part else None])
        assert "b.xlsx: damaged" in refusal(tmp_path / "b.xlsx")

    def test_not_a_workbook(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
            archive.writestr("frames/img1.jpg", b"")
        assert "a.xlsx: damaged, or no Excel workbook" in refusal(tmp_path / "a.xlsx")
