"""`Ledger`: what a strategy asked for and was told, so that it can be replayed."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from whet.core.errors import DecisionError, StudyError
from whet.core.space import Decision, Space, Value
from whet.core.strategy import Observation
from whet.decisions.enumerate import draw, size
from whet.decisions.given import agrees, free, restricted, whole


class Ledger:
    """The decisions that a strategy proposed or was told, in order, with the latest result of each.

    Strategies hold one and compute every proposal from it, which is what makes them replayable.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self.space = space
        self.seed = seed
        self.entries: dict[Decision, Observation | None] = {}
        self.queue: list[Decision] = []

    def rng(self) -> random.Random:
        """Return the generator of the next proposal, seeded by the seed and the number of entries."""
        return random.Random(f"{self.seed}:{len(self.entries)}")

    def tell(self, trials: Iterable[Observation]) -> None:
        for trial in trials:
            decision = self.space.canonical(trial.decision)
            self.entries[decision] = Observation(decision, trial.values, trial.violation)

    def enqueue(self, decisions: Iterable[Decision]) -> None:
        self.queue.extend(self.space.canonical(d) for d in decisions)

    def next_queued(self, given: Mapping[str, Value] | None = None) -> Decision | None:
        """Take the first decision off the queue that is not in the ledger yet, None where there is none.

        Those that do not agree with what is `given` stay in the queue.
        """
        self.queue = [decision for decision in self.queue if decision not in self.entries]
        for place, decision in enumerate(self.queue):
            if agrees(self.space, decision, given or {}):
                return self.queue.pop(place)
        return None

    def measured(self, first: int | None = None) -> list[Observation]:
        """Return what was measured, of all entries or of the first so many; failures have no figures."""
        return [o for o in list(self.entries.values())[:first] if o is not None and o.values]

    @property
    def exhausted(self) -> bool:
        """Say whether every decision of the space was asked or told."""
        return len(self.entries) >= size(self.space)

    def state(self) -> dict[str, Any]:
        log = [{"decision": dict(d)} if o is None else o.to_dict() for d, o in self.entries.items()]
        return {"seed": self.seed, "log": log, "queue": [dict(d) for d in self.queue]}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state["seed"] != self.seed:
            raise StudyError(f"the strategy was begun with seed {state['seed']!r}, now {self.seed!r}.")
        self.entries = {
            self.space.canonical(Decision(r["decision"])): Observation.from_dict(r) if "values" in r else None
            for r in state["log"]
        }
        self.queue = [self.space.canonical(Decision(d)) for d in state["queue"]]


class LedgerStrategy:
    """What strategies share that compute each proposal from their ledger; they write `propose`.

    `directions` are `maximize` or `minimize`, one an objective. Raises: DecisionError for other directions.
    `operations`, where it is set, tells how many operations a decision leaves: what is known of it unmeasured.
    """

    operations: Callable[[Decision], float] | None = None
    made_with: dict[str, Any]
    """The options that it was made with, by which one is made that decides less."""

    def __new__(cls, *args: Any, **options: Any) -> Self:
        made = super().__new__(cls)
        given = inspect.signature(cls.__init__).bind(made, *args, **options).arguments
        more = given.pop("options", {})
        made.made_with = {k: v for k, v in [*given.items(), *more.items()] if k not in ("self", "space")}
        return made

    def __init__(self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize")) -> None:
        if not directions or set(directions) - {"maximize", "minimize"}:
            raise DecisionError(f"directions are 'maximize' or 'minimize', one an objective; got {directions!r}.")
        self.space, self.directions = space, tuple(directions)
        self.ledger = Ledger(space, seed)

    __new__.__wrapped__ = __init__  # type: ignore[attr-defined]  # so `inspect` tells what is asked for

    def propose(self) -> Decision | None:
        """Return a canonical decision that is not in the ledger, or None where nothing new is worth a trial.

        The caller makes sure that there is a new one.
        """
        raise NotImplementedError

    def within(self, given: Mapping[str, Value]) -> LedgerStrategy:
        """Return a strategy of the same kind on what is left to decide, told of all that agrees with what is `given`.

        One that cannot work on so little draws.
        """
        inner = restricted(self.space, given)
        try:
            made: LedgerStrategy = type(self)(inner, **self.made_with)
        except DecisionError:
            made = Drawn(inner, self.ledger.seed, self.directions)
        if (count := self.operations) is not None:
            made.operations = lambda decision: count(whole(self.space, decision, given))
        own = {d: seen for d, seen in self.ledger.entries.items() if agrees(self.space, d, given)}
        made.ledger.entries = dict.fromkeys(free(inner, d, given) for d in own)
        results = {free(inner, d, given): seen for d, seen in own.items() if seen is not None}
        made.tell(Observation(d, seen.values, seen.violation) for d, seen in results.items())
        return made

    def ask(self, n: int = 1, given: Decision | None = None) -> list[Decision]:
        return self._ask(n) if given is None else self._ask_within(n, given)

    def _ask_within(self, n: int, given: Decision) -> list[Decision]:
        asked: list[Decision] = []
        while len(asked) < n and (queued := self.ledger.next_queued(given)) is not None:
            self.ledger.entries[queued] = None
            asked.append(queued)
        if len(asked) < n:
            rest = [whole(self.space, d, given) for d in self.within(given).ask(n - len(asked))]
            self.ledger.entries |= dict.fromkeys(rest)
            asked += rest
        return asked

    def _ask(self, n: int) -> list[Decision]:
        asked: list[Decision] = []
        while len(asked) < n:
            decision = self.ledger.next_queued()
            if decision is None:
                if self.ledger.exhausted:
                    break
                decision = self.propose()
            if decision is None:
                break
            self.ledger.entries[decision] = None
            asked.append(decision)
        return asked

    def tell(self, trials: Iterable[Observation]) -> None:
        trials = list(trials)
        for trial in trials:
            if trial.values and len(trial.values) != len(self.directions):
                raise DecisionError(
                    f"an observation needs one value per objective {self.directions!r}; got {trial.values!r}."
                )
        self.ledger.tell(trials)

    def enqueue(self, decisions: Iterable[Decision]) -> None:
        self.ledger.enqueue(decisions)

    def state(self) -> dict[str, Any]:
        return self.ledger.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self.ledger.restore(state)


class Drawn(LedgerStrategy):
    """Draws: what is left of a strategy where there is too little to decide for it."""

    def propose(self) -> Decision:
        """Return a new decision, all equally likely."""
        return draw(self.space, self.ledger.rng(), self.ledger.entries)
