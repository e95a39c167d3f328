"""Graphs as PyTorch modules: the supernet, networks, stacks of them, the attention unit."""

from nas_mer.nn.attention import class_activation
from nas_mer.nn.network import Mixture, Network, one_hot
from nas_mer.nn.stack import Stack, stacked

__all__ = ["Mixture", "Network", "Stack", "class_activation", "one_hot", "stacked"]
