from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_mer.data.synthetic.composite import perform
from nas_mer.data.synthetic.faces import Camera, Moment, Pose, displacement
from nas_mer.data.synthetic.film import SHORTEST, film
from nas_mer.errors import UserError

PERFORMANCES = perform(seed=2)
TINY = Camera(width=32, height=32)


@pytest.fixture(scope="module")
def clips():
    return [film(performance, length=24) for performance in PERFORMANCES[::30]]


def strength(moment):
    return sum(sum(sides) for sides in moment.expression.units.values())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(SHORTEST, 60))
def test_onset_apex_and_offset_for_any_seed_and_length(seed, length):
    performance = replace(PERFORMANCES[0], camera=TINY, seed=seed)
    clip = film(performance, length)
    assert len(clip.frames) == len(clip.moments) == length
    assert 0 < clip.onset < clip.apex < clip.offset < length
    strengths = np.array([strength(moment) for moment in clip.moments])
    assert (strengths[: clip.onset + 1] == 0).all()
    assert (strengths[clip.offset :] == 0).all()
    assert (np.diff(strengths[clip.onset : clip.apex + 1]) > 0).all()
    assert (np.diff(strengths[clip.apex : clip.offset + 1]) < 0).all()
    assert strengths[clip.apex] == pytest.approx(strength(performance.apex))


def test_the_apex_is_where_the_face_has_moved_farthest(clips):
    for clip in clips:
        face, camera = clip.performance.face, clip.performance.camera
        moved = [
            np.linalg.norm(displacement(face, Moment(), Moment(moment.expression), camera), axis=-1).max()
            for moment in clip.moments
        ]
        assert int(np.argmax(moved)) == clip.apex


def test_the_flow_is_the_performances(clips):
    for clip in clips:
        who = clip.performance
        expected = displacement(who.face, who.onset, who.apex, who.camera)
        np.testing.assert_allclose(clip.flow, expected, atol=1e-3)


def test_onset_and_apex_look_as_the_performance_has_them(clips):
    for clip in clips:
        for index, frame in zip((clip.onset, clip.apex), clip.performance.frames(), strict=True):
            noise = np.abs(clip.frames[index].astype(float) - frame).mean()
            assert noise < 3 + 255 * 2 * clip.performance.camera.flicker


def test_heads_drift_smoothly(clips):
    for clip in clips:
        poses = np.array([[m.pose.x, m.pose.y, m.pose.angle, m.pose.scale] for m in clip.moments])
        steps = np.abs(np.diff(poses[:, :2], axis=0)) * clip.performance.camera.width
        assert 0 < steps.max() < 1, "pixels a frame"
        assert isinstance(clip.moments[0].pose, Pose)


def test_every_frame_has_its_own_noise(clips):
    clip = film(replace(PERFORMANCES[0], apex=PERFORMANCES[0].onset), 12)
    assert len({frame.tobytes() for frame in clip.frames}) == 12
    still = film(replace(PERFORMANCES[0], apex=PERFORMANCES[0].onset, camera=TINY), 12)
    assert len({frame.tobytes() for frame in still.frames}) == 1


def test_clips_differ_in_timing_and_a_clip_is_always_the_same(clips):
    assert len({(clip.onset, clip.apex, clip.offset) for clip in clips}) >= 4
    again = film(clips[0].performance, length=24)
    assert again.moments == clips[0].moments
    assert all((one == other).all() for one, other in zip(again.frames, clips[0].frames, strict=True))


def test_a_film_too_short_is_refused():
    with pytest.raises(UserError, match="at least 10 frames, found 9"):
        film(PERFORMANCES[0], 9)
