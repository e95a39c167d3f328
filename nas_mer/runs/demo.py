"""The whole chain on a small synthetic composite: data, search, top 3, LOSO, pictures."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from nas_mer.data import montage, synth
from nas_mer.errors import UserError
from nas_mer.runs.folder import Progress, Run
from nas_mer.runs.pictures import draw_weight_history, draw_weights
from nas_mer.runs.retraining import RetrainConfig, retrain
from nas_mer.runs.searching import SearchConfig, search
from nas_mer.search import load_search_recipe
from nas_mer.space import SearchSpace, load_genotype
from nas_mer.train import Recipe, load_recipe


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
        UserError: the folder holds something else.
    """
    mine = folder / "data" / "dataset.json"
    if folder.exists() and any(folder.iterdir()) and not mine.is_file():
        raise UserError(f"{folder}: holds something else than a demo; choose another --out")
    shutil.rmtree(folder, ignore_errors=True)
    dataset = synth(progress=lambda done, total: progress(done, total, "rendering faces"))
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
    montage(dataset, folder / "maps.png")
    draw_weights(searched, folder / "weights.svg")
    draw_weight_history(searched, folder / "history.svg")
    return Demo(searched, retrained, (folder / "maps.png", folder / "weights.svg", folder / "history.svg"))
