"""Random search: uniform over the decisions of a space, without repeats."""

from __future__ import annotations

from whet.core.space import Decision
from whet.decisions.enumerate import draw
from whet.decisions.ledger import LedgerStrategy


class RandomStrategy(LedgerStrategy):
    """Propose canonical decisions uniformly, without repeats: P(d) = 1 / (size - seen) for each unseen d.

    Uniform over *decisions*: a value that opens up many conditional choices is proposed more often than its
    siblings. Nothing is learnt from values (Bergstra and Bengio 2012, Random Search for Hyper-Parameter Optimization).

    >>> from whet.core.space import Choice, Space
    >>> strategy = RandomStrategy(Space([Choice("a:bits", (4, 8, 32), 32)]), seed=0)
    >>> sorted(d.get("a:bits", 32) for d in strategy.ask(9))
    [4, 8, 32]
    """

    def propose(self) -> Decision:
        """Return a new decision, all equally likely."""
        return draw(self.space, self.ledger.rng(), self.ledger.entries)
