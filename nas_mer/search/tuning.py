"""What a search tunes besides the genotype: parameters of the space and keys of the recipe, and the values it tries."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from nas_mer.errors import UserError
from nas_mer.placed_yaml import Node, parse_yaml
from nas_mer.space import SearchSpace
from nas_mer.train.recipe import Part, Recipe
from nas_mer.words import did_you_mean

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = bool | int | float | str | None
Values = Mapping[str, Any]
"""By name one value each."""


class _Axis(Part):
    """Something that is tuned.

    Attributes:
        name: of a parameter of the space (or `size`), or a key of the recipe as in `optimizer.learning_rate`.
        of: which of both.
    """

    name: str
    of: Literal["space", "recipe"]

    @property
    def key(self) -> str:
        """Its name among the decisions of a space, none of which has a blank in its name."""
        return f"tune {self.name}"


class Listed(_Axis):
    """Tries some values."""

    values: Annotated[tuple[Value, ...], Field(min_length=1)]

    def __str__(self) -> str:
        return f"{self.name}={','.join(map(in_words, self.values))}"

    @property
    def distribution(self) -> BaseDistribution:
        """The values, none nearer to another than any."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values to check."""
        return self.values


class Between(_Axis):
    """Tries numbers between two, whole ones if both are: evenly in the logarithm where `low` is above 0."""

    low: int | float
    high: int | float

    def __str__(self) -> str:
        return f"{self.name}={in_words(self.low)}..{in_words(self.high)}"

    @property
    def distribution(self) -> BaseDistribution:
        """The numbers."""
        from optuna.distributions import FloatDistribution, IntDistribution

        log = self.low > 0
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=log)
        return FloatDistribution(self.low, self.high, log=log)

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values to check."""
        return self.low, self.high


Axis = Listed | Between


def read_tune(texts: Iterable[str], space: SearchSpace, recipe: Recipe) -> tuple[Axis, ...]:
    """Read what is to be tuned.

    Args:
        texts: each one or several names, as in `feature_maps,pool`, whose values the space's file gives (`tune`); or a
            name with its values, `pool=5,7`, or with the least and the greatest, `optimizer.learning_rate=1e-3..1e-2`.
        space: whose parameters are tuned; they come first where a key of the recipe is called the same.
        recipe: whose keys are tuned.

    Raises:
        UserError: there is no such parameter or key, it is there twice, has no values, or has one that neither the
            space nor the recipe can have.
    """
    axes: list[Axis] = []
    for text in texts:
        names, equals, values = text.partition("=")
        if equals:
            axes.append(_axis(names.strip(), values, space, recipe))
        else:
            axes += [_axis(name.strip(), None, space, recipe) for name in names.split(",")]
    named = [axis.name for axis in axes]
    if twice := [name for name in named if named.count(name) > 1]:
        raise UserError(f"--tune: '{twice[0]}' is there twice")
    if fixed := [axis.name for axis in axes if axis.of == "space" and axis.name in space.overrides]:
        value = space.overrides[fixed[0]]
        raise UserError(f"--tune: '{fixed[0]}' is set to {value} already; leave out --set {fixed[0]}={value}")
    _check(axes, space, recipe)
    return tuple(axes)


def split(axes: Iterable[Axis], drawn: Values) -> tuple[dict[str, Value], dict[str, Value]]:
    """Return the values of the space's parameters and those of the recipe's keys, of values drawn by `key`."""
    parameters, changes = (
        {axis.name: drawn[axis.key] for axis in axes if axis.of == of} for of in ("space", "recipe")
    )  # fmt: skip
    return parameters, changes


def changed(recipe: Recipe, changes: Values) -> Recipe:
    """Return a recipe with other values for some keys, by their dotted paths.

    Raises:
        UserError: a value is not one that the key can have.
    """
    value = recipe.model_dump()
    for name, new in changes.items():
        *sections, last = name.split(".")
        part = value
        for section in sections:
            part = part[section]
        part[last] = new
    return Node(value, (), "recipe", {}).into(Recipe) if changes else recipe


def at_sizes(space: SearchSpace) -> Callable[[Values], SearchSpace]:
    """Return a function from values of parameters to the space built with them; each is built once.

    It raises a UserError where the space cannot be built.
    """

    @cache
    def build(values: tuple[tuple[str, Any], ...]) -> SearchSpace:
        return space.with_parameters(**dict(values)) if values else space

    return lambda values: build(tuple(sorted(values.items())))


def drawn(axes: Iterable[Axis], seed: int) -> dict[str, Value]:
    """Return values by `key`, each drawn from all that its axis has."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=seed % 2**32)
    trial = optuna.create_study(sampler=sampler).ask({axis.key: axis.distribution for axis in axes})
    return trial.params


def in_words(value: Value) -> str:
    """Return a value as a user writes it: `16`, `0.005`, `true`, `null`."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.4g}"
        case _:
            return str(value)


def _axis(name: str, text: str | None, space: SearchSpace, recipe: Recipe) -> Axis:
    """Return what a name with its values stands for."""
    parameters, keys = space.sizes, dict(recipe.leaves())
    if name not in parameters and name not in keys:
        known = did_you_mean(name, [*parameters, *keys])
        raise UserError(f"--tune: '{name}' is no parameter of space '{space.name}' and no key of the recipe{known}")
    of: Literal["space", "recipe"] = "space" if name in parameters else "recipe"
    if text is None:
        if of == "recipe" or name not in space.tune:
            where = f"the values of {', '.join(space.tune)}" if space.tune else "no values of what is tuned"
            raise UserError(
                f"--tune: '{name}' needs values, as in {name}=V1,V2 or {name}=LOW..HIGH; {space.file} has {where}"
            )
        return Listed(name=name, of=of, values=space.tune[name])
    low, dots, high = text.partition("..")
    if dots:
        return _between(name, of, (low, high), {**keys, **parameters}[name])
    values = tuple(_value(name, part) for part in text.split(","))
    if len(set(map(in_words, values))) < len(values):
        raise UserError(f"--tune: {name}={text} has a value twice")
    return Listed(name=name, of=of, values=values)


def _between(name: str, of: Literal["space", "recipe"], ends: tuple[str, str], present: Value) -> Between:
    """Return the numbers between two ends; they are whole if the ends are and the present value is no fraction."""
    low, high = (_value(name, end) for end in ends)
    found = f"found {name}={'..'.join(ends)}"
    for end in (low, high):
        if isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end):
            raise UserError(f"--tune: LOW..HIGH are two numbers, {found}")
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if low >= high:
        raise UserError(f"--tune: LOW must be below HIGH, {found}")
    whole = isinstance(low, int) and isinstance(high, int) and not isinstance(present, float)
    return Between(name=name, of=of, low=low if whole else float(low), high=high if whole else float(high))


def _value(name: str, text: str) -> Value:
    """Read a value as a recipe or a space writes it."""
    if not text.strip():
        raise UserError(f"--tune: '{name}' has an empty value; write {name}=V1,V2 or {name}=LOW..HIGH")
    if "=" in text:
        raise UserError(f"--tune: write one {name}=VALUES after each --tune, found '{text}' among its values")
    value = parse_yaml(text, "--tune").value
    if not isinstance(value, Value):
        raise UserError(f"--tune: '{name}' takes numbers, words, true, false and null, found '{text}'")
    return value


def _check(axes: Sequence[Axis], space: SearchSpace, recipe: Recipe) -> None:
    """Refuse a value that goes with no value of all else that is tuned, of a range its ends."""
    build = at_sizes(space)

    def problem(axis: Axis, values: Values) -> UserError | None:
        try:
            build(values) if axis.of == "space" else changed(recipe, values)
        except UserError as error:
            return error
        return None

    for axis in axes:
        others = {other.name: other.ends for other in axes if other.of == axis.of and other != axis}
        beside = [{}, *(dict(zip(others, values, strict=True)) for values in itertools.product(*others.values()))]
        for value in axis.ends:
            found = (problem(axis, {**rest, axis.name: value}) for rest in beside)
            if (first := next(found)) and all(found):
                raise UserError(f"--tune: no network can have {axis.name}={in_words(value)}: {first}")
