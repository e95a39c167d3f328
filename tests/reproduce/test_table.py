import csv
import io

import pytest
from rich.console import Console

from nas_mer.reproduce import Outcome, reproduced, table


@pytest.fixture
def filled(planned, outcome):
    """Table III, with all that needs no magnified motion."""
    plan = planned("table3")
    settings = {entry.setting for entry in reproduced(plan, {}).entries}
    known = outcome(0, 1)
    return reproduced(
        plan, {one: Outcome(reason="there are no frames.") if one.magnified else known for one in settings}
    )


def test_lines_of_a_row(filled):
    grid = table(filled)
    part = filled.at("60", "RCN-A", "as it is")
    assert [column.name for column in grid.columns] == [
        "resolution", "model", "motion\nas it is", "motion\nmagnified",
    ]  # fmt: skip
    section, names, plain, magnified = grid.sections[0][1]
    assert section == ""
    assert names.split("\n") == ["RCN-A", "  interval", "  in the paper", "  difference"]
    assert plain.split("\n") == [
        f"{part.ours:.3f} ± {part.spread:.3f}",
        f"[{part.interval.low:.3f}, {part.interval.high:.3f}]",
        "0.689",
        f"{part.ours - 0.6891:+.3f}",
    ]
    assert magnified.split("\n") == ["(1)", "", "0.604", ""]
    assert [part[0][0] for part in grid.sections] == ["60", "100"]
    assert grid.caption.endswith("(1) there are no frames.")
    assert grid.title == "Table III: UAR with and without motion magnification"


def test_lines_that_a_row_does_not_need_are_left_out(planned):
    grid = table(reproduced(planned("table5", quick=True), {}))
    uar, uf1 = (next(row for row in part if row[1].startswith("Bi-WOOF")) for part in grid.sections)
    assert uar[1:] == ("Bi-WOOF", "(1)", "(1)", "(1)", "(1)")  # whose UAR the paper does not have
    assert uf1[1:] == ("Bi-WOOF\n  in the paper", "(1)\n0.630", "(1)\n0.573", "(1)\n0.780", "(1)\n0.521")
    assert grid.title.endswith(", quick")


def test_hours(planned, outcome):
    plan = planned("table6", quick=True)
    setting = reproduced(plan, {}).entries[0].setting
    grid = table(reproduced(plan, {setting: Outcome(outcome(0).score, hours=0.02)}))
    assert grid.sections[0][0][1:3] == ("RCN\n  in the paper\n  ours / paper", "0.02 h\n1 h\n0.02")


def test_a_terminal_of_100_columns_shows_it_whole(filled):
    stream = io.StringIO()
    Console(file=stream, width=100).print(table(filled))
    assert any("RCN-A" in line and "(1)" in line for line in stream.getvalue().splitlines())


def test_the_csv_has_an_entry_a_row(filled, tmp_path):
    from nas_mer.reproduce import write

    write(filled)
    with (filled.plan.folder / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert [float(row["paper"]) for row in rows[:2]] == [0.6773, 0.6562]
    assert {(row["motion"], row["reason"]) for row in rows} == {("as it is", ""), ("magnified", "there are no frames.")}
    assert "| 60 | RCN<br>" in (filled.plan.folder / "table.md").read_text(encoding="utf-8")
    assert r"\caption{Table III: UAR with" in (filled.plan.folder / "table.tex").read_text(encoding="utf-8")
    assert not list(filled.plan.folder.glob("figure.*"))
