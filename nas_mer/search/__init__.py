"""Searching a space: bilevel updates of a supernet and its architecture weights."""

from nas_mer.search.bilevel import BilevelSearch, DivergedError, Epoch
from nas_mer.search.recipe import SearchRecipe, load_search_recipe

__all__ = ["BilevelSearch", "DivergedError", "Epoch", "SearchRecipe", "load_search_recipe"]
