"""Thompson sampling over sensitivities: an integer programme on drawn effects proposes each candidate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from whet.core.errors import DecisionError
from whet.core.space import Decision, Space
from whet.core.strategy import Ledger, Observation, draw
from whet.search.predictors.linear import LinearForecast, distance

DRAWS = 20


class Sensitivity:
    """Propose the fastest decision that a damage budget allows, under effects drawn from what was measured.

    Two linear forecasts hold each choice's effect on log latency and on the drop. A proposal draws both from
    their posteriors and a damage budget b, log-uniform in `budgets`, and solves

        max  sum_cv gain_cv z_cv   s.t.  sum_cv damage_cv z_cv <= b,  sum_v z_cv = 1,  z binary

    with HiGHS (one-hot z over each choice c and its values v). The draws spread the proposals; measured effects
    sharpen them. The same seed and log give the same proposals. The integer programme over layer-wise
    sensitivities is that of HAWQ-V3 (Yao et al., 2021), posterior draws are Thompson's (1933).
    """

    def __init__(
        self,
        space: Space,
        seed: int = 0,
        directions: tuple[str, ...] = ("maximize", "minimize"),
        budgets: tuple[float, float] = (0.005, 0.1),
        latency: LinearForecast | None = None,
        damage: LinearForecast | None = None,
    ) -> None:
        if tuple(directions) != ("maximize", "minimize"):
            wanted = "(maximize speed-up, minimize drop)"
            raise DecisionError(f"strategy 'sensitivity' works on {wanted}; got {directions!r}.")
        self.space, self.budgets = space, budgets
        self.latency = latency or LinearForecast(space, noise=0.03, floor=0.05)
        self.damage = damage or LinearForecast(space, noise=0.01, floor=0.005, scale_prior=True)
        self.ledger = Ledger(space, seed)

    def enqueue(self, decisions: Iterable[Decision]) -> None:
        self.ledger.enqueue(decisions)

    def believe(self, log_latency: Mapping[str, float], damage: Mapping[str, float]) -> None:
        """Take in what single choices did when they were probed, by choice name, per unit of distance."""
        self.latency.believe(log_latency)
        self.damage.believe(damage)
        self._refit()

    def ask(self, n: int = 1) -> list[Decision]:
        asked: list[Decision] = []
        while len(asked) < n:
            decision = self.ledger.next_queued()
            if decision is None:
                if self.ledger.exhausted:
                    break
                decision = self._propose()
            self.ledger.entries[decision] = None
            asked.append(decision)
        return asked

    def tell(self, trials: Iterable[Observation]) -> None:
        """Learn from observations whose values are (speed-up, drop)."""
        self.ledger.tell(trials)
        self._refit()

    def _refit(self) -> None:
        seen = [o for o in self.ledger.entries.values() if o is not None and o.values]
        decisions = [o.decision for o in seen]
        self.latency.fit(decisions, [-math.log(max(o.values[0], 1e-6)) for o in seen])
        self.damage.fit(decisions, [o.values[1] for o in seen])

    def _propose(self) -> Decision:
        """Return the first new solution among a few draws, or a random new point where all are known."""
        for attempt in range(DRAWS):
            generator = np.random.default_rng((self.ledger.seed, len(self.ledger.entries), attempt))
            low, high = self.budgets
            budget = math.exp(generator.uniform(math.log(low), math.log(high)))
            decision = self.solve(self.latency.draw(generator), self.damage.draw(generator), budget)
            if decision not in self.ledger.entries:
                return decision
        return draw(self.space, self.ledger.rng(), self.ledger.entries)

    def solve(self, log_latency: NDArray[np.float64], damage: NDArray[np.float64], budget: float) -> Decision:
        """Return the decision of least log latency whose damage is within `budget`.

        A choice whose drawn damage is negative counts as harmless, one that slows the network down is never taken.
        """
        if not len(self.space):
            return Decision()
        slots = [(i, c, v) for i, c in enumerate(self.space) for v in c.values]
        steps = np.array([distance(c, v) for _, c, v in slots])
        index = np.array([i for i, _, _ in slots])
        gains, harms = log_latency[index] * steps, np.maximum(damage, 0.0)[index] * steps
        one_hot = (index[None, :] == np.arange(len(self.space))[:, None]).astype(float)
        solution = milp(
            gains,
            constraints=[LinearConstraint(one_hot, 1, 1), LinearConstraint(harms[None, :], -np.inf, budget)],
            integrality=np.ones(len(slots)),
            bounds=Bounds(0, 1),
        )
        taken = {c.name: v for (_, c, v), z in zip(slots, solution.x, strict=True) if z > 0.5}
        return self.space.canonical(Decision(taken))

    def state(self) -> dict[str, Any]:
        return {**self.ledger.state(), "prior": [self.latency.prior.tolist(), self.damage.prior.tolist()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.ledger.restore(state)
        self.latency.prior, self.damage.prior = (np.array(p) for p in state["prior"])
        self._refit()
