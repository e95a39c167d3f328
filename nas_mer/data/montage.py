"""A picture of a dataset's maps, in which a swapped channel or a wrong crop shows."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nas_mer.data.dataset import CHANNELS, Dataset
from nas_mer.errors import UserError
from nas_mer.files import did_you_mean, replacing

_FORMATS = ("png", "svg", "pdf")
_PAPER = 0.9  # light grey, on which a white map has edges

# Inches, but for the last two.
_EDGE, _HEAD, _LEFT, _LINE = 0.1, 0.65, 1.1, 0.125
_STRIP, _SPACE = 1.5, 0.2  # a sample's width, and what is between two
_LETTERS = 18  # of the caption to the inch
_GAP = 0.08  # between the channels of a sample, as a part of a map's width

_FLOW_CAPTION = (
    "u: blue to the left, red to the right; v: blue up, red down; white is rest, and u and v of a sample share one "
    "scale. Strain: from black (none) to light yellow (the sample's most)."
)
_STRETCHED_CAPTION = (
    "Each map was stretched to 0..1, so that the value of rest is lost; white is the map's median instead. "
    "u: blue further to the left, red further to the right; v: blue further up, red further down; each map on its own "
    "scale. Strain: from black (the map's least) to light yellow (its most)."
)


def montage(dataset: Dataset, path: Path, per_class: int = 6) -> None:
    """Write a picture with some samples of each database and class; each sample as its u, v and strain side by side.

    Args:
        dataset: what to show.
        path: where to; its suffix (png, svg or pdf) says in which format.
        per_class: how many samples at most of each class in each database, spread evenly over the manifest.

    Raises:
        UserError: the suffix is of no known format, or `per_class` is less than 1.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _FORMATS:
        raise UserError(f"{path}: pictures are written as {', '.join(_FORMATS)}{did_you_mean(kind, _FORMATS)}")
    if per_class < 1:
        raise UserError(f"at least one sample per class must be shown, found {per_class}")
    figure = _drawn(dataset, per_class)
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    with replacing(path) as fresh:
        figure.savefig(fresh, format=kind, dpi=200, metadata=undated)


def _drawn(dataset: Dataset, per_class: int) -> Figure:
    groups = {
        (database, label): np.flatnonzero((dataset.databases == database) & (dataset.labels == label))
        for database in dataset.counts()
        for label in range(len(dataset.classes))
    }
    groups = {group: members for group, members in groups.items() if len(members)}
    columns = min(per_class, max(map(len, groups.values())))
    stretched = dataset.u_mirror != 0

    # All in inches from the top left, so that any number of rows and columns keeps its proportions.
    strip_height = _STRIP * dataset.maps.shape[2] / dataset.maps.shape[3] / (3 + 2 * _GAP)
    wide = max(6.0, _LEFT + columns * (_STRIP + _SPACE))
    caption = textwrap.wrap(_STRETCHED_CAPTION if stretched else _FLOW_CAPTION, int(wide * _LETTERS))
    high = _HEAD + len(groups) * (strip_height + _SPACE) + len(caption) * _LINE + _EDGE
    figure = Figure(figsize=(wide, high), facecolor=str(_PAPER))

    def write(left: float, top: float, text: str, **style: Any) -> None:
        figure.text(left / wide, 1 - top / high, text, parse_math=False, **style)

    write(_EDGE, _EDGE, _title(dataset), va="top", size=11, weight="bold")
    for column in range(columns):
        for place, channel in enumerate(CHANNELS):
            middle = _LEFT + column * (_STRIP + _SPACE) + _STRIP * (place + 0.5) / 3
            write(middle, _HEAD - _SPACE, channel, ha="center", va="bottom", size=7, style="italic")
    for row, ((database, label), members) in enumerate(groups.items()):
        top = _HEAD + row * (strip_height + _SPACE)
        write(_EDGE, top, f"{database}\n{dataset.classes[label]} ({len(members)})", va="top", size=8)
        chosen = members[np.linspace(0, len(members) - 1, min(len(members), per_class)).round().astype(int)]
        for column, index in enumerate(chosen):
            left = _LEFT + column * (_STRIP + _SPACE)
            axes = figure.add_axes((left / wide, 1 - (top + strip_height) / high, _STRIP / wide, strip_height / high))
            axes.imshow(_strip(dataset.maps[index], stretched), interpolation="nearest", aspect="auto")
            axes.set_axis_off()
            sample = dataset.samples[index]
            name = sample.clip if sample.clip.startswith(sample.subject) else f"{sample.subject} {sample.clip}"
            write(left + _STRIP / 2, top - 0.02, name, ha="center", va="bottom", size=5.5)
    write(_EDGE, high - _EDGE, "\n".join(caption), va="bottom", size=7)
    return figure


def _title(dataset: Dataset) -> str:
    height, width = dataset.maps.shape[2:]
    return (
        f"{dataset.name}: {len(dataset)} maps of {width} x {height} pixels, {len(np.unique(dataset.subjects))} subjects"
    )


def _strip(flow_map: NDArray[np.float32], stretched: bool) -> NDArray[np.float64]:
    """Return a map `(3, H, W)` as colours `(H, 3 W + 2 gaps, 3)`; where nothing moves they are white, white, black."""
    u, v, strain = flow_map
    if stretched:
        u, v, strain = u - np.median(u), v - np.median(v), strain - strain.min()
        reach_u, reach_v = np.abs(u).max(), np.abs(v).max()
    else:
        reach_u = reach_v = np.abs([u, v]).max()
    signed, positive = matplotlib.colormaps["RdBu_r"], matplotlib.colormaps["magma"]
    gap = np.full((u.shape[0], max(1, round(u.shape[1] * _GAP)), 4), _PAPER)
    return np.hstack(
        [
            signed(0.5 + 0.5 * u / (reach_u or 1)),
            gap,
            signed(0.5 + 0.5 * v / (reach_v or 1)),
            gap,
            positive(strain / (strain.max() or 1)),
        ]
    )[..., :3]
