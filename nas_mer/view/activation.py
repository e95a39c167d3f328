"""What networks look at: a clip's frames and flow, the activation maps of classes and the maps of attention units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nas_mer.data.images import grey
from nas_mer.data.montage import centred, flow_colours, flow_wheel, rgb
from nas_mer.nn import enlarged
from nas_mer.view.canvas import LEADING, Canvas
from nas_mer.view.figures import GREY, INK, LARGE, SMALL, Okabe, number, text_width, wrap

Array = NDArray[np.floating]
Hop = tuple[str, str]

_MARGIN, _GAP, _SPACE = 0.2, 0.06, 0.16  # inches: around the page, between a row's pictures, between rows
_TILE = 0.95
_LINE = SMALL * LEADING / 72
_TEXT = 1.3  # the room for a row's text, at least
_WHEEL = 0.6
_COLOURS = matplotlib.colormaps["inferno"]  # as good in grey
_COVER = 0.65  # how much of what lies below a map it covers
_SMOOTH = 96  # pixels a side of a map that is laid over another picture

_CAPTION = (
    "Classes: how much each place speaks for the class, by the classifier's own weights. Attention: what a hop's "
    "source multiplies its target by, from the least to the most that is written below. Both from dark (the least) to "
    "bright (the most), each on its own scale; the white line is halfway. "
)
_FLOW = "Flow: the hue is its direction, as on the wheel, and white is rest. Strain: from black (none) to light yellow."
_STRETCHED = (
    "Flow: the hue is its direction, as on the wheel; u and v were stretched to 0..1, so that the value of rest is "
    "lost, and white is their median instead. Strain: from black (the least) to light yellow (the most)."
)


@dataclass(frozen=True, eq=False)
class Look:
    """One clip and what networks made of it.

    Attributes:
        name: of the clip.
        flow_map: `(3, H, W)`: u, v and strain.
        u_mirror: see `nas_mer.data.Dataset`.
        frames: onset and apex, `(2, h, w, 3)` uint8 blue, green, red or `(2, h, w)` grey, or None.
        predicted: the class that is likeliest to them.
        label: the true class, or None.
        probabilities: of each class, 0..1.
        class_maps: the `(K, K)` activation map of each class, in any unit.
        attention: the `(K, K)` map of each hop (source, target), 0..1.
        networks: how many networks these are means of.
    """

    name: str
    flow_map: NDArray[np.float32] = field(repr=False)
    u_mirror: float
    frames: NDArray[np.uint8] | None = field(repr=False)
    predicted: str
    label: str | None
    probabilities: Mapping[str, float]
    class_maps: Mapping[str, Array] = field(repr=False)
    attention: Mapping[Hop, Array] = field(repr=False)
    networks: int


@dataclass(frozen=True, eq=False)
class _Tile:
    """A picture with a few words below it.

    Attributes:
        picture: an image as matplotlib takes it.
        outline: `(h, w)` in 0..1, of which the line at one half is drawn.
    """

    picture: NDArray[Any]
    below: tuple[str, ...] = ()
    outline: Array | None = None


def look_figure(looks: Sequence[Look], title: str) -> Figure:
    """Draw clips, a row each: what they show, what networks say, and where they look (as the paper's Fig. 2 and 10).

    Onset and apex where there are frames, the flow in colours (see `flow_colours`), its strain, the class activation
    maps of the predicted and of the true class, and the map of each attention unit; these lie over the apex or, without
    frames, over the length of the flow.

    Args:
        looks: at least one.
        title: of the figure.
    """
    framed = any(look.frames is not None for look in looks)
    compared = any(look.label not in (None, look.predicted) for look in looks)
    hops = max(len(look.attention) for look in looks)
    headings = ["onset", "apex"] * framed + ["flow", "strain", "predicted class"] + ["true class"] * compared
    headings += ["attention"] * hops
    rows = [_tiles(look, framed, compared, hops) for look in looks]
    texts = [_text(look) for look in looks]
    below = [max(len(_lines(tile)) for tile in row) for row in rows]

    left = _MARGIN + max(_TEXT, *(text_width(line, SMALL, bold) + 0.15 for text in texts for line, _, bold in text))
    wide = max(left + len(headings) * (_TILE + _GAP) - _GAP + _MARGIN, 5.5)
    caption = wrap(_CAPTION + (_STRETCHED if looks[0].u_mirror else _FLOW), wide - 3 * _MARGIN - _WHEEL, SMALL)
    canvas = Canvas()
    canvas.figure.suppressComposite = True  # or an SVG would have one large image in place of many
    y = _MARGIN + LARGE / 144
    for words in wrap(title, wide - 2 * _MARGIN, LARGE, bold=True):
        canvas.text(_MARGIN, y, words, LARGE, bold=True)
        y += LARGE * LEADING / 72
    y += 0.05
    for column, heading in enumerate(headings):
        canvas.text(left + column * (_TILE + _GAP) + _TILE / 2, y, heading, colour=GREY, align="center")
    y += 0.1
    for row, text, lines in zip(rows, texts, below, strict=True):
        for line, (words, colour, bold) in enumerate(text):
            canvas.text(_MARGIN, y + (line + 0.5) * _LINE, words, colour=colour, bold=bold)
        for column, tile in enumerate(row):
            if tile is not None:
                _draw(canvas, left + column * (_TILE + _GAP), y, tile)
        y += max(_TILE + lines * _LINE, len(text) * _LINE) + _SPACE
    _image(canvas, _MARGIN, y, _WHEEL, flow_wheel())
    for line, words in enumerate(caption):
        canvas.text(2 * _MARGIN + _WHEEL, y + (line + 0.5) * _LINE, words, colour=GREY)
    return canvas.cut(wide, y + max(_WHEEL, len(caption) * _LINE) + _MARGIN)


def _text(look: Look) -> list[tuple[str, str, bool]]:
    """Return the lines beside a row, each with its colour and whether it is bold."""
    said = f"predicted {look.predicted} {number(look.probabilities[look.predicted])}"
    lines = [(look.name, INK, True), (said, INK, False)]
    if look.label is not None:
        right = look.label == look.predicted
        verdict = ("right", Okabe.GREEN, True) if right else (f"wrong: is {look.label}", Okabe.VERMILLION, True)
        lines.append(verdict)
    return [*lines, (f"{look.networks} network{'s' * (look.networks > 1)}", GREY, False)]


def _tiles(look: Look, framed: bool, compared: bool, hops: int) -> list[_Tile | None]:
    """Return a row's pictures; None where others have one."""
    u, v, strain = centred(look.flow_map, look.u_mirror)
    length = np.hypot(u, v)
    longest = length.max() or 1
    u, v, ground = u / longest, v / longest, length / longest
    frames: list[_Tile | None] = []
    if look.frames is not None:
        frames = [_Tile(rgb(frame)) for frame in look.frames]
        ground = grey(look.frames[1]) / 255.0
    elif framed:
        frames = [None, None]
    classes = [look.predicted]
    if compared and look.label not in (None, look.predicted):
        classes.append(str(look.label))
    seen: list[_Tile | None] = [
        _over(ground, look.class_maps[name], f"{name} {number(look.probabilities[name])}") for name in classes
    ]
    attention = [
        _over(ground, grid, f"{source} \u2192 {target}", f"{number(grid.min())} to {number(grid.max())}")
        for (source, target), grid in look.attention.items()
    ]
    return [
        *frames,
        _Tile(flow_colours(u, v)),
        _Tile(matplotlib.colormaps["magma"](strain)),
        *seen,
        *[None] * (compared and len(classes) < 2),
        *attention,
        *[None] * (hops - len(attention)),
    ]


def _over(ground: Array, grid: Array, *below: str) -> _Tile:
    """Return a map `(K, K)`, stretched to 0..1, laid over a picture `(h, w)` in 0..1."""
    size = max(ground.shape[0], _SMOOTH), max(ground.shape[1], _SMOOTH)
    heat = enlarged(torch.as_tensor(_stretched(grid)), size).numpy()
    under = cv2.resize(np.asarray(ground, np.float32), size[::-1], interpolation=cv2.INTER_NEAREST)
    colours = _COLOURS(heat)[..., :3]
    return _Tile(_COVER * colours + (1 - _COVER) * under[..., None], below, heat)


def _stretched(grid: Array) -> Array:
    """Return a map stretched to 0..1; a constant one is 1 everywhere, as in an attention unit."""
    low, high = grid.min(), grid.max()
    return (grid - low) / (high - low) if high > low else np.ones_like(grid)


def _lines(tile: _Tile | None) -> list[str]:
    return [] if tile is None else [line for text in tile.below for line in wrap(text, _TILE + _GAP, SMALL)]


def _draw(canvas: Canvas, x: float, y: float, tile: _Tile) -> None:
    _image(canvas, x, y, _TILE, tile.picture)
    if tile.outline is not None and tile.outline.min() < 0.5 < tile.outline.max():
        height, width = tile.outline.shape
        across = x + (np.arange(width) + 0.5) * _TILE / width
        down = y + (np.arange(height) + 0.5) * _TILE / height
        canvas.axes.contour(across, down, tile.outline, levels=[0.5], colors="white", linewidths=0.8, zorder=7)
    for line, words in enumerate(_lines(tile)):
        canvas.text(x + _TILE / 2, y + _TILE + (line + 0.6) * _LINE, words, align="center")


def _image(canvas: Canvas, x: float, y: float, side: float, picture: NDArray[Any]) -> None:
    """Show a picture in a square whose upper left corner is (x, y)."""
    smooth = picture.dtype == np.uint8  # frames; the pixels of a map stay squares
    canvas.axes.imshow(
        picture, extent=(x, x + side, y + side, y), aspect="auto", interpolation=None if smooth else "nearest", zorder=6
    )
