"""Recipes: how a network is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nas_mer.placed_yaml import read_shipped

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Normalise = Literal["standardise", "instance", "stretch", "none"]
RecipeT = TypeVar("RecipeT", bound="Part")


class Part(BaseModel):
    """A part of a recipe: fixed once made, without keys that nobody knows; text and true are no numbers in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _fixed(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """Iterate over its keys that hold no others, as in `optimizer.learning_rate`, with their values."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Part):
                yield from ((f"{name}.{key}", leaf) for key, leaf in value.leaves())
            else:
                yield name, value


class Sgd(Part):
    """Stochastic gradient descent with momentum; weight decay is added to the gradient."""

    learning_rate: Positive
    momentum: Share = 0.9
    weight_decay: NotNegative = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _has_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Schedule(Part):
    """The learning rate over epochs.

    Attributes:
        kind: `constant`; `step`: times `factor` after every `every` epochs; `cosine`: from the optimiser's learning
            rate down to `final` along half a cosine over all epochs.
    """

    kind: Literal["constant", "step", "cosine"] = "constant"
    every: Count = 10
    factor: Positive = 0.5
    final: NotNegative = 0.0

    @model_validator(mode="after")
    def _has_nothing_idle(self) -> Self:
        """Refuse what this kind takes no notice of."""
        of_kind = {"every": "step", "factor": "step", "final": "cosine"}
        for name, kind in of_kind.items():
            if kind != self.kind and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is of the kind {kind}, and this is {self.kind}")
        return self

    def at(self, epoch: int, epochs: int, start: float) -> float:
        """Return the learning rate in an epoch, counted from 0."""
        match self.kind:
            case "constant":
                return start
            case "step":
                return start * self.factor ** (epoch // self.every)
            case "cosine":
                return self.final + (start - self.final) * (1 + math.cos(math.pi * epoch / epochs)) / 2


class Augment(Part):
    """Random changes of training maps.

    Attributes:
        flip: the probability of a horizontal flip; the horizontal flow changes its sign with it.
        shift: the largest translation in pixels along each axis; what comes in at the border repeats the border.
        magnitude: each channel of a normalised map is multiplied by `exp(m)`, m uniform in -magnitude..magnitude. It
            comes after normalising: `instance` and `stretch` would take any factor out again.
        erase: the side in pixels of a square of a normalised map that is set to 0 in all channels (the channel's mean,
            with `standardise` and `instance`), as in Cutout (DeVries and Taylor, 2017). Each place is as probable; what
            is past the border erases nothing.
    """

    flip: Share = 0.0
    shift: Annotated[int, Field(ge=0)] = 0
    magnitude: NotNegative = 0.0
    erase: Annotated[int, Field(ge=0)] = 0


class Recipe(Part):
    """How networks are retrained.

    Attributes:
        epochs: how many at most.
        stop_loss: stop after the epoch whose mean training loss (with dropout) is at most this. The held-out subject
            has no say in it.
        batch_size: samples a step; what is left over of an epoch waits for the next (see `steps_and_batch`).
        optimizer, schedule, augment: see there.
        normalise: `standardise` each channel by mean and deviation of the training samples; `instance`, each channel of
            each map by its own; `stretch` each channel of each map to 0..1; `none`.
        balance: weigh each class by the inverse of its share in the training samples, to this power: 0 is no weight, 1
            makes all classes count alike.
        label_smoothing: as in `torch.nn.CrossEntropyLoss`.
    """

    epochs: Count
    stop_loss: NotNegative | None = None
    batch_size: Count = 64
    optimizer: Sgd
    schedule: Schedule = Schedule()
    normalise: Normalise = "standardise"
    augment: Augment = Augment()
    balance: Share = 0.0
    label_smoothing: Share = 0.0


RECIPES = Path(__file__).parent / "recipes"


def load_recipe(name: str | Path, model: type[RecipeT], folder: Path = RECIPES) -> RecipeT:
    """Read a recipe from a YAML file, or a shipped one by its name (`default`).

    Raises:
        UserError: there is no such recipe, or a value in it is wrong (the message names file, line and key).
    """
    return read_shipped(name, model, folder, "recipe")
