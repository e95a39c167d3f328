"""Search recipes: how a supernet and its architecture weights are trained."""

from __future__ import annotations

from collections.abc import Sequence
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


class EarlyStopping(Part):
    """When the curvature of the validation loss stops a search (Zela et al., 2020, section 5.2).

    Eigenvalues are smoothed by a mean over a window of epochs. A search stops when the smoothed one of some epochs ago
    is less than a share of the smoothed one now, and goes back to where it was then.

    Attributes:
        window: epochs of the mean.
        back: how many epochs ago, and how many are taken back.
        ratio: the share.
    """

    window: Count = 5
    back: Count = 5
    ratio: Positive = 0.75

    def stops(self, eigenvalues: Sequence[float]) -> bool:
        """Return whether a search with these eigenvalues, one an epoch, stops after the last of them."""
        if len(eigenvalues) < self.window + self.back:
            return False
        now, then = (sum(eigenvalues[end - self.window : end]) for end in (len(eigenvalues), -self.back))
        return now > 0 and then < self.ratio * now


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
        early_stopping: stop by the Hessian of the alphas; it costs two passes of a batch for each option and epoch.
        zero_one: the factor of the zero-one loss, of the strategy `fair`.
        tuning: epochs of the weights after each decision, of the strategy `perturbation`.
        candidates: how many genotypes to judge, of the strategy `weight-sharing-random`.
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
    early_stopping: EarlyStopping | None = None
    zero_one: NotNegative = 10.0
    tuning: Count = 5
    candidates: Count = 200

    def stops(self, eigenvalues: Sequence[float]) -> bool:
        """Return whether a search with these eigenvalues, one an epoch, stops early after the last of them.

        Those of the warm-up, in which no alpha moves, do not count.
        """
        return self.early_stopping is not None and self.early_stopping.stops(eigenvalues[self.warm_up :])


RECIPES = Path(__file__).parent / "recipes"


def load_search_recipe(name: str | Path) -> SearchRecipe:
    """Read a search recipe from a YAML file, or a shipped one by its name (`default`, `darts`). See `load_recipe`."""
    return load_recipe(name, SearchRecipe, RECIPES)
