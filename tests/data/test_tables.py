import pytest

from nas_mer.data.tables import read_rows
from nas_mer.errors import UserError


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "t.csv"
        path.write_text(text, encoding=encoding)
        return path

    return write


def test_columns_are_found_by_the_header(table):
    path = table('Clip , more, SUBJECT\n\n x ,1,"a, b"\n,,\ny,2,c\n', encoding="utf-8-sig")
    rows = read_rows(path, ("subject", "clip"))
    assert [(row.place, row.of(("subject", "clip"))) for row in rows] == [
        (f"{path}:3", ["a, b", "x"]),
        (f"{path}:5", ["c", "y"]),
    ]
    assert rows[0].cells["more"] == "1"


def test_a_file_may_do_without_a_header(table):
    rows = [["a", "b"], ["c", "d"]]
    assert [row.of(("x", "y")) for row in read_rows(table("a,b\nc,d\n"), ("x", "y"), headerless=True)] == rows
    assert [row.of(("x", "y")) for row in read_rows(table("y,x\nb,a\nd,c\n"), ("x", "y"), headerless=True)] == rows
    assert read_rows(table(""), ("x", "y"), headerless=True) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subjekt,clip\na,b\n", r"t\.csv:1: the column 'subject' is missing from the header; did you mean 'subjekt'\?"),
        ("", r"t\.csv:1: the column 'subject' is missing from the header\n.*t\.csv:1: the column 'clip' is missing"),
        ("subject,clip,clip\na,b,c\n", r"t\.csv:1: the header names clip more than once"),
        (
            "subject,clip\na,b\na\na,b,c\n",
            r"t\.csv:3: 1 cells, expected 2 \(subject, clip\)\n.*t\.csv:4: 3 cells, expected 2 \(subject, clip\)$",
        ),
        ('subject,clip\na,"b\n', r"t\.csv: not readable as CSV"),
    ],
)
def test_what_is_wrong_is_named(table, text, message):
    with pytest.raises(UserError, match=message):
        read_rows(table(text), ("subject", "clip"))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"x\.csv: no such file"):
        read_rows(tmp_path / "x.csv", ("a",))
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"x\.csv: not readable as CSV"):
        read_rows(tmp_path / "x.csv", ("a",))
