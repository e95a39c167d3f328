import itertools

import pytest

from nas_mer.errors import UserError
from nas_mer.search.tuning import Between, Listed, changed, drawn, read_tune, split
from nas_mer.space import SearchSpace
from nas_mer.train import Recipe, load_recipe

# A convolution without padding needs maps of its kernel's size: kernel 7 goes with size 8 alone.
SPACE = """
version: 1
name: kernels
input: {channels: 3, size: 4}
parameters: {kernel: 3, gone: 0.5}
states:
  conv: {from: input, module: [{op: conv, kernel: $kernel, channels: 4, padding: 0}, {op: dropout, p: $gone}]}
head: {from: conv, pool: 1}
"""


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("default", Recipe)


@pytest.fixture(scope="module")
def rcn():
    return SearchSpace.load("rcn")


def test_names_alone_have_the_values_of_the_spaces_file(rcn, recipe):
    axes = read_tune(["feature_maps,pool", "size"], rcn, recipe)
    assert [str(axis) for axis in axes] == ["feature_maps=16,32,64", "pool=1,3,5,7,9", "size=20,40,60,80,100"]
    assert {axis.of for axis in axes} == {"space"}


def test_values_are_read_as_yaml_writes_them(rcn, recipe):
    axes = read_tune(["normalise=none, instance", "stop_loss=null,5e-1", "epochs=5..20", "dropout=0..0.5"], rcn, recipe)
    assert axes == (
        Listed(name="normalise", of="recipe", values=("none", "instance")),
        Listed(name="stop_loss", of="recipe", values=(None, 0.5)),
        Between(name="epochs", of="recipe", low=5, high=20),
        Between(name="dropout", of="space", low=0.0, high=0.5),
    )
    assert isinstance(axes[3].low, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fature_maps", "'fature_maps' is no parameter of space 'rcn' and no key .*; did you mean 'feature_maps'"),
        ("dropout", r"'dropout' needs values, as in dropout=V1,V2 or dropout=LOW\.\.HIGH; .* feature_maps, pool, size"),
        ("epochs", "'epochs' needs values"),
        ("pool=", "'pool' has an empty value; write pool=V1,V2"),
        ("pool=5,,7", "'pool' has an empty value"),
        ("pool=9..3", r"LOW must be below HIGH, found pool=9\.\.3"),
        ("pool=a..3", r"LOW\.\.HIGH are two numbers, found pool=a\.\.3"),
        ("pool=5,5", "pool=5,5 has a value twice"),
        ("pool,pool", "'pool' is there twice"),
        ("pool=[1]", "takes numbers, words, true, false and null"),
        ("pool=5,epochs=10", "write one pool=VALUES after each --tune, found 'epochs=10'"),
        ("feature_maps=2,16", "can have feature_maps=2: .*2 channels cannot be split between 3 dilations"),
        ("feature_maps=8.5..16", "can have feature_maps=8.5: .* is like 16, found 8.5"),
        ("size=2..40", "can have size=2: .*Output size is too small"),
        ("epochs=5,0", "can have epochs=0: recipe: epochs: .*greater than or equal to 1, found 0"),
        ("normalise=none,odd", "can have normalise=odd: recipe: normalise: .*'stretch' or 'none', found 'odd'"),
    ],
)
def test_what_is_refused(rcn, recipe, text, message):
    with pytest.raises(UserError, match=f"^--tune: .*{message}"):
        read_tune([text], rcn, recipe)


def test_what_is_set_is_not_tuned(rcn, recipe):
    with pytest.raises(UserError, match="'pool' is set to 3 already; leave out --set pool=3"):
        read_tune(["pool"], rcn.with_parameters(pool=3), recipe)


def test_a_value_may_need_another_beside_it(recipe):
    """What fits nothing is refused, what fits something is not."""
    space = SearchSpace.parse(SPACE)
    read_tune(["kernel=3,7", "size=4,8"], space, recipe)
    with pytest.raises(UserError, match="no network can have kernel=7"):
        read_tune(["kernel=3,7", "size=4,6"], space, recipe)


def test_draws_are_even_over_all_there_is(recipe):
    axes = read_tune(["kernel=1,3", "gone=0.01..0.1", "epochs=1..3"], SearchSpace.parse(SPACE), recipe)
    found = [split(axes, drawn(axes, seed)) for seed in range(200)]
    assert drawn(axes, 5) == drawn(axes, 5)
    pairs = {(parameters["kernel"], changes["epochs"]) for parameters, changes in found}
    assert pairs == set(itertools.product((1, 3), (1, 2, 3)))
    gone = [parameters["gone"] for parameters, _ in found]
    assert 0.01 <= min(gone) < max(gone) <= 0.1
    assert sum(value < 0.0316 for value in gone) == pytest.approx(100, abs=25)  # half of the logarithms


def test_a_recipe_is_changed_by_dotted_paths(recipe):
    found = changed(recipe, {"optimizer.learning_rate": 0.5, "epochs": 3})
    assert (found.optimizer.learning_rate, found.epochs) == (0.5, 3)
    assert changed(found, {"optimizer.learning_rate": recipe.optimizer.learning_rate, "epochs": 20}) == recipe
