import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from nas_mer.score import class_table, compare, compared, comparison_table, find_published, score, score_table
from nas_mer.score.published import SAMPLES

MEGC = {"smic": (16, 10), "casme2": (24, 6), "samm": (28, 5)}


def rendered(table, width=100):
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


@pytest.fixture(scope="module")
def runs(simulate):
    names = ("rcn-f", "searched-3f9c27ab")
    return {name: [simulate(name, seed, 1.5, MEGC) for seed in range(3)] for name in names}


@pytest.fixture(scope="module")
def rows(runs):
    return [score(*seeds, resamples=100) for seeds in runs.values()]


def test_scores_fit_100_columns_and_are_all_there(rows):
    text = rendered(score_table(rows, title="MEGC2019"))
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for row in rows:
        (line,) = (line for line in text.splitlines() if line.startswith(row.genotype))
        whole = row.composite
        for number in (whole.uar, whole.uar_spread, whole.uf1, whole.uf1_spread):
            assert f"{number:.3f}" in line
        for part in row.databases.values():
            assert f"{part.uar:.3f} {part.uf1:.3f}" in line
        assert f"[{whole.uar_interval.low:.3f}, {whole.uar_interval.high:.3f}]" in text
        assert f"[{whole.uf1_interval.low:.3f}, {whole.uf1_interval.high:.3f}]" in text
    for word in ("MEGC2019", "smic", "casme2", "samm", "3 seeds", "444", "68", "95 % confidence", "±"):
        assert word in text


def test_one_seed_has_no_spread_and_a_missing_database_a_dash(simulate):
    rows = [score(simulate(), resamples=0), score(simulate("part").only("smic"), resamples=0)]
    text = rendered(score_table(rows))
    assert "±" not in text
    assert "confidence" not in text
    assert "seed 0" in text
    assert next(line for line in text.splitlines() if line.startswith("part")).split().count("-") == 4


def test_names_are_not_markup(simulate):
    row = score(simulate("[bold]x[/bold]", classes=("[red]a", "b", "c")), resamples=10)
    assert "[bold]x[/bold]" in rendered(score_table([row]))
    assert "as [red]a" in rendered(class_table(row))


def test_classes_show_recall_and_confusion(rows):
    text = rendered(class_table(rows[0]))
    assert max(map(len, text.splitlines())) <= 100
    assert "summed over 3 seeds" in text
    for part in (rows[0].composite, *rows[0].databases.values()):
        for name, recall, counts in zip(rows[0].classes, part.recalls, part.confusion, strict=True):
            expected = [name, f"{recall:.3f}", *map(str, counts), str(counts.sum())]
            assert any(line.split()[-6:] == expected for line in text.splitlines())


def test_an_absent_class_has_no_recall(simulate):
    bare = simulate()
    bare = replace(bare, labels=np.minimum(bare.labels, 1))
    lines = [line.split() for line in rendered(class_table(score(bare, resamples=0))).splitlines()]
    assert [line[1] for line in lines if line[:1] == ["surprise"]] == ["-"] * 4


@pytest.mark.parametrize("width", [80, 100])
def test_a_comparison_fits_and_is_all_there(runs, width):
    result = compare(*runs.values(), resamples=100)
    text = rendered(comparison_table(result), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for part in (result.composite, *result.databases.values()):
        assert f"{part.samples} in {part.folds} folds" in text
        for difference in (part.uar, part.uf1):
            low, high = difference.interval
            assert f"{difference.a:.3f}  {difference.b:.3f}  {difference.change:+.3f}" in text
            assert f"[{low:+.3f}, {high:+.3f}]" in text
    assert "A: rcn-f (3 seeds)" in text
    assert f"disagree on {result.disagreements:.0f} of 444" in text
    assert result.verdict.split(".")[0] in text


def test_small_p_values_and_missing_intervals(simulate):
    a, b = simulate("a", signal=0.0, shape=MEGC), simulate("b", signal=5.0, shape=MEGC)
    assert "<0.001  beyond" in rendered(comparison_table(compare([a], [b], resamples=2000)))
    shape = {"smic": (1, 9)}
    alone = compare([simulate("a", shape=shape)], [simulate("b", shape=shape)], resamples=10)
    line = next(line for line in rendered(comparison_table(alone)).splitlines() if line.startswith("composite"))
    assert line.split()[-3:] == ["-", "1.000", "within"]


def test_what_the_paper_reports_stands_below_a_genotype_and_other_methods_last(simulate):
    row = score(simulate("rcn-s", shape=MEGC), resamples=10)
    found = find_published("rcn-s", SAMPLES, 60, 16, 5)
    text = rendered(score_table([row], published={"rcn-s": found}, compared=compared(SAMPLES)))
    assert max(map(len, text.splitlines())) <= 100
    lines = [line.split() for line in text.splitlines()]
    paper = next(line for line in lines if line[:3] == ["in", "the", "paper"])
    assert paper[3:] == ["0.711", "0.747", "0.657", "0.652", "0.791", "0.836", "0.656", "0.765"]
    assert ["Bi-WOOF", "-", "0.630", "-", "0.573", "-", "0.780", "-", "0.521"] in lines
    assert "(Tab. V)" in text


def test_notebooks_show_the_same_tables(simulate, rows, runs):
    comparison = compare(*runs.values(), resamples=10)
    assert rows[0]._repr_html_() == score_table([rows[0]]).html()
    assert comparison._repr_html_() == comparison_table(comparison).html()
    one = simulate("<i>")
    assert one._repr_html_() == class_table(score(one, resamples=0)).html()
    assert "&lt;i&gt;: recall and confusion" in one._repr_html_()
    assert f"{rows[0].composite.uar:.3f} ± " in rows[0].composite._repr_html_()
