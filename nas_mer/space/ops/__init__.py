"""Ops: what a module in a search space can be made of.

An op is a function from the shape of its input map, `(channels, height, width)`, and named arguments to a
`torch.nn.Module` that takes `(N, C, H, W)` float tensors. Its signature *is* its schema: names, types and defaults
of the keyword arguments are what a YAML space may write. A module of the user's adds ops of its own:

    from nas_mer.space import Shape, op

    @op("blur")
    def blur(shape: Shape, *, kernel: int = 3) -> nn.Module:
        \"\"\"A fixed box filter.\"\"\"
        return nn.AvgPool2d(kernel, stride=1, padding=kernel // 2)

The command line reads such a module with `--ops FILE.py`, Python with `load_ops`; worker processes then know it too.

An argument annotated `Like` takes the name of a state and is handed that state's shape. Arguments are numbers, text,
true or false, and lists of these; bounds go into the annotation (`Annotated[float, Field(ge=0)]`).
"""

from nas_mer.space.ops.basic import Conv2d, Half, Select
from nas_mer.space.ops.capsules import Capsules, Lengths, Squash
from nas_mer.space.ops.cells import FactorizedReduce, Zero
from nas_mer.space.ops.dropout import Dropout
from nas_mer.space.ops.registry import OPS, OPS_FILES, Like, OpType, Shape, load_ops, op, same_ops

__all__ = [
    "OPS",
    "OPS_FILES",
    "Capsules",
    "Conv2d",
    "Dropout",
    "FactorizedReduce",
    "Half",
    "Lengths",
    "Like",
    "OpType",
    "Select",
    "Shape",
    "Squash",
    "Zero",
    "load_ops",
    "op",
    "same_ops",
]
