import cv2
import matplotlib.pyplot as plt
import numpy as np
import pytest

from nas_mer.data import Dataset, Sample, montage
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
