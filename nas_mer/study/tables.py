"""A study as tables, JSON values and records for a spreadsheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import Any

from nas_mer.score import Comparison, Grid, as_json
from nas_mer.score.grid import Column, Row
from nas_mer.score.tables import p_in_words
from nas_mer.study.statistics import Estimate
from nas_mer.study.study import TOP, NestedScore, Outcome, Result, Selection, Study

_WIDE = 30  # characters of a run's settings

_LINES = (
    "Mean over single searches ± their standard deviation; [low, high]: its 95 % interval over seeds; last line: the "
    "mean of all searches as one, from which genotypes are derived."
)

NUMBERS: dict[str, Callable[[Outcome], float]] = {
    "judged": lambda one: one.judged,
    "tau": lambda one: one.tau,
    "tau_uf1": lambda one: one.tau_uf1,
    "regret_top1": lambda one: one.first.regret,
    "naive_regret_top1": lambda one: one.first.naive_regret,
    "chance_top1": lambda one: one.first.chance,
    f"regret_top{TOP}": lambda one: one.top.regret,
    f"naive_regret_top{TOP}": lambda one: one.top.naive_regret,
    f"chance_top{TOP}": lambda one: one.top.chance,
    "steps": lambda one: one.steps,
    "draws": lambda one: one.draws,
}
"""What is told of every search, by name."""


def markdown(study: Study, pictures: Sequence[str]) -> str:
    """Return a study as a page of Markdown.

    Args:
        study: the study.
        pictures: the files of its pictures, as seen from the page.
    """
    parts = [f"# {study.table.title}", *(grid.markdown() for grid in grids(study))]
    return "\n\n".join([*parts, *(f"![{Path(file).stem}]({file})" for file in pictures)]) + "\n"


def grids(study: Study) -> list[Grid]:
    """Return a study as tables: the ceiling, the runs' rankings and finds, nested scores and variants if any."""
    found = [_ceilings(study), _rankings(study), _regrets(study)]
    found += [_nested(study.nested)] if study.nested else []
    found += [_selections(study.selections)] if study.selections else []
    return found


def study_as_json(study: Study) -> dict[str, Any]:
    """Return a study as plain JSON values."""
    return {
        "table": {"name": study.table.name, "title": study.table.title, "seeds": list(study.table.seeds)},
        "truth": asdict(study.truth),
        "random": {"training": study.training, "regret": study.random_regret.tolist()},
        "runs": [_result_as_json(result, study) for result in study.results],
        "nested": [_nested_as_json(one) for one in study.nested],
        "variants": [asdict(one) | {"reported": one.reported} for one in study.selections],
    }


def study_records(study: Study) -> list[dict[str, object]]:
    """Return a record a run: of each number the mean over seeds, its spread and interval, and that of all together.

    Numbers are not rounded. A spread and an interval that one seed does not have are left out.
    """
    return [_record(result) for result in study.results]


def _record(result: Result) -> dict[str, object]:
    record: dict[str, object] = {
        "run": result.name,
        "strategy": result.strategy,
        "settings": _settings(result),
        "protocol": result.protocol,
        "seeds": len(result.alone),
    }
    for name, read in NUMBERS.items():
        found = result.over_seeds(read)
        low, high = found.interval or (None, None)
        record |= {name: found.mean, f"{name}_spread": found.spread, f"{name}_low": low, f"{name}_high": high}
        record[f"{name}_together"] = read(result.together)
    return {key: value for key, value in record.items() if value is not None}


def _result_as_json(result: Result, study: Study) -> dict[str, Any]:
    labels = [study.table.genotypes[place].label for place in result.ranking.places]
    return {
        "run": result.name,
        "strategy": result.strategy,
        "protocol": result.protocol,
        "settings": result.settings,
        "means": {name: asdict(result.over_seeds(read)) for name, read in NUMBERS.items()},
        "together": asdict(result.together),
        "searches": {str(seed): [asdict(one) for one in found] for seed, found in result.alone.items()},
        "ranking": [
            {"genotype": label, "value": value}
            for label, value in zip(labels, result.ranking.values.tolist(), strict=True)
        ],
    }


def _nested_as_json(one: NestedScore) -> dict[str, Any]:
    (row,) = (row for rows in as_json([one.score]).values() for row in rows)
    return {
        "run": one.name,
        "score": row,
        "best": one.best.as_json(),
        "random": {"uar": one.random, "interval": one.gain},
        "shared": None if one.shared is None else one.shared.as_json(),
    }


def _ceilings(study: Study) -> Grid:
    truth, seeds = study.truth, len(study.table.seeds)
    columns = [Column("metric", words=True), Column("split-half τ"), Column("attainable τ")]
    columns += [Column("genotypes"), Column("seeds"), Column("other seeds"), Column("other subjects")]
    rows = [
        (
            name.upper(),
            f"{one.split_half:.2f}",
            f"{one.attainable:.2f}\n[{one.attainable_interval.low:.2f}, {one.attainable_interval.high:.2f}]",
            f"{one.components.genotypes**0.5:.4f}",
            f"{one.components.errors**0.5:.4f}",
            f"{one.over_seeds:.0%}\n[{one.over_seeds_interval.low:.0%}, {one.over_seeds_interval.high:.0%}]",
            f"{one.over_subjects:.0%}",
        )
        for name, one in truth.ceilings.items()
    ]
    caption = (
        f"Split-half: half of the {seeds} seeds against the others. Attainable: the true ranking against the means. "
        "Genotypes, seeds: standard deviations. Other seeds, other subjects: the share of the variance among the "
        "means that these would show, too. [low, high]: 95 % intervals. "
        f"The best, {truth.best}, has UAR {truth.best_uar:.3f}, {truth.held_out_uar:.3f} when found and scored with "
        f"different seeds; the mean genotype {truth.mean_uar:.3f}."
    )
    return Grid("How much of the table's ranking is real", columns, [rows], caption)


def _rankings(study: Study) -> Grid:
    columns = [Column("run", words=True), Column("settings", words=True), Column("seeds"), Column("judged")]
    columns += [Column("τ UAR"), Column("τ UF1")]
    sections = [
        [
            (
                result.name,
                "\n".join([_strategy(result), *wrap(_settings(result), _WIDE)]),
                f"{len(result.alone)}",
                f"{result.over_seeds(NUMBERS['judged']).mean:.0f}\n\n{result.together.judged}",
                *(_number(result, name, "z.2f") for name in ("tau", "tau_uf1")),
            )
        ]
        for result in study.results
    ]
    caption = f"{_LINES} Judged: networks that are ranked. τ: Kendall's tau-b with the ranking of the table."
    return Grid("How searches rank", columns, sections, caption)


def _regrets(study: Study) -> Grid:
    columns = [Column("run", words=True), Column("regret\ntop 1"), Column("chance\ntop 1")]
    columns += [Column(f"regret\ntop {TOP}"), Column(f"chance\ntop {TOP}"), Column("steps"), Column("draws\nchance")]
    sections = [[_regret_row(result)] for result in study.results]
    caption = (
        f"{_LINES} Regret: UAR that the first genotype, or the best of the first {TOP}, lacks to the best of the "
        "table. Chance: the probability that as many uniform draws are as good. Steps: a search's cost. Draws: how "
        "many networks random search can train for it, and the probability that the best is as good as top 1."
    )
    return Grid("What searches find", columns, sections, caption)


def _regret_row(result: Result) -> Row:
    chances = [one.chance for found in result.alone.values() for one in found if one.chance is not None]
    draws = f"{result.over_seeds(NUMBERS['draws']).mean:.0f}"
    together = result.together
    numbers = (
        _number(result, f"{what}_{top}", form, brief)
        for top in ("top1", f"top{TOP}")
        for what, form, brief in (("regret", "z.3f", False), ("chance", ".2f", True))
    )
    return (
        result.name,
        *numbers,
        _number(result, "steps", ",.0f", brief=True),
        "\n".join(
            [
                f"{draws}: {sum(chances) / len(chances):.2f}" if chances else draws,
                "",
                f"{together.draws}" if together.chance is None else f"{together.draws}: {together.chance:.2f}",
            ]
        ),
    )


def _strategy(result: Result) -> str:
    return result.strategy if result.protocol == "shared" else f"{result.strategy}, {result.protocol}"


def _number(result: Result, name: str, form: str, brief: bool = False) -> str:
    """Return the mean, its interval and the number of all searches together, a line each; if brief no interval."""
    read = NUMBERS[name]
    found = result.over_seeds(read)
    return "\n".join([*_lines(found, form, brief), f"{read(result.together):{form}}"])


def _lines(found: Estimate, form: str, brief: bool) -> tuple[str, str]:
    spread = "" if brief or found.spread is None else f" ± {found.spread:{form}}"
    ends = "" if brief or found.interval is None else f"[{found.interval.low:{form}}, {found.interval.high:{form}}]"
    return f"{found.mean:{form}}{spread}", ends


def _settings(result: Result) -> str:
    return ", ".join(f"{key} {value}" for key, value in result.settings.items())


def _nested(scores: Sequence[NestedScore]) -> Grid:
    columns = [Column("run", words=True), Column("beside", words=True), Column("UAR"), Column("nested UAR")]
    columns += [Column("change"), Column("95 % interval"), Column("p")]
    sections = []
    for one in scores:
        nested = one.score.composite.uar
        rows: list[Row] = [_beside(one.name, f"best in hindsight: {one.best.a}", one.best)]
        ends = f"[{one.gain.low:+.3f}, {one.gain.high:+.3f}]"
        rows.append(
            ("", "a uniform draw", f"{one.random:.3f}", f"{nested:.3f}", f"{nested - one.random:+.3f}", ends, "")
        )
        if one.shared is not None:
            rows.append(_beside("", f"the shared run's top 1: {one.shared.a}", one.shared))
        sections.append(rows)
    caption = (
        "A nested search's LOSO score is assembled from the table: each subject is predicted by the genotype that was "
        "found without it. Mean over the table's seeds; intervals and p over subjects, paired."
    )
    return Grid("Nested searches: the honest score", columns, sections, caption)


def _beside(name: str, what: str, comparison: Comparison) -> Row:
    found = comparison.composite.uar
    ends = "" if found.interval is None else f"[{found.interval.low:+.3f}, {found.interval.high:+.3f}]"
    return (name, what, f"{found.a:.3f}", f"{found.b:.3f}", f"{found.change:+.3f}", ends, p_in_words(found.p_value))


def _selections(selections: Sequence[Selection]) -> Grid:
    columns = [Column("strategy", words=True), Column("variants"), Column("chosen by", words=True)]
    columns += [Column("on even seeds", words=True), Column("there"), Column("on odd")]
    columns += [Column("on odd seeds", words=True), Column("there"), Column("on even"), Column("reported")]
    rows = []
    for one in selections:
        form = "z.2f" if one.criterion == "tau" else "z.3f"
        cells = [
            cell
            for choice in one.choices
            for cell in (choice.name, f"{choice.chosen_by:{form}}", f"{choice.reported:{form}}")
        ]
        rows.append((one.strategy, str(len(one.names)), one.criterion, *cells, f"{one.reported:{form}}"))
    caption = (
        "The best run of a strategy is chosen on the seeds at even places and reported on those at odd ones, and the "
        "other way round; reported: the mean of both. What the choosing half shows is too good."
    )
    return Grid("Variants: chosen and reported on different seeds", columns, [rows], caption)
