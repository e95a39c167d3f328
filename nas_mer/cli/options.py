"""Options and arguments that several commands take, and what they stand for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas_mer.errors import UserError
from nas_mer.placed_yaml import parse_yaml
from nas_mer.space import Genotype, SearchSpace, find_genotype, load_genotype

if TYPE_CHECKING:
    from nas_mer.train import Recipe


class Order(StrEnum):
    """The hypergradient of the alphas."""

    first = "first"
    second = "second"
    exact = "exact"


class Relaxation(StrEnum):
    """How alphas become a mixture."""

    softmax = "softmax"
    sum = "sum"
    sigmoid = "sigmoid"
    gumbel = "gumbel"


class Strategy(StrEnum):
    """How a space is searched."""

    darts = "darts"
    gumbel = "gumbel"
    fair = "fair"
    perturbation = "perturbation"
    weight_sharing_random = "weight-sharing-random"
    random = "random"
    tpe = "tpe"
    evolution = "evolution"


class Protocol(StrEnum):
    """What a search may see."""

    shared = "shared"
    nested = "nested"


class Engine(StrEnum):
    """What computes."""

    local = "local"
    ray = "ray"


DatasetOption = Annotated[Path, typer.Option("--data", help="The dataset's folder.", metavar="DATASET")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="The run folder to make. [default: a new one in runs/]", metavar="RUN")
]
SeedsOption = Annotated[
    str, typer.Option("--seeds", help="How many seeds: 0, 1, ...; or which, as in 3-5 or 0,4-6.", metavar="N|A-B")
]
EpochsOption = Annotated[int | None, typer.Option(min=1, help="How many. [default: the recipe's]", metavar="N")]
RecipeOption = Annotated[str, typer.Option(help="A recipe: a YAML file, default or paper.", metavar="RECIPE")]
DatabasesOption = Annotated[
    str | None,
    typer.Option("--databases", help="Train and test on these only, as in smic,casme2.", metavar="NAME,NAME"),
]
TopOption = Annotated[int, typer.Option(min=1, help="How many genotypes to derive.", metavar="N")]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Processes; the number changes no result. [default: one a core]", metavar="N"
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda (all GPUs) or cuda:N.", metavar="DEVICE")]
GroupOption = Annotated[
    int | None,
    typer.Option(
        "--group", min=1, metavar="N",
        help="How many networks are trained as one program. [default: 1 on a CPU; on a GPU the quickest number, "
        "of supernets all]",
    ),
]  # fmt: skip
CheckpointOption = Annotated[
    float | None,
    typer.Option(
        "--checkpoint-every", min=0, metavar="SECONDS",
        help="Seconds between checkpoints; 0: every epoch. Trainings by choose, random, tpe or evolution have none. "
        "[default: 0 for a search, 10 for retraining]",
    ),
]  # fmt: skip
TensorboardOption = Annotated[
    bool, typer.Option("--tensorboard", help="Also write TensorBoard events, to RUN/tensorboard.")
]
GenotypeSpaceOption = Annotated[
    Path | None,
    typer.Option("--space", help="The space of named genotypes, or of files that do not find theirs.", metavar="SPACE"),
]
EngineOption = Annotated[Engine, typer.Option("--engine", help="Processes on this machine, or a Ray cluster.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Another value for a parameter of the space, or for size.", metavar="NAME=VALUE"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
SpaceArgument = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped space.", metavar="SPACE")]
BoxOption = Annotated[
    str | None,
    typer.Option("--box", metavar="X,Y,W,H", help="Where the face is in raw frames. [default: it is detected]"),
]
RunArgument = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]


def parameters_of(sets: list[str] | None) -> dict[str, int | float | bool]:
    """Read `--set name=value`."""
    values: dict[str, int | float | bool] = {}
    for text in sets or []:
        name, equals, value = text.partition("=")
        parsed = None
        with suppress(UserError):
            parsed = parse_yaml(value, "--set").value if equals else None
        if not isinstance(parsed, int | float):
            raise UserError(f"--set: write NAME=VALUE with a number, true or false, found '{text}'")
        values[name.strip()] = parsed
    return values


def refuse_given(options: Mapping[str, object], why: str) -> None:
    """Refuse the first of some options, by their names, that is given: that is neither None nor an empty list.

    Raises:
        UserError: one is; it says why not.
    """
    for option, value in options.items():
        if value is not None and value != []:
            raise UserError(f"{option}: {why}")


def databases_of(text: str | None) -> list[str] | None:
    """Read `--databases name,name`."""
    return None if text is None else [name.strip() for name in text.split(",")]


def recipe_of(name: str, epochs: int | None) -> Recipe:
    """Read a retraining recipe, with another number of epochs if one is given."""
    from nas_mer.train import Recipe, load_recipe

    recipe = load_recipe(name, Recipe)
    return recipe if epochs is None else recipe.model_copy(update={"epochs": epochs})


def assigned(option: str, texts: list[str] | None) -> dict[str, str]:
    """Return what `--option NAME=VALUE` says for each name."""
    values: dict[str, str] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UserError(f"{option}: write NAME=VALUE, found '{text}'")
        if name in values:
            raise UserError(f"{option}: '{name}' is given twice")
        values[name] = value
    return values


def box_of(text: str | None) -> tuple[int, int, int, int] | None:
    """Return the four numbers of `--box`."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 4 or not all(re.fullmatch(r"\s*[0-9]+\s*", part) for part in parts):
        raise UserError(f"--box: write X,Y,WIDTH,HEIGHT in whole pixels, as in 160,60,320,360, found '{text}'")
    x, y, width, height = map(int, parts)
    return x, y, width, height


def run_and_genotype(what: str) -> tuple[Path, str | None]:
    """Return what `RUN` or `RUN:GENOTYPE` names."""
    path, _, name = what.rpartition(":")
    return (Path(path), name) if path and not Path(what).exists() else (Path(what), None)


def find_nested(name: str, parameters: dict[str, int | float | bool]) -> Any:
    """Return what a nested search or a choice found for each fold, if that is what is named."""
    from nas_mer.runs import chosen_of, load_run, nested_of

    if not (Path(name) / "run.json").is_file():
        return None
    run = load_run(Path(name))
    if run.kind == "retrain":
        raise UserError(f"{name}: is a retrain run; this needs a genotype, a search run or a choose run")
    if run.kind == "search" and run.config.protocol != "nested":
        return None
    if parameters:
        raise UserError("--set: what was found for each fold is retrained at the sizes that it was found at")
    return chosen_of(run) if run.kind == "choose" else nested_of(run)


def refuse_tuned(name: str) -> None:
    """Refuse a search run that has tuned the recipe along with its genotypes, where one recipe is meant for all.

    Raises:
        UserError: it is one.
    """
    path = Path(name)
    if (path / "recipes").is_dir():
        first = Path("genotypes") / "top1.yaml", Path("recipes") / "top1.yaml"
        raise UserError(
            f"{name}: has tuned the recipe, so that each genotype has its own; retrain one by it, as in: nas-mer "
            f"retrain {path / first[0]} --recipe {path / first[1]}; or name one recipe for all by --recipe"
        )


def find_genotypes(
    name: str, space: Path | None, parameters: dict[str, int | float | bool]
) -> list[tuple[SearchSpace, Genotype]]:
    """Return the genotypes that a file, a name or a search run stands for, at other sizes if some are given."""
    from nas_mer.handcrafted import DESCRIPTORS

    path = Path(name)
    if (path / "run.json").is_file():
        found = [load_genotype(file, space) for file in (path / "genotypes").glob("*.yaml")]
        found.sort(key=lambda pair: (pair[1].rank or 0, pair[1].label))
        if not found:
            raise UserError(f"{path}: has no genotypes; make them with: nas-mer derive {path}")
    elif path.suffix in (".yaml", ".yml"):
        found = [load_genotype(path, space)]
    elif name in DESCRIPTORS:
        raise UserError(f"{name}: is a handcrafted descriptor and has no network; nas-mer retrain scores it")
    else:
        found = [find_genotype(name, [str(space)] if space else [])]
    if not parameters:
        return found
    resized = [(space.with_parameters(**parameters), genotype) for space, genotype in found]
    return [(space, replace(genotype, parameters=dict(space.overrides))) for space, genotype in resized]
