"""How accurate each method of optical flow is, and how long it takes.

    python benchmarks/flow.py MIDDLEBURY [--pairs 442] [--out benchmarks/flow.json]

MIDDLEBURY is a folder with the pairs below, each a folder with `frame10.png`, `frame11.png` and `flow10.flo`. The error
is the average end-point error in pixels, where the true flow is known. Times are of synthetic pairs of 200x230 pixels,
the best of four of one pair on one core, and many pairs on all cores with starting the processes, and of RubberWhale.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from machine import machine, seconds

from nas_mer.data.flow import METHODS, Floats, Frame, optical_flow, optical_flows
from nas_mer.data.synthetic.faces import Camera, Expression, Moment, render
from nas_mer.data.synthetic.portrait import Face
from nas_mer.files import write_json
from nas_mer.workers import cores, each, one_thread

SCENES = ("RubberWhale", "Dimetrodon", "Venus", "Grove2")
DIFFERENT = 16  # Synthetic pairs; more are these again.
AT_ONCE = 8  # Pairs a task.


def scene(folder: Path) -> tuple[Frame, Frame, Floats]:
    """Return both frames and the true flow of a scene."""
    onset, apex = (cv2.imread(str(folder / f"frame1{number}.png")) for number in (0, 1))
    return onset, apex, cv2.readOpticalFlow(str(folder / "flow10.flo"))


def error(flow: Floats, truth: Floats) -> float:
    """Return the average end-point error where the truth is known."""
    known = (np.abs(truth) < 1e9).all(axis=-1)
    return float(np.linalg.norm(flow - truth, axis=-1)[known].mean())


def synthetic_pairs(count: int) -> tuple[Frame, Frame]:
    """Return the onset and the apex frames `(count, 230, 200)` of synthetic faces."""
    camera = Camera(200, 230, colour=False, noise=2.0)
    smile = Moment(Expression({"AU12": (1.0, 0.8)}))
    pairs = []
    for seed in range(min(count, DIFFERENT)):
        rng = np.random.default_rng(seed)
        face = Face.draw(rng)
        pairs.append([render(face, moment, camera, rng) for moment in (Moment(), smile)])
    onsets, apexes = np.stack(pairs, 1)[:, np.arange(count) % DIFFERENT]
    return onsets, apexes


def task(some: slice, report: object, onsets: Frame, apexes: Frame, method: str) -> None:
    """Estimate the flow of some of the pairs."""
    optical_flows(onsets[some], apexes[some], method)


def measured(method: str, middlebury: Path, onsets: Frame, apexes: Frame) -> dict[str, object]:
    """Return a method's errors and times."""
    errors = {}
    for name in SCENES:
        onset, apex, truth = scene(middlebury / name)
        errors[name] = error(optical_flow(onset, apex, method), truth)
    whale = scene(middlebury / SCENES[0])[:2]
    with one_thread():
        large = seconds(lambda: optical_flow(*whale, method))
        small = min(seconds(lambda: optical_flow(onsets[0], apexes[0], method)) for _ in range(4))
    tasks = [slice(start, start + AT_ONCE) for start in range(0, len(onsets), AT_ONCE)]
    many = seconds(lambda: list(each(task, tasks, (onsets, apexes, method), cores())))
    return {
        "end_point_error": {name: round(value, 4) for name, value in errors.items()},
        "mean_end_point_error": round(float(np.mean(list(errors.values()))), 4),
        "seconds": {
            "584x388, one core": round(large, 3),
            "200x230, one core": round(small, 3),
            f"{len(onsets)} of 200x230, all cores": round(many, 1),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("middlebury", type=Path)
    parser.add_argument("--pairs", type=int, default=442)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    frames = synthetic_pairs(options.pairs)
    methods = {method: measured(method, options.middlebury, *frames) for method in METHODS}
    write_json(options.out, {"methods": methods, "machine": machine()})
    print(options.out.read_text())


if __name__ == "__main__":
    main()
