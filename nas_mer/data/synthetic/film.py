"""A performance over time: the clip that a studio's camera takes of it.

Until the onset the face is at rest; its expression then grows to the apex and fades to the offset, each at its own
pace, while the head drifts all along:

    clip = film(perform()[0])
    clip.frames[clip.onset], clip.frames[clip.apex]  # (H, W, 3) uint8 each
    clip.flow  # the truth between the two, (H, W, 2) pixels
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from nas_mer.data.synthetic.composite import Performance
from nas_mer.data.synthetic.faces import Expression, Floats, Moment, Picture, Pose, displacement, render
from nas_mer.errors import UserError

SHORTEST = 10
"""Frames that a film has at least."""


@dataclass(frozen=True)
class Film:
    """A clip and the truth about it.

    Attributes:
        performance: what was filmed.
        moments: how the face looks in each frame.
        frames: `(H, W, 3)` uint8 each, blue, green, red.
        onset: index of the last frame at rest; the earlier ones are so too.
        apex: index of the frame where the expression is strongest, the only one of its strength.
        offset: index of the first frame at rest again.
    """

    performance: Performance
    moments: tuple[Moment, ...] = field(repr=False)
    frames: tuple[Picture, ...] = field(repr=False)
    onset: int
    apex: int
    offset: int

    @property
    def flow(self) -> Floats:
        """The true flow from the onset frame to the apex frame, `(H, W, 2)` float32, right and down in pixels."""
        onset, apex = self.moments[self.onset], self.moments[self.apex]
        return displacement(self.performance.face, onset, apex, self.performance.camera)


def film(performance: Performance, length: int = 32) -> Film:
    """Film a performance, of which the onset is at rest.

    The same arguments give the same film; its timing, its drift and the camera's noise follow from the performance's
    seed.

    Args:
        performance: who shows what; its two moments are those of the onset and the apex frame.
        length: number of frames, at least `SHORTEST`.

    Raises:
        UserError: there are too few frames.
    """
    if length < SHORTEST:
        raise UserError(f"a film must have at least {SHORTEST} frames, found {length}")
    rng = np.random.default_rng((performance.seed, length))
    lead, rise, fall = rng.uniform((0.05, 0.15, 0.20), (0.20, 0.45, 0.35)) * length
    onset = max(1, round(lead))
    apex = onset + max(2, round(rise))
    offset = min(length - 1, apex + max(2, round(fall)))

    at = np.arange(length)
    early, late = rng.lognormal(sigma=0.25, size=2)
    grown = _smooth((at - onset) / (apex - onset), early) * (1 - _smooth((at - apex) / (offset - apex), late))
    moments = tuple(
        Moment(_scaled(performance.apex.expression, strength), pose)
        for strength, pose in zip(grown.tolist(), _drift(performance, (0, onset, apex, length - 1), rng), strict=True)
    )
    camera = np.random.default_rng(performance.seed)
    frames = tuple(render(performance.face, moment, performance.camera, camera) for moment in moments)
    return Film(performance, moments, frames, onset, apex, offset)


def _smooth(share: NDArray[np.float64], skew: float) -> NDArray[np.float64]:
    """Return a curve from 0 to 1 that starts and ends gently where `share` goes from 0 to 1."""
    x = np.clip(share, 0, 1) ** skew
    return np.asarray(x * x * (3 - 2 * x))


def _scaled(expression: Expression, strength: float) -> Expression:
    units = expression.units if strength else {}
    return Expression({unit: (left * strength, right * strength) for unit, (left, right) in units.items()})


def _drift(performance: Performance, knots: tuple[int, int, int, int], rng: np.random.Generator) -> list[Pose]:
    """Return a pose for each frame: smooth, known at onset and apex, before and after about as lively as between."""
    onset, apex = (np.array(astuple(moment.pose)) for moment in (performance.onset, performance.apex))
    before, after = 0.5 * (apex - onset) * rng.normal(size=(2, 4))
    path = PchipInterpolator(knots, [onset + before, onset, apex, apex + after])
    return [Pose(*pose) for pose in path(np.arange(knots[-1] + 1)).tolist()]
