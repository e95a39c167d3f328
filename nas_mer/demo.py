"""The whole chain on a small synthetic composite: frames, flow maps, search, top 3, LOSO, pictures, report."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from nas_mer.compute import Compute
from nas_mer.data import montage
from nas_mer.data.frames import Preparation, Prepared, find_release, load_layout, prepare
from nas_mer.data.synthetic.releases import FOLDERS, MARK, write_releases
from nas_mer.files import check_replaceable
from nas_mer.report import write_report
from nas_mer.runs.folder import Progress, Run
from nas_mer.runs.retrainings.config import RetrainConfig
from nas_mer.runs.retrainings.retraining import retrain
from nas_mer.runs.searches.config import SearchConfig
from nas_mer.runs.searches.pictures import draw_weight_history, draw_weights
from nas_mer.runs.searches.searching import search
from nas_mer.search import load_search_recipe
from nas_mer.space import SearchSpace, load_genotype
from nas_mer.train import Recipe, load_recipe

NAME = "demo"
PAGES = ("report.html", "maps.png", "weights.svg", "history.svg")


@dataclass(frozen=True)
class Demo:
    """What the demo made."""

    prepared: Prepared
    search: Run[SearchConfig]
    retrain: Run[RetrainConfig]
    pages: tuple[Path, ...]


def demo(folder: Path, workers: int | None, progress: Progress) -> Demo:
    """Film made-up people as the three databases are delivered, make flow maps, search `rcn`, retrain its top 3 under
    LOSO, and show what was found.

    The flow is that of the quickest method, `dis`.

    A demo that is there already is made anew.

    Raises:
        UserError: the folder holds anything else.
    """
    _clear(folder)
    compute = Compute(workers=workers)
    frames = folder / "frames"
    write_releases(frames, workers=workers, progress=lambda done, total: progress(done, total, "filming faces"))
    prepared = prepare(
        [find_release(load_layout(layout), frames / place) for layout, place in FOLDERS.items()],
        Preparation(flow="dis"),
        folder / "data.kept",
        name=NAME,
        workers=workers,
        progress=progress,
    )
    prepared.dataset.save(folder / "data")
    searched = search(
        SearchSpace.load("rcn"),
        folder / "data",
        load_search_recipe("default"),
        folder / "search",
        compute=compute,
        progress=progress,
    )
    genotypes = [load_genotype(file) for file in sorted((searched.path / "genotypes").glob("*.yaml"))]
    retrained = retrain(
        genotypes,
        folder / "data",
        load_recipe("default", Recipe),
        folder / "retrain",
        compute=compute,
        progress=progress,
    )
    report, maps, weights, history = pages = tuple(folder / name for name in PAGES)
    write_report([searched, retrained], report)
    montage(prepared.dataset, maps)
    draw_weights(searched, weights)
    draw_weight_history(searched, history)
    return Demo(prepared, searched, retrained, pages)


def _clear(folder: Path) -> None:
    """Remove a demo, and nothing else."""
    check_replaceable(folder, "a demo", f"frames/{MARK}", ("frames", "data", "data.kept", "search", "retrain", *PAGES))
    if folder.exists():
        for path in list(folder.iterdir()):  # the folder itself may be the working directory
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
