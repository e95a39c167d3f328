"""`nas-mer score`, `compare` and `graph`: what came out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nas_mer.cli.console import out, print_json, print_scores
from nas_mer.cli.options import JsonOption, SetOption, find_genotypes, parameters_of
from nas_mer.errors import UserError
from nas_mer.files import did_you_mean, read_yaml
from nas_mer.space import SearchSpace

app = typer.Typer()


@app.command()
def score(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Retraining runs.")],
    detail: Annotated[bool, typer.Option("--detail", help="Also recalls and confusion matrices.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Score retrained genotypes by UAR and UF1.

    Over the predictions of all folds together, for the composite and for each database.
    """
    from nas_mer.runs import load_run, predictions
    from nas_mer.runs.retraining import result_of

    found = [load_run(run, "retrain") for run in runs]
    if as_json:
        results = [result_of(run, predictions(run)) for run in found]
        print_json({key: [part for result in results for part in result[key]] for key in ("scores", "means", "notes")})
    else:
        print_scores(found, detail)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN[:GENOTYPE]", help="A retraining run; which of its genotypes.")],
    second: Annotated[str, typer.Argument(metavar="RUN[:GENOTYPE]", help="Another run, or another of its genotypes.")],
    as_json: JsonOption = False,
) -> None:
    """Say whether two genotypes really differ.

    By confidence intervals and a permutation test over the subjects, whom both have predicted.
    """
    from nas_mer.score import compare as compare_predictions
    from nas_mer.score import comparison_table

    comparison = compare_predictions(_predictions_of(first), _predictions_of(second))
    if as_json:
        print_json(comparison.as_json())
    else:
        out.print(comparison_table(comparison))


@app.command()
def graph(
    what: Annotated[str, typer.Argument(metavar="SPACE|GENOTYPE|RUN", help="What to draw.")],
    file: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The picture: svg, png or pdf.")],
    history: Annotated[bool, typer.Option("--history", help="Draw a search run's weights over its epochs.")] = False,
    sets: SetOption = None,
) -> None:
    """Draw a space, a genotype or a search's weights."""
    from nas_mer.runs import load_run
    from nas_mer.runs.pictures import draw_weight_history, draw_weights
    from nas_mer.view import draw_architecture

    if (Path(what) / "run.json").is_file():
        (draw_weight_history if history else draw_weights)(load_run(Path(what), "search"), file)
    elif history:
        raise UserError(f"{what}: --history needs a search run")
    elif _is_space(what):
        draw_architecture(SearchSpace.load(what, **parameters_of(sets)), file)
    else:
        ((space, genotype),) = find_genotypes(what, None, parameters_of(sets))
        draw_architecture(space, file, genotype=genotype)
    out.print(f"{file}", soft_wrap=True)


def _is_space(what: str) -> bool:
    """Return whether a file or name means a space and not a genotype."""
    from nas_mer.space import shipped_spaces

    if Path(what).suffix in (".yaml", ".yml"):
        return "choices" not in read_yaml(Path(what)).mapping().value
    return what in shipped_spaces()


def _predictions_of(what: str) -> list[Any]:
    """Return the predictions, of all seeds, of `RUN` with one genotype or of `RUN:GENOTYPE`."""
    from nas_mer.runs import load_run, predictions
    from nas_mer.score import by_genotype, fullest

    path, _, name = what.partition(":") if not Path(what).exists() else (what, "", "")
    groups = by_genotype(predictions(load_run(Path(path), "retrain")))
    if not name and len(groups) > 1:
        raise UserError(f"{path}: holds {len(groups)} genotypes; name one, as in {path}:{next(iter(groups))}")
    name = name or next(iter(groups))
    if name not in groups:
        raise UserError(f"{path}: has no genotype '{name}'{did_you_mean(name, groups)}")
    return fullest(groups[name])
