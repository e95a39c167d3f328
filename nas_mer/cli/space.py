"""`nas-mer space ...`."""

from __future__ import annotations

import typer
from rich.table import Table
from rich.text import Text

from nas_mer.cli.console import out, print_json
from nas_mer.cli.options import JsonOption, SetOption, SpaceArgument, parameters_of
from nas_mer.space import OPS, SearchSpace
from nas_mer.words import plural

app = typer.Typer(no_args_is_help=True)


@app.command("check")
def space_check(space: SpaceArgument, sets: SetOption = None) -> None:
    """Say whether a space is right, and where not."""
    found = SearchSpace.load(space, **parameters_of(sets))
    out.print(f"{found.file}: fine; {plural(found.size, 'genotype')} of {plural(len(found.decisions), 'decision')}")


@app.command("show")
def space_show(space: SpaceArgument, sets: SetOption = None, as_json: JsonOption = False) -> None:
    """Show a space's size, decisions and named genotypes."""
    found = SearchSpace.load(space, **parameters_of(sets))
    if as_json:
        print_json(
            {
                "name": found.name,
                "title": found.title,
                "size": found.size,
                "hash": found.hash,
                "parameters": dict(found.parameters),
                "decisions": {name: list(options) for name, options in found.decisions.items()},
                "genotypes": {name: dict(choices) for name, choices in found.named.items()},
            }
        )
        return
    out.print(f"{found.title}\n{found.name} ({found.hash}): {plural(found.size, 'genotype')}")
    table = Table("decision", "options", box=None, pad_edge=False)
    for name, options in found.decisions.items():
        table.add_row(name, ", ".join(options))
    out.print(table)
    if found.parameters:
        out.print("parameters: " + ", ".join(f"{name} = {value}" for name, value in found.parameters.items()))
    if found.named:
        out.print("genotypes: " + ", ".join(found.named))


@app.command("schema")
def space_schema() -> None:
    """Print the JSON Schema of spaces, for editors."""
    from nas_mer.space.schema import json_schema

    print_json(json_schema())


@app.command("ops")
def space_ops() -> None:
    """List the ops that a module can be made of, with their arguments."""
    for name, kind in OPS.items():
        arguments = ", ".join(kind.argument(argument) for argument in kind.types)
        out.print(Text.assemble((name, "bold"), f"({arguments})\n    {kind.summary}"), soft_wrap=True)
