"""Parametric cartoon faces that move by action units, with their true optical flow.

A `Face` never changes; how it looks at one moment is an `Expression` (how far each action unit is pulled) and a `Pose`
(where the head is). A `Camera` takes the picture:

    face = Face.draw(np.random.default_rng(0))
    rest, smile = Moment(), Moment(Expression({"AU12": (1.0, 0.8)}), Pose(x=0.002))
    onset, apex = (render(face, moment, Camera()) for moment in (rest, smile))  # (H, W, 3) uint8 each
    truth = displacement(face, rest, smile, Camera())  # (H, W, 2) pixels

Rest coordinates are those of the face at rest, in units of the frame's width: x to the right and y down from the
middle of the face, so that the frame shows x from -0.5 to 0.5. "Left" and "right" are the picture's, not the person's.
Colours are blue, green, red, as OpenCV has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_mer.errors import UserError
from nas_mer.files import did_you_mean

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]

ACTION_UNITS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "AU1": {"brow_inner": (0.0, -1.0), "brow_middle": (0.0, -0.3)},  # inner brow raiser
    "AU2": {"brow_outer": (0.0, -0.9), "brow_middle": (0.0, -0.5)},  # outer brow raiser
    "AU4": {"brow_inner": (-0.7, 0.9), "brow_middle": (-0.3, 0.5)},  # brow lowerer
    "AU5": {"upper_lid": (0.0, -0.7)},  # upper lid raiser
    "AU6": {"cheek": (-0.1, -0.7), "lower_lid": (0.0, -0.4), "eye_outer": (-0.4, 0.0)},  # cheek raiser
    "AU7": {"lower_lid": (-0.1, -0.5), "upper_lid": (0.0, 0.4)},  # lid tightener
    "AU9": {"nose_wing": (0.1, -0.8), "brow_inner": (-0.2, 0.5)},  # nose wrinkler
    "AU10": {"upper_lip": (0.0, -0.5), "nose_wing": (0.1, -0.4)},  # upper lip raiser
    "AU12": {"mouth_corner": (0.8, -0.8), "cheek": (0.1, -0.4)},  # lip corner puller
    "AU14": {"mouth_corner": (-0.8, -0.1)},  # dimpler
    "AU15": {"mouth_corner": (0.1, 0.9)},  # lip corner depressor
    "AU17": {"chin": (0.0, -0.6), "lower_lip": (0.0, -0.4)},  # chin raiser
    "AU25": {"lower_lip": (0.0, 0.5), "upper_lip": (0.0, -0.1)},  # lips part
    "AU26": {"chin": (0.0, 0.6), "lower_lip": (0.0, 0.5), "jaw": (0.0, 0.4)},  # jaw drop
    "AU45": {"upper_lid": (0.0, 1.2), "lower_lid": (0.0, -0.2)},  # blink
}
"""What moves where, by the Facial Action Coding System (Ekman and Friesen, 1978): for each unit its landmarks and their
(outward, downward) pull in percent of the frame's width at intensity 1, which is a strong micro-expression. What is on the
midline is pulled by both sides of the face, by the amount given here each."""

_REACH: Mapping[str, tuple[float, float]] = {
    "brow_inner": (0.065, 0.055),
    "brow_middle": (0.065, 0.055),
    "brow_outer": (0.065, 0.055),
    "upper_lid": (0.060, 0.024),
    "lower_lid": (0.065, 0.026),
    "eye_outer": (0.045, 0.040),
    "cheek": (0.100, 0.070),
    "nose_wing": (0.045, 0.060),
    "upper_lip": (0.055, 0.030),
    "mouth_corner": (0.065, 0.050),
    "lower_lip": (0.090, 0.040),
    "chin": (0.120, 0.070),
    "jaw": (0.100, 0.100),
}
"""How far around each landmark the skin goes along: the two deviations of a Gaussian, in rest units."""

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
"""How people differ: the deviation of each of a face's parameters, cut off at two deviations."""

_SKIN = ((196, 216, 242), (150, 180, 222), (104, 140, 190), (62, 92, 140), (40, 58, 92))
_HAIR = ((24, 24, 30), (34, 46, 66), (58, 84, 118), (110, 150, 186))
_IRIS = ((30, 48, 74), (60, 96, 104), (150, 124, 92))

_EXTENT = (0.62, 0.72)  # Half the width and height of the drawn area: more than a frame shows, as heads drift.
_SUPERSAMPLING = 1.5  # Pixels of the portrait for each of the frame's, along each axis.
_STEP = np.linspace(-1, 1, 25)  # The parameter of all drawn curves.


@dataclass(frozen=True)
class Face:
    """A person: the shape of a face at rest, in rest coordinates (see the module), and how its surface looks.

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
        average = {field.name: field.default for field in fields(cls)}
        drawn = {name: average[name] + spread * np.clip(rng.normal(), -2, 2) for name, spread in _SPREAD.items()}
        return cls(**{name: float(value) for name, value in drawn.items()}, seed=int(rng.integers(2**32)))

    @property
    def landmarks(self) -> dict[str, tuple[float, float]]:
        """Where the landmarks of the right half of the face are at rest; the left half mirrors them."""
        brow, nose = self.eye_y - self.brow_height, self.eye_y + self.nose_length
        return {
            "brow_inner": (self.eye_distance - 0.105, brow + self.brow_arch),
            "brow_middle": (self.eye_distance, brow),
            "brow_outer": (self.eye_distance + 0.105, brow + self.brow_arch),
            "upper_lid": (self.eye_distance, self.eye_y - self.eye_opening),
            "lower_lid": (self.eye_distance, self.eye_y + 0.7 * self.eye_opening),
            "eye_outer": (self.eye_distance + self.eye_width, self.eye_y),
            "cheek": (self.eye_distance + 0.06, (self.eye_y + self.mouth_y) / 2 + 0.02),
            "nose_wing": (self.nose_width, nose),
            "upper_lip": (0.4 * self.mouth_width, self.mouth_y - 0.5 * self.lip_thickness),
            "mouth_corner": (self.mouth_width, self.mouth_y),
            "lower_lip": (0.0, self.mouth_y + 0.6 * self.lip_thickness),
            "chin": (0.0, (2 * self.chin + self.mouth_y) / 3),
            "jaw": (0.55 * self.head_width, self.chin - 0.12),
        }


@dataclass(frozen=True)
class Expression:
    """How far each action unit is pulled.

    Attributes:
        units: for each action unit its intensity on the picture's left and right side; 0 is rest, 1 a strong
            micro-expression, 2 the most that skin can follow without folding over.

    Raises:
        UserError: an action unit is unknown, or an intensity is not a number from 0 to 2.
    """

    units: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for unit, sides in self.units.items():
            if unit not in ACTION_UNITS:
                raise UserError(f"unknown action unit '{unit}'{did_you_mean(unit, ACTION_UNITS)}")
            if not all(0 <= side <= 2 for side in sides):
                raise UserError(f"{unit}: intensities must be numbers from 0 to 2, found {sides}")


@dataclass(frozen=True)
class Pose:
    """Where the head is, as a similarity of the picture plane about the middle of the face.

    Attributes:
        x, y: shift to the right and down, in units of the frame's width.
        angle: clockwise turn in degrees.
        scale: 1 is as drawn.
    """

    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Moment:
    """How a face looks at one moment."""

    expression: Expression = field(default_factory=Expression)
    pose: Pose = field(default_factory=Pose)


@dataclass(frozen=True)
class Camera:
    """What makes a picture of a face; the face fills the frame, as it does after cropping.

    Attributes:
        width, height: of the frame in pixels.
        colour: whether the frame has colours; grey ones have three equal channels.
        brightness: of the light.
        light: how much brighter, as a share, the right and the lower border of the frame are than its middle.
        gamma: exponent of the sensor's response.
        noise: deviation of the sensor's noise in grey levels of 0..255.
        flicker: relative deviation of the light from one frame to the next.

    Raises:
        UserError: a value is out of range.
    """

    width: int = 230
    height: int = 260
    colour: bool = True
    brightness: float = 1.0
    light: tuple[float, float] = (0.0, 0.0)
    gamma: float = 1.0
    noise: float = 0.0
    flicker: float = 0.0

    def __post_init__(self) -> None:
        wrong = [f"{side} {getattr(self, side)}" for side in ("width", "height") if getattr(self, side) < 32]
        wrong += [f"{name} {getattr(self, name)}" for name in ("brightness", "gamma") if not getattr(self, name) > 0]
        wrong += [f"{name} {getattr(self, name)}" for name in ("noise", "flicker") if not getattr(self, name) >= 0]
        if wrong:
            raise UserError(
                f"camera: {', '.join(wrong)}; frames have at least 32 pixels a side, brightness and gamma are "
                "positive, noise and flicker are not negative"
            )


def render(face: Face, moment: Moment, camera: Camera, rng: np.random.Generator | None = None) -> Picture:
    """Take a picture of a face.

    Args:
        face: whom.
        moment: the expression and pose.
        camera: the frame's size, colours and light.
        rng: draws the noise and the flicker; without it there are none.

    Returns:
        `(height, width, 3)` uint8, blue, green, red.
    """
    rest = _at_rest(face, moment, camera) + np.float32(_EXTENT)  # H x W x 2
    scale = np.float32(_SUPERSAMPLING)
    pixels = rest * np.float32(camera.width) * scale - np.float32(0.5)
    scene = cv2.remap(_portrait(face, camera.width * _SUPERSAMPLING), pixels, None, cv2.INTER_LINEAR)
    scene = cv2.GaussianBlur(scene, (0, 0), 0.6)  # No lens is sharper than its sensor.
    if not camera.colour:
        scene = cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY)[..., None]

    right, down = camera.light
    light = 1 + right * np.linspace(-1, 1, camera.width) + down * np.linspace(-1, 1, camera.height)[:, None]
    light *= camera.brightness * (1 + camera.flicker * (rng.normal() if rng else 0.0))
    signal = 255 * cv2.pow(scene * light[..., None].astype(np.float32), camera.gamma).reshape(scene.shape)
    if rng and camera.noise:
        signal += camera.noise * rng.standard_normal(signal.shape, dtype=np.float32)
    frame = np.clip(np.rint(signal), 0, 255).astype(np.uint8)
    return frame if camera.colour else np.repeat(frame, 3, axis=2)


def displacement(face: Face, before: Moment, after: Moment, camera: Camera) -> Floats:
    """Return the true forward flow between two frames of a face.

    Returns:
        `(height, width, 2)` float32: where what is seen at a pixel before has moved after, right and down in pixels.
    """
    rest = _at_rest(face, before, camera)
    motion = _motion(face, after.expression, camera.width)
    lattice = (rest + np.float32(_EXTENT)) * np.float32(camera.width) - np.float32(0.5)
    moved = rest + cv2.remap(motion, lattice, None, cv2.INTER_LINEAR)
    return cv2.transform(moved, _to_frame(after.pose, camera)) - _pixels(camera.width, camera.height)


def _at_rest(face: Face, moment: Moment, camera: Camera) -> Floats:
    """Return `(H, W, 2)`: where, in rest coordinates, that is which each pixel of the frame sees."""
    posed = cv2.transform(
        _pixels(camera.width, camera.height), cv2.invertAffineTransform(_to_frame(moment.pose, camera))
    )
    lattice = (posed + np.float32(_EXTENT)) * np.float32(camera.width) - np.float32(0.5)
    undone = _undone(_motion(face, moment.expression, camera.width), camera.width)
    return posed + cv2.remap(undone, lattice, None, cv2.INTER_LINEAR)


def _to_frame(pose: Pose, camera: Camera) -> NDArray[np.float64]:
    """Return the 2x3 matrix from rest coordinates to pixels of the frame."""
    turn = pose.scale * camera.width * np.exp(1j * math.radians(pose.angle))
    x = camera.width * (pose.x + 0.5) - 0.5
    y = camera.width * pose.y + camera.height / 2 - 0.5
    return np.array([[turn.real, -turn.imag, x], [turn.imag, turn.real, y]])


@lru_cache(maxsize=8)
def _pixels(width: int, height: int) -> Floats:
    """Return `(height, width, 2)`: each pixel's own x and y."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def _axes(scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y in rest coordinates of a lattice over the drawn area, with `scale` cells a unit."""
    x, y = ((np.arange(round(2 * half * scale)) + 0.5) / scale - half for half in _EXTENT)
    return x, y


def _patches(scale: float, patches: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]]) -> Floats:
    """Sum Gaussians on a lattice: for each its centre (x, y), deviations (x, y) and C amplitudes.

    Returns:
        `(rows, columns, C)` float32.
    """
    centres, reaches, amplitudes = (np.array(part, dtype=float) for part in zip(*patches, strict=True))
    across, along = (  # K x columns, K x rows: a Gaussian is the product of one in x and one in y.
        np.exp(-(((axis - centres[:, k, None]) / reaches[:, k, None]) ** 2) / 2) for k, axis in enumerate(_axes(scale))
    )
    layers = [(along.T * amplitude) @ across for amplitude in amplitudes.T]
    return np.stack(layers, axis=-1).astype(np.float32)


def _motion(face: Face, expression: Expression, scale: float) -> Floats:
    """Return `(rows, columns, 2)` on a lattice over the drawn area: how an expression moves the face, in rest units."""
    landmarks = face.landmarks
    pulls: list[tuple[ArrayLike, ArrayLike, ArrayLike]] = [((0, 0), (1, 1), (0, 0))]
    for unit, sides in expression.units.items():
        for name, (outward, down) in ACTION_UNITS[unit].items():
            x, y = landmarks[name]
            pulls += [
                ((side * x, y), _REACH[name], (0.01 * intensity * side * outward, 0.01 * intensity * down))
                for side, intensity in zip((-1, 1), sides, strict=True)
            ]
    return _patches(scale, pulls)


def _undone(motion: Floats, scale: float) -> Floats:
    """Return the field that leads back to where `motion` led from: the fixed point of `back(p) = -motion(p + back(p))`."""
    lattice = _pixels(motion.shape[1], motion.shape[0])
    back = -motion
    for _ in range(8):  # Each step divides the error by one over the steepest change of the pull, about 3 at intensity 1.
        back = -cv2.remap(motion, lattice + np.float32(scale) * back, None, cv2.INTER_LINEAR)
    return back


@lru_cache(maxsize=4)
def _portrait(face: Face, scale: float) -> Floats:
    """Draw the face at rest over the drawn area, `scale` pixels a unit; `(rows, columns, 3)` float32, 0..1."""
    shaded = _painted(face, scale) * (_shading(face, scale) * _texture(face, scale))[..., None]
    return np.clip(shaded, 0, 1)


def _painted(face: Face, scale: float) -> Floats:
    """Return the colours of the face without light, `(rows, columns, 3)` in 0..1."""
    skin, hair, iris = _ramp(_SKIN, face.tone), _ramp(_HAIR, face.hair), _ramp(_IRIS, face.iris)
    flushed = skin * (0.80, 0.80, 0.98)
    lips = skin * (0.68, 0.62, 0.88)
    dark = skin * (0.35, 0.38, 0.45)
    canvas = _Canvas(scale, background=np.array((150, 145, 140)) / 255)

    canvas.fill(_oval(0, -0.16, face.head_width + 0.06, 0.62), hair)
    neck = 0.55 * face.head_width
    canvas.fill([(-neck, 0.3), (neck, 0.3), (neck + 0.05, 0.9), (-neck - 0.05, 0.9)], skin * 0.8)
    canvas.fill(_head(face), skin)
    canvas.fill(_forelock(face), hair, blur=0.012)

    eye_y, opening, mouth = face.eye_y, face.eye_opening, face.mouth_y
    bow = 1 - _STEP**2
    for side in (-1, 1):
        x = side * face.eye_distance
        canvas.fill(_oval(side * (face.eye_distance + 0.05), (eye_y + mouth) / 2, 0.1, 0.07), flushed, 0.6, 0.04)
        canvas.fill(_oval(x, eye_y - 0.01, 1.25 * face.eye_width, 0.055), skin * 0.8, 0.7, 0.02)

        across = x + face.eye_width * _STEP
        upper = np.column_stack([across, eye_y - opening * bow**0.8])
        eye = np.concatenate([upper, np.column_stack([across, eye_y + 0.7 * opening * bow])[::-1]])
        canvas.fill(eye, np.array((0.90, 0.92, 0.92)))
        canvas.fill(_oval(x, eye_y - 0.1 * opening, 0.034, 0.034), iris, within=eye)
        canvas.fill(_oval(x, eye_y - 0.1 * opening, 0.015, 0.015), iris * 0.2, within=eye)
        canvas.fill(_oval(x - 0.010, eye_y - 0.014, 0.006, 0.006), np.ones(3), within=eye)
        canvas.line(upper, dark * 0.5, 0.010)
        canvas.line(eye[len(_STEP) :], dark, 0.004, 0.6)
        canvas.line(upper - (0, 0.020), dark, 0.005, 0.5)

        brow = np.column_stack(
            [
                side * (face.eye_distance + 0.115 * _STEP),
                eye_y - face.brow_height + face.brow_arch * _STEP**2 - 0.004 * _STEP,
            ]
        )
        half = np.outer(np.cos(1.2 * (_STEP + 0.3)) ** 0.5, (0, 0.5 * face.brow_thickness))
        canvas.fill(np.concatenate([brow - half, (brow + half)[::-1]]), hair * 0.8, 0.9, 0.004)

        wing, tip = side * face.nose_width, eye_y + face.nose_length
        canvas.fill(_oval(0.48 * wing, tip + 0.022, 0.3 * face.nose_width, 0.010), dark, 0.8, 0.005)
        bulge = np.column_stack([wing * (0.80 + 0.22 * np.sqrt(bow)), tip + 0.030 * _STEP])
        canvas.line(bulge, dark, 0.007, 0.5, 0.004)
        fold = np.linspace((1.3 * wing, tip), (side * (face.mouth_width + 0.030), mouth - 0.03), len(_STEP))
        canvas.line(fold + np.outer(bow, (side * 0.012, 0)), dark, 0.007, 0.3, 0.006)

    across = face.mouth_width * _STEP
    seam = mouth + 0.004 * bow
    cupid = mouth - face.lip_thickness * (0.85 * bow**0.7 - 0.22 * np.exp(-((_STEP / 0.16) ** 2)))
    lower = mouth + face.lip_thickness * bow**0.7
    canvas.fill(np.column_stack([np.r_[across, across[::-1]], np.r_[cupid, seam[::-1]]]), lips * 0.9, blur=0.003)
    canvas.fill(np.column_stack([np.r_[across, across[::-1]], np.r_[seam, lower[::-1]]]), lips, blur=0.003)
    canvas.line(np.column_stack([across, seam]), dark * 0.7, 0.007, 0.9)
    canvas.fill(_oval(0, mouth + face.lip_thickness + 0.03, 0.08, 0.012), dark, 0.35, 0.012)
    return canvas.colours


def _shading(face: Face, scale: float) -> Floats:
    """Return how bright the face is under a lamp in front of and above it, `(rows, columns)`; 1 is usual."""
    eye, tip, mouth = face.eye_y, face.eye_y + face.nose_length, face.mouth_y
    relief = [((0, 0.02), (0.48, 0.58), 0.36)]
    relief += [((0, tip - 0.01), (0.040, 0.045), 0.055), ((0, (eye + tip) / 2), (0.032, 0.110), 0.045)]
    relief += [((0, mouth + 0.012), (0.090, 0.028), 0.014), ((0, face.chin - 0.08), (0.070, 0.050), 0.022)]
    for side in (-1, 1):
        relief += [
            ((side * face.eye_distance, eye), (0.080, 0.045), -0.022),
            ((side * face.eye_distance, eye - face.brow_height), (0.110, 0.035), 0.012),
            ((side * (face.eye_distance + 0.04), (eye + mouth) / 2), (0.090, 0.075), 0.020),
            ((side * 0.75 * face.nose_width, tip + 0.005), (0.025, 0.025), 0.018),
        ]
    height = _patches(scale, [(centre, reach, (amount,)) for centre, reach, amount in relief])[..., 0]
    slope_y, slope_x = np.gradient(height, 1 / scale)
    facing = (0.15 * -slope_x - 0.45 * -slope_y + 0.88) / np.sqrt(1 + slope_x**2 + slope_y**2)
    return np.float32(0.35) + np.float32(0.72) * np.maximum(facing, 0).astype(np.float32)


def _texture(face: Face, scale: float) -> Floats:
    """Return the skin's relative brightness, `(rows, columns)` around 1; the same skin at every scale."""
    x, y = _axes(scale)
    rng = np.random.default_rng(face.seed)
    texture = np.ones((len(y), len(x)), np.float32)
    for cells, share in ((150, 0.8), (60, 0.5), (16, 0.5)):  # pores, blotches, uneven tone; cells a unit
        shape = [round(2 * half * cells) for half in reversed(_EXTENT)]
        noise = rng.standard_normal(shape, dtype=np.float32)
        texture += np.float32(face.texture * share) * cv2.resize(noise, (len(x), len(y)), interpolation=cv2.INTER_CUBIC)
    return texture


class _Canvas:
    """Paints antialiased shapes given in rest coordinates."""

    def __init__(self, scale: float, background: NDArray[np.float64]) -> None:
        x, y = _axes(scale)
        self.scale = scale
        self.colours = np.full((len(y), len(x), 3), background, np.float32)

    def fill(
        self,
        outline: ArrayLike,
        colour: NDArray[np.float64],
        opacity: float = 1.0,
        blur: float = 0.0,
        within: ArrayLike | None = None,
    ) -> None:
        """Fill a polygon `(P, 2)`; `blur` is its softness in rest units, `within` cuts off what is out of another polygon."""
        mask = self._polygon(outline)
        if within is not None:
            mask = np.minimum(mask, self._polygon(within))
        self._blend(mask, colour, opacity, blur)

    def line(
        self, points: ArrayLike, colour: NDArray[np.float64], width: float, opacity: float = 1.0, blur: float = 0.0
    ) -> None:
        """Draw a line through points `(P, 2)`, `width` rest units thick."""
        middle = np.array(points, dtype=float)
        along = np.gradient(middle, axis=0)
        normal = along[:, ::-1] * (-1, 1) / np.linalg.norm(along, axis=1, keepdims=True)
        taper = 0.5 * width * np.sqrt(1 - 0.9 * np.linspace(-1, 1, len(middle)) ** 2)[:, None]
        self.fill(np.concatenate([middle + taper * normal, (middle - taper * normal)[::-1]]), colour, opacity, blur)

    def _polygon(self, outline: ArrayLike) -> Picture:
        mask = np.zeros(self.colours.shape[:2], np.uint8)
        corners = (np.array(outline, dtype=float) + _EXTENT) * self.scale - 0.5
        fraction = 4
        cv2.fillPoly(mask, [np.rint(corners * 2**fraction).astype(np.int32)], 255, cv2.LINE_AA, fraction)
        return mask

    def _blend(self, mask: Picture, colour: NDArray[np.float64], opacity: float, blur: float) -> None:
        x, y, width, height = cv2.boundingRect(mask)
        margin = math.ceil(3 * blur * self.scale)
        part = np.s_[max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin]
        cover = mask[part].astype(np.float32) * np.float32(opacity / 255)
        if blur:
            cover = cv2.GaussianBlur(cover, (0, 0), blur * self.scale, borderType=cv2.BORDER_REPLICATE)
        self.colours[part] += cover[..., None] * (colour.astype(np.float32) - self.colours[part])


def _ramp(colours: Sequence[tuple[int, int, int]], at: float) -> NDArray[np.float64]:
    """Return the colour at a share 0..1 of the way through evenly spaced ones, its channels in 0..1."""
    places = np.linspace(0, 1, len(colours))
    return np.array([np.interp(at, places, channel) for channel in zip(*colours, strict=True)]) / 255


def _oval(x: float, y: float, half_width: float, half_height: float) -> NDArray[np.float64]:
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.column_stack([x + half_width * np.cos(turn), y + half_height * np.sin(turn)])


def _head(face: Face) -> NDArray[np.float64]:
    """Return the outline of the head: half an ellipse, and below the eyes the jaw."""
    turn = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    across, down = np.cos(turn), np.sin(turn)
    x = face.head_width * np.sign(across) * np.abs(across) ** np.where(down > 0, face.jaw, 1)
    y = face.eye_y + np.where(down > 0, face.chin - face.eye_y, 0.48) * down
    return np.column_stack([x, y])


def _forelock(face: Face) -> NDArray[np.float64]:
    """Return the outline of the hair over the forehead."""
    x = (face.head_width + 0.08) * _STEP
    edge = face.hairline + 0.30 * np.abs(_STEP) ** 3.5
    return np.concatenate([np.column_stack([x, edge]), [(0.7, -0.8), (-0.7, -0.8)]])
