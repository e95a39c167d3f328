"""Search recipes: how a supernet and its architecture weights are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from nas_mer.train.recipe import Count, Normalise, NotNegative, Part, Positive, Schedule, Sgd, load_recipe

Beta = Annotated[float, Field(ge=0, lt=1)]


class Adam(Part):
    """Adam with weight decay added to the gradient."""

    learning_rate: Positive
    betas: tuple[Beta, Beta] = (0.5, 0.999)
    weight_decay: NotNegative = 0.0


class SearchRecipe(Part):
    """How a supernet is searched.

    Attributes:
        epochs: passes over the half of the samples that trains the weights.
        warm_up: epochs at the start in which the alphas stay.
        batch_size: samples a step, for weights and alphas alike.
        order: the hypergradient, `first`, `second` (finite differences) or `exact`.
        relaxation: how alphas become a mixture, `softmax`, `sum` (paper Eq. 8), `sigmoid` or `gumbel`.
        weights, schedule, clip: optimiser, learning rate and largest gradient norm of the weights.
        alphas: the optimiser of the architecture weights.
        noise: the standard deviation of the alphas' start.
        normalise: as in a retraining recipe.
    """

    epochs: Count
    warm_up: Annotated[int, Field(ge=0)] = 0
    batch_size: Count = 64
    order: Literal["first", "second", "exact"] = "first"
    relaxation: Literal["softmax", "sum", "sigmoid", "gumbel"] = "softmax"
    weights: Sgd
    schedule: Schedule = Schedule()
    clip: Positive = 5.0
    alphas: Adam
    noise: NotNegative = 1e-3
    normalise: Normalise = "standardise"


RECIPES = Path(__file__).parent / "recipes"


def load_search_recipe(name: str | Path) -> SearchRecipe:
    """Read a search recipe from a YAML file, or a shipped one by its name (`default`, `darts`). See `load_recipe`."""
    return load_recipe(name, SearchRecipe, RECIPES)
