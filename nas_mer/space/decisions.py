"""Decisions under rules: exact counting, uniform sampling and best-first enumeration without listing the space.

Decisions are taken in a fixed order. What a rule needs to remember of the decisions taken so far is one number, the
count of its matches, so the rules together form a finite automaton over the sequence of decisions. Walking it backwards
gives, for every decision and state of the rules, how many completions there are and how good the best one is. That
makes the size exact, sampling uniform, and the bound of the best-first search exact as well: top-k opens only prefixes
of what it returns.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

Choices = dict[str, str]
"""One option for each decision."""

Weights = Mapping[str, Mapping[str, float]]
"""The weight of each option of each decision, at least 0."""

_State = tuple[int, ...]
# Log weights are added as whole multiples of this, so that products of the same factors are equal whatever their order.
_UNIT = 2.0**-40
_LEAST = 1e-300


@dataclass(frozen=True)
class Rule:
    """At least `low` and at most `high` of some decisions take one of the options given for them.

    Attributes:
        matches: the matching options of each decision that the rule looks at.
        keeps: True for "keep the best k edges": a decision that does not match is an edge dropped, and a dropped edge
            counts with weight 1 in the joint weight, so that edges are compared by their strongest op (DARTS, 2.4).
    """

    matches: Mapping[str, frozenset[str]]
    low: int
    high: int
    keeps: bool = False

    def __str__(self) -> str:
        if self.keeps:
            return f"exactly {self.low} of the edges {', '.join(self.matches)}"
        if self.low == self.high:
            bound = f"exactly {self.low}"
        elif self.low == 0:
            bound = f"at most {self.high}"
        else:
            bound = f"{self.low} to {self.high}"
        what = ", ".join(f"{name}: {'|'.join(sorted(options))}" for name, options in self.matches.items())
        return f"{bound} of {{{what}}}"


@dataclass(frozen=True)
class Decisions:
    """Named decisions with named options, and the rules that their combinations keep.

    Attributes:
        options: the options of each decision; the order of decisions and of options breaks ties.
        rules: rules that every combination keeps.
    """

    options: Mapping[str, tuple[str, ...]]
    rules: tuple[Rule, ...] = ()
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _steps: tuple[dict[_State, dict[str, _State]], ...] = field(init=False, repr=False, compare=False)
    _counts: tuple[dict[_State, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = tuple(self.options)
        last = [max((i for i, name in enumerate(names) if name in rule.matches), default=-1) for rule in self.rules]
        layer: set[_State] = {(0,) * len(self.rules)}
        steps: list[dict[_State, dict[str, _State]]] = []
        for index, name in enumerate(names):
            step = {state: self._next_states(index, name, state, last) for state in layer}
            steps.append(step)
            layer = {state for targets in step.values() for state in targets.values()}
        counts: list[dict[_State, int]] = [dict.fromkeys(layer, 1)]
        for step in reversed(steps):
            after = counts[-1]
            counts.append({state: sum(after[target] for target in targets.values()) for state, targets in step.items()})
        counts.reverse()
        # Keep only what can be completed: every path through the automaton is then a valid combination.
        for index, step in enumerate(steps):
            steps[index] = {
                state: {option: target for option, target in targets.items() if counts[index + 1][target]}
                for state, targets in step.items()
                if counts[index][state]
            }
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_steps", tuple(steps))
        object.__setattr__(self, "_counts", tuple(counts))

    def _next_states(self, index: int, name: str, state: _State, last: list[int]) -> dict[str, _State]:
        """Return the state of the rules after each option that breaks none of them."""
        targets: dict[str, _State] = {}
        for option in self.options[name]:
            counts = [n + (option in rule.matches.get(name, ())) for n, rule in zip(state, self.rules, strict=True)]
            if any(n > rule.high for n, rule in zip(counts, self.rules, strict=True)):
                continue
            ended = [end <= index for end in last]
            if any(done and n < rule.low for done, n, rule in zip(ended, counts, self.rules, strict=True)):
                continue
            # A rule that has seen all it looks at is kept for good: forget its count, so that states coincide.
            targets[option] = tuple(
                rule.low if done else n for done, n, rule in zip(ended, counts, self.rules, strict=True)
            )
        return targets

    @property
    def size(self) -> int:
        """The exact number of combinations that keep all rules."""
        return self._counts[0].get((0,) * len(self.rules), 0)

    def allows(self, choices: Mapping[str, str]) -> bool:
        """Return whether a combination keeps all rules."""
        return not self.broken(choices)

    def broken(self, choices: Mapping[str, str]) -> list[Rule]:
        """Return the rules that a combination breaks."""
        counts = [sum(choices[name] in options for name, options in rule.matches.items()) for rule in self.rules]
        return [r for r, n in zip(self.rules, counts, strict=True) if not r.low <= n <= r.high]

    def sample(self, rng: random.Random) -> Choices:
        """Draw a combination uniformly from all that keep the rules."""
        state: _State = (0,) * len(self.rules)
        choices: Choices = {}
        for index, name in enumerate(self._names):
            targets = self._steps[index][state]
            draw = rng.randrange(self._counts[index][state])
            for option, target in targets.items():
                draw -= self._counts[index + 1][target]
                if draw < 0:
                    choices[name], state = option, target
                    break
        return choices

    def __iter__(self) -> Iterator[Choices]:
        """Iterate over all combinations that keep the rules, in the order of their options."""
        return (choices for choices, _ in self.best({n: dict.fromkeys(o, 1.0) for n, o in self.options.items()}))

    @cached_property
    def free(self) -> frozenset[tuple[str, str]]:
        """The (decision, option) that do not count in a joint weight: dropped edges of a keeping rule."""
        return frozenset(
            (name, option)
            for rule in self.rules
            if rule.keeps
            for name, kept in rule.matches.items()
            for option in self.options[name]
            if option not in kept
        )

    def joint(self, choices: Mapping[str, str], weights: Weights) -> float:
        """Return the joint weight of a combination: the product over decisions of the chosen options' weights."""
        return math.prod(weights[name][option] for name, option in choices.items() if (name, option) not in self.free)

    def best(self, weights: Weights) -> Iterator[tuple[Choices, float]]:
        """Iterate over the combinations from the greatest joint weight (see `joint`) to the smallest.

        Ties are broken by the options' order, decision by decision.

        Returns:
            an iterator over (combination, joint weight).
        """
        if not self.size:
            return
        values = [self._values(name, weights[name]) for name in self._names]
        bounds: list[dict[_State, int]] = [dict.fromkeys(self._counts[-1], 0)]
        for value, step in zip(reversed(values), reversed(self._steps), strict=True):
            after = bounds[-1]
            bounds.append(
                {
                    state: max(value[o] + after[target] for o, target in targets.items())
                    for state, targets in step.items()
                }
            )
        bounds.reverse()
        start: _State = (0,) * len(self.rules)
        order = [{option: rank for rank, option in enumerate(self.options[name])} for name in self._names]
        # (minus the best total from here, the ranks of the options taken, the total so far, the rules' state)
        queue: list[tuple[int, tuple[int, ...], int, _State]] = [(-bounds[0][start], (), 0, start)]
        while queue:
            _, ranks, total, state = heapq.heappop(queue)
            index = len(ranks)
            if index == len(self._names):
                choices = {name: self.options[name][rank] for name, rank in zip(self._names, ranks, strict=True)}
                yield choices, math.exp(total * _UNIT)
                continue
            for option, target in self._steps[index][state].items():
                so_far = total + values[index][option]
                entry = (-(so_far + bounds[index + 1][target]), (*ranks, order[index][option]), so_far, target)
                heapq.heappush(queue, entry)

    def _values(self, name: str, weights: Mapping[str, float]) -> dict[str, int]:
        """Return the log weight of each option as a whole number of units."""
        return {
            option: 0 if (name, option) in self.free else round(math.log(max(weights[option], _LEAST)) / _UNIT)
            for option in self.options[name]
        }
