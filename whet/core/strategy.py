"""`Strategy`: what proposes decisions; `Observation`: what it is told; counting and drawing decisions."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from whet.core.errors import DecisionError, StudyError
from whet.core.space import Choice, Decision, Space, Value


@dataclass(frozen=True)
class Observation:
    """What became of a decision: one value per objective, and by how much it breaks the limits.

    `values` is empty for a candidate that failed (did not compile, ran out of memory): strategies avoid it
    without learning a number. `violation` above zero means that the limits are not met, and by how much.
    """

    decision: Decision
    values: tuple[float, ...] = ()
    violation: float = 0.0

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.values, self.violation))):
            raise StudyError(
                f"an observation needs finite numbers, or no values for a failed candidate; got values "
                f"{self.values!r} and violation {self.violation!r} for {self.decision!r}."
            )

    @property
    def feasible(self) -> bool:
        return bool(self.values) and self.violation <= 0

    def to_dict(self) -> dict[str, Any]:
        return {"decision": dict(self.decision), "values": list(self.values), "violation": self.violation}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Observation:
        return cls(Decision(record["decision"]), tuple(record["values"]), record["violation"])


@runtime_checkable
class Strategy(Protocol):
    """Proposes canonical decisions of a space, never one that it proposed or was told before.

    What `ask` returns is a function of the seed and of the decisions asked and told so far, in order. So a
    study resumes with `restore(state)`, or by telling a new strategy of the same seed the logged trials
    again: a decision that was in flight when the process died is then proposed once more.
    """

    def ask(self, n: int = 1) -> list[Decision]:
        """Return up to `n` decisions; fewer when the space is exhausted."""
        ...

    def tell(self, trials: Iterable[Observation]) -> None:
        """Learn results; a second result for the same decision replaces the first."""
        ...

    def enqueue(self, decisions: Iterable[Decision]) -> None:
        """Propose these first, in this order, skipping those already proposed."""
        ...

    def state(self) -> dict[str, Any]:
        """Return JSON data from which `restore` continues exactly."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


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

    def next_queued(self) -> Decision | None:
        while self.queue:
            decision = self.queue.pop(0)
            if decision not in self.entries:
                return decision
        return None

    def measured(self, first: int | None = None) -> list[Observation]:
        """Return what was measured, of all entries or of the first so many; failures have no figures."""
        return [o for o in list(self.entries.values())[:first] if o is not None and o.values]

    @property
    def exhausted(self) -> bool:
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

    def __init__(self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize")) -> None:
        if not directions or set(directions) - {"maximize", "minimize"}:
            raise DecisionError(f"directions are 'maximize' or 'minimize', one an objective; got {directions!r}.")
        self.space, self.directions = space, tuple(directions)
        self.ledger = Ledger(space, seed)

    def propose(self) -> Decision | None:
        """Return a canonical decision that is not in the ledger, or None where nothing new is worth a trial.

        The caller makes sure that there is a new one.
        """
        raise NotImplementedError

    def ask(self, n: int = 1) -> list[Decision]:
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


def _children(space: Space) -> dict[str | None, list[Choice]]:
    children: dict[str | None, list[Choice]] = {None: [], **{c.name: [] for c in space}}
    for choice in space:
        children[choice.when[0] if choice.when else None].append(choice)
    return children


def _counts(space: Space) -> dict[str, dict[Value, int]]:
    """Return, for each value of each choice, the number of ways to settle it and all that depends on it."""
    children = _children(space)
    counts: dict[str, dict[Value, int]] = {}
    for choice in reversed(list(space)):
        counts[choice.name] = {
            value: math.prod(
                sum(counts[c.name].values()) for c in children[choice.name] if c.when and value in c.when[1]
            )
            for value in choice.values
        }
    return counts


def size(space: Space) -> int:
    """Return the number of canonical decisions of `space`.

    >>> size(Space([Choice("a:bits", (8, 32), 32), Choice("a:clip", (1, 2, 3), 1, when=("a:bits", (8,)))]))
    4
    """
    counts = _counts(space)
    return math.prod(sum(counts[c.name].values()) for c in space if c.when is None)


def point(space: Space, rank: int) -> Decision:
    """Return canonical decision number `rank` of `space`, counted from 0 in mixed radix.

    >>> space = Space([Choice("a:bits", (8, 32), 32), Choice("b:bits", (8, 32), 32)])
    >>> [dict(point(space, r)) for r in range(size(space))]
    [{'a:bits': 8, 'b:bits': 8}, {'b:bits': 8}, {'a:bits': 8}, {}]
    """
    counts, children = _counts(space), _children(space)
    values: dict[str, Value] = {}

    def settle(choices: Sequence[Choice], rank: int) -> None:
        for choice in choices:
            rank, digit = divmod(rank, sum(counts[choice.name].values()))
            for value in choice.values:
                if digit < counts[choice.name][value]:
                    break
                digit -= counts[choice.name][value]
            values[choice.name] = value
            settle([c for c in children[choice.name] if c.when and value in c.when[1]], digit)

    settle(children[None], rank)
    return space.canonical(Decision(values))


def draw(space: Space, rng: random.Random, seen: Mapping[Decision, object]) -> Decision:
    """Return a canonical decision not in `seen`, uniformly; the caller makes sure that there is one."""
    total = size(space)
    while True:
        decision = point(space, rng.randrange(total))
        if decision not in seen:
            return decision


def neighbour(space: Space, decision: Decision, rng: random.Random, seen: Mapping[Decision, object]) -> Decision:
    """Return an unseen decision that differs from `decision` in few choices: one, then two, and so on."""
    for changes in range(1, len(space) + 1):
        for _ in range(4 * len(space)):
            picked = rng.sample(list(space), changes)
            changed = decision.merge({c.name: rng.choice(c.values) for c in picked})
            candidate = space.canonical(changed)
            if candidate not in seen:
                return candidate
    return draw(space, rng, seen)
