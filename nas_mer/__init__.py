"""Architecture search for micro-expression recognition.

In Python:

    import nas_mer
    network = nas_mer.build("rcn-f")       # a plain torch.nn.Module
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_mer.nn import Network

__all__ = ["__version__", "build"]
__version__ = "0.1.0"


def build(genotype: str, classes: int = 3, **parameters: int | float | bool) -> Network:
    """Build the network of a genotype, with fresh weights.

    Args:
        genotype: the name of a genotype that a shipped space names (`rcn-f`), or the path of a genotype's YAML file.
        classes: the number of classes.
        **parameters: other values for its space's parameters (`feature_maps=32`), and `size`, the side of its input.

    Returns:
        a module from `(N, 3, size, size)` float maps to `(N, classes)` logits.

    Raises:
        UserError: no such genotype or parameter.
    """
    from pathlib import Path

    from nas_mer.nn import Network
    from nas_mer.space import find_genotype, load_genotype

    path = Path(genotype)
    space, found = load_genotype(path) if path.suffix in (".yaml", ".yml") else find_genotype(genotype)
    return Network(space.with_parameters(**parameters).graph.freeze(found.choices), classes)
