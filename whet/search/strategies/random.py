"""Random search: uniform over the decisions of a space, without repeats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from whet.core.space import Decision, Space
from whet.core.strategy import Ledger, Observation, draw


class RandomStrategy:
    """Propose canonical decisions uniformly, without repeats: P(d) = 1 / (size - seen) for each unseen d.

    Uniform over *decisions*: a value that opens up many conditional choices is proposed more often than its
    siblings. `directions` is taken for uniformity; nothing is learnt from values.

    >>> from whet.core.space import Choice
    >>> strategy = RandomStrategy(Space([Choice("a:bits", (4, 8, 32), 32)]), seed=0)
    >>> sorted(d.get("a:bits", 32) for d in strategy.ask(9))
    [4, 8, 32]
    """

    paper = "bergstra2012random"

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize")
    ) -> None:
        self.ledger = Ledger(space, seed)
        self.directions = tuple(directions)

    def ask(self, n: int = 1) -> list[Decision]:
        asked: list[Decision] = []
        while len(asked) < n and not self.ledger.exhausted:
            queued = self.ledger.next_queued()
            decision = queued if queued is not None else self._draw()
            self.ledger.entries[decision] = None
            asked.append(decision)
        return asked

    def _draw(self) -> Decision:
        return draw(self.ledger.space, self.ledger.rng(), self.ledger.entries)

    def tell(self, trials: Iterable[Observation]) -> None:
        self.ledger.tell(trials)

    def enqueue(self, decisions: Iterable[Decision]) -> None:
        self.ledger.enqueue(decisions)

    def state(self) -> dict[str, Any]:
        return self.ledger.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self.ledger.restore(state)
