import itertools
import sys

import numpy as np
import pytest

from nas_mer.errors import UserError
from nas_mer.handcrafted import LbpTop

RNG = np.random.default_rng(0)
CLIP = RNG.integers(256, size=(6, 9, 11)).astype(np.uint8)
PLANES = {"XY": (1, 2), "XT": (0, 2), "YT": (0, 1)}  # rows and columns among the axes T, Y, X


def bits(clip, point, plane, radius):
    """Which of the four neighbours along the axes of a plane are at least as bright, in order around the circle."""
    rows, columns = PLANES[plane]
    found = []
    for axis, step in ((columns, 1), (rows, -1), (columns, -1), (rows, 1)):
        place = list(point)
        place[axis] += step * radius
        found.append(int(clip[tuple(place)] >= clip[tuple(point)]))
    return found


def changes(found):
    return sum(a != b for a, b in zip(found, found[1:] + found[:1], strict=True))


@pytest.mark.parametrize("radius", [1, 2])
def test_patterns_written_out(radius):
    """With four points no grey value is interpolated: two places have one pattern just where all neighbours agree."""
    for plane, codes in zip(PLANES, LbpTop(points=4, radius=radius).codes(CLIP), strict=True):
        assert codes.shape == tuple(side - 2 * radius for side in CLIP.shape)
        known = {}
        for place in itertools.product(*map(range, codes.shape)):
            found = bits(CLIP, [at + radius for at in place], plane, radius)
            key = tuple(found) if changes(found) <= 2 else "other"
            assert known.setdefault(key, codes[place]) == codes[place]
        assert len(known) == len(set(known.values()))
        assert set(known.values()) <= set(range(4 * 3 + 3))


def test_histograms_of_the_planes_sum_to_one():
    found = LbpTop(blocks=2).describe(CLIP).reshape(4, 3, 59)
    np.testing.assert_allclose(found.sum(axis=2), 1)
    (codes, *_) = LbpTop(blocks=2).codes(CLIP)
    upper_left = codes[:, :4, :5]  # of 7 x 9 points
    expected = np.bincount(upper_left.ravel(), minlength=59) / upper_left.size
    np.testing.assert_allclose(found[0, 0], expected)


def test_a_clip_that_stands_still_has_constant_columns_in_time():
    frame = RNG.integers(256, size=(8, 8)).astype(np.uint8)
    clip = np.stack([frame] * 5)
    xy, xt, yt = LbpTop().codes(clip)
    assert (xy == xy[0]).all()
    for plane, codes in (("XT", xt), ("YT", yt)):
        for place in itertools.product(*map(range, codes.shape)):
            before, at, after = (bits(clip, [place[0] + 1, place[1] + 1, place[2] + 1], plane, 1)[i] for i in (1, 0, 3))
            assert before == after == 1  # as bright as itself, a moment before and after
            assert at in (0, 1)


def test_constant_motion_has_xt_patterns_of_one_kind():
    """A brightness ramp that moves: through every point the slices across it look alike."""
    t, y, x = np.meshgrid(np.arange(7), np.arange(10), np.arange(12), indexing="ij")
    _, right, up = LbpTop().codes((10 * x + 7 * t + 0 * y).astype(np.uint8))
    assert len(np.unique(right)) == 1
    assert len(np.unique(up)) == 1
    _, left, _ = LbpTop().codes((10 * x - 7 * t + 60).astype(np.uint8))
    assert len(np.unique(left)) == 1
    assert left[0, 0, 0] != right[0, 0, 0]


def test_exchanging_rows_and_columns_exchanges_the_planes():
    """Points along the axes: the mirrored circle has the same uniform patterns, in another order."""

    def kinds(codes):
        return np.sort(np.unique(codes, return_counts=True)[1])

    one = LbpTop(points=4)
    for ours, theirs in zip(one.codes(CLIP), (one.codes(CLIP.transpose(0, 2, 1))[i] for i in (0, 2, 1)), strict=True):
        assert kinds(ours).tolist() == kinds(theirs).tolist()


def test_what_it_describes(recorded, made):
    assert LbpTop().inputs(recorded) is recorded.clips
    assert LbpTop(blocks=2).features(recorded.clips).shape == (len(recorded), 4 * 3 * 59)
    with pytest.raises(UserError, match=r"'tiny': lbp-top describes clips, and it keeps none; .* --clip-frames 10"):
        LbpTop().inputs(made())
    with pytest.raises(UserError, match="radius 3 needs clips of 7 frames of 7 x 7 pixels or more, found 5 of "):
        LbpTop(radius=3).inputs(recorded)


def test_without_scikit_image(recorded, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(UserError, match=r"pip install 'nas-mer\[handcrafted\]'"):
        LbpTop().inputs(recorded)
