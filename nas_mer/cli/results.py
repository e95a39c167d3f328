"""`nas-mer score`, `compare` and `graph`: what came out."""

from __future__ import annotations

import csv
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas_mer.cli.console import note, out, print_json, print_scores
from nas_mer.cli.options import (
    GenotypeSpaceOption,
    JsonOption,
    SetOption,
    find_genotypes,
    parameters_of,
    refuse_given,
    run_and_genotype,
)
from nas_mer.errors import UserError
from nas_mer.placed_yaml import read_yaml
from nas_mer.space import SearchSpace

if TYPE_CHECKING:
    from nas_mer.runs.retrainings.scored import Scored

app = typer.Typer()

AverageOption = Annotated[
    bool,
    typer.Option("--average-seeds", help="The networks of a genotype's seeds as one, by their mean probabilities."),
]


class Format(StrEnum):
    """How scores are written."""

    table = "table"
    latex = "latex"
    csv = "csv"
    markdown = "markdown"


class View(StrEnum):
    """What is drawn of a run: weights, history and pareto of a search, the others of a retraining."""

    weights = "weights"
    history = "history"
    pareto = "pareto"
    scores = "scores"
    confusion = "confusion"
    subjects = "subjects"
    ranks = "ranks"
    differences = "differences"
    activation = "activation"


class Font(StrEnum):
    """The font of a picture's text."""

    sans = "sans"
    serif = "serif"


@app.command()
def score(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Retraining runs.")],
    detail: Annotated[bool, typer.Option("--detail", help="Also recalls and confusion matrices.")] = False,
    form: Annotated[
        Format, typer.Option("--format", help="For a terminal, a paper, a spreadsheet or a web page.")
    ] = Format.table,
    published: Annotated[bool, typer.Option("--published", help="Also what the paper reports of the same.")] = False,
    average_seeds: AverageOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score retrained genotypes by UAR and UF1.

    Over the predictions of all folds together, for the composite and for each database. In LaTeX and Markdown all runs
    are one table; in CSV each genotype, seed (or mean) and database is a row with unrounded numbers.
    """
    from nas_mer.runs import load_run
    from nas_mer.runs.retrainings.scored import Scored, scores_as_json, scores_grid, scores_records
    from nas_mer.score import class_table
    from nas_mer.score.records import FIELDS

    if as_json and (form is not Format.table or published):
        raise UserError("--json: is a format of its own; leave out --format and --published")
    if detail and form is Format.csv:
        raise UserError("--detail: does not go with --format csv, whose rows are scores; it goes with all others")
    if average_seeds and published:
        raise UserError("--average-seeds: does not go with --published, whose numbers are of single networks")
    found = [load_run(run, "retrain") for run in runs]
    if form is Format.table and not as_json:
        print_scores(found, detail, published, average_seeds)
        return
    scored = [Scored(run, average=average_seeds) for run in found]
    if as_json:
        print_json(scores_as_json(scored))
        return
    if form is Format.csv:
        table = csv.DictWriter(sys.stdout, FIELDS, lineterminator="\n")
        table.writeheader()
        table.writerows(scores_records(scored, published))
    else:
        grids = [scores_grid(scored, published)]
        grids += [class_table(row) for one in scored for row in one.rows if detail]
        sys.stdout.write(
            "\n\n".join(grid.latex() if form is Format.latex else grid.markdown() for grid in grids) + "\n"
        )
    for one in scored:
        for text in [*one.notes, *(one.remarks() if published else [])]:
            note(text)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN[:GENOTYPE]", help="A retraining run; which of its genotypes.")],
    second: Annotated[str, typer.Argument(metavar="RUN[:GENOTYPE]", help="Another run, or another of its genotypes.")],
    average_seeds: AverageOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether two genotypes really differ.

    By confidence intervals and a permutation test over the subjects, whom both have predicted.
    """
    from nas_mer.score import compare as compare_predictions
    from nas_mer.score import comparison_table

    sides = [_scored(what, average_seeds) for what in (first, second)]
    a, b = (group for one in sides for group in one.groups.values())
    comparison, notes = compare_predictions(a, b), list(dict.fromkeys(text for one in sides for text in one.notes))
    if as_json:
        print_json({**comparison.as_json(), "notes": notes})
        return
    out.print(comparison_table(comparison))
    for text in notes:
        note(text)


@app.command()
def graph(
    what: Annotated[str, typer.Argument(metavar="SPACE|GENOTYPE|RUN[:GENOTYPE]", help="What to draw.")],
    file: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The picture, by its suffix.")],
    view: Annotated[
        View | None,
        typer.Option(
            "--view",
            metavar="VIEW",
            help="Of a search weights, history or pareto, of a retraining scores, confusion, subjects, ranks, "
            "differences or activation. [default: the first]",
        ),
    ] = None,
    width: Annotated[
        str | None,
        typer.Option(
            "--width",
            metavar="WIDTH",
            help="The room in a paper: column, page (IEEE's: 8.9, 18.2 cm) or a number such as 12.2cm.",
        ),
    ] = None,
    font: Annotated[Font, typer.Option("--font", help="The text's; serif suits papers set in Times.")] = Font.sans,
    space: GenotypeSpaceOption = None,
    sets: SetOption = None,
) -> None:
    """Draw a space, a genotype or what a run found.

    Of a search: its architecture weights, their history, or UAR against its other objectives. Of a retraining: the
    scores of its genotypes, confusion matrices, accuracy by subject, ranks by the search beside those by score, paired
    differences from the first genotype, or what its networks look at. RUN:GENOTYPE draws one genotype alone, or the
    differences from it.
    """
    from nas_mer.view import Page, draw_architecture

    path, name = run_and_genotype(what)
    is_run = (path / "run.json").is_file()
    if view is not None and not is_run:
        raise UserError(f"{what}: --view {view} needs a run")
    if is_run:
        refuse_given({"--space": space, "--set": sets}, "a run has a space and sizes of its own; leave it out")
    with Page(None if width is None else _inches(width), font.value).applied():
        if is_run:
            _draw_run(path, name, view, file)
        elif _is_space(what):
            if space is not None:
                raise UserError(f"--space: '{what}' is a space itself; leave it out")
            draw_architecture(SearchSpace.load(what, **parameters_of(sets)), file)
        else:
            ((built, genotype),) = find_genotypes(what, space, parameters_of(sets))
            draw_architecture(built, file, genotype=genotype)
    out.print(f"{file}", soft_wrap=True)


def _draw_run(path: Path, genotype: str | None, view: View | None, file: Path) -> None:
    """Draw a view of a run, or of one of its genotypes."""
    from nas_mer.runs import load_run
    from nas_mer.runs.retrainings.pictures import RETRAIN_VIEWS
    from nas_mer.runs.retrainings.scored import Scored
    from nas_mer.runs.searches.pictures import draw_pareto, draw_weight_history, draw_weights
    from nas_mer.view import check_suffix, save
    from nas_mer.view.exchange import FORMATS

    run = load_run(path)
    of_search = {View.weights: draw_weights, View.history: draw_weight_history, View.pareto: draw_pareto}
    if run.kind == "choose":
        raise UserError(f"{path}: is a choose run, of which there is no picture; see: nas-mer runs show {path}")
    views = list(of_search) if run.kind == "search" else [View(name) for name in RETRAIN_VIEWS]
    view = view or views[0]
    if view not in views:
        raise UserError(f"{path}: is a {run.kind} run, of which --view draws {', '.join(views)}; found {view}")
    check_suffix(file, FORMATS if view is View.weights else ())
    if run.kind == "search":
        if genotype is not None:
            raise UserError(f"{path}:{genotype}: the weights of a search are drawn whole; leave out ':{genotype}'")
        of_search[view](run, file)
        return
    picture = RETRAIN_VIEWS[view](Scored(run, genotype))
    save(picture.figure, file)
    for text in picture.notes:
        note(text)


def _inches(width: str) -> float:
    """Return the width that `--width` asks for, in inches."""
    from nas_mer.view.figures import INCH, WIDTHS

    number = re.fullmatch(r"(\d+(?:\.\d+)?) ?cm", width)
    inches = WIDTHS.get(width) or (float(number[1]) / INCH if number else 0.0)
    if not inches:
        raise UserError(f"--width: write {', '.join(WIDTHS)} or a number such as 12.2cm, found '{width}'")
    return inches


def _is_space(what: str) -> bool:
    """Return whether a file or name means a space and not a genotype."""
    from nas_mer.space import shipped_spaces

    if Path(what).suffix in (".yaml", ".yml"):
        return "choices" not in read_yaml(Path(what)).mapping().value
    return what in shipped_spaces()


def _scored(what: str, average_seeds: bool) -> Scored:
    """Return `RUN` with one genotype, or `RUN:GENOTYPE`, with its predictions of all seeds or of their average."""
    from nas_mer.runs import load_run
    from nas_mer.runs.retrainings.config import genotype_of
    from nas_mer.runs.retrainings.scored import Scored

    path, name = run_and_genotype(what)
    run = load_run(path, "retrain")
    return Scored(run, genotype_of(run, name), average_seeds)
