"""How near the spotted apex is to the true one, and how long spotting takes.

    python benchmarks/apex.py [--clips 60] [--out benchmarks/apex.json]

Films synthetic clips from all three studios and gives every spotter the frames from onset to offset. `middle` always
takes the frame in the middle; a spotter that does no better has seen nothing. In `blink` the same clips have a blink
as well, a tenth to a fifth of the clip long, somewhere between onset and offset.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np
from machine import machine

from nas_mer.data.flow import Frame
from nas_mer.data.frames.apex import SPOTTERS
from nas_mer.data.synthetic.composite import STUDIOS, perform
from nas_mer.data.synthetic.faces import Expression, Moment, render
from nas_mer.data.synthetic.film import Film, film
from nas_mer.files import write_json

RATES = {"alder": 100, "birch": 200, "cedar": 200}  # frames a second, as of SMIC-HS, CASME II and SAMM


def blinking(clip: Film, rng: np.random.Generator) -> Film:
    """Film a clip again with a blink in it."""
    half = len(clip.frames) * rng.uniform(0.05, 0.1)
    middle = rng.uniform(clip.onset + half, max(clip.offset - half, clip.onset + half))
    camera = np.random.default_rng(clip.performance.seed)
    frames = []
    for index, moment in enumerate(clip.moments):
        shut = 2 * max(0.0, 1 - abs(index - middle) / half)
        left, right = (min(2.0, side + shut) for side in moment.expression.units.get("AU45", (0.0, 0.0)))
        units = {**moment.expression.units, "AU45": (left, right)} if shut else moment.expression.units
        frames.append(
            render(clip.performance.face, Moment(Expression(units), moment.pose), clip.performance.camera, camera)
        )
    return replace(clip, frames=tuple(frames))


def measured(clips: Sequence[Film], spot: Callable[[Sequence[Frame]], int]) -> dict[str, float | dict[str, float]]:
    """Return the mean absolute errors of a spotter and the time it takes."""
    errors, shares, seconds = [], [], []
    for clip in clips:
        frames = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in clip.frames[clip.onset : clip.offset + 1]]
        start = time.perf_counter()
        apex = spot(frames)
        seconds.append(time.perf_counter() - start)
        errors.append(abs(apex - (clip.apex - clip.onset)))
        shares.append(errors[-1] / len(frames))
    studios = [clip.performance.sample.database for clip in clips]
    return {
        "frames": round(fmean(errors), 2),
        "percent_of_clip": round(100 * fmean(shares), 2),
        "worst_percent": round(100 * max(shares), 1),
        "percent_by_studio": {
            studio.name: round(
                100 * fmean(s for s, name in zip(shares, studios, strict=True) if name == studio.name), 2
            )
            for studio in STUDIOS
        },
        "milliseconds_a_clip": round(1000 * fmean(seconds), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(options.seed)
    performances = perform(options.seed)
    chosen = [performances[i] for i in rng.permutation(len(performances))[: options.clips]]
    # Films last 0.3 to 0.5 s.
    clips = [film(p, round(RATES[p.sample.database] * rng.uniform(0.3, 0.5))) for p in chosen]
    spotters: Mapping[str, Callable[[Sequence[Frame]], int]] = {"middle": lambda frames: len(frames) // 2, **SPOTTERS}
    situations = {"plain": clips, "blink": [blinking(clip, rng) for clip in clips]}
    result = {
        "clips": {
            "number": len(clips),
            "frames_from_onset_to_offset": round(fmean(clip.offset - clip.onset + 1 for clip in clips), 1),
            "by_studio": {s.name: sum(c.performance.sample.database == s.name for c in clips) for s in STUDIOS},
        },
        "errors": {
            situation: {name: measured(films, spot) for name, spot in spotters.items()}
            for situation, films in situations.items()
        },
        "machine": machine() | {"threads": 1, "opencv": cv2.__version__},
    }
    write_json(options.out, result)
    print(options.out.read_text())


if __name__ == "__main__":
    main()
