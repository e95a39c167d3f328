"""Scores as records for a spreadsheet or a data frame: one a (genotype, seed or mean, data)."""

from __future__ import annotations

from collections.abc import Iterator

from nas_mer.score.published import COMPOSITE, Published
from nas_mer.score.scores import ScoreRow

FIELDS = (
    "run", "genotype", "seed", "data", "samples", "folds",
    "uar", "uar_spread", "uar_low", "uar_high", "uf1", "uf1_spread", "uf1_low", "uf1_high", "source",
)  # fmt: skip
"""What a record may hold, in order."""


def score_records(row: ScoreRow) -> Iterator[dict[str, object]]:
    """Iterate over the records of a row: the composite, then each database.

    `seed` is `mean` for several seeds, `averaged` for networks that speak together. Numbers are not rounded.
    What is not known is left out: the spread with one seed, the interval with one subject a database.
    """
    for data, part in {COMPOSITE: row.composite, **row.databases}.items():
        record: dict[str, object] = {
            "genotype": row.genotype,
            "seed": _seed(row.seeds),
            "data": data,
            "samples": part.samples,
            "folds": part.folds,
        }
        for name, value, spread, interval in (
            ("uar", part.uar, part.uar_spread, part.uar_interval),
            ("uf1", part.uf1, part.uf1_spread, part.uf1_interval),
        ):
            low, high = interval or (None, None)
            record |= {name: value, f"{name}_spread": spread, f"{name}_low": low, f"{name}_high": high}
        yield {field: value for field, value in record.items() if value is not None}


def _seed(seeds: tuple[int, ...]) -> int | str:
    match seeds:
        case ():
            return "averaged"
        case (seed,):
            return seed
        case _:
            return "mean"


def published_records(found: Published, genotype: str) -> Iterator[dict[str, object]]:
    """Iterate over the records of what the paper reports, under a genotype's name; `seed` is `published`."""
    for data, part in found.scores.items():
        about = {"genotype": genotype, "seed": "published", "data": data, "source": found.source}
        yield about | {name: value for name, value in part._asdict().items() if value is not None}
