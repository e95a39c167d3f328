"""A synthetic composite: made-up databases of parametric faces, for demonstrations and tests.

Three studios film people who differ in face, skin and expressiveness; each clip pulls some of its class's action units,
sometimes a little of another class's or an eyelid too, while the head drifts. The maps come from the frames by the same
optical flow that real ones go through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from nas_mer.data.dataset import CLASSES, Dataset, Sample
from nas_mer.data.flow import flow_map
from nas_mer.data.synthetic.faces import Camera, Expression, Moment, Picture, Pose, render
from nas_mer.data.synthetic.portrait import Face
from nas_mer.errors import UserError

UNITS: Mapping[str, Mapping[str, float]] = {
    "negative": {"AU4": 0.6, "AU7": 0.4, "AU9": 0.15, "AU10": 0.15, "AU14": 0.25, "AU15": 0.25, "AU17": 0.2},
    "positive": {"AU6": 0.5, "AU12": 0.85, "AU25": 0.15},
    "surprise": {"AU1": 0.7, "AU2": 0.7, "AU5": 0.4, "AU25": 0.2, "AU26": 0.2},
}
"""The action units of each class, and how likely each takes part in a clip of it."""


@dataclass(frozen=True)
class Studio:
    """What a made-up database has in common.

    Attributes:
        name: of the database.
        prefix: of its subjects' names.
        camera: that films it; its light is a little different for each subject.
        crowd: its number of subjects, relative to the other studios.
        shares: of the classes, in the order of `CLASSES`.
        strength: of its expressions, as the intensity of action units.
        drift: of the head from onset to apex: the deviation of its shift in units of the frame's width; turns and zooms
            go with it (see `_moved`).
    """

    name: str
    prefix: str
    camera: Camera
    crowd: float
    shares: tuple[float, float, float]
    strength: float
    drift: float


STUDIOS = (
    Studio("alder", "a", Camera(140, 160, noise=3.0, gamma=0.9, flicker=0.01), 0.75, (0.42, 0.32, 0.26), 0.7, 0.003),
    Studio("birch", "b", Camera(230, 264, noise=1.5, brightness=0.85), 1.0, (0.58, 0.22, 0.20), 0.6, 0.002),
    Studio("cedar", "c", Camera(240, 256, colour=False, noise=2.5, gamma=1.2), 1.25, (0.62, 0.22, 0.16), 0.55, 0.002),
)
"""Analogous to SMIC-HS, CASME II and SAMM in frame size, colour, noise and balance of classes."""


@dataclass(frozen=True)
class Performance:
    """A clip before it is filmed: who shows what, and for which camera.

    Attributes:
        sample: its row of the manifest.
        face: of the subject.
        camera: that films it.
        onset, apex: the first frame and the one where the expression is strongest.
        seed: of the camera's noise.
    """

    sample: Sample
    face: Face
    camera: Camera
    onset: Moment
    apex: Moment
    seed: int

    def frames(self) -> tuple[Picture, Picture]:
        """Film the onset and the apex frame, `(H, W, 3)` uint8 each."""
        rng = np.random.default_rng(self.seed)
        onset, apex = (render(self.face, moment, self.camera, rng) for moment in (self.onset, self.apex))
        return onset, apex


def perform(seed: int = 0, subjects: int = 8, clips: int = 6) -> list[Performance]:
    """Draw who shows what in all three studios.

    Every class is shown by at least two subjects of each database, so that LOSO's training samples always have all
    classes; no subject needs to have them.

    Args:
        seed: of all that is drawn, at least 0.
        subjects: in each database on average, at least 2; `Studio.crowd` says how they are spread.
        clips: of each subject on average, at least 3; each has between half and one and a half times as many.

    Raises:
        UserError: a number is too small.
    """
    given = (("seed", seed, 0), ("subjects", subjects, 2), ("clips", clips, 3))
    wrong = [f"{name} must be at least {least}, found {value}" for name, value, least in given if value < least]
    if wrong:
        raise UserError(f"synthetic composite: {'; '.join(wrong)}")

    performances = []
    for s, studio in enumerate(STUDIOS):
        roster = _roster(studio, max(2, round(subjects * studio.crowd)), clips, _stream(seed, s))
        for p, labels in enumerate(roster):
            subject, rng = f"{studio.prefix}{p + 1:02}", _stream(seed, s, p)
            face, camera = Face.draw(rng), _lit(studio.camera, rng)
            strength = studio.strength * rng.lognormal(sigma=0.25)
            for c, label in enumerate(labels):
                rng = _stream(seed, s, p, c)
                sample = Sample(studio.name, subject, f"{subject}_{c + 1:02}", label)
                onset = Moment(pose=_moved(Pose(), 0.008, rng))
                apex = Moment(_expression(label, strength, rng), _moved(onset.pose, studio.drift, rng))
                performances.append(Performance(sample, face, camera, onset, apex, int(rng.integers(2**32))))
    return performances


def synth(
    seed: int = 0,
    subjects: int = 8,
    clips: int = 6,
    size: int = 60,
    method: str = "dis",
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Make the synthetic composite.

    The same arguments give the same dataset; a sample does not depend on those made before it.

    Args:
        seed, subjects, clips: see `perform`.
        size: of the flow maps.
        method: of optical flow, see `nas_mer.data.flow.METHODS`.
        progress: is told after each clip how many are done, and of how many.

    Returns:
        A dataset of the databases `alder`, `birch` and `cedar`; maps as `nas_mer.data.flow.assemble` makes them.

    Raises:
        UserError: a number is too small or the method unknown.
    """
    performances = perform(seed, subjects, clips)
    maps = []
    for performance in performances:
        maps.append(flow_map(*performance.frames(), size, method))
        if progress:
            progress(len(maps), len(performances))
    return Dataset(
        name="synth",
        maps=np.stack(maps),
        samples=tuple(performance.sample for performance in performances),
        provenance={
            "made_by": "synth",
            "seed": seed,
            "subjects": subjects,
            "clips": clips,
            "size": size,
            "flow": method,
            "strain": "paper",
            "unit": "percent of the frame's width",
            "studios": [asdict(studio) for studio in STUDIOS],
        },
    )


def _stream(seed: int, *key: int) -> np.random.Generator:
    """Return the random stream of one studio, subject or clip; each is independent of all others."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _roster(studio: Studio, subjects: int, clips: int, rng: np.random.Generator) -> list[list[str]]:
    """Draw the labels of each subject's clips; subjects have their inclinations."""
    while True:
        counts = rng.integers(clips - clips // 2, clips + clips // 2, subjects, endpoint=True)
        inclinations = rng.dirichlet(6 * np.array(studio.shares), subjects)
        roster = [
            [str(label) for label in rng.choice(CLASSES, n, p=p)] for n, p in zip(counts, inclinations, strict=True)
        ]
        if all(sum(label in labels for labels in roster) >= 2 for label in CLASSES):
            return roster


def _expression(label: str, strength: float, rng: np.random.Generator) -> Expression:
    """Draw an expression of a class: some of its action units, at times a little of another class's, or an eyelid."""
    intensities: dict[str, float] = {}
    while not intensities:
        intensities = {unit: strength for unit, likely in UNITS[label].items() if rng.random() < likely}
    others = sorted({unit for units in UNITS.values() for unit in units} - set(UNITS[label]))
    if rng.random() < 0.3:
        intensities[str(rng.choice(others))] = 0.5 * strength
    if rng.random() < 0.3:
        intensities["AU45"] = 0.6

    sides = rng.lognormal(sigma=0.1, size=2)
    if rng.random() < 0.2:
        sides[rng.integers(2)] *= rng.uniform(0.1, 0.5)
    units = {}
    for unit, intensity in intensities.items():
        left, right = np.minimum(2, intensity * rng.lognormal(sigma=0.3) * sides).tolist()
        units[unit] = left, right
    return Expression(units)


def _moved(pose: Pose, drift: float, rng: np.random.Generator) -> Pose:
    """Return a pose a little further: a drift of 0.01 stands for shifts and zooms of 1 % and turns of 0.6 degrees."""
    x, y, turn, zoom = (float(value) for value in rng.normal(0, drift, 4))
    return Pose(pose.x + x, pose.y + y, pose.angle + 60 * turn, pose.scale * (1 + zoom))


def _lit(camera: Camera, rng: np.random.Generator) -> Camera:
    """Return a camera in the light of one subject's session."""
    light = float(rng.normal(0, 0.10)), float(rng.normal(0, 0.05))
    return replace(camera, light=light, brightness=camera.brightness * float(rng.uniform(0.9, 1.1)))
