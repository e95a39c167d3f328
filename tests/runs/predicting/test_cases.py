import numpy as np
import pytest

from nas_mer.data import Dataset
from nas_mer.errors import UserError


class TestCase:
    def test_a_sample_up_to_case_and_zeros(self, case, tiny):
        dataset = Dataset.load(tiny)
        found = case("alpha/S1/Positive_01")
        index = [str(sample) for sample in dataset.samples].index("alpha/s01/positive_1")
        assert (found.name, found.label, found.fold) == ("alpha/s01/positive_1", "positive", "alpha/s01")
        np.testing.assert_array_equal(found.flow_map, dataset.maps[index])

    def test_a_sample_comes_before_a_file_of_its_name(self, case, tmp_path, monkeypatch):
        """The file's frames would be shown to networks that were trained on them."""
        (tmp_path / "alpha/s01/again").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        assert case("alpha/s01/again").fold == "alpha/s01"
        with pytest.raises(UserError, match="no pictures in it"):
            case("./alpha/s01/again")

    @pytest.mark.parametrize(
        ("clip", "hint"),
        [
            ("nothing.mp4", "and clips of 'tiny' are named as alpha/s01/again"),
            ("/a/b", "and clips of 'tiny' are named as"),
            ("alpha/s03/again", "and alpha has no subject 's03'; did you mean 's0"),
            ("alpha/s01/agan", "and alpha/s01 has no clip 'agan'; did you mean 'again'"),
        ],
    )
    def test_no_such_clip(self, case, clip, hint):
        with pytest.raises(UserError) as error:
            case(clip)
        assert f"{clip}: no such file or folder, {hint}" in str(error.value)

    def test_a_stretched_map_is_no_flow(self, case, tmp_path):
        np.save(tmp_path / "m.npy", np.zeros((3, 8, 8), np.uint8))
        with pytest.raises(UserError, match="a map stretched to their range, but the maps of 'tiny' are flow"):
            case(tmp_path / "m.npy")
