"""How long a search and a LOSO retraining take.

    python benchmarks/speed.py DATASET [--out benchmarks/speed.json]

Searches `rcn` at 60x60 for 50 epochs with each hypergradient, searches it once in each fold (first order, protocol
nested), and retrains one genotype under LOSO with the default recipe (20 epochs). Times include starting worker
processes, not importing. The second and third search are given as ratios to the first, measured in the same run.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from machine import machine, seconds

from nas_mer.files import write_json
from nas_mer.runs import retrain, search
from nas_mer.search import load_search_recipe
from nas_mer.space import SearchSpace, find_genotype
from nas_mer.train import Recipe, load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--genotype", default="rcn-f")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    space, recipe = SearchSpace.load("rcn"), load_search_recipe("default")
    with tempfile.TemporaryDirectory() as scratch:
        searches = {
            order: seconds(
                lambda order=order: search(
                    space, options.dataset, recipe.model_copy(update={"order": order}), Path(scratch) / order
                )
            )
            for order in ("first", "second", "exact")
        }
        nested = seconds(lambda: search(space, options.dataset, recipe, Path(scratch) / "nested", protocol="nested"))
        genotype = find_genotype(options.genotype)
        loso = seconds(
            lambda: retrain([genotype], options.dataset, load_recipe("default", Recipe), Path(scratch) / "loso")
        )
    result = {
        "search_seconds": {order: round(value, 1) for order, value in searches.items()},
        "search_ratio_to_first": {order: round(value / searches["first"], 2) for order, value in searches.items()},
        "nested_search_seconds": round(nested, 1),
        "loso": {"genotype": options.genotype, "seconds": round(loso, 1)},
        "machine": machine(),
    }
    write_json(options.out, result)
    print(options.out.read_text())


if __name__ == "__main__":
    main()
