import xml.etree.ElementTree as ET

import pytest

from nas_mer.reproduce import Outcome, figure, reproduced, write
from nas_mer.view import Page


@pytest.fixture
def drawn(planned, outcome):
    """Draw an experiment whose first setting has failed."""

    def drawn(name):
        plan = planned(name, quick=True)
        settings = list(dict.fromkeys(entry.setting for entry in reproduced(plan, {}).entries))
        outcomes = dict.fromkeys(settings, outcome(0)) | {settings[0]: Outcome(reason="no training succeeded")}
        return reproduced(plan, outcomes)

    return drawn


def panels(found):
    """The axes of a figure's panels; the first are those of the page."""
    return found.axes[1:]


def texts(found):
    return " ".join(text.get_text() for text in found.axes[0].texts)


def test_curves_with_intervals_and_open_markers(drawn):
    found = drawn("fig7")
    (axes,) = panels(figure(found))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["40", "60", "100"]
    curves = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert len(curves) == 2  # RCN and RCN-S
    shown = [list(curve.get_ydata()) for curve in curves]
    assert str(shown[0][0]) == "nan"
    assert shown[0][1:] == [found.at("", size, "RCN").ours for size in ("60", "100")]
    assert shown[1] == [found.at("", size, "RCN-S").ours for size in ("40", "60", "100")]
    bars = [tuple(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == 2]
    assert bars == [tuple(entry.interval) for column in ("RCN", "RCN-S") for entry in found.entries
                    if entry.labels[2] == column and entry.interval]  # fmt: skip
    open_ones = [line for line in axes.lines if line.get_fillstyle() == "none"]
    assert [line.get_ydata()[0] for line in open_ones] == [0.6773, 0.6594, 0.7106, 0.6607]


def test_a_panel_for_each_section(planned, outcome):
    plan = planned("fig8")
    settings = {entry.setting for entry in reproduced(plan, {}).entries}
    found = reproduced(plan, dict.fromkeys(settings, outcome(0)))
    wide = figure(found)
    assert len(panels(wide)) == 2
    assert {"resolution 60", "resolution 100", "RCN-W", "in the paper"} <= {t.get_text() for t in wide.axes[0].texts}
    with Page(width=3.5).applied():
        narrow = figure(found)
    assert narrow.get_figwidth() == 3.5
    tops = [axes.get_position().y1 for axes in panels(narrow)]
    assert tops[0] > tops[1]  # below each other
    assert len({axes.get_position().y1 for axes in panels(wide)}) == 1


def test_what_is_not_there_is_told(drawn, planned):
    told = texts(figure(drawn("fig7")))
    assert "No point of ours: no training succeeded." in told
    assert "Quick, a part of the experiment only" in told
    assert "in the paper" in told
    assert "The paper's text does not name the values of its axis" in texts(figure(drawn("fig9")))
    empty = figure(reproduced(planned("fig1"), {}))
    assert "No point of ours: not trained yet." in texts(empty)


def test_where_the_paper_prints_nothing_all_points_are_ours(drawn):
    found = drawn("fig8")
    plan = type(found.plan)(**{**vars(found.plan), "experiment": _only_nine(found.plan.experiment)})
    told = texts(figure(reproduced(plan, {})))
    assert "The paper prints no numbers of this; all are ours." in told
    assert "in the paper" not in told


def _only_nine(experiment):
    return type(experiment)(**{**vars(experiment), "rows": experiment.rows.only(["9"])})


def test_the_files(drawn):
    found = drawn("fig7")
    write(found)
    root = ET.parse(found.plan.folder / "figure.svg").getroot()
    assert float(root.get("width").removesuffix("pt")) == pytest.approx(7.16 * 72, abs=0.01)
    assert (found.plan.folder / "figure.pdf").read_bytes().startswith(b"%PDF")
    assert (found.plan.folder / "table.md").is_file()
