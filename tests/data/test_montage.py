import cv2
import matplotlib.pyplot as plt
import numpy as np
import pytest

from nas_mer.data import Dataset, Sample, montage
from nas_mer.data.montage import flow_colours
from nas_mer.errors import UserError


def colours(path):
    """The picture as `(height, width, RGB)` integers."""
    return cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def one(flow_map, u_mirror=0.0):
    return Dataset("d", flow_map[None].astype(np.float32), (Sample("x", "s", "c", "negative"),), u_mirror=u_mirror)


def runs(coloured):
    """The (start, end) of the long runs of True."""
    starts, ends = (np.flatnonzero(np.diff(np.pad(coloured, 1).astype(int)) == step) for step in (1, -1))
    return [(start, end) for start, end in zip(starts, ends, strict=True) if end - start > 60]


def panels(path):
    """The mean colours of the left and right halves of u, v and strain, in a picture of one sample."""
    image = colours(path)
    coloured = np.abs(image - 230).max(axis=2) > 3  # than the paper
    rows = [row for row in range(len(image)) if len(runs(coloured[row])) == 3]
    image = image[rows[3] : rows[-3]]
    return [
        [half.mean(axis=(0, 1)) for half in np.array_split(image[:, start + 3 : end - 3], 2, axis=1)]
        for start, end in runs(coloured[rows[0]])
    ]


class TestColours:
    def test_flow_is_about_zero_with_one_scale_for_u_and_v(self, tmp_path):
        u = np.tile([1.0, 1.0, -1.0, -1.0], (4, 1))
        montage(one(np.array([u, -0.2 * u, np.abs(u) * np.arange(4)])), tmp_path / "m.png")
        (u_left, u_right), (v_left, v_right), (strain_left, strain_right) = panels(tmp_path / "m.png")
        assert u_left[0] > u_left[2] + 50  # red: to the right
        assert u_right[2] > u_right[0] + 50  # blue: to the left
        assert 5 < v_left[2] - v_left[0] < 50  # pale blue: up
        assert 5 < v_right[0] - v_right[2] < 60
        assert strain_right.sum() > strain_left.sum() + 100

    def test_stretched_maps_are_about_their_median(self, tmp_path):
        u = np.tile([0.0, 0.8, 0.8, 1.0], (4, 1))
        montage(one(np.array([u, 1 - u, u]), u_mirror=1.0), tmp_path / "m.png")
        (u_left, u_right), (v_left, v_right), _ = panels(tmp_path / "m.png")
        assert u_left[2] > u_left[0] + 30
        assert 5 < u_right[0] - u_right[2] < 60
        assert v_left[0] > v_left[2] + 30
        assert 5 < v_right[2] - v_right[0] < 60

    def test_a_constant_map_is_neutral(self, tmp_path):
        montage(one(np.zeros((3, 4, 4))), tmp_path / "m.png")
        (u, _), (v, _), (strain, _) = panels(tmp_path / "m.png")
        assert u.min() > 240
        assert v.min() > 240
        assert strain.max() < 5


class TestFlowColours:
    # Hues in degrees: red 0, yellow 60, green 120, cyan 180, blue 240, magenta 300.
    @pytest.mark.parametrize(
        ("u", "v", "least", "most"),
        [(1, 0, 0, 0), (0, 1, 45, 60), (-1, 0, 180, 240), (0, -1, 240, 300), (1, 1, 20, 40), (1, -1, 290, 320)],
    )
    def test_the_hue_is_the_direction(self, u, v, least, most):
        for length in (0.3, 1.0):
            away = np.array([[u], [v]]) * length / np.hypot(u, v)
            colour = flow_colours(*away[..., None])
            hue, saturation, value = cv2.cvtColor(colour.astype(np.float32), cv2.COLOR_RGB2HSV)[0, 0]
            assert least - 0.01 <= hue <= most + 0.01
            assert saturation == pytest.approx(length, abs=1e-5)
            assert value == pytest.approx(1, abs=1e-5)

    def test_a_turn_goes_once_round_the_wheel_by_its_55_steps(self):
        turn = np.linspace(0, 2 * np.pi, 551)[None, :-1]
        colour = flow_colours(np.cos(turn), np.sin(turn))
        hue = cv2.cvtColor(colour.astype(np.float32), cv2.COLOR_RGB2HSV)[0, :, 0]
        assert (np.diff(hue) > 0).all()
        sixths = np.bincount((hue // 60.001).astype(int))
        np.testing.assert_allclose(sixths / 10, [15, 6, 4, 11, 13, 6], atol=0.11)

    def test_rest_is_white(self):
        assert (flow_colours(np.zeros((2, 3)), np.zeros((2, 3))) == np.ones((2, 3, 3))).all()


def framed(flow_map, onset, apex):
    """A dataset of one sample with frames, of one colour (blue, green, red) or grey level each."""
    pair = np.array([np.full((8, 8, *np.shape(colour)), colour) for colour in (onset, apex)], np.uint8)
    return Dataset("d", flow_map[None].astype(np.float32), (Sample("x", "s", "c", "negative"),), frames=pair[None])


def lines(path):
    """The mean colours of the three tiles of a sample's upper line and of its lower line."""
    image = colours(path)
    coloured = np.abs(image - 230).max(axis=2) > 3
    rows = np.array([len(runs(row)) == 3 for row in coloured])
    found = []
    for top, bottom in runs(rows):
        tiles = runs(coloured[(top + bottom) // 2])
        found.append([image[top + 3 : bottom - 3, left + 3 : right - 3].mean(axis=(0, 1)) for left, right in tiles])
    return found


class TestFrames:
    def test_onset_apex_and_flow_stand_over_the_map(self, tmp_path):
        flow_map = np.array([np.zeros((4, 4)), np.full((4, 4), 3.0), np.ones((4, 4))])
        montage(framed(flow_map, (200, 100, 50), (20, 60, 180)), tmp_path / "m.png")
        (onset, apex, flow), (u, v, _) = lines(tmp_path / "m.png")
        np.testing.assert_allclose(onset, (50, 100, 200), atol=1)
        np.testing.assert_allclose(apex, (180, 60, 20), atol=1)
        np.testing.assert_allclose(
            flow, (255, 255 * 13.75 / 15, 0), atol=2
        )  # down is a quarter of the wheel's 55 steps
        assert u.min() > 240
        assert v[0] > v[2] + 50

    def test_grey_frames(self, tmp_path):
        montage(framed(np.zeros((3, 4, 4)), 40, 160), tmp_path / "m.png")
        (onset, apex, flow), _ = lines(tmp_path / "m.png")
        np.testing.assert_allclose([onset, apex, flow], [[40] * 3, [160] * 3, [255] * 3], atol=1)

    def test_the_wheel_is_there_with_frames_alone(self, tmp_path, composite):
        dataset = composite()
        frames = np.full((len(dataset), 2, 8, 8), 128, np.uint8)
        for name, shown in (("with", frames), ("without", None)):
            montage(composite(frames=shown), tmp_path / f"{name}.png", per_class=1)
        magenta = {
            name: (np.abs(colours(tmp_path / f"{name}.png") - (255, 0, 255)).max(axis=2) < 40)[-150:, :150].sum()
            for name in ("with", "without")
        }
        assert magenta["with"] > 20
        assert magenta["without"] == 0

    def test_what_it_says(self, tmp_path, composite):
        frames = np.zeros((len(composite()), 2, 6, 5, 3), np.uint8)
        montage(composite(frames=frames), tmp_path / "m.svg", per_class=1)
        text = (tmp_path / "m.svg").read_text()
        for said in ("onset", "apex", "flow", "u", "v", "strain"):
            assert f"<!-- {said} -->" in text or f"\n{said}" in text


class TestFiles:
    @pytest.mark.parametrize(("name", "start"), [("m.png", b"\x89PNG"), ("m.svg", b"<?xml"), ("m.PDF", b"%PDF")])
    def test_the_suffix_is_the_format(self, tmp_path, composite, name, start):
        montage(composite(), tmp_path / "new" / name, per_class=2)
        assert (tmp_path / "new" / name).read_bytes().startswith(start)
        assert [path.name for path in (tmp_path / "new").iterdir()] == [name]

    @pytest.mark.parametrize("name", ["m.jpeg", "m", "m.pgn"])
    def test_other_formats(self, tmp_path, composite, name):
        with pytest.raises(UserError, match=rf"{name}: pictures are written as png, svg, pdf"):
            montage(composite(), tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_at_least_one_sample(self, tmp_path, composite):
        with pytest.raises(UserError, match="at least one sample per class must be shown, found 0"):
            montage(composite(), tmp_path / "m.png", per_class=0)

    def test_what_it_says(self, tmp_path, composite):
        dataset = composite({("alpha", "$x"): (9, 0, 1), ("beta", "s2"): (0, 2, 0)}, u_mirror=1.0, size=5)
        montage(dataset, tmp_path / "m.svg", per_class=3)
        text = (tmp_path / "m.svg").read_text()
        for said in (
            "made: 12 maps of 5 x 5 pixels, 2 subjects",
            "negative (9)",
            "surprise (1)",
            "positive (2)",
            "median",
        ):
            assert f"<!-- {said}" in text or said in text
        for clip in ("$x negative_0", "$x negative_4", "$x negative_8", "$x surprise_0", "s2 positive_1"):
            assert f"<!-- {clip} -->" in text
        assert "negative_1 " not in text
        assert "negative (0)" not in text

    def test_is_the_same_each_time_and_leaves_no_figure_open(self, tmp_path, composite):
        for name in ("a.png", "b.png"):
            montage(composite(), tmp_path / name, per_class=1)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
        assert plt.get_fignums() == []

    def test_wide_and_many(self, tmp_path, composite):
        dataset = composite()
        for per_class in (1, 4):
            montage(dataset, tmp_path / f"{per_class}.png", per_class)
        assert colours(tmp_path / "4.png").shape[1] > colours(tmp_path / "1.png").shape[1]
        maps = np.random.default_rng(0).normal(size=(1, 3, 4, 9)).astype(np.float32)
        montage(Dataset("d", maps, (Sample("x", "s", "c", "negative"),)), tmp_path / "flat.png")
        assert (tmp_path / "flat.png").is_file()
