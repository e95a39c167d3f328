"""Cartoon faces that move by action units before a camera, with their true optical flow.

A `Face` never changes; how it looks at one moment is an `Expression` (how far each action unit is pulled) and a `Pose`
(where the head is). A `Camera` takes the picture:

    face = Face.draw(np.random.default_rng(0))
    rest, smile = Moment(), Moment(Expression({"AU12": (1.0, 0.8)}), Pose(x=0.002))
    onset, apex = (render(face, moment, Camera()) for moment in (rest, smile))  # (H, W, 3) uint8 each
    truth = displacement(face, rest, smile, Camera())  # (H, W, 2) pixels

Rest coordinates and colours are those of `nas_mer.data.synthetic.portrait`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_mer.data.synthetic.portrait import Face, bust, cells, patches, portrait, sample
from nas_mer.errors import UserError
from nas_mer.words import did_you_mean

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

_SUPERSAMPLING = 1.5  # cells of the portrait for each pixel of the frame, along each axis

ACTION_UNITS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "AU1": {"brow_inner": (0.0, -1.0), "brow_middle": (0.0, -0.3)},  # inner brow raiser
    "AU2": {"brow_outer": (0.0, -0.9), "brow_middle": (0.0, -0.5)},  # outer brow raiser
    "AU4": {"brow_inner": (-0.7, 0.9), "brow_middle": (-0.3, 0.5)},  # brow lowerer
    "AU5": {"upper_lid": (0.0, -0.7)},  # upper lid raiser
    "AU6": {"cheek": (-0.1, -0.7), "lower_lid": (0.0, -0.4), "eye_outer": (-0.4, 0.0)},  # cheek raiser
    "AU7": {"lower_lid": (-0.1, -0.5), "upper_lid": (0.0, 0.5)},  # lid tightener
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
(outward, downward) pull in percent of the frame's width at intensity 1, which is a strong micro-expression. What is on
the midline is pulled by both sides of the face, by the amount given here each."""

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
        x, y: shift to the right and down, in rest units.
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
    """What makes a picture of a face.

    Attributes:
        width, height: of the frame in pixels.
        zoom: the length of a rest unit, as a share of the frame's width: at 1 the face fills the frame, as it does
            after cropping; below, the camera stands back and sees a bust before a plain wall.
        colour: whether the frame has colours; grey ones have three equal channels.
        brightness: of the light.
        light: how much brighter, as a share, the right and the lower border of the frame are than its middle.
        gamma: exponent of the sensor's response.
        noise: deviation of the sensor's noise, the same in all colours, in grey levels of 0..255.
        flicker: relative deviation of the light from one frame to the next.

    Raises:
        UserError: a value is out of range.
    """

    width: int = 230
    height: int = 260
    zoom: float = 1.0
    colour: bool = True
    brightness: float = 1.0
    light: tuple[float, float] = (0.0, 0.0)
    gamma: float = 1.0
    noise: float = 0.0
    flicker: float = 0.0

    def __post_init__(self) -> None:
        wrong = [f"{side} {getattr(self, side)}" for side in ("width", "height") if getattr(self, side) < 32]
        wrong += [f"zoom {self.zoom}"] * (not 0 < self.zoom <= 1)
        wrong += [f"{name} {getattr(self, name)}" for name in ("brightness", "gamma") if not getattr(self, name) > 0]
        wrong += [f"{name} {getattr(self, name)}" for name in ("noise", "flicker") if not getattr(self, name) >= 0]
        wrong += [f"light {self.light}"] * (not sum(map(abs, self.light)) < 1)
        if wrong:
            raise UserError(
                f"camera: {', '.join(wrong)}; frames have at least 32 pixels a side, zoom is above 0 and at most 1, "
                "brightness and gamma are positive, noise and flicker are not negative, and light leaves no corner dark"
            )

    @property
    def unit(self) -> float:
        """The length of a rest unit in pixels."""
        return self.width * self.zoom


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
    rest = _at_rest(face, moment, camera)
    drawn = (portrait if camera.zoom == 1 else bust)(face, camera.unit * _SUPERSAMPLING)
    scene = sample(drawn, (rest + np.float32(0.5)) * np.float32(_SUPERSAMPLING) - np.float32(0.5))
    scene = _floats(cv2.GaussianBlur(scene, (0, 0), 0.6))  # no lens is sharper than its sensor
    if not camera.colour:
        scene = _floats(cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY))[..., None]

    right, down = camera.light
    light = 1 + right * np.linspace(-1, 1, camera.width) + down * np.linspace(-1, 1, camera.height)[:, None]
    light *= camera.brightness * (1 + camera.flicker * (rng.normal() if rng else 0.0))
    signal = 255 * _floats(cv2.pow(scene * _floats(light)[..., None], camera.gamma)).reshape(scene.shape)
    if rng:
        signal += camera.noise * rng.standard_normal((*signal.shape[:2], 1), dtype=np.float32)
    frame = np.clip(np.rint(signal), 0, 255).astype(np.uint8)
    return frame if camera.colour else np.repeat(frame, 3, axis=2)


def displacement(face: Face, before: Moment, after: Moment, camera: Camera) -> Floats:
    """Return the true forward flow between two frames of a face.

    Returns:
        `(height, width, 2)` float32: how far what is seen at a pixel before has moved after, right and down in pixels.
    """
    rest = _at_rest(face, before, camera)
    moved = rest + sample(_motion(face, after.expression, camera), rest)
    return _floats(cv2.transform(moved, _to_frame(after.pose, camera))) - _pixels(camera)


def _at_rest(face: Face, moment: Moment, camera: Camera) -> Floats:
    """Return `(H, W, 2)`: where at rest that is which each pixel of the frame sees, on the lattice."""
    posed = _floats(cv2.transform(_pixels(camera), cv2.invertAffineTransform(_to_frame(moment.pose, camera))))
    rest = posed
    if moment.expression.units:
        motion = _motion(face, moment.expression, camera)
        for _ in range(6):  # the fixed point of rest + motion(rest) = posed; a step leaves about a third of the error
            rest = posed - sample(motion, rest)
    return rest


def _motion(face: Face, expression: Expression, camera: Camera) -> Floats:
    """Return `(rows, columns, 2)` on the lattice: how far an expression moves the skin, in cells."""
    landmarks = face.landmarks
    pulls = []
    for unit, intensities in expression.units.items():
        for name, (outward, down) in ACTION_UNITS[unit].items():
            x, y = landmarks[name]
            for side, intensity in zip((-1, 1), intensities, strict=True):
                pull = intensity * camera.unit / 100
                pulls.append((side * x, y, *_REACH[name], pull * side * outward, pull * down))
    return patches(camera.unit, pulls, 2)


def _to_frame(pose: Pose, camera: Camera) -> NDArray[np.float64]:
    """Return the 2x3 matrix from cells of the lattice, as large as the frame's pixels, to those pixels."""
    angle = math.radians(pose.angle)
    turn = pose.scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    margin = (camera.width - camera.unit) / 2
    middle = (margin + camera.unit * (0.5 + pose.x) - 0.5, camera.unit * pose.y + camera.height / 2 - 0.5)
    return np.column_stack([turn, middle - turn @ cells((0, 0), camera.unit)])


def _pixels(camera: Camera) -> Floats:
    """Return `(H, W, 2)`: each pixel's own x and y."""
    return _floats(np.dstack(np.meshgrid(np.arange(camera.width), np.arange(camera.height))))


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, np.float32)
