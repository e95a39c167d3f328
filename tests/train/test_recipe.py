import pytest
import torch
from pydantic import ValidationError

from nas_mer.errors import UserError
from nas_mer.train import Recipe, load_recipe
from nas_mer.train.recipe import RECIPES, Schedule

SCHEDULES = {
    "constant": ({}, lambda optimizer, epochs: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)),
    "step": (
        {"every": 3, "factor": 0.4},
        lambda optimizer, epochs: torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.4),
    ),
    "cosine": (
        {"final": 0.01},
        lambda optimizer, epochs: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, eta_min=0.01),
    ),
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedules_are_those_of_torch(kind):
    settings, scheduler = SCHEDULES[kind]
    schedule = Schedule(kind=kind, **settings)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.2)
    theirs = scheduler(optimizer, 10)
    for epoch in range(10):
        assert schedule.at(epoch, 10, 0.2) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_schedules_go_from_one_end_to_the_other():
    cosine = Schedule(kind="cosine", final=0.001)
    assert cosine.at(0, 50, 0.025) == pytest.approx(0.025)
    assert cosine.at(25, 50, 0.025) == pytest.approx(0.013)
    assert cosine.at(50, 50, 0.025) == pytest.approx(0.001)
    assert [Schedule(kind="step", every=2, factor=0.5).at(e, 6, 8.0) for e in range(6)] == [8, 8, 4, 4, 2, 2]


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_recipes_load_by_name(file):
    recipe = load_recipe(file.stem, Recipe)
    assert recipe == load_recipe(file, Recipe)
    assert recipe == Recipe.model_validate_json(recipe.model_dump_json())


def test_the_papers_recipe_is_the_papers():
    """Section V-A: SGD, learning rate 1e-4, until the loss is 0.5 or after 500 epochs."""
    recipe = load_recipe("paper", Recipe)
    assert (recipe.epochs, recipe.stop_loss, recipe.optimizer.learning_rate) == (500, 0.5, 1e-4)
    assert [recipe.schedule.at(epoch, 500, 1e-4) for epoch in (0, 499)] == [1e-4, 1e-4]


def test_a_folder_does_not_hide_a_shipped_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper").mkdir()
    assert load_recipe("paper", Recipe).epochs == 500


def test_a_file_without_suffix_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text("epochs: 2\noptimizer: {learning_rate: 1e-3}\n")
    assert load_recipe("mine", Recipe).optimizer.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("papr", "papr: no such file, and no recipe is called so; did you mean 'paper'"),
        ("zzz", "zzz: no such file, and no recipe is called so; known: default, paper"),
        ("papr.yaml", "papr.yaml: no such file"),
    ],
)
def test_unknown_recipes(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        load_recipe(name, Recipe)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("optimiser: {}", ":2: optimiser: unknown key 'optimiser'; did you mean 'optimizer'?"),
        ("schedule: {kind: step, evry: 3}", ":2: schedule.evry: unknown key 'evry'; did you mean 'every'?"),
        (
            "schedule: {kind: linear}",
            ":2: schedule.kind: Input should be 'constant', 'step' or 'cosine', found 'linear'",
        ),
        ("schedule: {every: 5}", ":2: schedule: every is of the kind step, and this is constant"),
        ("schedule: {kind: step, final: 1e-3}", ":2: schedule: final is of the kind cosine, and this is step"),
        ("schedule: {kind: cosine, factor: 0.1}", ":2: schedule: factor is of the kind step, and this is cosine"),
        ("batch_size: true", ":2: batch_size: Input should be a valid integer, found True"),
        ("batch_size: '64'", ":2: batch_size: Input should be a valid integer, found '64'"),
        ("augment: {flip: true}", ":2: augment.flip: Input should be a valid number, found True"),
        ("stop_loss: '1'", ":2: stop_loss: Input should be a valid number, found '1'"),
        ("batch_size: 0", ":2: batch_size: Input should be greater than or equal to 1, found 0"),
        ("augment: {flip: 1.5}", ":2: augment.flip: Input should be less than or equal to 1, found 1.5"),
        ("augment: {magnitude: -1}", ":2: augment.magnitude: Input should be greater than or equal to 0, found -1"),
        ("augment: {erase: -1}", ":2: augment.erase: Input should be greater than or equal to 0, found -1"),
        ("augment: {shift: -1}", ":2: augment.shift: Input should be greater than or equal to 0, found -1"),
        ("label_smoothing: 2", ":2: label_smoothing: Input should be less than or equal to 1, found 2"),
        ("balance: 2", ":2: balance: Input should be less than or equal to 1, found 2"),
        ("stop_loss: -0.1", ":2: stop_loss: Input should be greater than or equal to 0, found -0.1"),
        (
            "normalise: standardize",
            ":2: normalise: Input should be 'standardise', 'instance', 'stretch' or 'none', found",
        ),
        ("normalise:", ":2: normalise: Input should be 'standardise', 'instance', 'stretch' or 'none', found nothing"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(line, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"epochs: 2\n{line}\noptimizer: {{learning_rate: 0.1}}\n")
    with pytest.raises(UserError) as error:
        load_recipe(path, Recipe)
    assert str(error.value).startswith(f"{path}{message}")


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("{learning_rate: 0}", "optimizer.learning_rate: Input should be greater than 0, found 0"),
        ("{learning_rate: .inf}", "optimizer.learning_rate: Input should be a finite number, found inf"),
        ("{learning_rate: .nan}", "optimizer.learning_rate: Input should be a finite number, found nan"),
        ("{learning_rate: 1, momentum: 1.1}", "optimizer.momentum: Input should be less than or equal to 1, found 1.1"),
        ("{learning_rate: 1, weight_decay: -1}", "optimizer.weight_decay: Input should be greater than or equal to 0"),
        ("{learning_rate: 1, nesterov: 1}", "optimizer.nesterov: Input should be a valid boolean, found 1"),
        ("{learning_rate: 1, momentum: 0, nesterov: true}", "optimizer: nesterov needs a momentum above 0"),
        ("{}", "optimizer: the key 'learning_rate' is missing"),
    ],
)
def test_optimisers_that_cannot_be(optimizer, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"epochs: 2\noptimizer: {optimizer}\n")
    with pytest.raises(UserError) as error:
        load_recipe(path, Recipe)
    assert str(error.value).startswith(f"{path}:2: {message}")


def test_all_that_is_wrong_is_listed(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 0\nbalance: perhaps\n")
    with pytest.raises(UserError) as error:
        load_recipe(path, Recipe)
    assert len(str(error.value).splitlines()) == 3  # the optimiser is missing as well


def test_a_recipe_is_fixed_once_made(recipe):
    with pytest.raises(ValidationError, match="frozen"):
        recipe().epochs = 7
