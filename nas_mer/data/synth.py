"""A synthetic composite: made-up databases of parametric faces, for demonstrations and tests.

Three studios film people who differ in face, skin and expressiveness; each clip pulls some of its class's action units,
a little of another class's, or an eyelid, while the head drifts. What comes out is made by the same optical flow that real
frames go through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from nas_mer.data.dataset import CLASSES, Dataset, Sample
from nas_mer.data.faces import Camera, Expression, Face, Moment, Picture, Pose, render
from nas_mer.data.flow import flow_map
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
        drift: of the head from onset to apex: the deviation of its shift as a share of the frame's width; turns (in
            hundredths of a degree for each 0.0001) and zooms go with it.
    """

    name: str
    prefix: str
    camera: Camera
    crowd: float
    shares: tuple[float, float, float]
    strength: float
    drift: float


STUDIOS = (
    Studio("alder", "a", Camera(140, 160, noise=4.0, gamma=0.9, flicker=0.01), 0.75, (0.42, 0.32, 0.26), 0.7, 0.003),
    Studio("birch", "b", Camera(230, 264, noise=2.0, brightness=0.85), 1.0, (0.58, 0.22, 0.20), 0.6, 0.002),
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
        noise: key of the camera's noise.
    """

    sample: Sample
    face: Face
    camera: Camera
    onset: Moment
    apex: Moment
    noise: np.random.SeedSequence

    def frames(self) -> tuple[Picture, Picture]:
        """Film the onset and the apex frame, `(H, W, 3)` uint8 each."""
        rng = np.random.default_rng(self.noise)
        onset, apex = (render(self.face, moment, self.camera, rng) for moment in (self.onset, self.apex))
        return onset, apex


def perform(seed: int = 0, subjects: int = 8, clips: int = 6) -> Iterator[Performance]:
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
    given = {"seed": (seed, 0), "subjects": (subjects, 2), "clips": (clips, 3)}
    if wrong := [
        f"{name} must be at least {least}, found {value}" for name, (value, least) in given.items() if value < least
    ]:
        raise UserError(f"synthetic composite: {'; '.join(wrong)}")
    return _performances(seed, subjects, clips)


def _performances(seed: int, subjects: int, clips: int) -> Iterator[Performance]:
    for s, studio in enumerate(STUDIOS):
        roster = _roster(studio, max(2, round(subjects * studio.crowd)), clips, _stream(seed, s))
        for p, labels in enumerate(roster):
            rng = _stream(seed, s, p)
            face = Face.draw(rng)
            light = (float(rng.normal(0, 0.10)), float(rng.normal(0, 0.05)))
            brightness = studio.camera.brightness * float(rng.uniform(0.9, 1.1))
            camera = replace(studio.camera, light=light, brightness=brightness)
            expressiveness = rng.lognormal(sigma=0.25)
            for c, label in enumerate(labels):
                rng = _stream(seed, s, p, c)
                subject = f"{studio.prefix}{p + 1:02}"
                expression = _expression(label, studio.strength * expressiveness, rng)
                onset = _moved(Pose(), 0.008, rng)
                yield Performance(
                    Sample(studio.name, subject, f"{subject}_{c + 1:02}", label),
                    face,
                    camera,
                    Moment(pose=onset),
                    Moment(expression, _moved(onset, studio.drift, rng)),
                    np.random.SeedSequence(seed, spawn_key=(s, p, c, 0)),
                )


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
    performances = list(perform(seed, subjects, clips))
    maps = np.empty((len(performances), 3, size, size), np.float32)
    for done, performance in enumerate(performances):
        maps[done] = flow_map(*performance.frames(), size, method)
        if progress:
            progress(done + 1, len(performances))
    return Dataset(
        name="synth",
        maps=maps,
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
    """Draw an expression of a class: some of its action units, seldom a little of another class's, sometimes an eyelid."""
    intensities: dict[str, float] = {}
    while not intensities:
        intensities = {unit: strength for unit, likely in UNITS[label].items() if rng.random() < likely}
    others = sorted({unit for units in UNITS.values() for unit in units} - set(UNITS[label]))
    if rng.random() < 0.3:
        intensities[str(rng.choice(others))] = 0.5 * strength
    if rng.random() < 0.3:
        intensities["AU45"] = 0.6

    sides = np.exp(rng.normal(0, 0.1, 2))
    if rng.random() < 0.2:
        sides[rng.integers(2)] *= rng.uniform(0.1, 0.5)
    left, right = sides
    drawn = {unit: intensity * rng.lognormal(sigma=0.3) for unit, intensity in intensities.items()}
    return Expression({unit: (min(2.0, it * left), min(2.0, it * right)) for unit, it in drawn.items()})


def _moved(pose: Pose, drift: float, rng: np.random.Generator) -> Pose:
    """Return a pose a little further: shifted, turned and zoomed at random."""
    x, y, turn, zoom = (float(value) for value in drift * rng.normal(size=4))
    return Pose(pose.x + x, pose.y + y, pose.angle + 60 * turn, pose.scale * (1 + zoom))
