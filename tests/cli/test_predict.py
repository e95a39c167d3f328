"""`nas-mer predict` as a user meets it."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from nas_mer.data import CLASSES
from nas_mer.runs import Compute, retrain
from nas_mer.space.ops import OPS, OPS_FILES


@pytest.fixture(scope="module")
def run(space, recipe, made, tmp_path_factory):
    """A retraining of rcn-f on maps that say how they were made: 4 folds, one seed."""
    folder = tmp_path_factory.mktemp("predict")
    replace(made(), provenance={"flow": "dis", "strain": "paper"}).save(folder / "data")
    genotype = space, space.genotype("rcn-f")
    return retrain([genotype], folder / "data", recipe, folder / "run", compute=Compute(workers=1)).path


@pytest.fixture
def clip(tmp_path):
    """A folder of frames."""
    folder = tmp_path / "smile"
    folder.mkdir()
    ground = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (48, 48)).astype(np.uint8), (0, 0), 2)
    for time in range(6):
        cv2.imwrite(str(folder / f"{time}.png"), np.roll(ground, time // 3, axis=1))
    return folder


def test_prints_probabilities_of_a_clip_and_draws_it(run, clip, done, tmp_path):
    out = done("predict", run, clip, "-o", tmp_path / "look.svg")
    lines = out.splitlines()
    assert lines[0].startswith("smile: ")
    assert lines[1].split() == ["class", "probability", "5", "to", "95", "%", "votes"]
    assert [line.split()[0] for line in lines[2:5]] == list(CLASSES)
    assert sum(float(line.split()[1]) for line in lines[2:5]) == pytest.approx(1, abs=2e-3)
    assert "map: dis flow and paper strain from 0.png to " in out
    assert (tmp_path / "look.svg").read_bytes().startswith(b"<?xml")


def test_json_is_one_document(run, clip, done):
    told = json.loads(done("predict", run, clip, "--json", "--flow", "farneback", "--apex", "paper"))
    assert told["clip"] == "smile"
    assert told["networks"] == len(told["folds"]) * len(told["seeds"])
    assert told["label"] is told["held_out"] is None
    assert told["predicted"] == max(CLASSES, key=lambda name: told["classes"][name]["probability"])
    assert sum(part["votes"] for part in told["classes"].values()) == pytest.approx(1)
    assert told["map"].startswith("farneback flow")
    assert told["map"].endswith("(spotted: paper)")


def test_a_pair_a_map_and_a_sample_of_the_dataset(run, clip, done, tmp_path):
    told = json.loads(done("predict", run, f"{clip / '0.png'},{clip / '5.png'}", "--json"))
    assert told["map"] == "dis flow and paper strain from 0.png to 5.png"
    np.save(tmp_path / "own.npy", np.random.default_rng(0).normal(size=(16, 16, 3)))  # channels may be the last
    assert json.loads(done("predict", run, tmp_path / "own.npy", "--json"))["map"] == "saved"
    with (run / "samples.csv").open() as file:
        database, subject, name, label = file.readlines()[1].strip().split(",")
    out = done("predict", run, f"{database}/{subject}/{name}")
    assert f"(true class: {label})" in out
    assert f"1 network of rcn-f: trained without {database}/{subject}, 1 seed\n" in out


def test_frames_are_cropped_to_a_box(run, clip, done, refused):
    assert "a face of 20 x 20 pixels; at least 32 a side" in refused("predict", run, clip, "--box", "0,0,20,20")
    done("predict", run, clip, "--box", "4,4,40,40")


@pytest.mark.parametrize(
    "options", [["--flow", "dis"], ["--apex", "paper"], ["--crop"], ["--box", "0,0,40,40"], ["--rate", "200"]]
)
@pytest.mark.parametrize("clip", ["alpha/s01/again", "own.npy"])
def test_a_clip_that_has_a_map_takes_no_options_of_frames(run, refused, tmp_path, monkeypatch, clip, options):
    monkeypatch.chdir(tmp_path)
    np.save("own.npy", np.random.default_rng(0).normal(size=(3, 16, 16)))
    assert refused("predict", run, clip, *options) == (
        f"{options[0]}: says how a map is made of frames, but '{clip}' has one already; leave it out\n"
    )


def test_what_a_clip_does_not_need_is_refused(run, clip, refused):
    pair = f"{clip / '0.png'},{clip / '5.png'}"
    assert refused("predict", run, pair, "--apex", "paper").startswith("--apex: is for a clip whose apex is not known")
    assert refused("predict", run, clip, "--crop", "--box", "4,4,40,40").startswith("--box: cuts a box out, --crop ")
    assert refused("predict", run, clip, "--rate", "200") == (
        "--rate: is for magnified motion, but that of 'tiny' is as it was filmed\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.mp4"], "nothing.mp4: no such file or folder, and clips of"),
        (["nothing.mp4", "-o", "look.gif"], "look.gif: pictures are written as .pdf, .png, .svg; found '.gif'"),
        (["CLIP", "--flow", "diss"], "unknown method of optical flow 'diss'; did you mean 'dis'?"),
        (["CLIP", "--apex", "papr"], "unknown method of apex spotting 'papr'; did you mean 'paper'?"),
        (["CLIP", "--box", "1,2,3"], "--box: write X,Y,WIDTH,HEIGHT"),
    ],
)
def test_mistakes_are_told(run, clip, refused, arguments, message):
    assert message in refused("predict", run, *[clip if word == "CLIP" else word for word in arguments])


def test_another_genotype_of_the_run(run, clip, done, refused):
    assert json.loads(done("predict", f"{run}:rcn-f", clip, "--json"))["genotype"] == "rcn-f"
    assert "has no genotype 'rcn-g'; did you mean 'rcn-f'?" in refused("predict", f"{run}:rcn-g", clip)


def test_a_run_that_is_no_retraining(refused, tmp_path):
    assert "no run.json in it" in refused("predict", tmp_path, "clip")


OWN = """
from nas_mer.space import Shape, op
from torch import nn


@op("{name}")
def blur(shape: Shape, *, kernel: int = 3) -> nn.Module:
    \"\"\"A fixed box filter.\"\"\"
    return nn.AvgPool2d(kernel, stride=1, padding=kernel // 2)
"""
SPACE = """
version: 1
name: blurred
input: {{channels: 3, size: 16}}
states:
  conv: {{from: input, module: [{name}, {{op: conv, channels: 4, stride: 3}}, batch_norm, relu]}}
head: {{from: conv, pool: 2}}
genotypes: {{blurred: {{}}}}
"""


def test_an_op_of_ones_own(done, refused, tiny, tmp_path):
    name = f"soften{len(OPS_FILES)}"
    ops, space = tmp_path / "ops.py", tmp_path / "space.yaml"
    ops.write_text(OWN.format(name=name))
    space.write_text(SPACE.format(name=name))
    asked = ("retrain", "blurred", "--space", space, "--data", tiny, "--epochs", 1, "--workers", 1)
    done("--ops", ops, *asked, "--out", tmp_path / "r")
    done("--ops", ops, "predict", tmp_path / "r", "alpha/s01/again")
    OPS.pop(name)
    assert f"no op or module is called '{name}'" in refused("predict", tmp_path / "r", "alpha/s01/again")
