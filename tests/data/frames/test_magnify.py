from dataclasses import asdict

import numpy as np
import pytest

from nas_mer.data.frames.magnify import Magnification, magnify
from nas_mer.errors import UserError

HEIGHT, WIDTH, RATE = 128, 256, 200.0
COLUMNS = np.arange(WIDTH)


DITHER = np.random.default_rng(0).uniform(-0.5, 0.5, (HEIGHT, WIDTH))  # so that rounding has no bias


def wave(shift, wavelength):
    """A wave along x that has moved to the right by `shift` pixels."""
    return np.rint(127 + 80 * np.sin(2 * np.pi * (COLUMNS - shift) / wavelength) + DITHER).astype(np.uint8)


def shift_of(frame, wavelength):
    """How far a wave has moved, by the phase of its Fourier component; the border is left out."""
    inside = slice(WIDTH // 2 - wavelength, WIDTH // 2 + wavelength)  # two whole periods
    signal = frame[HEIGHT // 4 : -HEIGHT // 4, inside].astype(float).mean(axis=0)
    component = signal @ np.exp(-2j * np.pi * COLUMNS[inside] / wavelength)
    return -np.angle(component * 1j) * wavelength / (2 * np.pi)


def rise(length=40):
    """From 0 to 1 and back, as an expression's strength; the apex is in the middle."""
    return np.sin(np.pi * np.arange(length) / length) ** 2


@pytest.mark.parametrize("factor", [2.0, 5.0, 10.0])
@pytest.mark.parametrize(("wavelength", "motion"), [(48, 0.1), (48, 0.3), (64, 0.3)])
def test_a_motion_below_a_pixel_grows_by_the_factor(factor, wavelength, motion):
    """Within 12 %: the temporal filter and the levels below the cutoff take a little."""
    strength = rise()
    larger = magnify([wave(motion * s, wavelength) for s in strength], RATE, Magnification(factor))
    apex = int(strength.argmax())
    grown = shift_of(larger[apex], wavelength) - shift_of(larger[0], wavelength)
    assert grown / motion == pytest.approx(factor, rel=0.12)


def test_the_apex_stays_where_it_is():
    larger = magnify([wave(0.3 * s, 48) for s in rise()], RATE, Magnification(5))
    moved = [shift_of(frame, 48) for frame in larger]
    assert int(np.argmax(moved)) == pytest.approx(int(rise().argmax()), abs=1)


def test_structures_below_the_cutoff_are_magnified_less_than_those_above():
    how = Magnification(10, cutoff=64)

    def grown(wavelength):
        larger = magnify([wave(0.2 * s, wavelength) for s in rise()], RATE, how)
        return (shift_of(larger[20], wavelength) - shift_of(larger[0], wavelength)) / 0.2

    assert grown(8) < grown(16) < grown(32) < grown(64) <= 10
    assert grown(8) < 2


@pytest.mark.parametrize("shape", [(64, 48), (65, 47), (33, 40, 3), (16, 16)])
def test_a_still_clip_and_the_onset_stay_as_they_are(shape):
    rng = np.random.default_rng(0)
    still = [rng.integers(0, 256, shape, np.uint8)] * 12
    assert all(np.array_equal(a, b) for a, b in zip(magnify(still, RATE), still, strict=True))
    lively = list(rng.integers(0, 256, (5, *shape), np.uint8))
    larger = magnify(lively, RATE)
    assert np.array_equal(larger[0], lively[0])
    assert all(frame.shape == shape and frame.dtype == np.uint8 for frame in larger)


def test_the_factor_1_changes_nothing():
    clip = list(np.random.default_rng(0).integers(0, 256, (4, 32, 40, 3), np.uint8))
    assert np.array_equal(magnify(clip, RATE, Magnification(1)), clip)


def test_light_at_large_is_not_magnified():
    clip = [np.full((64, 64), 100 + t, np.uint8) for t in range(20)]
    assert np.array_equal(magnify(clip, RATE), clip)


@pytest.mark.parametrize("factor", [10.0, 50.0])
def test_noise_grows_no_further_than_the_finest_level_may(factor):
    """Pixel noise is mostly in the finest level, whose gain is factor * 5 / cutoff - 1, or 0."""
    noise = np.random.default_rng(0).normal(0, 2, (30, 96, 96))
    clip = list(np.rint(128 + noise).astype(np.uint8))
    larger = magnify(clip, RATE, Magnification(factor, cutoff=5 * factor))
    assert np.std(np.subtract(larger[15], 128.0)) < 2 * np.std(np.subtract(clip[15], 128.0))


def test_short_clips_have_a_result():
    first, second = wave(0, 48), wave(0.1, 48)
    assert np.array_equal(magnify([first], RATE)[0], first)
    assert shift_of(magnify([first, second], RATE)[1], 48) > 0.05


def test_its_parameters_are_plain_data():
    assert asdict(Magnification(4)) == {"factor": 4, "low": 0.02, "high": 20.0, "cutoff": 16.0}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"factor": 0.5}, "factor 0.5"),
        ({"factor": float("nan")}, "factor nan"),
        ({"low": 30.0}, "band 30.0 to 20.0 Hz"),
        ({"low": -1.0, "cutoff": 0.0}, "band -1.0 to 20.0 Hz, cutoff 0.0"),
    ],
)
def test_parameters_out_of_range_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        Magnification(**wrong)


@pytest.mark.parametrize(
    ("frames", "rate", "message"),
    [
        ([], RATE, "found none"),
        ([np.zeros((32, 32), np.uint8), np.zeros((32, 33), np.uint8)], RATE, r"\(32, 32\), uint8 of shape \(32, 33\)"),
        ([np.zeros((32, 32))], RATE, "float64"),
        ([np.zeros((32, 8), np.uint8)], RATE, "at least 16 pixels"),
        ([np.zeros((32, 32), np.uint8)], 0.0, "rate must be positive, found 0.0"),
    ],
)
def test_what_is_no_clip_is_refused(frames, rate, message):
    with pytest.raises(UserError, match=message):
        magnify(frames, rate)
