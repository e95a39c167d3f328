"""`nas-mer demo`, `search`, `derive`, `choose` and `retrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nas_mer.cli.console import (
    note,
    out,
    print_choice,
    print_dataset,
    print_genotypes,
    print_json,
    print_scores,
    print_search,
    progress_bar,
)
from nas_mer.cli.options import (
    CheckpointOption,
    DatabasesOption,
    DatasetOption,
    DeviceOption,
    Engine,
    EngineOption,
    EpochsOption,
    GenotypeSpaceOption,
    GroupOption,
    JsonOption,
    Order,
    OutOption,
    Protocol,
    Relaxation,
    RunArgument,
    SeedsOption,
    SetOption,
    SpaceArgument,
    Strategy,
    TensorboardOption,
    TopOption,
    WorkersOption,
    databases_of,
    find_genotypes,
    find_nested,
    parameters_of,
    recipe_of,
    refuse_given,
    refuse_tuned,
)
from nas_mer.errors import UserError
from nas_mer.seeds import read_seeds
from nas_mer.space import SearchSpace
from nas_mer.words import plural

app = typer.Typer()


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Where to put it.", metavar="FOLDER")] = Path("runs/demo"),
    workers: WorkersOption = None,
) -> None:
    """Run the whole chain on a small synthetic composite."""
    from nas_mer.demo import demo as run_demo

    with progress_bar() as progress:
        made = run_demo(folder, workers, progress)
    print_dataset(made.prepared.dataset, folder / "data")
    note(f"{plural(len(made.prepared.broken), 'clip')} with a wrong annotation, as real releases have some, left out")
    print_search(made.search)
    print_scores([made.retrain])
    out.print("\nLook at:")
    for page in made.pages:
        out.print(f"  {page}", soft_wrap=True)


@app.command()
def search(
    space: SpaceArgument,
    data: DatasetOption,
    strategy: Annotated[
        Strategy,
        typer.Option(
            metavar="STRATEGY",
            help="darts, gumbel, fair, perturbation, weight-sharing-random (which train a supernet), random, tpe or "
            "evolution (which train genotypes one by one).",
        ),
    ] = Strategy.darts,
    budget: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="STEPS",
            help="What each search may cost, in training steps of one network. [default: the recipe's epochs, or 50 "
            "genotypes]",
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            help="A YAML file or a name: a search recipe (default, darts); where genotypes are trained one by one, a "
            "retraining recipe (default, paper).",
            metavar="RECIPE",
        ),
    ] = "default",
    order: Annotated[Order | None, typer.Option(help="The hypergradient. [default: the recipe's]")] = None,
    relaxation: Annotated[
        Relaxation | None, typer.Option(help="What makes a mixture of alphas. [default: the recipe's]")
    ] = None,
    epochs: EpochsOption = None,
    protocol: Annotated[
        Protocol,
        typer.Option(help="shared: one search over the whole dataset; nested: one in each fold, without its subject."),
    ] = Protocol.shared,
    seeds: SeedsOption = "1",
    top: TopOption = 3,
    run_out: OutOption = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="An Optuna storage on which several machines work together, as in postgresql://user@host/name. "
            "[default: SQLite in the run folder]",
        ),
    ] = None,
    tune: Annotated[
        list[str] | None,
        typer.Option(
            "--tune",
            metavar="NAMES|NAME=VALUES",
            help="Search sizes of the space or keys of the recipe along with the genotype: names whose values the "
            "space's file gives (feature_maps,pool), or one name with V1,V2 or LOW..HIGH. Can be repeated. For random, "
            "tpe and evolution.",
        ),
    ] = None,
    objectives: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="What random, tpe and evolution make better: uar, and perhaps parameters, flops or latency.",
        ),
    ] = "uar",
    sets: SetOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    group: GroupOption = None,
    checkpoint_every: CheckpointOption = None,
    engine: EngineOption = Engine.local,
    tensorboard: TensorboardOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search a space and derive its best genotypes.

    By default a supernet's weights and its architecture weights are trained in turn (DARTS).
    """
    from nas_mer.runs import Compute, new_run_path
    from nas_mer.runs import search as run_search
    from nas_mer.search import ONE_BY_ONE, find_strategy

    found = SearchSpace.load(space, **parameters_of(sets))
    options = {"order": order and order.value, "relaxation": relaxation and relaxation.value, "epochs": epochs}
    changes = {key: value for key, value in options.items() if value is not None}
    way = find_strategy(strategy.value)
    way.check(changes, budget)
    if checkpoint_every is not None and strategy in ONE_BY_ONE:
        raise UserError(f"--checkpoint-every: strategy {strategy} keeps no checkpoints within a training; leave it out")
    chosen = way.load(recipe).model_copy(update=changes)
    if epochs is not None and any(text.partition("=")[0].strip() == "epochs" for text in tune or []):
        raise UserError("--epochs: is tuned by --tune; leave one of both out")
    path = run_out or new_run_path("search", found.name)
    compute = Compute(workers, device, group, checkpoint_every, engine.value)
    with progress_bar(path) as progress:
        run = run_search(
            found, data, chosen, path, read_seeds(seeds), top, protocol.value, compute, progress, tensorboard,
            strategy.value, budget, storage, tune or (), [name.strip() for name in objectives.split(",")],
        )  # fmt: skip
    print_json(run.result) if as_json else print_search(run)


@app.command()
def derive(
    run: RunArgument,
    top: TopOption = 3,
    as_json: JsonOption = False,
) -> None:
    """Write a search's best genotypes.

    A search that is not finished is taken as far as it has come.
    """
    from nas_mer.runs import derive as derive_genotypes
    from nas_mer.runs import load_run
    from nas_mer.runs.searches.searching import genotype_as_json

    found = load_run(run, "search")
    genotypes = derive_genotypes(found, top)
    if not found.finished:
        note(f"the search is not finished; continue it with: nas-mer runs resume {run}")
    if as_json:
        print_json({"genotypes": [genotype_as_json(genotype) for genotype in genotypes]})
    else:
        print_genotypes(genotypes, run)


@app.command()
def choose(
    genotypes: Annotated[list[str], typer.Argument(help="Genotype files or names such as rcn-f.", metavar="GENOTYPE")],
    data: DatasetOption,
    recipes: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe",
            help="A recipe: a YAML file, default or paper; once for each. [default: default]",
            metavar="RECIPE",
        ),
    ] = None,
    groups: Annotated[int, typer.Option(min=3, help="Into how many groups the subjects are divided.", metavar="N")] = 8,
    seeds: SeedsOption = "1",
    run_out: OutOption = None,
    space: GenotypeSpaceOption = None,
    sets: SetOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    group: GroupOption = None,
    engine: EngineOption = Engine.local,
    as_json: JsonOption = False,
) -> None:
    """Choose among genotypes and recipes.

    Every genotype is trained by every recipe. For each group of subjects the other groups choose: no subject has a say
    in what is chosen for its own group, so that a leave-one-subject-out score of what was chosen (nas-mer retrain RUN)
    is an honest one.
    """
    from nas_mer.runs import Compute, new_run_path
    from nas_mer.runs import choose as run_choose
    from nas_mer.train import Recipe, load_recipe

    parameters = parameters_of(sets)
    found = []
    for name in genotypes:
        if find_nested(name, {}):
            raise UserError(f"{name}: has a genotype for each fold already; score it with: nas-mer retrain {name}")
        if not recipes:
            refuse_tuned(name)
        found += find_genotypes(name, space, parameters)
    files = {Path(recipe).stem: recipe for recipe in recipes or ["default"]}
    if len(files) < len(recipes or [0]):
        raise UserError(f"--recipe: two have the same name; each is called by its file: {', '.join(recipes or [])}")
    loaded = {name: load_recipe(recipe, Recipe) for name, recipe in files.items()}
    path = run_out or new_run_path("choose", "-".join(genotype.label for _, genotype in found)[:60])
    compute = Compute(workers, device, group, engine=engine.value)
    with progress_bar(path) as progress:
        run = run_choose(found, loaded, data, path, groups, read_seeds(seeds), compute, progress)
    print_json(run.result) if as_json else print_choice(run)


@app.command()
def retrain(
    genotypes: Annotated[
        list[str],
        typer.Argument(
            help="Genotype files, names such as rcn-f, search or choose runs; lbp-top, bi-woof.", metavar="GENOTYPE"
        ),
    ],
    data: DatasetOption,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe: a YAML file, default or paper; what was chosen has its own. [default: default]",
            metavar="RECIPE",
        ),
    ] = None,
    epochs: EpochsOption = None,
    databases: DatabasesOption = None,
    seeds: SeedsOption = "1",
    run_out: OutOption = None,
    space: GenotypeSpaceOption = None,
    sets: SetOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    group: GroupOption = None,
    checkpoint_every: CheckpointOption = None,
    engine: EngineOption = Engine.local,
    tensorboard: TensorboardOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train genotypes from scratch and score them.

    Each subject is held out once (leave-one-subject-out, LOSO). The handcrafted descriptors lbp-top and bi-woof are
    scored likewise, with a linear support vector machine.
    """
    from nas_mer.handcrafted import DESCRIPTORS, find_descriptor
    from nas_mer.runs import Compute, new_run_path
    from nas_mer.runs import retrain as run_retrain

    parameters = parameters_of(sets)
    descriptors = [find_descriptor(name, parameters) for name in genotypes if name in DESCRIPTORS]
    found: list[Any] = []
    for name in genotypes:
        if name not in DESCRIPTORS:
            nested = find_nested(name, parameters)
            if not (nested or recipe):
                refuse_tuned(name)
            found += [nested] if nested else find_genotypes(name, space, parameters)
    _refuse_useless(
        found,
        recipes={"--recipe": recipe, "--epochs": epochs},
        spaces={"--space": space},
        trainings={"--group": group, "--checkpoint-every": checkpoint_every},
    )
    chosen = recipe_of(recipe or "default", epochs)
    names = [one[1].label if isinstance(one, tuple) else one.name for one in found] + [one.kind for one in descriptors]
    path = run_out or new_run_path("retrain", "-".join(names)[:60])
    compute = Compute(workers, device, group, checkpoint_every, engine.value)
    with progress_bar(path) as progress:
        run = run_retrain(
            found, data, chosen, path, databases_of(databases), read_seeds(seeds), compute, progress, tensorboard,
            descriptors,
        )  # fmt: skip
    print_json(run.result) if as_json else print_scores([run])


def _refuse_useless(
    found: list[Any], *, recipes: dict[str, object], spaces: dict[str, object], trainings: dict[str, object]
) -> None:
    """Refuse options, of recipes, spaces or trainings, that nothing of what is to be retrained depends on.

    Raises:
        UserError: one is given.
    """
    if not found:
        refuse_given(trainings, "is for networks; descriptors are fitted one by one and whole")
    single = [one for one in found if isinstance(one, tuple)]
    chosen = [choice for one in found if not isinstance(one, tuple) for choice in one.folds.values()]
    if not single and all(choice.recipe for choice in chosen):
        refuse_given(recipes, "nothing here is trained by it; what was chosen has its recipes, a descriptor needs none")
    if not single:
        refuse_given(spaces, "nothing here is looked up in it; it is for names and files of genotypes")
