"""Searching a space: bilevel updates of a supernet and its architecture weights."""

from nas_mer.search.bilevel import BilevelSearch, Epoch, SearchReplica
from nas_mer.search.recipe import SearchRecipe, load_search_recipe

__all__ = ["BilevelSearch", "Epoch", "SearchRecipe", "SearchReplica", "load_search_recipe"]
