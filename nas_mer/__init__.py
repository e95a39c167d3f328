"""Architecture search for micro-expression recognition.

In Python:

    import nas_mer
    network = nas_mer.build("rcn-f")       # a plain torch.nn.Module
    table = nas_mer.benchmark("megc2019-rcn")   # every network of a space, retrained and scored
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sklearn.pipeline import Pipeline

    from nas_mer.nn import Network
    from nas_mer.tabular import Benchmark

__all__ = ["__version__", "benchmark", "build"]
__version__ = "0.1.0"


def build(genotype: str, /, classes: int = 3, **parameters: int | float | bool) -> Network | Pipeline:
    """Build the network of a genotype, with fresh weights, or the estimator of a handcrafted descriptor.

    Args:
        genotype: the name of a genotype that a shipped space names (`rcn-f`), or the path of a genotype's YAML file; or
            `lbp-top` or `bi-woof`.
        classes: the number of classes; an estimator learns them when it is fitted.
        **parameters: other values for its space's parameters (`feature_maps=32`), and `size`, the side of its input; or
            for those of a descriptor (`blocks=8`).

    Returns:
        a module from `(N, 3, size, size)` float maps to `(N, classes)` logits; or a scikit-learn pipeline of descriptor
        and linear support vector machine, whose `fit` and `predict` take clips `(N, T, H, W)` uint8 (`lbp-top`) or flow
        maps `(N, 3, H, W)` of any unit (`bi-woof`), as `Dataset.clips` and `Dataset.maps` are; maps that were stretched
        as `nas_mer.handcrafted.BiWoof.inputs` returns them.

    Raises:
        UserError: no such genotype or parameter.
    """
    from pathlib import Path

    from nas_mer.handcrafted import DESCRIPTORS, find_descriptor
    from nas_mer.handcrafted.classifier import estimator
    from nas_mer.nn import Network
    from nas_mer.space import find_genotype, load_genotype

    if genotype in DESCRIPTORS:
        return estimator(find_descriptor(genotype, parameters))
    path = Path(genotype)
    space, found = load_genotype(path) if path.suffix in (".yaml", ".yml") else find_genotype(genotype)
    return Network(space.with_parameters(**parameters).graph.freeze(found.choices), classes)


def benchmark(name: str | Path, size: int | None = None) -> Benchmark:
    """Read a search space evaluated whole: all its networks' predictions, with the scores and comparisons they give.

    Args:
        name: that of a benchmark that comes with the package (`megc2019-rcn`), or the path of a `.npz` file.
        size: the side of the networks' input maps in pixels; None takes the largest that there is.

    Raises:
        UserError: there is no such benchmark, not of this size, or the file is no benchmark's table or damaged.
    """
    from nas_mer.tabular import find_benchmark

    return find_benchmark(name, size)
