"""A picture of a dataset's maps, and of the frames they come from, in which a swapped channel or a wrong crop shows."""

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
from nas_mer.files import replacing
from nas_mer.words import did_you_mean

Colours = NDArray[np.float64]

_FORMATS = ("png", "svg", "pdf")
_PAPER = 0.9  # light grey, on which a white map has edges

# Inches, but for the last.
_EDGE, _HEAD, _LEFT, _LINE = 0.1, 0.55, 1.1, 0.125
_TILE, _GAP, _SPACE = 0.47, 0.04, 0.2  # a map's width, and what is between two of a sample and between two samples
_STRIP = len(CHANNELS) * (_TILE + _GAP) - _GAP
_WHEEL = 0.6
_LETTERS = 18  # of the caption to the inch

_FRAMES_CAPTION = (
    "Above: onset, apex, and the flow from one to the other in colours: the hue is its direction, as on the wheel (red "
    "to the right, yellow down), and white is rest; the fullest colour is the sample's longest flow. Below: the map."
)
_FLOW_CAPTION = (
    "u: blue to the left, red to the right; v: blue up, red down; white is rest, and u and v of a sample share one "
    "scale. Strain: from black (none) to light yellow (the sample's most)."
)
_STRETCHED_CAPTION = (
    "Each map was stretched to 0..1, so that the value of rest is lost; white is the map's median instead. "
    "u: blue further to the left, red further to the right; v: blue further up, red further down; each map on its own "
    "scale. Strain: from black (the map's least) to light yellow (its most)."
)

# Hues of the Middlebury wheel, red first, each by how many of its 55 steps it is from the one before.
_HUES = np.array([(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)], np.float64)
_STEPS = np.cumsum([0, 15, 6, 4, 11, 13, 6])


def montage(dataset: Dataset, path: Path, per_class: int = 6) -> None:
    """Write a picture with some samples of each database and class.

    Each sample is shown by its u, v and strain side by side; above them, where the dataset has frames, by its onset,
    its apex, and the flow in colours (see `flow_colours`), all in the proportions of the map.

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
    figure = montage_figure(dataset, per_class)
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    with replacing(path) as fresh:
        figure.savefig(fresh, format=kind, dpi=200, metadata=undated)


def flow_colours(u: NDArray[np.floating], v: NDArray[np.floating]) -> Colours:
    """Show flow as colours, by the wheel of Baker et al., "A Database and Evaluation Methodology for Optical Flow".

    Args:
        u, v: `(H, W)` flow to the right and down, of length 0 to 1.

    Returns:
        `(H, W, 3)` red, green, blue in 0..1: the hue is the direction (right red, down yellow, left between cyan and
        blue, up between blue and magenta), the saturation the length.
    """
    turn = np.arctan2(v, u) % (2 * np.pi) / (2 * np.pi) * _STEPS[-1]
    hue = np.stack([np.interp(turn, _STEPS, channel) for channel in _HUES.T], axis=-1)
    return np.asarray(np.clip(1 - np.hypot(u, v)[..., None] * (1 - hue), 0, 1), np.float64)


def montage_figure(dataset: Dataset, per_class: int = 6) -> Figure:
    """Draw what `montage` writes.

    Raises:
        UserError: `per_class` is less than 1.
    """
    if per_class < 1:
        raise UserError(f"at least one sample per class must be shown, found {per_class}")
    groups = {
        (database, label): np.flatnonzero((dataset.databases == database) & (dataset.labels == label))
        for database in dataset.counts()
        for label in range(len(dataset.classes))
    }
    groups = {group: members for group, members in groups.items() if len(members)}
    columns = min(per_class, max(map(len, groups.values())))
    framed = dataset.frames is not None
    names = [("onset", "apex", "flow"), CHANNELS] if framed else [CHANNELS]

    # All in inches from the top left, so that any number of rows and columns keeps its proportions.
    tile_height = _TILE * dataset.maps.shape[2] / dataset.maps.shape[3]
    strip_height = len(names) * (tile_height + _GAP) - _GAP
    head = _HEAD + len(names) * _LINE
    wide = max(6.0, _LEFT + columns * (_STRIP + _SPACE))
    margin = _EDGE + (_WHEEL + _EDGE if framed else 0)
    text = _STRETCHED_CAPTION if dataset.u_mirror else _FLOW_CAPTION
    caption = textwrap.wrap(f"{_FRAMES_CAPTION} {text}" if framed else text, int((wide - margin) * _LETTERS))
    foot = max(len(caption) * _LINE, _WHEEL if framed else 0) + _EDGE
    high = head + len(groups) * (strip_height + _SPACE) + foot
    figure = Figure(figsize=(wide, high), facecolor=str(_PAPER))
    sheet = figure.add_axes((0, 0, 1, 1))
    sheet.set_axis_off()

    def write(left: float, top: float, text: str, **style: Any) -> None:
        sheet.text(left, top, text, parse_math=False, **style)

    def show(left: float, top: float, width: float, height: float, picture: NDArray[Any]) -> None:
        smooth = picture.dtype == np.uint8  # frames; the pixels of a map stay squares
        extent = (left, left + width, top + height, top)
        sheet.imshow(picture, extent=extent, interpolation=None if smooth else "nearest")

    write(_EDGE, _EDGE, _title(dataset), va="top", size=11, weight="bold")
    for column in range(columns):
        for place, stacked in enumerate(zip(*names, strict=True)):
            middle = _LEFT + column * (_STRIP + _SPACE) + place * (_TILE + _GAP) + _TILE / 2
            write(middle, head - _SPACE, "\n".join(stacked), ha="center", va="bottom", size=7, style="italic")
    for row, ((database, label), members) in enumerate(groups.items()):
        top = head + row * (strip_height + _SPACE)
        write(_EDGE, top, f"{database}\n{dataset.classes[label]} ({len(members)})", va="top", size=8)
        chosen = members[np.linspace(0, len(members) - 1, min(len(members), per_class)).round().astype(int)]
        for column, index in enumerate(chosen):
            left = _LEFT + column * (_STRIP + _SPACE)
            for line, tiles in enumerate(_tiles(dataset, index)):
                for place, tile in enumerate(tiles):
                    across, down = left + place * (_TILE + _GAP), top + line * (tile_height + _GAP)
                    show(across, down, _TILE, tile_height, tile)
            sample = dataset.samples[index]
            name = sample.clip if sample.clip.startswith(sample.subject) else f"{sample.subject} {sample.clip}"
            write(left + _STRIP / 2, top - 0.02, name, ha="center", va="bottom", size=5.5)
    if framed:
        show(_EDGE, high - _EDGE - _WHEEL, _WHEEL, _WHEEL, flow_wheel())
    write(margin, high - _EDGE, "\n".join(caption), va="bottom", size=7)
    sheet.set(xlim=(0, wide), ylim=(high, 0), aspect="auto")
    return figure


def _title(dataset: Dataset) -> str:
    height, width = dataset.maps.shape[2:]
    return (
        f"{dataset.name}: {len(dataset)} maps of {width} x {height} pixels, {len(np.unique(dataset.subjects))} subjects"
    )


def _tiles(dataset: Dataset, index: int) -> list[list[NDArray[Any]]]:
    """Return a sample's pictures line by line; in those of its map rest is white, white and black."""
    u, v, strain = centred(dataset.maps[index], dataset.u_mirror)
    signed, positive = matplotlib.colormaps["RdBu_r"], matplotlib.colormaps["magma"]
    lines: list[list[NDArray[Any]]] = [[signed(0.5 + 0.5 * u), signed(0.5 + 0.5 * v), positive(strain)]]
    if dataset.frames is not None:
        longest = np.hypot(u, v).max() or 1
        onset, apex = map(rgb, dataset.frames[index])
        lines.insert(0, [onset, apex, flow_colours(u / longest, v / longest)])
    return lines


def centred(flow_map: NDArray[np.float32], u_mirror: float) -> tuple[NDArray[np.floating], ...]:
    """Return u, v and strain `(H, W)` of a flow map for looking at: u and v in -1..1 with rest at 0, strain in 0..1.

    Args:
        flow_map: `(3, H, W)`.
        u_mirror: see `Dataset`; of a stretched map the median stands for rest, and u and v have scales of their own.
    """
    u, v, strain = flow_map
    if u_mirror:
        u, v, strain = u - np.median(u), v - np.median(v), strain - strain.min()
        reach_u, reach_v = np.abs(u).max(), np.abs(v).max()
    else:
        reach_u = reach_v = np.abs([u, v]).max()
    return u / (reach_u or 1), v / (reach_v or 1), strain / (strain.max() or 1)


def rgb(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a frame, `(h, w, 3)` blue, green, red or `(h, w)` grey, as `(h, w, 3)` red, green, blue."""
    return frame[..., ::-1] if frame.ndim == 3 else np.dstack([frame] * 3)


def flow_wheel() -> Colours:
    """Return `(H, H, 4)`: the colour of each flow no longer than 1 in a circle; what is around it is transparent."""
    side = np.linspace(-1, 1, 121)
    u, v = np.meshgrid(side, side)
    length = np.hypot(u, v)
    return np.dstack([flow_colours(u, v), length <= 1])
