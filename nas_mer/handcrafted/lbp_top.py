"""LBP-TOP, a descriptor of moving texture: local binary patterns on three orthogonal planes."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas_mer.data import Dataset
from nas_mer.errors import UserError
from nas_mer.handcrafted.descriptor import Descriptor, Features, Penalty, block_histograms, shares


class LbpTop(Descriptor):
    """Local binary patterns on three orthogonal planes (Zhao and Pietikainen, IEEE TPAMI 29, 2007).

    In each block of a grid three histograms of uniform patterns, those of the planes XY, XT and YT through every point
    of the clip, each with a sum of 1. For micro-expressions as by Pfister et al. (ICCV 2011): of registered clips that
    are interpolated to one length. Points whose circles leave the clip have no pattern in any plane.

    The histograms of two clips differ so little that a penalty of 1 does not even tell training samples apart. The
    default is so large that the margin is hard.

    Attributes:
        blocks: along each side of the frames; each lasts all of the clip.
        points: on the circle around a point.
        radius: of the circle, in pixels and frames.
    """

    takes = "clips"
    kind: Literal["lbp-top"] = "lbp-top"
    penalty: Penalty = 1e4
    blocks: Annotated[int, Field(ge=1)] = 5
    points: Annotated[int, Field(ge=4, le=16)] = 8
    radius: Annotated[int, Field(ge=1)] = 1

    def inputs(self, dataset: Dataset) -> NDArray[np.uint8]:
        """Return a dataset's clips `(N, T, H, W)` uint8.

        Raises:
            UserError: it has none, their frames are too few or too small, or scikit-image is not installed.
        """
        if dataset.clips is None:
            raise UserError(
                f"dataset '{dataset.name}': lbp-top describes clips, and it keeps none; make it from the databases' "
                "frames with: nas-mer data prepare OUT ... --clip-frames 10"
            )
        needed = 2 * self.radius + 1
        frames, height, width = dataset.clips.shape[1:]
        if min(frames, height, width) < needed:
            raise UserError(
                f"dataset '{dataset.name}': lbp-top with radius {self.radius} needs clips of {needed} frames of "
                f"{needed} x {needed} pixels or more, found {frames} of {width} x {height}"
            )
        _skimage()
        return dataset.clips

    def describe(self, sample: NDArray[Any]) -> Features:
        """Return the features of a clip `(T, H, W)` uint8: `(blocks * blocks * 3 * patterns,)`.

        There are points * (points - 1) + 3 patterns: those with at most two changes around the circle, and all others.

        Raises:
            UserError: the frames are smaller than the grid.
        """
        patterns = self.points * (self.points - 1) + 3
        histograms = [
            block_histograms(codes, self.blocks, patterns) for codes in self.codes(np.ascontiguousarray(sample))
        ]
        counts = np.stack(histograms, axis=1)
        return shares(counts, counts.sum(axis=2, keepdims=True)).ravel()

    def codes(self, clip: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
        """Return the patterns on XY, XT and YT of a clip `(T, H, W)`, each `(T - 2r, H - 2r, W - 2r)`, r the radius."""
        found = []
        for plane in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):  # the axis across it, its rows, its columns
            slices = clip.transpose(plane)
            tall = slices.reshape(-1, slices.shape[2])  # one below the other: circles that cross are cut off below
            codes = _skimage().local_binary_pattern(tall, self.points, self.radius, "nri_uniform")
            back = codes.reshape(slices.shape).transpose(np.argsort(plane))
            inner = slice(self.radius, -self.radius)
            found.append(back[inner, inner, inner].astype(np.int64))
        return found


def _skimage() -> Any:
    try:
        return import_module("skimage.feature")
    except ImportError:
        raise UserError("lbp-top needs scikit-image: pip install 'nas-mer[handcrafted]'") from None
