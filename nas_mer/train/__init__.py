"""Training networks: recipes, replicas, workers."""

from nas_mer.train.recipe import Recipe, load_recipe
from nas_mer.train.replica import Maps, Replica, Trained, train
from nas_mer.train.workers import cores, each

__all__ = ["Maps", "Recipe", "Replica", "Trained", "cores", "each", "load_recipe", "train"]
