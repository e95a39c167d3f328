from dataclasses import replace

import cv2
import numpy as np
import pytest

from nas_mer.data import Dataset, Sample, import_maps
from nas_mer.data.flow import flow_map
from nas_mer.data.frames import (
    Preparation,
    find_release,
    in_form_of,
    is_told,
    load_layout,
    map_of,
    preparation_like,
    prepare,
    read_footage,
)
from nas_mer.errors import UserError

QUICK = Preparation(flow="dis", size=20)


@pytest.fixture(scope="module")
def frames():
    """Twelve frames of a bright spot that moves to the right on a textured ground."""
    ground = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 160, (48, 40)).astype(np.uint8), (0, 0), 2)
    film = []
    for time in range(12):
        frame = cv2.circle(ground.copy(), (14 + time // 3, 24), 6, 230, -1)
        film.append(cv2.cvtColor(cv2.GaussianBlur(frame, (0, 0), 1), cv2.COLOR_GRAY2BGR))
    return film


@pytest.fixture
def folder(frames, tmp_path):
    """The same as files whose alphabetical order is not theirs in time."""
    path = tmp_path / "take 1"
    path.mkdir()
    for number, frame in enumerate(frames, 1):
        cv2.imwrite(str(path / f"img{number}.png"), frame)
    (path / ".hidden.png").write_bytes(b"")
    (path / "notes.txt").write_text("not a frame")
    return path


@pytest.fixture
def video(frames, tmp_path):
    def write(count=12, name="clip.avi"):
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 200, frames[0].shape[1::-1])
        for frame in (frames * (count // 12 + 1))[:count]:
            writer.write(frame)
        writer.release()
        return path

    return write


def dataset(u_mirror=0.0, **provenance):
    maps = np.random.default_rng(0).random((1, 3, 20, 20)).astype(np.float32)
    return Dataset("made", maps, (Sample("a", "s1", "c1", "positive"),), u_mirror=u_mirror, provenance=provenance)


class TestRead:
    def test_a_folder_in_the_order_of_its_numbers(self, folder, frames):
        found = read_footage(str(folder))
        assert found.names == [f"img{number}.png" for number in range(1, 13)]
        np.testing.assert_array_equal(found.frames, frames)
        assert (found.name, found.apex, found.rate) == ("take 1", None, None)

    def test_a_video(self, video, frames):
        found = read_footage(str(video()))
        assert len(found.frames) == len(found.names) == 12
        assert np.abs(np.array(found.frames, float) - frames).mean() < 5  # JPEG
        assert found.rate == pytest.approx(200)

    def test_a_pair_also_of_names_with_commas(self, folder, frames):
        odd = folder / "b,c.png"
        (folder / "img7.png").rename(odd)
        found = read_footage(f"{folder}/img1.png,{odd}")
        np.testing.assert_array_equal(found.frames, [frames[0], frames[6]])
        assert found.apex == 1

    @pytest.mark.parametrize("count", [0, 1])
    def test_too_few_pictures(self, folder, count):
        for file in sorted(folder.glob("img*"))[count:]:
            file.unlink()
        with pytest.raises(UserError, match=r"take 1: (no pictures|one picture) in it .*a clip needs its onset"):
            read_footage(str(folder))

    def test_one_picture_is_no_clip(self, folder):
        with pytest.raises(UserError, match=r"img1\.png: is one picture; give onset and apex as ONSET,APEX"):
            read_footage(str(folder / "img1.png"))

    def test_a_damaged_picture_is_named(self, folder):
        (folder / "img3.png").write_bytes(b"nothing")
        with pytest.raises(UserError, match=r"img3\.png: not readable as an image"):
            read_footage(str(folder))

    def test_a_video_that_is_none(self, tmp_path):
        (tmp_path / "v.mp4").write_bytes(b"no video")
        with pytest.raises(UserError, match=r"v\.mp4: not readable as a video"):
            read_footage(str(tmp_path / "v.mp4"))

    def test_videos_of_too_few_or_many_frames(self, video, monkeypatch):
        with pytest.raises(UserError, match="a video of one frame; cut it"):
            read_footage(str(video(1)))
        monkeypatch.setattr("nas_mer.data.frames.footage.LONGEST", 11)
        with pytest.raises(UserError, match="a video of more than 11 frames; cut it"):
            read_footage(str(video(12)))


class TestMap:
    def test_a_clip_of_a_release_gets_the_map_that_its_dataset_has(self, filmed, tmp_path):
        """From its frames between the annotated numbers, by what the dataset says of itself."""
        release = find_release(load_layout("casme2"), filmed / "CASME2")
        made = prepare([release], Preparation(flow="dis", size=24, strain="symmetric"), tmp_path / "kept", name="m",
                       workers=1).dataset  # fmt: skip
        how = preparation_like(made)
        assert is_told(made)
        for clip in release.clips[:3]:
            index = [str(sample) for sample in made.samples].index(str(clip.sample))
            found, _ = map_of(read_footage(f"{clip.frames[clip.onset]},{clip.frames[clip.apex]}"), how)
            np.testing.assert_allclose(in_form_of(made, found), made.maps[index], atol=1e-6)

    def test_the_apex_is_spotted_where_nobody_says(self, folder):
        footage = read_footage(str(folder))
        found, pair = map_of(footage, QUICK)
        assert pair.apex >= 7
        np.testing.assert_array_equal(found, flow_map(footage.frames[0], footage.frames[pair.apex], 20, "dis"))
        assert found[0, 8:12, 6:9].mean() > 1  # percent of the width, to the right

    def test_magnified_motion_needs_all_frames_and_their_rate(self, folder, video):
        how = QUICK.model_copy(update={"magnify": 4.0})
        with pytest.raises(UserError, match="two frames do not show"):
            map_of(read_footage(f"{folder}/img1.png,{folder}/img9.png"), how)
        with pytest.raises(UserError, match="give --rate"):
            map_of(read_footage(str(folder)), how)
        plain, _ = map_of(read_footage(str(video())), QUICK)
        larger, _ = map_of(read_footage(str(video())), how)
        assert np.abs(larger[0]).max() > 1.3 * np.abs(plain[0]).max()

    def test_raw_frames_are_cropped(self, folder):
        footage = read_footage(str(folder))
        box = (2, 8, 36, 36)
        found, pair = map_of(footage, QUICK.model_copy(update={"box": box}), raw=True)
        np.testing.assert_array_equal(pair.frames[0], footage.frames[0][8:44, 2:38])
        assert found.shape == (3, 20, 20)

    def test_the_size_and_method_are_the_datasets(self):
        how = preparation_like(
            dataset(flow="farneback", strain="symmetric", apex="paper", magnify=2.0, box=[1, 2, 3, 4])
        )
        assert how == Preparation(size=20, flow="farneback", strain="symmetric", apex="paper", magnify=2.0)

    def test_imported_maps_do_not_tell_how_they_were_made(self):
        imported = dataset(layout="published tree")
        assert not is_told(imported)
        assert preparation_like(imported) == Preparation(size=20, flow="tvl1", strain="symmetric")

    def test_how_no_clip_is_prepared(self):
        small = replace(dataset(), maps=np.zeros((1, 3, 6, 6), np.float32))
        with pytest.raises(
            UserError, match="dataset 'made': size: Input should be greater than or equal to 8, found 6"
        ):
            preparation_like(small)
        with pytest.raises(UserError, match="dataset 'made': strain: Input should be 'paper' or 'symmetric', found 3"):
            preparation_like(dataset(flow="dis", strain=3))


class TestForm:
    def test_flow_stays_as_it_is(self):
        one = np.random.default_rng(1).normal(size=(3, 20, 20)).astype(np.float32)
        assert in_form_of(dataset(), one) is one

    def test_stretched_as_a_published_map_is_stored(self, tmp_path):
        """A flow written to an 8-bit picture as the published ones, and imported, is the same but for the rounding."""
        one = np.random.default_rng(1).normal(size=(3, 20, 20)).astype(np.float32)
        low, high = one.min((1, 2), keepdims=True), one.max((1, 2), keepdims=True)
        place = tmp_path / "tree" / "sub01" / "u_test" / "0"
        place.mkdir(parents=True)
        picture = np.rint(255 * (one - low) / (high - low)).astype(np.uint8)
        cv2.imwrite(str(place / "sub01_a .png"), picture[::-1].transpose(1, 2, 0))  # stored as R, G, B
        published = import_maps(tmp_path / "tree")
        np.testing.assert_allclose(in_form_of(published, one), published.maps[0], atol=0.5 / 255 + 1e-6)

    def test_a_still_channel_stays_finite(self):
        assert (in_form_of(dataset(u_mirror=1.0), np.ones((3, 20, 20), np.float32)) == 0).all()
