"""What the descriptors have in common: a model of their parameters, and histograms over a grid of blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from nas_mer.data import Dataset
from nas_mer.errors import UserError

Features = NDArray[np.float64]
Penalty = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Descriptor(BaseModel, ABC):
    """A handcrafted descriptor, whose features a linear support vector machine classifies.

    Attributes:
        takes: what of a dataset it describes.
        kind: its name.
        penalty: C of the support vector machine. It is fixed, so that no held-out subject has a say in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    takes: ClassVar[Literal["maps", "clips"]]
    kind: str
    penalty: Penalty

    @abstractmethod
    def inputs(self, dataset: Dataset) -> NDArray[Any]:
        """Return what it describes of a dataset's N samples.

        Raises:
            UserError: the dataset does not have that.
        """

    @abstractmethod
    def describe(self, sample: NDArray[Any]) -> Features:
        """Return the features of one sample, `(D,)` float64."""

    def check(self, dataset: Dataset) -> None:
        """Check that a dataset has what is to be described, large enough for it.

        Raises:
            UserError: it has not.
        """
        first = self.inputs(dataset)[0]
        try:
            self.describe(first)
        except UserError as error:
            raise UserError(f"dataset '{dataset.name}': {self.kind} cannot describe it: {error}") from None

    def features(self, inputs: NDArray[Any]) -> Features:
        """Return the features of N samples, `(N, D)` float64, each by itself."""
        return np.stack([self.describe(sample) for sample in inputs])


def block_histograms(
    codes: NDArray[np.integer[Any]], blocks: int, bins: int, weights: NDArray[np.floating[Any]] | None = None
) -> Features:
    """Return how often each code stands in each block of a grid, or the sum of its weights there.

    Args:
        codes: `(..., H, W)` in 0..bins - 1; leading axes are counted together.
        blocks: along each side; they differ by at most a pixel in height and width.
        bins: how many codes there are.
        weights: of each code, as many.

    Returns:
        `(blocks * blocks, bins)` float64.

    Raises:
        UserError: there are fewer pixels than blocks along a side.
    """
    height, width = codes.shape[-2:]
    if min(height, width) < blocks:
        most = min(height, width)
        raise UserError(f"{width} x {height} pixels have no {blocks} x {blocks} blocks; set blocks to {most} at most")
    rows, columns = np.arange(height) * blocks // height, np.arange(width) * blocks // width
    places = (rows[:, None] * blocks + columns) * bins + codes
    counts = np.bincount(places.ravel(), None if weights is None else weights.ravel(), blocks * blocks * bins)
    return counts.reshape(-1, bins).astype(np.float64)


def shares(parts: Features, whole: Features) -> Features:
    """Return parts divided by their whole, and 0 where that is 0."""
    return np.divide(parts, whole, out=np.zeros_like(parts), where=whole > 0)
