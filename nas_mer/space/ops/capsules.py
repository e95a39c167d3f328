"""Capsules (Sabour, Frosst & Hinton, "Dynamic Routing Between Capsules", NeurIPS 2017).

A capsule is a vector of `dimensions` adjacent channels at one place of a map: its direction says how something looks,
its length, 0..1, how surely it is there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_mer.space.ops.registry import Positive, Shape, op


def squashed(vectors: Tensor) -> Tensor:
    """Return vectors along the last axis with their lengths `n` brought to `n^2 / (1 + n^2)` (Eq. 1)."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors * (length / (1 + length**2))


def _capsules(x: Tensor, dimensions: int) -> Tensor:
    """Return the capsules of maps `(N, C, H, W)` as `(N, C / D, H, W, D)`."""
    parts: Tensor = x.unflatten(1, (-1, dimensions))
    return parts.movedim(2, -1)


def _check_divides(shape: Shape, dimensions: int) -> None:
    if shape.channels % dimensions:
        raise ValueError(f"{shape.channels} channels are no whole number of capsules of {dimensions} dimensions")


class Squash(nn.Module):
    """Brings the lengths of capsules into 0..1 and keeps their directions."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`."""
        return squashed(_capsules(x, self.dimensions)).movedim(-1, 2).flatten(1, 2)

    def extra_repr(self) -> str:
        return f"dimensions={self.dimensions}"


@op("squash")
def squash(shape: Shape, *, dimensions: Positive = 8) -> nn.Module:
    """The non-linearity of capsules: a length n becomes n^2 / (1 + n^2)."""
    _check_divides(shape, dimensions)
    return Squash(dimensions)


class Capsules(nn.Module):
    """Capsules that gather the votes of a map's capsules by routing between them (Procedure 1).

    Each capsule of the map, at each place, casts a vote for each capsule here through a matrix of its own. All votes
    count alike at first; those that agree with what came out count more the next time. Gradients flow through the last
    iteration only, the coefficients being constants there.

    Args:
        shape: the map's.
        dimensions_in: channels that make a capsule of the map.
        count: how many capsules.
        dimensions: channels that make a capsule here.
        routings: how often votes are counted.
    """

    def __init__(self, shape: Shape, dimensions_in: int, count: int, dimensions: int, routings: int) -> None:
        super().__init__()
        self.dimensions_in = dimensions_in
        self.routings = routings
        voters = shape.channels // dimensions_in * shape.height * shape.width
        self.weight = nn.Parameter(0.01 * torch.randn(count, voters, dimensions, dimensions_in))

    def forward(self, x: Tensor) -> Tensor:
        """Return `(N, count * dimensions, 1, 1)`."""
        voters = _capsules(x, self.dimensions_in).flatten(1, -2)  # N x voters x dimensions_in
        votes = torch.einsum("cvdi,nvi->ncvd", self.weight, voters)
        fixed = votes.detach()
        agreement = torch.zeros_like(fixed[..., 0])  # N x count x voters
        for _ in range(self.routings - 1):
            found = self._gathered(fixed, agreement)
            agreement = agreement + torch.einsum("ncvd,ncd->ncv", fixed, found)
        return self._gathered(votes, agreement).flatten(1)[..., None, None]

    def _gathered(self, votes: Tensor, agreement: Tensor) -> Tensor:
        """Return the capsules `(N, count, dimensions)` that weighted votes make; each voter shares out one vote."""
        return squashed(torch.einsum("ncv,ncvd->ncd", agreement.softmax(1), votes))

    def extra_repr(self) -> str:
        count, voters, dimensions, dimensions_in = self.weight.shape
        return f"{voters} of {dimensions_in} -> {count} of {dimensions}, routings={self.routings}"


@op("capsules")
def capsules(
    shape: Shape,
    *,
    count: Positive,
    dimensions: Positive = 16,
    dimensions_in: Positive = 8,
    routings: Positive = 3,
) -> nn.Module:
    """Capsules by dynamic routing between those of the map: `count * dimensions x 1 x 1`."""
    _check_divides(shape, dimensions_in)
    return Capsules(shape, dimensions_in, count, dimensions, routings)


class Lengths(nn.Module):
    """The lengths of capsules."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions

    def forward(self, x: Tensor) -> Tensor:
        """Return `(N, C / dimensions, H, W)`."""
        length: Tensor = torch.linalg.vector_norm(_capsules(x, self.dimensions), dim=-1)
        return length

    def extra_repr(self) -> str:
        return f"dimensions={self.dimensions}"


@op("lengths")
def lengths(shape: Shape, *, dimensions: Positive = 16) -> nn.Module:
    """The length of each capsule: one channel a capsule."""
    _check_divides(shape, dimensions)
    return Lengths(dimensions)
