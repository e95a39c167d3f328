import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_mer.data.frames.apex import SPOTTERS, spot_apex
from nas_mer.data.synthetic.faces import Camera, Expression, Moment, Pose, render
from nas_mer.data.synthetic.portrait import Face
from nas_mer.errors import UserError

APEX, LENGTH = 9, 20


def clip(drift=0.0, noise=0.0, flicker=0.0, blink=None, strength=0.7, colour=True):
    """A clip whose expression grows to frame `APEX` and fades; the head goes from `-drift` to `drift` widths."""
    camera = Camera(120, 136, noise=noise, flicker=flicker, colour=colour)
    rng, face = np.random.default_rng(3), Face.draw(np.random.default_rng(4))
    frames = []
    for t in range(LENGTH):
        grown = strength * max(0.0, 1 - abs(t - APEX) / 9)
        units = {"AU12": (grown, grown), "AU6": (grown, grown), "AU4": (grown, grown)} if grown else {}
        if blink is not None and abs(t - blink) < 2:
            units["AU45"] = (1.5, 1.5)
        way = 2 * t / (LENGTH - 1) - 1
        pose = Pose(x=drift * way, y=-0.5 * drift * way, angle=60 * drift * way)
        frames.append(render(face, Moment(Expression(units), pose), camera, rng))
    return frames


def mistake(frames, method="aligned"):
    return abs(spot_apex(frames, method) - APEX)


@pytest.mark.parametrize("method", SPOTTERS)
@pytest.mark.parametrize("colour", [True, False])
def test_a_still_head_is_easy(method, colour):
    assert mistake(clip(colour=colour), method) == 0


@pytest.mark.parametrize(
    "trouble",
    [{"drift": 0.02}, {"noise": 4.0}, {"flicker": 0.03}, {"drift": 0.01, "noise": 2.0, "flicker": 0.01}],
    ids=str,
)
def test_aligned_withstands(trouble):
    assert mistake(clip(**trouble)) <= 1


def test_aligned_is_better_than_paper_under_drift():
    frames = clip(drift=0.02)
    assert mistake(frames) < mistake(frames, "paper")


@pytest.mark.parametrize("blink", [3, 13])
def test_aligned_withstands_a_blink(blink):
    frames = clip(blink=blink, strength=0.3, noise=1.0)
    assert mistake(frames) <= 1
    assert mistake(frames, "paper") >= 2


def test_aligned_takes_a_light_that_fades_in_for_no_expression():
    frames = [np.clip(frame * (0.8 + 0.02 * t), 0, 255).astype(np.uint8) for t, frame in enumerate(clip())]
    assert mistake(frames) <= 1


def test_paper_by_its_definition():
    frames = np.random.default_rng(0).integers(0, 256, (21, 40, 32), np.uint8)
    coarse = frames.reshape(21, 10, 4, 8, 4).mean(axis=(2, 4))
    spread = [np.std(picture - coarse[0]) if 4 <= index <= 14 else 0 for index, picture in enumerate(coarse)]
    assert spot_apex(frames, "paper") == int(np.argmax(spread))


@pytest.mark.parametrize("method", SPOTTERS)
@settings(max_examples=15, deadline=None)
@given(count=st.integers(2, 6), seed=st.integers(0, 99), kind=st.sampled_from(["noise", "constant", "black", "flash"]))
def test_any_clip_has_an_apex_after_the_onset(method, count, seed, kind):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (count, 24, 20), np.uint8)
    if kind == "constant":
        frames[:] = frames[0]
    elif kind == "black":
        frames[:] = 0
    elif kind == "flash":
        frames[:] = rng.integers(0, 256, (count, 1, 1), np.uint8)
    apex = spot_apex(frames, method)
    assert isinstance(apex, int)
    assert 1 <= apex < count


def test_colour_and_grey_agree():
    frames = clip(noise=1.0)
    grey = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames]
    assert all(spot_apex(frames, method) == spot_apex(grey, method) for method in SPOTTERS)


@pytest.mark.parametrize(
    ("frames", "method", "message"),
    [
        ([np.zeros((40, 40), np.uint8)], "paper", "at least 2 frames, found 1"),
        ([], "aligned", "at least 2 frames, found 0"),
        ([np.zeros((40, 40), np.uint8)] * 3, "papier", "did you mean 'paper'"),
        ([np.zeros((40, 40), np.uint8), np.zeros((40, 41), np.uint8)], "paper", r"frame 1: uint8 of shape \(40, 41\)"),
        ([np.zeros((40, 40))] * 2, "paper", "frame 0: float64.*frame 1: float64"),
        ([np.zeros((40, 40, 4), np.uint8)] * 2, "paper", r"found \(40, 40, 4\)"),
        ([np.zeros((8, 40), np.uint8)] * 2, "aligned", "at least 16 pixels"),
    ],
)
def test_what_is_no_clip_is_refused(frames, method, message):
    with pytest.raises(UserError, match=message):
        spot_apex(frames, method)
