"""Training networks: recipes, replicas, groups of them trained as one program."""

from nas_mer.train.batches import Inputs, Maps, Normaliser
from nas_mer.train.group import Group, alike, quickest_group, train
from nas_mer.train.recipe import Recipe, load_recipe
from nas_mer.train.replica import Replica, Trained

__all__ = [
    "Group",
    "Inputs",
    "Maps",
    "Normaliser",
    "Recipe",
    "Replica",
    "Trained",
    "alike",
    "load_recipe",
    "quickest_group",
    "train",
]
