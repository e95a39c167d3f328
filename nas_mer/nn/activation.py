"""What a network looks at: class activation maps, and the maps of its attention units.

A class activation map says which places of a feature map speak for a class, by the classifier's own weights (Zhou et
al., "Learning Deep Features for Discriminative Localization", CVPR 2016; reference [44] of Xia et al., 2020, who show
them in Fig. 2). Here the classifier has a weight for each class, channel and place of the `K x K` map that it pools.
So the map of class c is, at place p, `sum over channels j of W_c,j,p * X_j,p`, X being the pooled output state: without
any approximation the logit is the sum of its map plus the bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nas_mer.nn.attention import class_activation, class_maps
from nas_mer.nn.network import Network


@dataclass(frozen=True, eq=False)
class Activation:
    """What a network made of N maps, and where.

    Attributes:
        logits: `(N, classes)`.
        classes: `(N, classes, K, K)`, the class activation maps, in units of the logits: over its places a map adds up
            to the class's logit less its bias.
        attention: `(N, K, K)` in 0..1 of each hop (source, target): what multiplies the target, before it is resized to
            it (paper Eq. 7; see `class_activation`).
    """

    logits: Tensor
    classes: Tensor
    attention: Mapping[tuple[str, str], Tensor]


@torch.no_grad()
def activation(network: Network, maps: Tensor) -> Activation:
    """Return what a network without open decisions says of maps, and what it looks at.

    Args:
        network: in evaluation mode, or else dropout and batch statistics have a part in it.
        maps: `(N, C, H, W)`, of the network's input shape and normalised as in its training.
    """
    graph, weight = network.graph, network.head.weight
    values = network.values(maps)
    side = (graph.pool, graph.pool)
    return Activation(
        logits=network.classify(values[graph.output]),
        classes=class_maps(values[graph.output], weight, graph.pool).unflatten(-1, side),
        attention={
            (hop.source, state.name): class_activation(values[hop.source], weight, graph.pool).unflatten(-1, side)
            for state in graph.states
            for hop in state.hops
        },
    )


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps `(..., K, K)` bilinearly to `(..., *size)`, as attention maps are resized to what they multiply."""
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    return F.interpolate(flat, size, mode="bilinear", align_corners=False).view(*maps.shape[:-2], *size)
