"""People as parametric cartoon faces, drawn at rest.

Rest coordinates are those of a face at rest, in units of the width of the frame that it fills: x to the right and y
down from the middle of the face, so that a frame shows x from -0.5 to 0.5. "Left" and "right" are the picture's, not
the person's. Colours are blue, green, red, as OpenCV has them.

What is drawn lives on a lattice of `scale` cells a unit over an area somewhat larger than a frame, as heads drift.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Points = NDArray[np.float64]

_EXTENT = (0.62, 0.72)  # half the width and height of the drawn area
_T = np.linspace(-1, 1, 25)  # the parameter of all drawn curves
_BOW = 1 - _T**2  # 0 at their ends, 1 in the middle

_SKIN = ((184, 204, 230), (150, 180, 220), (112, 148, 196), (74, 106, 156), (50, 72, 112))
_HAIR = ((24, 24, 30), (34, 46, 66), (58, 84, 118), (110, 150, 186))
_IRIS = ((30, 48, 74), (60, 96, 104), (150, 124, 92))
_WALL = (150, 145, 140)
_SHIRT = ((92, 70, 60), (60, 60, 130), (120, 140, 120))

_SPREAD: Mapping[str, float] = {
    "head_width": 0.022,
    "chin": 0.022,
    "jaw": 0.08,
    "eye_y": 0.012,
    "eye_distance": 0.014,
    "eye_width": 0.007,
    "eye_opening": 0.006,
    "brow_height": 0.012,
    "brow_arch": 0.007,
    "brow_thickness": 0.0035,
    "nose_length": 0.020,
    "nose_width": 0.011,
    "mouth_y": 0.014,
    "mouth_width": 0.016,
    "lip_thickness": 0.007,
    "hairline": 0.045,
    "tone": 0.30,
    "hair": 0.35,
    "iris": 0.45,
    "texture": 0.008,
}
"""How people differ: the standard deviation of each parameter of a face, cut off at two of them."""


@dataclass(frozen=True)
class Face:
    """A person: the shape of a face at rest, in rest coordinates, and how its surface looks.

    Without arguments it is the average face.

    Attributes:
        head_width: from the midline to the side of the head.
        chin: y of the chin's lower edge.
        jaw: exponent of the jaw's outline; 1 is an ellipse, less is squarer.
        eye_y, eye_distance: centre of the right eye.
        eye_width, eye_opening: from the centre of an eye to its corner and to its upper lid.
        brow_height: from the centre of the eye up to the middle of the brow.
        brow_arch: how far the middle of the brow stands over its ends.
        brow_thickness: of the brow at its thickest.
        nose_length: from the eyes to the tip.
        nose_width: from the midline to the wing.
        mouth_y, mouth_width: right corner of the mouth.
        lip_thickness: of the lower lip.
        hairline: y of the hair's lower edge.
        tone: of the skin, 0 light to 1 dark.
        hair: 0 black to 1 blond.
        iris: 0 brown to 1 blue.
        texture: relative deviation of the skin's brightness.
        seed: of the skin's texture.
    """

    head_width: float = 0.450
    chin: float = 0.515
    jaw: float = 0.86
    eye_y: float = -0.160
    eye_distance: float = 0.190
    eye_width: float = 0.080
    eye_opening: float = 0.030
    brow_height: float = 0.098
    brow_arch: float = 0.012
    brow_thickness: float = 0.026
    nose_length: float = 0.215
    nose_width: float = 0.078
    mouth_y: float = 0.250
    mouth_width: float = 0.145
    lip_thickness: float = 0.036
    hairline: float = -0.470
    tone: float = 0.35
    hair: float = 0.30
    iris: float = 0.35
    texture: float = 0.035
    seed: int = 0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Face:
        """Draw a person around the average face."""
        average = {parameter.name: parameter.default for parameter in fields(cls)}
        drawn = {name: average[name] + spread * np.clip(rng.normal(), -2, 2) for name, spread in _SPREAD.items()}
        return cls(**{name: float(value) for name, value in drawn.items()}, seed=int(rng.integers(2**32)))

    @property
    def nose_tip(self) -> float:
        """The y of the nose's tip."""
        return self.eye_y + self.nose_length

    @property
    def landmarks(self) -> dict[str, tuple[float, float]]:
        """Where the landmarks of the right half of the face are at rest; the left half mirrors them."""
        brow = self.eye_y - self.brow_height
        return {
            "brow_inner": (self.eye_distance - 0.105, brow + self.brow_arch),
            "brow_middle": (self.eye_distance, brow),
            "brow_outer": (self.eye_distance + 0.105, brow + self.brow_arch),
            "upper_lid": (self.eye_distance, self.eye_y - self.eye_opening),
            "lower_lid": (self.eye_distance, self.eye_y + 0.7 * self.eye_opening),
            "eye_outer": (self.eye_distance + self.eye_width, self.eye_y),
            "cheek": (self.eye_distance + 0.06, (self.eye_y + self.mouth_y) / 2 + 0.02),
            "nose_wing": (self.nose_width, self.nose_tip),
            "upper_lip": (0.4 * self.mouth_width, self.mouth_y - 0.5 * self.lip_thickness),
            "mouth_corner": (self.mouth_width, self.mouth_y),
            "lower_lip": (0.0, self.mouth_y + 0.6 * self.lip_thickness),
            "chin": (0.0, (2 * self.chin + self.mouth_y) / 3),
            "jaw": (0.55 * self.head_width, self.chin - 0.12),
        }


@lru_cache(maxsize=4)
def portrait(face: Face, scale: float) -> Floats:
    """Draw a face at rest; do not write to the result, which is kept for the next call.

    Returns:
        `(rows, columns, 3)` float32 in 0..1 on the lattice.
    """
    light = _shading(face, scale) * _texture(face, scale)
    return np.clip(_painted(face, scale) * light[..., None], 0, 1)


@lru_cache(maxsize=4)
def bust(face: Face, scale: float) -> Floats:
    """Draw a face at rest with hair, neck and shirt before a plain wall.

    The wall goes on as it is beyond the lattice's sides and top, the shirt beyond its lower border. Do not write to the
    result, which is kept for the next call.

    Returns:
        `(rows, columns, 3)` float32 in 0..1 on the lattice.
    """
    canvas = _Canvas(scale, _ramp([_WALL], 0))
    hair = _back_hair(face)
    hair[:, 1] *= np.where(hair[:, 1] < 0, 0.88, 1)  # it is drawn a little higher than the lattice
    for part in (hair, _head(face), _neck(face)):
        canvas.fill(part, portrait(face, scale), blur=0.004)
    collar, shoulder = 0.55 * face.head_width + 0.03, 0.57
    shirt = [
        (-collar, 0.57),
        (0, 0.65),
        (collar, 0.57),
        (shoulder, 0.68),
        (shoulder, 0.9),
        (-shoulder, 0.9),
        (-shoulder, 0.68),
    ]
    canvas.fill(shirt, _ramp(_SHIRT, face.iris), blur=0.004)
    return canvas.picture


def patches(scale: float, rows: Sequence[Sequence[float]], channels: int) -> Floats:
    """Sum Gaussians on the lattice.

    Args:
        scale: of the lattice.
        rows: for each Gaussian the x and y of its centre, its deviations along x and y, and an amplitude for each
            channel.
        channels: how many there are.

    Returns:
        `(rows, columns, channels)` float32.
    """
    table = np.reshape(rows, (-1, 4 + channels))
    across, along = (  # K x columns, K x rows: a Gaussian is the product of one in x and one in y
        np.exp(-(((axis - table[:, k, None]) / table[:, 2 + k, None]) ** 2) / 2).astype(np.float32)
        for k, axis in enumerate(_axes(scale))
    )
    amplitudes = table[:, 4:].T.astype(np.float32)
    # Not by matrix products: on matrices this thin BLAS spends more on its threads than it saves.
    return np.stack([np.einsum("kr,kc->rc", each[:, None] * along, across) for each in amplitudes], axis=-1)


def sample(drawn: Floats, cells: Floats) -> Floats:
    """Interpolate what is drawn on the lattice at (column, row) positions `(H, W, 2)`; beyond it its border goes on."""
    columns, rows = cv2.split(cells)
    return np.asarray(cv2.remap(drawn, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def cells(places: ArrayLike, scale: float) -> Points:
    """Return the (column, row) on the lattice, in fractions, of places `(..., 2)` in rest coordinates."""
    return (np.asarray(places, np.float64) + _EXTENT) * scale - 0.5


def _axes(scale: float) -> tuple[Points, Points]:
    """Return x of the lattice's columns and y of its rows in rest coordinates."""
    x, y = ((np.arange(round(2 * half * scale), dtype=np.float64) + 0.5) / scale - half for half in _EXTENT)
    return x, y


def _shading(face: Face, scale: float) -> Floats:
    """Return how bright the relief of a face is under a lamp in front of and above it, `(rows, columns)` about 1."""
    cheek = (face.eye_y + face.mouth_y) / 2
    relief = [
        (0.0, 0.02, 0.480, 0.580, 0.360),  # the head
        (0.0, (face.eye_y + face.nose_tip) / 2, 0.032, 0.110, 0.045),  # the nose, then its tip
        (0.0, face.nose_tip - 0.01, 0.040, 0.045, 0.055),
        (0.0, face.mouth_y + 0.012, 0.090, 0.028, 0.014),
        (0.0, face.chin - 0.08, 0.070, 0.050, 0.022),
    ]
    for side in (-1, 1):
        relief += [
            (side * face.eye_distance, face.eye_y, 0.080, 0.045, -0.022),
            (side * face.eye_distance, face.eye_y - face.brow_height, 0.110, 0.035, 0.012),
            (side * (face.eye_distance + 0.04), cheek, 0.090, 0.075, 0.020),
            (side * 0.75 * face.nose_width, face.nose_tip + 0.005, 0.025, 0.025, 0.018),
        ]
    slope_y, slope_x = np.gradient(patches(scale, relief, 1)[..., 0], 1 / scale)
    facing = (0.88 - 0.15 * slope_x - 0.45 * -slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    return np.asarray(0.35 + 0.72 * np.maximum(facing, 0), np.float32)


def _texture(face: Face, scale: float) -> Floats:
    """Return the skin's relative brightness, `(rows, columns)` around 1; the same skin at every scale."""
    rng = np.random.default_rng(face.seed)
    columns, rows = map(len, _axes(scale))
    texture = np.ones((rows, columns), np.float32)
    for grain, share in ((150, 0.8), (60, 0.5), (16, 0.5)):  # pores, blotches, uneven tone; grains a unit
        noise = rng.standard_normal([round(2 * half * grain) for half in reversed(_EXTENT)], dtype=np.float32)
        texture += np.float32(face.texture * share) * cv2.resize(noise, (columns, rows), interpolation=cv2.INTER_CUBIC)
    return texture


class _Colours(NamedTuple):
    skin: Points
    hair: Points
    iris: Points
    dark: Points


def _painted(face: Face, scale: float) -> Floats:
    """Return the colours of a face without light, `(rows, columns, 3)` in 0..1."""
    skin = _ramp(_SKIN, face.tone)
    colours = _Colours(skin, _ramp(_HAIR, face.hair), _ramp(_IRIS, face.iris), skin * (0.35, 0.38, 0.45))
    canvas = _Canvas(scale, _ramp([_WALL], 0))
    _paint_head(canvas, face, colours)
    for side in (-1, 1):
        _paint_cheek(canvas, face, colours, side)
        _paint_eye(canvas, face, colours, side)
        _paint_brow(canvas, face, colours, side)
        _paint_nose(canvas, face, colours, side)
    _paint_mouth(canvas, face, colours)
    return canvas.picture


def _paint_head(canvas: _Canvas, face: Face, colours: _Colours) -> None:
    """Paint the hair at the back, the neck, the head and the hair over the forehead."""
    canvas.fill(_back_hair(face), colours.hair)
    canvas.fill(_neck(face), colours.skin * 0.8)
    canvas.fill(_head(face), colours.skin)
    edge = face.hairline + 0.30 * np.abs(_T) ** 3.5
    canvas.fill(_between((face.head_width + 0.08) * _T, np.full_like(_T, -0.8), edge), colours.hair, blur=0.012)


def _back_hair(face: Face) -> Points:
    return _oval(0, -0.16, face.head_width + 0.06, 0.62)


def _neck(face: Face) -> Points:
    neck = 0.55 * face.head_width
    return np.array([(-neck, 0.3), (neck, 0.3), (neck + 0.05, 0.9), (-neck - 0.05, 0.9)])


def _head(face: Face) -> Points:
    """Return the outline of the head: half an ellipse over a jaw."""
    x, y = _oval(0, 0, 1, 1).T
    x = face.head_width * np.sign(x) * np.abs(x) ** np.where(y > 0, face.jaw, 1)
    y = face.eye_y + np.where(y > 0, face.chin - face.eye_y, 0.48) * y
    return np.column_stack([x, y])


def _paint_cheek(canvas: _Canvas, face: Face, colours: _Colours, side: int) -> None:
    cheek = (face.eye_y + face.mouth_y) / 2
    flush = colours.skin * (0.80, 0.80, 0.98)
    canvas.fill(_oval(side * (face.eye_distance + 0.05), cheek, 0.10, 0.07), flush, 0.6, blur=0.04)


def _paint_eye(canvas: _Canvas, face: Face, colours: _Colours, side: int) -> None:
    x, y, opening = side * face.eye_distance, face.eye_y, face.eye_opening
    canvas.fill(_oval(x, y - 0.01, 1.25 * face.eye_width, 0.055), colours.skin * 0.8, 0.7, blur=0.02)
    across, upper, lower = x + face.eye_width * _T, y - opening * _BOW**0.8, y + 0.7 * opening * _BOW
    eye = _between(across, upper, lower)
    canvas.fill(eye, np.array((0.90, 0.92, 0.92)))
    canvas.fill(_oval(x, y - 0.1 * opening, 0.034, 0.034), colours.iris, within=eye)
    canvas.fill(_oval(x, y - 0.1 * opening, 0.015, 0.015), colours.iris * 0.2, within=eye)
    canvas.fill(_oval(x - 0.010, y - 0.014, 0.006, 0.006), np.ones(3), within=eye)
    canvas.line(across, upper, colours.dark * 0.5, 0.010)
    canvas.line(across, upper - 0.020, colours.dark, 0.005, 0.5)
    canvas.line(across, lower, colours.dark, 0.004, 0.6)


def _paint_brow(canvas: _Canvas, face: Face, colours: _Colours, side: int) -> None:
    y = face.eye_y - face.brow_height + face.brow_arch * _T**2 - 0.004 * _T
    half = 0.5 * face.brow_thickness * np.sqrt(np.cos(1.2 * (_T + 0.3)))  # thick at the nose, thin at the temple
    hair = np.minimum(colours.hair, 0.6 * colours.skin) * 0.8
    canvas.fill(_between(side * (face.eye_distance + 0.115 * _T), y - half, y + half), hair, 0.9, blur=0.004)


def _paint_nose(canvas: _Canvas, face: Face, colours: _Colours, side: int) -> None:
    """Paint a nostril, a wing, and the fold from there to the mouth."""
    wing, tip = side * face.nose_width, face.nose_tip
    canvas.fill(_oval(0.48 * wing, tip + 0.022, 0.3 * face.nose_width, 0.010), colours.dark, 0.8, blur=0.005)
    canvas.line(wing * (0.80 + 0.22 * np.sqrt(_BOW)), tip + 0.030 * _T, colours.dark, 0.007, 0.5, blur=0.004)
    x, y = np.linspace((1.3 * wing, tip), (side * (face.mouth_width + 0.030), face.mouth_y - 0.03), len(_T)).T
    canvas.line(x + side * 0.012 * _BOW, y, colours.dark, 0.007, 0.3, blur=0.006)


def _paint_mouth(canvas: _Canvas, face: Face, colours: _Colours) -> None:
    x, y, thickness = face.mouth_width * _T, face.mouth_y, face.lip_thickness
    lips = colours.skin * (0.68, 0.62, 0.88)
    upper = y - thickness * (0.85 * _BOW**0.7 - 0.22 * np.exp(-((_T / 0.16) ** 2)))
    seam = y + 0.004 * _BOW
    lower = y + thickness * _BOW**0.7
    canvas.fill(_between(x, upper, seam), lips * 0.9, blur=0.003)
    canvas.fill(_between(x, seam, lower), lips, blur=0.003)
    canvas.line(x, seam, colours.dark * 0.7, 0.007, 0.9)
    canvas.fill(_oval(0, y + thickness + 0.03, 0.08, 0.012), colours.dark, 0.35, blur=0.012)


class _Canvas:
    """Paints antialiased shapes, given in rest coordinates, on the lattice; colours are in 0..1."""

    def __init__(self, scale: float, background: Points) -> None:
        x, y = _axes(scale)
        self.scale = scale
        self.picture = np.full((len(y), len(x), 3), background, np.float32)

    def fill(
        self,
        outline: ArrayLike,
        colour: Points | Floats,
        opacity: float = 1.0,
        *,
        blur: float = 0.0,
        within: ArrayLike | None = None,
    ) -> None:
        """Fill a polygon `(P, 2)`, softened by `blur` units, without what is outside of the polygon `within`.

        The colour is one for all or a picture on the lattice.
        """
        mask = self._mask(outline) if within is None else np.minimum(self._mask(outline), self._mask(within))
        x, y, width, height = cv2.boundingRect(mask)
        margin = math.ceil(3 * blur * self.scale)
        part = np.s_[max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin]
        cover = np.asarray(mask[part] * np.float32(opacity / 255))
        if blur:
            soft = cv2.GaussianBlur(cover, (0, 0), blur * self.scale, borderType=cv2.BORDER_REPLICATE)
            cover = np.asarray(soft, np.float32)
        paint = np.broadcast_to(np.asarray(colour, np.float32), self.picture.shape)
        self.picture[part] += cover[..., None] * (paint[part] - self.picture[part])

    def line(
        self, x: Points, y: Points, colour: Points, width: float, opacity: float = 1.0, *, blur: float = 0.0
    ) -> None:
        """Draw a line along the curve (x, y), `width` units thick in the middle and thinner at the ends."""
        slope_x, slope_y = np.gradient(x), np.gradient(y)
        half = 0.5 * width * np.sqrt(0.1 + 0.9 * _BOW) / np.hypot(slope_x, slope_y)
        aside = np.column_stack([-slope_y * half, slope_x * half])
        curve = np.column_stack([x, y])
        self.fill(np.concatenate([curve + aside, (curve - aside)[::-1]]), colour, opacity, blur=blur)

    def _mask(self, outline: ArrayLike) -> NDArray[np.uint8]:
        mask = np.zeros(self.picture.shape[:2], np.uint8)
        fraction = 4  # bits
        corners = np.rint(cells(outline, self.scale) * 2**fraction).astype(np.int32)
        cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, fraction)
        return mask


def _ramp(colours: Sequence[tuple[int, int, int]], at: float) -> Points:
    """Return the colour at a share 0..1 of the way through evenly spaced ones of 0..255, its channels in 0..1."""
    places = np.linspace(0, 1, len(colours))
    return np.array([np.interp(at, places, channel) for channel in zip(*colours, strict=True)]) / 255


def _oval(x: float, y: float, half_width: float, half_height: float) -> Points:
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    return np.column_stack([x + half_width * np.cos(turn), y + half_height * np.sin(turn)])


def _between(x: Points, upper: Points, lower: Points) -> Points:
    """Return the outline of what is between two curves over the same x."""
    return np.column_stack([np.concatenate([x, x[::-1]]), np.concatenate([upper, lower[::-1]])])
