import pytest

from nas_mer.errors import UserError
from nas_mer.search import SearchRecipe, load_search_recipe
from nas_mer.search.recipe import RECIPES


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_recipes_load_by_name(file):
    recipe = load_search_recipe(file.stem)
    assert recipe == load_search_recipe(file)
    assert recipe == SearchRecipe.model_validate_json(recipe.model_dump_json())


def test_darts_has_the_constants_of_darts():
    """Liu et al. (2019), section 3.1."""
    recipe = load_search_recipe("darts")
    weights, alphas = recipe.weights, recipe.alphas
    assert (weights.learning_rate, weights.momentum, weights.weight_decay) == (0.025, 0.9, 3e-4)
    assert (alphas.learning_rate, alphas.betas, alphas.weight_decay) == (3e-4, (0.5, 0.999), 1e-3)
    assert (recipe.epochs, recipe.batch_size, recipe.clip, recipe.noise) == (50, 64, 5, 1e-3)
    assert recipe.schedule.at(0, 50, 0.025) == 0.025
    assert recipe.schedule.at(50, 50, 0.025) == 0.001


def test_default_differs_from_darts_in_three_values():
    default, darts = load_search_recipe("default"), load_search_recipe("darts")
    faster = darts.alphas.model_copy(update={"learning_rate": 1e-2})
    assert default == darts.model_copy(update={"alphas": faster, "batch_size": 50, "normalise": "instance"})


@pytest.mark.parametrize("name", ["dart", "drats"])
def test_unknown_recipes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"{name}: no such file, and no recipe is called so; did you mean 'darts'?"):
        load_search_recipe(name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ordr: exact", "ordr: unknown key 'ordr'; did you mean 'order'?"),
        ("order: third", "order: Input should be 'first', 'second' or 'exact', found 'third'"),
        ("relaxation: hard", "relaxation: Input should be 'softmax', 'sum', 'sigmoid' or 'gumbel', found 'hard'"),
        ("warm_up: -1", "warm_up: Input should be greater than or equal to 0, found -1"),
        ("clip: 0", "clip: Input should be greater than 0, found 0"),
        ("normalise: stretched", "normalise: Input should be 'standardise', 'instance', 'stretch' or 'none', found '"),
        ("noise: -1e-3", "noise: Input should be greater than or equal to 0, found -0.001"),
        ("augment: {flip: 0.5}", "augment: unknown key 'augment'"),
        ("optimizer: {learning_rate: 0.1}", "optimizer: unknown key 'optimizer'"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(line, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"epochs: 2\n{line}\nweights: {{learning_rate: 0.1}}\nalphas: {{learning_rate: 0.1}}\n")
    with pytest.raises(UserError) as error:
        load_search_recipe(path)
    assert str(error.value).startswith(f"{path}:2: {message}")


@pytest.mark.parametrize("betas", ["[0.5, 1.0]", "[-0.1, 0.9]"])
def test_betas_that_adam_refuses(betas, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"epochs: 2\nweights: {{learning_rate: 0.1}}\nalphas: {{learning_rate: 0.1, betas: {betas}}}\n")
    with pytest.raises(UserError, match=r"mine\.yaml:3: alphas\.betas\[\d\]: Input should be"):
        load_search_recipe(path)
