"""The suite must catch each broken promise: a conformance suite that cannot fail proves nothing."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest

from whet.core.errors import DecisionError, StudyError
from whet.core.space import Decision, Space
from whet.core.strategy import Observation
from whet.search.strategies.optuna import OptunaStrategy
from whet.search.strategies.random import RandomStrategy
from whet.testing.strategies import check


class Wrapped:
    """A sound strategy, to break one method of."""

    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.inner = space, OptunaStrategy(space, seed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Repeats(Wrapped):
    def ask(self, n: int = 1, given: Decision | None = None) -> list[Decision]:
        return self.inner.ask(n, given) or [self.space.identity()]


class NotCanonical(Wrapped):
    def ask(self, n: int = 1, given: Decision | None = None) -> list[Decision]:
        return [self.space.identity().merge(d) for d in self.inner.ask(n, given)]


class Unseeded(Wrapped):
    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.inner = space, OptunaStrategy(space, random.randrange(10**6))


class IgnoresSeed(Wrapped):
    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.inner = space, OptunaStrategy(space, 0)


class Forgets(Wrapped):
    def state(self) -> dict[str, Any]:
        return {**self.inner.state(), "log": []}


class IgnoresQueue(Wrapped):
    def enqueue(self, decisions: Iterable[Decision]) -> None:
        return None


class GivesUp(Wrapped):
    def tell(self, trials: Iterable[Observation]) -> None:
        trials = list(trials)
        self.inner.tell(trials)
        self.stopped = any(t.violation >= 1 for t in trials)

    def ask(self, n: int = 1, given: Decision | None = None) -> list[Decision]:
        return [] if self.__dict__.get("stopped") else self.inner.ask(n, given)


class IgnoresGiven(Wrapped):
    def ask(self, n: int = 1, given: Decision | None = None) -> list[Decision]:
        return self.inner.ask(n)


class KeepsFirst(Wrapped):
    def tell(self, trials: Iterable[Observation]) -> None:
        known = {d for d, o in self.inner.ledger.entries.items() if o is not None}
        self.inner.tell([t for t in trials if self.space.canonical(t.decision) not in known])


class RefusesAll(Wrapped):
    def __init__(self, space: Space, seed: int) -> None:
        raise DecisionError("no")


@pytest.mark.parametrize(
    "broken, message",
    [
        (Repeats, "twice|not canonical"),
        (NotCanonical, "not canonical"),
        (Unseeded, "other decisions|begun with seed"),
        (IgnoresSeed, "three seeds"),
        (Forgets, "restore"),
        (IgnoresQueue, "enqueued decisions must come first|not the same"),
        (GivesUp, "must not end the search|expected"),
        (IgnoresGiven, "not as given"),
        (KeepsFirst, "must replace the first"),
        (RefusesAll, "refuses every space"),
    ],
)
def test_the_suite_catches(broken: type[Wrapped], message: str) -> None:
    with pytest.raises((AssertionError, StudyError), match=message):
        check(lambda space, seed: broken(space, seed))


def test_the_wrapper_itself_conforms() -> None:
    assert check(lambda space, seed: Wrapped(space, seed))
    assert check(lambda space, seed: RandomStrategy(space, seed))
