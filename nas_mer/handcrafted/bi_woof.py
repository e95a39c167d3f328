"""Bi-WOOF, a descriptor of the motion between two frames: bi-weighted oriented optical flow."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas_mer.data import Dataset
from nas_mer.handcrafted.descriptor import Descriptor, Features, Penalty, block_histograms, shares


class BiWoof(Descriptor):
    """Bi-weighted oriented optical flow (Liong, See, Wong and Phan, Signal Processing: Image Communication 62, 2018).

    In each block of a grid a histogram of the flow's orientation, in which each pixel counts by the magnitude of its
    flow; it is brought to a sum of 1 and multiplied by the block's optical strain. The whole has a norm of 1, so that
    the unit of the flow does not matter. Defaults are those of the authors' code (github.com/christy1206/biwoof). In
    that, blocks overlap, the last ones take the whole remainder, and flow at more than 135 degrees is not counted.

    Of maps whose channels were each stretched to 0..1, as the published ones are, it is an approximation. Where the
    flow was 0 is lost, and is taken to be the channel's median, for most of a face rests; how u and v compared in size
    is lost for good, and with it the angle within a quarter of the circle.

    Attributes:
        blocks: along each side of the map.
        bins: of orientation, from -180 to 180 degrees; 0 degrees are to the right, 90 down.
    """

    takes = "maps"
    kind: Literal["bi-woof"] = "bi-woof"
    penalty: Penalty = 1.0
    blocks: Annotated[int, Field(ge=1)] = 5
    bins: Annotated[int, Field(ge=2)] = 8

    def inputs(self, dataset: Dataset) -> NDArray[np.float32]:
        """Return a dataset's maps `(N, 3, H, W)` float32, with u and v less their medians if they were stretched."""
        maps = dataset.maps
        if not dataset.u_mirror:
            return maps
        rest = np.median(maps[:, :2], axis=(2, 3), keepdims=True)
        return np.concatenate([maps[:, :2] - rest, maps[:, 2:]], axis=1)

    def describe(self, sample: NDArray[Any]) -> Features:
        """Return the features of a map `(3, H, W)`, `(blocks * blocks * bins,)`; 0 where nothing moves or deforms.

        Raises:
            UserError: the map is smaller than the grid.
        """
        u, v, strain = sample.astype(np.float64)
        turns = np.arctan2(v, u) / (2 * np.pi) + 0.5
        codes = (turns * self.bins).astype(int) % self.bins
        orientations = block_histograms(codes, self.blocks, self.bins, np.hypot(u, v))
        strains = block_histograms(np.zeros_like(codes), self.blocks, 1, strain)
        features = (shares(orientations, orientations.sum(axis=1, keepdims=True)) * strains).ravel()
        return shares(features, np.sqrt((features**2).sum(keepdims=True)))
