"""Evolution that rejects expensive candidates before they cost a measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from whet.core.space import Decision, Space
from whet.decisions.distance import distance
from whet.decisions.pareto import best
from whet.search.modelled import Modelled

ATTEMPTS = 100
PARENTS = 16


class EarlyExitEvolution(Modelled):
    """NSGA-II whose children, and whose first population, must be cheap: costly ones are drawn again, not measured.

    A candidate with `cost(decision) > limit` exits early. Without a `cost` it is the share of the original that is
    left, the mean over choices of one minus the distance from the identity's far end, so that nothing but the space is
    needed; parameters or multiply-accumulates are better where they are known.

    Paper: Termritthikun et al. 2021, EEEA-Net: An Early Exit Evolutionary Neural Architecture Search, whose cost
    is the number of parameters, against a threshold of some millions.
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        cost: Callable[[Decision], float] | None = None, limit: float = 0.8, warm_up: int = 12,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, directions, warm_up)
        self.cost, self.limit = cost or self.share_left, limit

    def share_left(self, decision: Decision) -> float:
        """Return the share of the network that a decision keeps, 1.0 for the original."""
        return 1.0 - sum(distance(c, decision.of(c)) for c in self.space) / max(len(self.space), 1)

    def propose(self) -> Decision:
        """Return the first cheap proposal among some; where all are costly, the last one all the same."""
        entries = self.ledger.entries
        if len(entries) < self.warm_up and len(self.space):
            for row in self.genes.random(ATTEMPTS, self.generator()):
                decision = self.genes.decision(row)
                if decision not in entries and self.cost(decision) <= self.limit:
                    return decision
        return super().propose()

    def candidates(self) -> Iterator[Decision]:
        """Yield children of the best decisions so far."""
        seen, generator = self.ledger.measured(), self.generator()
        parents = self.rows(seen)[best(self.penalised(seen), PARENTS)]
        born = [self.genes.decision(row) for row in self.genes.children(parents, ATTEMPTS, generator)]
        cheap = [d for d in born if self.cost(d) <= self.limit]
        yield from cheap
        yield from born
