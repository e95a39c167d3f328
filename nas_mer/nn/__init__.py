"""Graphs as PyTorch modules: the supernet, networks, the attention unit."""

from nas_mer.nn.attention import class_activation
from nas_mer.nn.network import Mixture, Network, one_hot

__all__ = ["Mixture", "Network", "class_activation", "one_hot"]
