"""Graphs as PyTorch modules: the supernet, networks, stacks of them, the attention unit, what networks look at."""

from nas_mer.nn.activation import Activation, activation, enlarged
from nas_mer.nn.attention import class_activation
from nas_mer.nn.network import Mixture, Network, one_hot
from nas_mer.nn.stack import Stack, stacked

__all__ = [
    "Activation",
    "Mixture",
    "Network",
    "Stack",
    "activation",
    "class_activation",
    "enlarged",
    "one_hot",
    "stacked",
]
