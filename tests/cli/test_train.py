"""A search that tunes, by commands, and what is refused of it."""

import json

import pytest

from nas_mer.search import cost, strategies


@pytest.fixture
def quick(tiny, tmp_path, monkeypatch):
    """A search of two genotypes."""
    monkeypatch.setattr(strategies, "TRIALS", 2)
    monkeypatch.setattr(cost, "TUNED_DRAWS", 1)
    sizes = ("--set", "size=16", "--set", "pool=2")
    run = ("--strategy", "tpe", "--epochs", "1", "--workers", "1", "--out", tmp_path / "s")
    return ("search", "rcn", "--data", tiny, *sizes, *run)


def test_tuned_sizes_are_retrained_by_naming_the_run(done, nas_mer, refused, quick, tiny, tmp_path):
    tune = ("--tune", "feature_maps=3,4", "--tune", "optimizer.learning_rate=1e-3..1e-2")
    told = done(*quick, *tune, "--objectives", "uar,flops")
    assert "beaten by none in all of uar, flops:" in told
    recipe = tmp_path / "s" / "recipes" / "top1.yaml"
    assert f"retrain {tmp_path / 's' / 'genotypes' / 'top1.yaml'} --recipe {recipe} --data ..." in told
    done("graph", tmp_path / "s", "--view", "pareto", "-o", tmp_path / "front.png")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    message = refused("retrain", tmp_path / "s", "--data", tiny)
    assert message.startswith(f"{tmp_path / 's'}: has tuned the recipe, so that each genotype has its own; ")
    assert "or name one recipe for all by --recipe" in refused("choose", tmp_path / "s", "--data", tiny)
    best = json.loads((tmp_path / "s" / "result.json").read_text())["trials"][0]
    told = ("retrain", tmp_path / "s", "--data", tiny, "--recipe", recipe, "--workers", "1", "--out", tmp_path / "r")
    assert nas_mer(*told)[0] == 0
    shown = done("graph", tmp_path / "r" / "genotypes" / "top1.yaml", "-o", tmp_path / "top1.json")
    assert shown
    assert (
        f"feature_maps: {best['parameters']['feature_maps']}\n"
        in (tmp_path / "r" / "genotypes" / "top1.yaml").read_text()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--tune", "fature_maps"],
            "--tune: 'fature_maps' is no parameter of space 'rcn' and no key of the recipe",
        ),
        (["--tune", "size"], "--tune: 'size' is set to 16 already; leave out --set size=16"),
        (["--tune", "epochs=1,2"], "--epochs: is tuned by --tune; leave one of both out"),
        (
            ["--objectives", "parameters"],
            "--objectives: uar has to be among them, or else nothing is learnt",
        ),
        (
            ["--strategy", "fair", "--tune", "pool"],
            "--tune: strategy fair trains one supernet for all genotypes",
        ),
        (
            ["--checkpoint-every", "0"],
            "--checkpoint-every: strategy tpe keeps no checkpoints within a training; leave it out",
        ),
        (["--tune", "feature_maps", "--budget", "0.01"], "--budget: 0.01 steps are not enough to train one genotype"),
    ],
)
def test_refused(refused, quick, tmp_path, arguments, message):
    assert message in refused(*quick, *arguments)
    assert not (tmp_path / "s").exists()
