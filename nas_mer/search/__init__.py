"""Searching a space: supernets with architecture weights or without, and genotypes trained one by one."""

from nas_mer.search.bilevel import BilevelSearch
from nas_mer.search.objectives import OBJECTIVES
from nas_mer.search.optuna_study import Study
from nas_mer.search.recipe import SearchRecipe, load_search_recipe
from nas_mer.search.strategies import ONE_BY_ONE, STRATEGIES, Strategy, SupernetStrategy, TrialStrategy, find_strategy
from nas_mer.search.supernets import Epoch, SearchReplica, Supernets
from nas_mer.search.trials import Ranked, Trial, front, ranked
from nas_mer.search.tuning import Axis, read_tune

__all__ = [
    "OBJECTIVES",
    "ONE_BY_ONE",
    "STRATEGIES",
    "Axis",
    "BilevelSearch",
    "Epoch",
    "Ranked",
    "SearchRecipe",
    "SearchReplica",
    "Strategy",
    "Study",
    "SupernetStrategy",
    "Supernets",
    "Trial",
    "TrialStrategy",
    "find_strategy",
    "front",
    "load_search_recipe",
    "ranked",
    "read_tune",
]
