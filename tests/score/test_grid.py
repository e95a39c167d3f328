import re
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from nas_mer.score.grid import Column, Grid

NASTY = [("r_n & 50%", "0.5\n[0, 1]"), ("<b>x</b> | $y$", "-0.25"), ("[z] ~^{}\\#", "± 1")]


@pytest.fixture
def grid():
    columns = [Column("name", words=True), Column("a_1", group="g & h"), Column("b\nc", group="g & h")]
    rows = [(name, value, str(index)) for index, (name, value) in enumerate(NASTY)]
    return Grid("T_1", columns, [rows[:2], rows[2:]], "A < B.\nC.")


class Cells(HTMLParser):
    """The texts of a table's cells, by row."""

    def __init__(self):
        super().__init__()
        self.rows, self.tags, self.inside = [], set(), False

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True
        elif tag == "br" and self.inside:
            self.rows[-1][-1] += "\n"

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def cells(text):
    parser = Cells()
    parser.feed(text)
    return parser


def test_html_holds_every_text_and_no_markup_of_a_name(grid):
    found = cells(grid.html())
    assert found.rows == [
        ["", "g & h"],
        ["name", "a_1", "b\nc"],
        *([name, value, str(index)] for index, (name, value) in enumerate(NASTY)),
    ]
    assert found.tags == {"table", "caption", "thead", "tbody", "tr", "th", "td", "br", "p"}


def test_markdown_is_read_back_as_the_same_table(grid):
    found = cells(MarkdownIt().enable("table").render(grid.markdown()).replace("&lt;br&gt;", "<br>"))
    assert found.rows == [
        ["name", "g & h a_1", "g & h b\nc"],
        *([name, value, str(index)] for index, (name, value) in enumerate(NASTY)),
    ]
    assert "b" not in found.tags


def test_latex_has_a_line_a_line_and_as_many_cells_as_columns(grid):
    text = grid.latex()
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    lines = [line.strip() for line in body.splitlines() if line.endswith(r"\\")]
    names = [re.split(r"(?<!\\)&", line.removesuffix(r"\\"))[0].strip() for line in lines[2:]]
    assert names == [
        r"r\_n \& 50\%",
        "",
        r"\textless{}b\textgreater{}x\textless{}/b\textgreater{} | \$y\$",
        r"{[}z] \textasciitilde{}\textasciicircum{}\{\}\textbackslash{}\#",
    ]
    assert all(len(re.findall(r"(?<!\\)&", line)) == 2 for line in lines[1:])
    assert r"\multicolumn{2}{c}{g \& h}" in lines[0]
    assert lines[1] == r"name & a\_1 & b, c \\"
    assert r"\cmidrule(lr){2-3}" in body
    assert "$-$0.25" in body
    assert r"$\pm$ 1" in body
    assert r"\caption{T\_1. A \textless{} B. C.}" in text
    assert r"\begin{tabular}{lrr}" in text


def test_a_latex_row_does_not_begin_as_an_option_of_the_row_before(grid):
    rows = grid.latex().split(r"\\")
    assert not any(row.strip().startswith("[") for row in rows[1:])
