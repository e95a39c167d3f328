"""Handcrafted descriptors with a linear support vector machine: the methods before networks, to compare these with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from nas_mer.errors import UserError
from nas_mer.handcrafted.bi_woof import BiWoof
from nas_mer.handcrafted.descriptor import Descriptor
from nas_mer.handcrafted.lbp_top import LbpTop
from nas_mer.placed_yaml import Node
from nas_mer.words import did_you_mean

__all__ = ["DESCRIPTORS", "AnyDescriptor", "BiWoof", "Descriptor", "LbpTop", "find_descriptor"]

AnyDescriptor = Annotated[LbpTop | BiWoof, Field(discriminator="kind")]
"""What a file may hold."""

DESCRIPTORS: Mapping[str, type[AnyDescriptor]] = {"lbp-top": LbpTop, "bi-woof": BiWoof}
"""The descriptors by name."""


def find_descriptor(name: str, parameters: Mapping[str, int | float | bool] | None = None) -> AnyDescriptor:
    """Return a descriptor by its name, with other parameters than its own where some are given.

    Raises:
        UserError: there is no such descriptor or parameter, or a value is not possible.
    """
    if name not in DESCRIPTORS:
        raise UserError(f"no descriptor is called '{name}'{did_you_mean(name, DESCRIPTORS)}")
    return Node(dict(parameters or {}), (), name, {}).into(DESCRIPTORS[name])
