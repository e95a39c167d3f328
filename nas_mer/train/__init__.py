"""Training networks: recipes, replicas, workers."""

from nas_mer.train.recipe import Recipe, load_recipe
from nas_mer.train.replica import Maps, Replica, Trained, train

__all__ = ["Maps", "Recipe", "Replica", "Trained", "load_recipe", "train"]
