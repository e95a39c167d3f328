import cv2
import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import recall_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nas_mer.data import CLASSES, Dataset, loso_folds
from nas_mer.data.synthetic.composite import STUDIOS, UNITS, perform, synth
from nas_mer.data.synthetic.faces import Moment, displacement
from nas_mer.errors import UserError


@pytest.fixture(scope="module")
def small():
    return synth(seed=1, subjects=5, clips=4, size=30)


@pytest.fixture(scope="module")
def clips():
    return perform(seed=3)


def of(clips, database):
    return [clip for clip in clips if clip.sample.database == database]


def test_the_same_seed_gives_the_same_dataset_on_any_number_of_threads():
    threads = cv2.getNumThreads()
    fingerprints = []
    try:
        for count in (1, 3):
            cv2.setNumThreads(count)
            fingerprints.append(synth(seed=5, subjects=2, clips=3, size=20).fingerprint)
    finally:
        cv2.setNumThreads(threads)
    assert len(set(fingerprints)) == 1
    assert synth(seed=6, subjects=2, clips=3, size=20).fingerprint not in fingerprints


def test_a_clip_does_not_depend_on_the_others(clips):
    one, other = clips[0], clips[-1]
    first = [*one.frames(), *other.frames()]
    again = [*other.frames(), *one.frames()]
    for frame, same in zip(first, again[2:] + again[:2], strict=True):
        np.testing.assert_array_equal(frame, same)


def test_the_dataset(small, tmp_path):
    assert small.maps.shape == (len(small), 3, 30, 30)
    assert small.classes == CLASSES
    assert small.u_mirror == 0.0
    assert small.provenance["seed"] == 1
    assert small.provenance["flow"] == "dis"
    assert (small.maps[:, 2] >= 0).all()
    assert (np.sign(small.maps[:, :2].mean(axis=(2, 3))) < 0).any()
    small.save(tmp_path / "synth")
    assert Dataset.load(tmp_path / "synth").fingerprint == small.fingerprint


def test_subjects_and_clips(clips):
    names = [studio.name for studio in STUDIOS]
    assert list(dict.fromkeys(clip.sample.database for clip in clips)) == names
    subjects = [{clip.sample.subject for clip in of(clips, name)} for name in names]
    assert [len(some) for some in subjects] == [6, 8, 10]
    assert "a01" in subjects[0]
    assert {"a01_01", "a01_02"} <= {clip.sample.clip for clip in clips}
    per_subject = np.unique([clip.sample.subject for clip in clips], return_counts=True)[1]
    assert per_subject.min() >= 3
    assert per_subject.max() <= 9
    assert len(set(per_subject)) > 2
    assert len({clip.face for clip in clips}) == 24


def test_classes(clips):
    for studio in STUDIOS:
        shown = {(clip.sample.subject, clip.sample.label) for clip in of(clips, studio.name)}
        for label in CLASSES:
            assert len([pair for pair in shown if pair[1] == label]) >= 2
    labels = [clip.sample.label for clip in clips]
    assert labels.count("negative") > max(labels.count("positive"), labels.count("surprise"))
    per_subject = {clip.sample.subject: set() for clip in clips}
    for clip in clips:
        per_subject[clip.sample.subject].add(clip.sample.label)
    assert any(len(shown) < len(CLASSES) for shown in per_subject.values())


@pytest.mark.parametrize("seed", range(10))
def test_the_smallest_composite_has_all_folds(seed):
    clips = perform(seed, subjects=2, clips=3)
    samples = tuple(clip.sample for clip in clips)
    dataset = Dataset("labels", np.zeros((len(clips), 3, 1, 1), np.float32), samples)
    for part in (dataset, *(dataset.select([studio.name]) for studio in STUDIOS)):
        for fold in loso_folds(part):
            assert set(part.labels[fold.train]) == {0, 1, 2}


def test_databases_look_different(clips):
    frames = {studio.name: of(clips, studio.name)[0].frames()[0] for studio in STUDIOS}
    assert len({frame.shape for frame in frames.values()}) == 3
    grey = {name: bool((frame == frame[..., :1]).all()) for name, frame in frames.items()}
    assert grey == {"alder": False, "birch": False, "cedar": True}
    assert len({(studio.camera.noise, studio.camera.gamma) for studio in STUDIOS}) == 3


def test_expressions_are_of_their_class_and_micro(clips):
    farthest = []
    for clip in clips[::3]:
        units = clip.apex.expression.units
        assert set(units) & set(UNITS[clip.sample.label])
        flow = displacement(clip.face, Moment(), Moment(clip.apex.expression), clip.camera)
        farthest.append(np.linalg.norm(flow, axis=-1).max())
    low, middle, high = np.percentile(farthest, [5, 50, 95])
    assert 0.3 < low < 1 < middle < 2 < high < 5


def test_heads_drift_by_less_than_a_pixel_or_two(clips):
    for clip in clips:
        shift = clip.camera.width * np.hypot(clip.apex.pose.x - clip.onset.pose.x, clip.apex.pose.y - clip.onset.pose.y)
        assert 0 < shift < 2.5


def test_classes_can_be_learned_across_subjects_but_not_perfectly(small):
    features = small.resized(10).numpy().reshape(len(small), -1)
    classifier = make_pipeline(StandardScaler(), RidgeClassifier(alpha=300, class_weight="balanced"))

    def uar(labels):
        guessed = cross_val_predict(classifier, features, labels, groups=small.subjects, cv=LeaveOneGroupOut())
        return recall_score(labels, guessed, average="macro")

    assert 0.5 < uar(small.labels) < 0.97
    shuffled = [uar(np.random.default_rng(seed).permutation(small.labels)) for seed in range(5)]
    assert np.mean(shuffled) < 0.45, "chance is a third"


def test_progress_counts_clips():
    told = []
    dataset = synth(subjects=2, clips=3, size=8, method="farneback", progress=lambda *numbers: told.append(numbers))
    assert told == [(done + 1, len(dataset)) for done in range(len(dataset))]
    assert dataset.provenance["flow"] == "farneback"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be at least 0, found -1"),
        ({"subjects": 1, "clips": 2}, "subjects must be at least 2, found 1; clips must be at least 3, found 2"),
        ({"size": 0}, "at least 1 pixel a side, found 0"),
        ({"method": "dys"}, "unknown method of optical flow 'dys'; did you mean 'dis'"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        synth(**arguments)
