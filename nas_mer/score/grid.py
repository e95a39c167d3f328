"""A table as plain texts, and how a terminal, a notebook, a paper and a Markdown page show it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, zip_longest

from rich import box
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        group: what stands above the headings of neighbours that share it.
        words: whether it holds words, to the left, and not numbers, to the right.
    """

    name: str
    group: str = ""
    words: bool = False


Row = Sequence[str]
"""A text for each column; one of several lines stands on as many."""


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: what it is of; may be empty.
        columns: its columns.
        sections: rows that stand together, each with a text for every column.
        caption: sentences that explain it.
    """

    title: str
    columns: Sequence[Column]
    sections: Sequence[Sequence[Row]]
    caption: str = ""

    def __rich__(self) -> Table:
        """Return it as a terminal shows it."""
        table = Table(
            title=Text(self.title) if self.title else None,
            caption=Text(self.caption),
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
            show_edge=False,
            title_justify="left",
            caption_justify="left",
        )
        parts = [
            list(members) for _, members in groupby(range(len(self.columns)), lambda i: self.columns[i].group or i)
        ]
        rows = [row for section in self.sections for row in section]
        widths = [
            max(map(len, (column.name, *cells)))
            for column, cells in zip(self.columns, zip(*rows, strict=True), strict=True)
        ]

        def joined(texts: Sequence[str], members: Sequence[int]) -> str:
            """Return the texts of a group, which stand as closely as they can."""
            return " ".join(texts[i].rjust(widths[i]) for i in members) if len(members) > 1 else texts[members[0]]

        names = [column.name for column in self.columns]
        for members in parts:
            column = self.columns[members[0]]
            head = f"{column.group}\n{joined(names, members)}" if column.group else column.name
            table.add_column(Text(head), justify="left" if column.words else "right", overflow="fold")
        for section in self.sections:
            table.add_section()
            for row in section:
                table.add_row(*(Text(joined(row, members)) for members in parts))  # brackets in a name are no markup
        return table

    def html(self) -> str:
        """Return it as an HTML table, all texts escaped."""

        def cells(kind: str, texts: Iterable[str]) -> str:
            aligned = zip(texts, self.columns, strict=True)
            return "".join(
                f'<{kind} style="text-align: {"left" if column.words else "right"}">{_lines_in_html(text)}</{kind}>'
                for text, column in aligned
            )

        groups = "".join(f'<th colspan="{span}">{escape(name)}</th>' for name, span in self._groups())
        head = (f"<tr>{groups}</tr>" if any(column.group for column in self.columns) else "") + (
            f"<tr>{cells('th', (column.name for column in self.columns))}</tr>"
        )
        bodies = ""
        for section in self.sections:
            rows = "".join(f"<tr>{cells('td', row)}</tr>" for row in section)
            bodies += f"<tbody>{rows}</tbody>"
        title = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        note = f"<p>{_lines_in_html(self.caption)}</p>" if self.caption else ""
        return f"<table>{title}<thead>{head}</thead>{bodies}</table>{note}"

    def latex(self) -> str:
        r"""Return it as a LaTeX table, all texts escaped; it needs `\usepackage{booktabs}`."""
        lines = []
        if any(column.group for column in self.columns):
            spans, rules, at = [], [], 1
            for name, span in self._groups():
                spans.append(rf"\multicolumn{{{span}}}{{c}}{{{_in_latex(name)}}}" if name else " & " * (span - 1))
                rules += [rf"\cmidrule(lr){{{at}-{at + span - 1}}}"] if name else []
                at += span
            lines += [" & ".join(spans).rstrip() + r" \\", " ".join(rules)]
        lines += [_latex_row(column.name.replace("\n", ", ") for column in self.columns), r"\midrule"]
        for number, section in enumerate(self.sections):
            lines += [r"\midrule"] if number else []
            for place, row in enumerate(section):
                parts = list(zip_longest(*(text.split("\n") for text in row), fillvalue=""))
                lines += [r"\addlinespace"] if place and len(parts) > 1 else []
                lines += [_latex_row(part) for part in parts]
        body = "\n".join(f"    {line}" for line in [r"\toprule", *lines, r"\bottomrule"])
        about = " ".join(filter(None, [self.title and f"{self.title}.", self.caption.replace("\n", " ")]))
        return "\n".join(
            [
                r"% needs \usepackage{booktabs}",
                r"\begin{table}",
                r"  \centering",
                rf"  \caption{{{_in_latex(about)}}}",
                rf"  \begin{{tabular}}{{{''.join('l' if column.words else 'r' for column in self.columns)}}}",
                body,
                r"  \end{tabular}",
                r"\end{table}",
            ]
        )

    def markdown(self) -> str:
        """Return it as a table of GitHub's Markdown."""
        names = [" ".join(filter(None, [column.group, column.name])) for column in self.columns]
        rules = [":---" if column.words else "---:" for column in self.columns]
        rows = [map(_in_markdown, row) for section in self.sections for row in section]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in [map(_in_markdown, names), rules, *rows])
        title = f"**{_in_markdown(self.title)}**" if self.title else ""
        return "\n\n".join(filter(None, [title, table, _in_markdown(self.caption)]))

    def _groups(self) -> Iterator[tuple[str, int]]:
        """Iterate over the groups: what stands above how many columns."""
        return ((name, len(list(members))) for name, members in groupby(self.columns, key=lambda column: column.group))


def _lines_in_html(text: str) -> str:
    return escape(text).replace("\n", "<br>")


_LATEX = str.maketrans(
    {
        **{special: f"\\{special}" for special in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "[": "{[}",  # at the start of a row it would be an option of the row before
        "±": r"$\pm$",
    }
)


def _in_latex(text: str) -> str:
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", text.translate(_LATEX))  # a minus sign, not a hyphen


def _latex_row(texts: Iterable[str]) -> str:
    return " & ".join(map(_in_latex, texts)) + r" \\"


def _in_markdown(text: str) -> str:
    return re.sub(r"([\\`*_|<>])", r"\\\1", text).replace("\n", "<br>")
