"""All ways to search a space, by name.

They differ in how genotypes are compared: by the architecture weights of a supernet, by validation with a supernet's
weights, or by validation of networks that were trained one by one. All see the same two halves of the training
subjects, weights trained on one and judged on the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nas_mer.errors import UserError
from nas_mer.search.bilevel import BilevelSearch
from nas_mer.search.cost import sample_steps, training_steps, tuned
from nas_mer.search.fair import FairSearch
from nas_mer.search.optuna_study import BATCH, Sampler
from nas_mer.search.perturbation import PerturbationSearch
from nas_mer.search.recipe import SearchRecipe, load_search_recipe
from nas_mer.search.supernets import SearchReplica, Supernets
from nas_mer.search.tuning import Axis
from nas_mer.search.weight_sharing import WeightSharing
from nas_mer.space import SearchSpace
from nas_mer.train.recipe import Recipe, load_recipe
from nas_mer.words import did_you_mean

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class SupernetStrategy:
    """A search that trains a supernet by a search recipe.

    Attributes:
        name: what it is called.
        search: what it does, with its source.
        relaxations: those that it goes with; it takes the first where a recipe names none.
        refuses: keys of a recipe that contradict it, and why.
    """

    name: str
    search: type[Supernets]
    relaxations: tuple[str, ...] = ()
    refuses: dict[str, str] = field(default_factory=dict)

    @property
    def weighs(self) -> bool:
        """Whether options have architecture weights in the end."""
        return issubclass(self.search, BilevelSearch)

    def load(self, recipe: str | Path) -> SearchRecipe:
        """Read a search recipe; see `load_search_recipe`."""
        return load_search_recipe(recipe)

    def check(self, changes: Mapping[str, object], budget: float | None) -> None:
        """Check what is to be changed in a recipe.

        Raises:
            UserError: a budget and a number of epochs are given.
        """
        if budget is not None and "epochs" in changes:
            raise UserError("--budget: sets the epochs of a supernet; leave out --epochs")

    def accept(self, recipe: SearchRecipe | Recipe) -> SearchRecipe:
        """Return a recipe as this strategy takes it.

        Raises:
            UserError: it is no search recipe, or says something that contradicts the strategy.
        """
        if not isinstance(recipe, SearchRecipe):
            raise UserError(f"strategy {self.name} trains a supernet, which needs a search recipe")
        given = recipe.model_fields_set
        for key, why in self.refuses.items():
            if key in given and getattr(recipe, key) is not None:
                raise UserError(f"{key}: strategy {self.name} {why}; leave it out")
        if not self.relaxations or recipe.relaxation in self.relaxations:
            return recipe
        if "relaxation" in given:
            fitting = ", ".join(self.relaxations)
            raise UserError(f"relaxation: strategy {self.name} goes with {fitting}, found {recipe.relaxation}")
        return recipe.model_copy(update={"relaxation": self.relaxations[0]})

    def within(
        self, budget: float, space: SearchSpace, recipe: SearchRecipe, replicas: Sequence[SearchReplica]
    ) -> SearchRecipe:
        """Return a recipe with as many epochs as each of some searches may have.

        Args:
            budget: steps of one network for each; see `nas_mer.search.cost`.
            space: what is searched.
            recipe: how.
            replicas: the searches.

        Raises:
            UserError: it is not enough for one epoch.
        """
        of_sample, costs = sample_steps(space), [self.search.cost(space, recipe, replica) for replica in replicas]
        if (epochs := min(cost.epochs(budget / of_sample) for cost in costs)) < 1:
            least = of_sample * max(cost.of(1) for cost in costs)
            raise UserError(
                f"--budget: {budget:g} steps are not enough for one epoch of strategy {self.name}, which takes "
                f"{math.ceil(least)}"
            )
        return recipe.model_copy(update={"epochs": epochs})


@dataclass(frozen=True)
class TrialStrategy:
    """A search that trains genotypes one by one by a retraining recipe, each from scratch, and compares their UAR.

    Attributes:
        name: what it is called.
        sampler: what draws genotypes; None draws them uniformly.
    """

    name: str
    sampler: Sampler | None = None

    weighs = False

    def load(self, recipe: str | Path) -> Recipe:
        """Read a retraining recipe; see `load_recipe`."""
        return load_recipe(recipe, Recipe)

    def check(self, changes: Mapping[str, object], budget: float | None) -> None:
        """Check what is to be changed in a recipe.

        Raises:
            UserError: it is what only a supernet has.
        """
        if wrong := changes.keys() & {"order", "relaxation"}:
            raise UserError(f"--{min(wrong)}: strategy {self.name} trains no supernet; leave it out")

    def accept(self, recipe: SearchRecipe | Recipe) -> Recipe:
        """Return a recipe if it is one for training networks.

        Raises:
            UserError: it is another.
        """
        if not isinstance(recipe, Recipe):
            raise UserError(f"strategy {self.name} trains genotypes one by one, which needs a retraining recipe")
        return recipe

    def trials(
        self,
        budget: float | None,
        space: SearchSpace,
        recipe: Recipe,
        replicas: Sequence[SearchReplica],
        tune: Sequence[Axis] = (),
    ) -> int:
        """Return how many genotypes each of some searches may train; `TRIALS` without a budget.

        Where sizes or recipes are tuned, a genotype costs what it does in the mean over all that may be drawn.

        Raises:
            UserError: the budget is not enough for one, or nothing that may be drawn can be built.
        """
        if budget is None:
            return TRIALS
        ways = list(tuned(space, recipe, tune))
        cost = max(
            sum(times * training_steps(way, len(one.weights), len(one.alphas)) for way, times in ways) / len(ways)
            for one in replicas
        )
        if budget < cost:
            raise UserError(
                f"--budget: {budget:g} steps are not enough to train one genotype for strategy {self.name}, which "
                f"takes {math.ceil(cost)}"
            )
        return int(budget / cost)


TRIALS = 50
"""How many genotypes a search trains if there is no budget."""

Strategy = SupernetStrategy | TrialStrategy


def _tpe(seed: int) -> BaseSampler:
    """Draw by a tree-structured Parzen estimator (Bergstra et al., 2011): options that good trials had more often."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=BATCH)


def _evolution(seed: int) -> BaseSampler:
    """Draw by crossover and mutation of the best so far: NSGA-II (Deb et al., 2002), with one objective elitist."""
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=BATCH)


_NO_ALPHAS = dict.fromkeys(("order", "relaxation", "warm_up", "early_stopping"), "has no alphas")

STRATEGIES: dict[str, Strategy] = {
    one.name: one
    for one in (
        # DARTS (Liu et al., 2019), the paper's search; any relaxation.
        SupernetStrategy("darts", BilevelSearch, ("softmax", "sum", "sigmoid", "gumbel")),
        # Mixtures drawn by Gumbel-softmax at temperature 1 (SNAS, Xie et al., 2019), in DARTS's bilevel alternation.
        SupernetStrategy("gumbel", BilevelSearch, ("gumbel",)),
        SupernetStrategy("fair", FairSearch, ("sigmoid",)),
        SupernetStrategy(
            "perturbation", PerturbationSearch, ("softmax", "sum", "sigmoid"),
            {"early_stopping": "chooses after the last epoch"},
        ),
        SupernetStrategy("weight-sharing-random", WeightSharing, refuses=_NO_ALPHAS),
        # Random search (Bergstra & Bengio, 2012), uniform over genotypes, none twice.
        TrialStrategy("random"),
        TrialStrategy("tpe", _tpe),
        TrialStrategy("evolution", _evolution),
    )
}  # fmt: skip


ONE_BY_ONE = tuple(name for name, one in STRATEGIES.items() if isinstance(one, TrialStrategy))
"""The names of those that train genotypes one by one."""


def find_strategy(name: str) -> Strategy:
    """Return a strategy by its name.

    Raises:
        UserError: there is none.
    """
    if name not in STRATEGIES:
        raise UserError(f"no strategy is called '{name}'{did_you_mean(name, STRATEGIES)}")
    return STRATEGIES[name]
