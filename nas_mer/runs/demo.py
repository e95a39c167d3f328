"""The whole chain on a small synthetic composite: data, search, top 3, LOSO, pictures."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from nas_mer.data import montage, synth
from nas_mer.errors import UserError
from nas_mer.files import read_json
from nas_mer.runs.folder import Progress, Run
from nas_mer.runs.pictures import draw_weight_history, draw_weights
from nas_mer.runs.retraining import RetrainConfig, retrain
from nas_mer.runs.searching import SearchConfig, search
from nas_mer.search import load_search_recipe
from nas_mer.space import SearchSpace, load_genotype
from nas_mer.train import Recipe, load_recipe

NAME = "demo"
PICTURES = ("maps.png", "weights.svg", "history.svg")


@dataclass(frozen=True)
class Demo:
    """What the demo made."""

    search: Run[SearchConfig]
    retrain: Run[RetrainConfig]
    pictures: tuple[Path, ...]


def demo(folder: Path, workers: int | None, progress: Progress) -> Demo:
    """Make a small composite, search `rcn`, retrain its top 3 under LOSO, and draw what was found.

    A demo that is there already is made anew.

    Raises:
        UserError: the folder holds anything else.
    """
    _clear(folder)
    dataset = replace(synth(progress=lambda done, total: progress(done, total, "rendering faces")), name=NAME)
    dataset.save(folder / "data")
    searched = search(
        SearchSpace.load("rcn"), folder / "data", load_search_recipe("default"), folder / "search", progress=progress
    )
    genotypes = [load_genotype(file) for file in sorted((searched.path / "genotypes").glob("*.yaml"))]
    retrained = retrain(
        genotypes,
        folder / "data",
        load_recipe("default", Recipe),
        folder / "retrain",
        workers=workers,
        progress=progress,
    )
    maps, weights, history = pictures = tuple(folder / name for name in PICTURES)
    montage(dataset, maps)
    draw_weights(searched, weights)
    draw_weight_history(searched, history)
    return Demo(searched, retrained, pictures)


def _clear(folder: Path) -> None:
    """Remove a demo, and nothing else."""
    if not folder.exists():
        return
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    header = folder / "data" / "dataset.json"
    is_demo = header.is_file() and read_json(header)["name"] == NAME
    if held - {"data", "search", "retrain", *PICTURES} or (held and not is_demo):
        raise UserError(f"{folder}: holds something else than a demo; choose another --out")
    shutil.rmtree(folder)
