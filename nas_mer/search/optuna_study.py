"""Searches that draw genotypes and hear how good they are, kept by Optuna.

A study is asked for a batch of genotypes, and told of all of them before it is asked for the next. What it draws
depends on the trials before and on a stream of its own, so a search that was stopped in the middle of a batch goes on
as it would have.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nas_mer.errors import UserError
from nas_mer.search.objectives import OBJECTIVES
from nas_mer.search.trials import Networks, Trial
from nas_mer.search.tuning import Axis, Values, drawn, split
from nas_mer.space import SearchSpace
from nas_mer.train.streams import stream_seed

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

T = TypeVar("T")

BATCH = 8
"""How many genotypes a study is asked for at once; the size of a generation, too."""

ATTEMPTS, PAUSE = 10, 0.05
"""How often a database is begun anew where others do so at the same moment, and seconds after the first attempt."""

TRIES = 100
"""How often a uniform draw is repeated to find a network that was not drawn before."""

Choices = dict[str, str]
Sampler = Callable[[int], "BaseSampler"]
"""From a seed to what draws genotypes."""


@dataclass(frozen=True)
class Asked:
    """A genotype to be judged.

    Attributes:
        number: its number in the study.
        choices: the genotype's.
        parameters: values of the space's parameters that are tuned.
        recipe: values of the recipe's keys that are tuned.
    """

    number: int
    choices: Choices
    parameters: Values = field(default_factory=dict)
    recipe: Values = field(default_factory=dict)


@dataclass(frozen=True)
class Storage:
    """An Optuna storage that answers.

    Attributes:
        name: its URL without the password.
        opened: the storage.
    """

    name: str
    opened: BaseStorage

    def studies(self) -> list[str]:
        """Return the names of its studies, the oldest first."""
        import optuna

        with answering(self.name):
            return optuna.get_all_study_names(self.opened)


def sqlite_url(file: Path) -> str:
    """Return the URL of a storage in a file."""
    from sqlalchemy.engine import URL

    return URL.create("sqlite", database=str(file)).render_as_string()


def open_storage(url: str | None) -> Storage:
    """Open a storage; None is one in memory, that no other process knows.

    Raises:
        UserError: it does not answer, or is none.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name = "memory" if url is None else shown(url)
    with answering(name, ImportError, ValueError, RuntimeError):  # no driver, no such database, one of another Optuna
        return Storage(name, _beside_others(lambda: optuna.storages.get_storage(url)))


class Study:
    """The trials of one search.

    A sampler knows nothing of rules: a draw that breaks one stands for the nearest genotype that keeps all (`nearest`).

    Args:
        space: the space.
        storage: where the study is kept; processes on many machines may share it.
        name: the study's name there.
        about: what its random streams depend on.
        sampler: what draws; None draws uniformly from the space, and no network twice.
        count: how many different networks to judge.
        of: what the trials are of, by name (hashes of the space, the dataset, the recipe).
        asker: who asks: tells the trials that are under way here from those of other machines.
        tune: what is drawn besides the genotype.
        objectives: names of `OBJECTIVES`; what a trial is told to have been good at.

    Raises:
        UserError: the storage cannot be used, or its study is of something else.
    """

    def __init__(
        self,
        space: SearchSpace,
        storage: Storage,
        name: str,
        about: tuple[str | int, ...],
        sampler: Sampler | None,
        count: int,
        of: Mapping[str, str],
        asker: str = "",
        tune: Sequence[Axis] = (),
        objectives: Sequence[str] = ("uar",),
    ) -> None:
        import optuna

        self.space, self.storage, self.name, self.about = space, storage, name, about
        self.sampler, self.count, self.asker = sampler, count, asker
        self.tune, self.objectives = tuple(tune), tuple(objectives)
        self.directions = [OBJECTIVES[objective].direction for objective in self.objectives]
        self._networks = Networks(space)
        mine = {**of, "tuning": "; ".join(map(str, tune)) or "nothing", "objective": ", ".join(objectives)}

        def begun() -> optuna.Study:
            study = optuna.create_study(
                storage=storage.opened, study_name=name, directions=self.directions, load_if_exists=True
            )
            if not (known := _known(study)):
                # Under a name of its own, so that of two that begin at once neither overwrites the other.
                study.set_user_attr(f"of {hashlib.sha256(json.dumps(mine).encode()).hexdigest()}", mine)
                known = _known(study)
            for key, value in mine.items():
                if others := [other[key] for other in known if other[key] != value]:
                    raise UserError(
                        f"{storage.name}: its study '{name}' is of another {key} ({others[0]}, this one is "
                        f"{value}); use another storage"
                    )
            return study

        with answering(self.storage.name):
            self._study = _beside_others(begun)

    def trials(self) -> dict[int, Trial]:
        """Return the trials that are done by their numbers, those of other machines too."""
        with answering(self.storage.name):
            return {one.number: self._trial(one) for one in self._asked() if one.state.is_finished()}

    def judged(self) -> int:
        """Return how many different networks were judged."""
        with answering(self.storage.name):
            return len({self._network(one) for one in self._asked() if one.state.is_finished()})

    def batch(self) -> list[Asked]:
        """Return the genotypes to judge next: those of a batch whose network has not been judged.

        An empty list is the end: enough networks are judged or under way, or a whole batch of draws has brought none
        that is new. Those count that another machine has under way, also one that died: until it goes on, fewer are
        judged than was asked for.
        """
        with answering(self.storage.name):
            number = max((one.user_attrs["batch"] for one in self._mine()), default=0)
            while True:
                members = [one for one in self._mine() if one.user_attrs["batch"] == number]
                before = {self._network(one) for one in self._asked() if one not in members}
                size = min(BATCH, self.count - len(before))
                if size <= 0:
                    return []
                for _ in range(size - len(members)):
                    self._ask(number, self._asked())
                self._settle()
                members = [one for one in self._mine() if one.user_attrs["batch"] == number]
                waiting = {self._network(one): one for one in reversed(members) if not one.state.is_finished()}
                if waiting:
                    return [Asked(one.number, **_what(one)) for one in reversed(waiting.values())]
                if before.issuperset(map(self._network, members)):
                    return []
                number += 1

    def tell(self, number: int, trial: Trial) -> None:
        """Keep what came out of a genotype that was asked for."""
        from optuna.trial import TrialState

        with answering(self.storage.name):
            judged = {"valid_loss": trial.valid_loss, "failure": trial.failure}
            self._study._storage.set_trial_user_attr(self._asked()[number]._trial_id, "judged", judged)
            if trial.valid_uar is None:
                self._study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
            else:
                values = {"uar": trial.valid_uar, **trial.measured}
                self._study.tell(number, [values[name] for name in self.objectives], skip_if_finished=True)

    def _ask(self, batch: int, asked: Sequence[FrozenTrial]) -> None:
        """Draw a genotype and keep it as one that is under way, whole or not at all."""
        from optuna.trial import TrialState, create_trial

        mine = sum(one.user_attrs["asker"] == self.asker for one in asked)
        seed = stream_seed(*self.about, self.asker, "draw", mine)
        notes: dict[str, Any] = {}
        if self.sampler is None:
            values = self._new(random.Random(seed), asked)
        else:
            values, notes = self._sampled(self.sampler(seed % 2**32), asked)
        trial = create_trial(
            state=TrialState.RUNNING,
            params=values,
            distributions=self._distributions,
            user_attrs={"asker": self.asker, "batch": batch, **self._meant(values)},
            system_attrs=notes,
        )
        self._study.add_trial(trial)

    def _meant(self, values: Values) -> dict[str, Any]:
        """Return the genotype that drawn values stand for, and what it is tuned to."""
        parameters, recipe = split(self.tune, values)
        choices = nearest(self.space, {name: values[name] for name in self.space.decisions})
        return {"choices": choices, "parameters": parameters, "recipe": recipe}

    def _sampled(self, sampler: BaseSampler, asked: Sequence[FrozenTrial]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Let a sampler draw in a copy of the study in memory, and return the values and its notes on the trial."""
        import optuna

        copy = optuna.create_study(directions=self.directions, sampler=sampler)
        copy.add_trials(asked)
        trial = copy.ask(self._distributions)
        return dict(trial.params), copy.get_trials(deepcopy=False)[trial.number].system_attrs

    @cached_property
    def _distributions(self) -> dict[str, BaseDistribution]:
        from optuna.distributions import CategoricalDistribution

        options = {name: CategoricalDistribution(options) for name, options in self.space.decisions.items()}
        return options | {axis.key: axis.distribution for axis in self.tune}

    def _new(self, draws: random.Random, asked: Sequence[FrozenTrial]) -> dict[str, Any]:
        """Draw a genotype, and what it is tuned to, uniformly; what was not asked for before if there is any."""
        known = set(map(self._network, asked))
        for _ in range(TRIES):
            values: dict[str, Any] = {**self.space.combinations.sample(draws)}
            if self.tune:
                values |= drawn(self.tune, draws.getrandbits(32))
            if self._networks.number(**self._meant(values)) not in known:
                break
        return values

    def _settle(self) -> None:
        """Tell of genotypes whose network was judged in another trial."""
        asked = self._asked()
        done = {self._network(one): self._trial(one) for one in asked if one.state.is_finished()}
        for one in asked:
            if one.user_attrs["asker"] == self.asker and not one.state.is_finished() and self._network(one) in done:
                self.tell(one.number, done[self._network(one)])

    def _asked(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _mine(self) -> list[FrozenTrial]:
        return [one for one in self._asked() if one.user_attrs["asker"] == self.asker]

    def _network(self, trial: FrozenTrial) -> str:
        return self._networks.number(**_what(trial))

    def _trial(self, frozen: FrozenTrial) -> Trial:
        """Return what came out of a trial that is done."""
        told = {} if frozen.values is None else dict(zip(self.objectives, frozen.values, strict=True))
        return Trial(**_what(frozen), **frozen.user_attrs["judged"], valid_uar=told.pop("uar", None), measured=told)


def nearest(space: SearchSpace, drawn: Mapping[str, str]) -> Choices:
    """Return the genotype that keeps all rules of a space and differs from a draw in the fewest decisions.

    Which one of several it is depends on the draw, evenly over draws.
    """
    if space.combinations.allows(drawn):
        return dict(drawn)
    draws = random.Random(json.dumps(drawn, sort_keys=True))
    weights = {
        name: {option: (1.0 if option == drawn[name] else 1e-6) * (1 + draws.random()) for option in options}
        for name, options in space.decisions.items()
    }
    return next(space.combinations.best(weights))[0]


def _known(study: optuna.Study) -> list[dict[str, str]]:
    """Return what a study is of: nothing before it is begun, and more than one thing only if several began it."""
    return [value for name, value in study.user_attrs.items() if name.startswith("of ")]


def _beside_others(begin: Callable[[], T]) -> T:
    """Begin something in a database, again if another process was making the same tables or rows at that moment."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError, IntegrityError

    attempt = 0
    while True:
        attempt += 1
        try:
            return begin()
        except (DBAPIError, StorageInternalError) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) else error
            made = isinstance(cause, IntegrityError) or "already exists" in str(cause)
            if not made or attempt == ATTEMPTS:
                raise
        time.sleep(attempt * PAUSE)


@contextmanager
def answering(name: str, *more: type[Exception]) -> Iterator[None]:
    """Turn what goes wrong with a storage, errors of `more` types too, into a message of its own."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    kinds: tuple[type[Exception], ...] = (StorageInternalError, SQLAlchemyError, OSError, *more)
    try:
        yield
    except kinds as error:
        cause = error.__cause__ or error
        reason = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
        raise _unusable(name, reason) from None


def shown(url: str) -> str:
    """Return a URL without its password.

    Raises:
        UserError: it is none. It is not told, since it may hold a password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        raise _unusable("--storage", "it is no URL, or its port is no number") from None


def _unusable(name: str, why: str) -> UserError:
    return UserError(
        f"{name}: cannot be used as the storage of a study ({why}); it needs an SQLAlchemy URL, as in "
        "postgresql://user@host/name or sqlite:///file.db, whose database answers"
    )


def _what(frozen: FrozenTrial) -> dict[str, Any]:
    """Return what is trained in a trial."""
    return {name: frozen.user_attrs.get(name, {}) for name in ("choices", "parameters", "recipe")}
