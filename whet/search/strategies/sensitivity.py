"""Thompson sampling over sensitivities: an integer programme on drawn effects proposes each candidate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.core.errors import DecisionError
from whet.core.space import Choice, Decision, Space, Value
from whet.core.strategy import Observation
from whet.decisions.enumerate import draw
from whet.decisions.given import free
from whet.decisions.ledger import LedgerStrategy
from whet.search.predictors.linear import LinearForecast
from whet.search.predictors.power import PowerForecast
from whet.search.programme import by_integer_programme

DRAWS = 20
WIDENING = 1.1
"""By how much the damage budget grows with each draw whose solution is known already."""
LEAST = 0.3
"""The gain for its damage below which a choice is left alone, as a share of that of the whole proposal.

An integer programme fills what is left of its budget with whatever gains anything, noise included; the damage is real.
"""


class Sensitivity(LedgerStrategy):
    """Propose the fastest decision that a damage budget allows, under effects drawn from what was measured.

    Two forecasts hold each choice's effect on log latency and on a power of the drop. A proposal draws both from
    their posteriors and a damage budget b, log-uniform in `budgets`, and solves the integer programme of
    `whet.search.programme`; choices whose mean gain for their damage is below `LEAST` of the whole's are left out. The
    draws spread the proposals; measured effects sharpen them. The same seed and log give the same proposals. Once it is
    aimed, the forecasts' means are taken in place of draws, unless what they propose is known. Where `base` is set,
    proposals contain it, and `budgets` bound the damage beyond it.

    The integer programme over layer-wise sensitivities is that of HAWQ-V3 (Yao et al., 2021), posterior draws are
    Thompson's (1933).
    """

    def __init__(
        self,
        space: Space,
        seed: int = 0,
        directions: Sequence[str] = ("maximize", "minimize"),
        budgets: tuple[float, float] = (0.005, 0.1),
    ) -> None:
        if tuple(directions) != ("maximize", "minimize"):
            wanted = "(maximize speed-up, minimize drop)"
            raise DecisionError(f"strategy 'sensitivity' works on {wanted}; got {directions!r}.")
        super().__init__(space, seed, directions)
        self.budgets, self.base, self.aimed = budgets, Decision(), False
        self.latency = LinearForecast(space, noise=0.03, floor=0.05)
        self.damage = PowerForecast(space)

    @property
    def log_latency(self) -> LinearForecast:
        """The forecast of log latency, in shares of the untouched network's."""
        return self.latency

    @property
    def drop(self) -> PowerForecast:
        """The forecast of the drop."""
        return self.damage

    def steps(self, choice: Choice, value: Value) -> tuple[float, float]:
        """Return how far a value is from its choice's identity, in [0, 1], for latency and for damage."""
        return self.latency.distance(choice, value), self.damage.linear.distance(choice, value)

    def aim(self, budgets: tuple[float, float], base: Decision | None = None) -> None:
        """Let further proposals do damage within `budgets`, beyond that of `base`, which they contain."""
        self.budgets, self.base, self.aimed = budgets, base or Decision(), True

    def believe(self, log_latency: Mapping[str, float], damage: Mapping[str, float]) -> None:
        """Take in what single choices did when they were probed, by choice name, per unit of distance."""
        self.latency.believe(log_latency)
        self.damage.believe(damage)
        self._refit()

    def within(self, given: Mapping[str, Value]) -> LedgerStrategy:
        """Return a strategy on what is left to decide, which believes what this one does of it."""
        made = super().within(given)
        if isinstance(made, Sensitivity):
            made.budgets, made.aimed = self.budgets, self.aimed
            made.base = free(made.space, self.base, given)
            for mine, other in ((self.latency, made.latency), (self.damage.linear, made.damage.linear)):
                other.shape({name: row for name, row in mine.distances.items() if name not in given})
            made.latency.prior, made.damage.prior = self.latency.prior.copy(), self.damage.prior.copy()
            made._refit()
        return made

    @property
    def believed(self) -> bool:
        """Whether probes were taken in."""
        return bool(self.latency.prior.any() or self.damage.prior.any())

    def shape(self, latency: Mapping[str, Sequence[float]], damage: Mapping[str, Sequence[float]]) -> None:
        """Take in how the effects of a choice's values compare, by choice name, in the order of its values, in [0, 1].

        Those of a choice that is not named go with the distance from its identity.
        """
        self.latency.shape(latency)
        self.damage.shape(damage)

    def tell(self, trials: Iterable[Observation]) -> None:
        """Learn from observations whose values are (speed-up, drop)."""
        super().tell(trials)
        self._refit()

    def _refit(self) -> None:
        decisions = [o.decision for o in self.ledger.measured()]
        latencies, drops = self.points().T
        self.latency.fit(decisions, latencies.tolist())
        self.damage.fit(decisions, drops.tolist())

    def points(self) -> NDArray[np.float64]:
        """Return log latency, in shares of the untouched network's, and drop of what was measured, one row each."""
        seen = self.ledger.measured()
        return np.array([(-math.log(max(o.values[0], 1e-6)), o.values[1]) for o in seen]).reshape(len(seen), 2)

    def propose(self) -> Decision | None:
        """Return the first new solution among a few draws; where all are known, a random point, or once aimed None."""
        for attempt in range(DRAWS):
            generator = np.random.default_rng((self.ledger.seed, len(self.ledger.entries), attempt))
            low, high = self.budgets
            if self.aimed and not attempt:
                latency, damage, budget = self.latency.mean, self.damage.mean, math.sqrt(low * high)
            else:
                latency, damage = self.latency.draw(generator), self.damage.draw(generator)
                budget = math.exp(generator.uniform(math.log(low), math.log(high))) * WIDENING**attempt
            decision = self.solve(latency, damage, budget)
            if decision not in self.ledger.entries:
                return decision
        return None if self.base or self.aimed else draw(self.space, self.ledger.rng(), self.ledger.entries)

    def solve(
        self,
        log_latency: NDArray[np.float64],
        damage: NDArray[np.float64],
        budget: float,
        *,
        barred: Collection[str] = (),
        forgone: float = 0.0,
    ) -> Decision:
        """Return the decision of least log latency whose damage is within `budget`, beyond that of the base.

        The effects are those on log latency and on the damage's power, as `self.damage` has them.
        A choice whose drawn damage is negative counts as harmless, one that slows the network down is never taken, nor
        is one of those `barred` by name. Of the decisions that gain all but the share `forgone` of what that one does,
        it is the one that does the least damage.
        """
        free = [self._free(c, barred) for c in self.space]
        gained, harmed = self.latency.effects(log_latency), self.damage.effects(np.maximum(damage, 0.0))
        gains = [[row[v] for v in vs] for row, vs in zip(gained, free, strict=True)]
        harms = [[row[v] for v in vs] for row, vs in zip(harmed, free, strict=True)]
        least, spent = (sum(row[0] for row in table if len(row) == 1) for table in (gains, harms))
        most = self.damage.raised(self.damage.lowered(spent) + budget)
        picked = by_integer_programme(gains, harms, max(most, spent))
        if forgone:
            most_gained = sum(row[i] for row, i in zip(gains, picked, strict=True))
            picked = by_integer_programme(harms, gains, most_gained + forgone * (least - most_gained))
        return self._worthwhile([vs[i] for vs, i in zip(free, picked, strict=True)])

    def _worthwhile(self, values: Sequence[int]) -> Decision:
        """Return the decision without the choices that, beyond the base, are expected to gain next to nothing."""
        gains = [-row[v] for row, v in zip(self.latency.effects(self.latency.mean), values, strict=True)]
        harms = [row[v] for row, v in zip(self.damage.effects(np.maximum(self.damage.mean, 0.0)), values, strict=True)]
        least = LEAST * sum(gains) / max(sum(harms), 1e-12)
        kept = [
            v if c.name in self.base or gain >= least * harm else c.values.index(c.identity)
            for c, v, gain, harm in zip(self.space, values, gains, harms, strict=True)
        ]
        return self.taken(kept)

    def _free(self, choice: Choice, barred: Collection[str]) -> list[int]:
        """Return the indices of the values that a proposal may take."""
        if choice.name in self.base or choice.name in barred:
            return [choice.values.index(self.base.of(choice))]
        return list(range(len(choice.values)))

    def chain(self, budgets: Sequence[float], forgone: float = 0.0) -> list[Decision]:
        """Return decisions of rising damage, each containing the one before: what to cut first, and what next.

        Each link may forgo a share of its gain for less damage.
        """
        found, before = [Decision()], self.base
        for low, high in itertools.pairwise((0.0, *budgets)):
            self.base = found[-1]
            solved = self.solve(self.latency.mean, self.damage.mean, high - low, forgone=forgone)
            if solved != found[-1]:
                found.append(solved)
        self.base = before
        return found[1:]

    def extensions(
        self, base: Decision, budget: float, count: int, barred: Collection[str] = (), forgone: float = 0.0
    ) -> list[Decision]:
        """Return up to `count` decisions that extend `base` within the damage `budget`, each by choices of its own.

        None takes one that is `barred` by name.
        """
        before, self.base = self.base, base
        taken, found = set(barred), list[Decision]()
        while len(found) < count:
            solved = self.solve(self.latency.mean, self.damage.mean, budget, barred=taken, forgone=forgone)
            if solved == base:
                break
            found.append(solved)
            taken |= set(solved)
        self.base = before
        return found

    def taken(self, values: Sequence[int]) -> Decision:
        """Return the decision that takes the value of that index of each choice."""
        return self.space.canonical(Decision({c.name: c.values[v] for c, v in zip(self.space, values, strict=True)}))

    def state(self) -> dict[str, Any]:
        """Return the ledger and what the forecasts began with, as plain JSON values."""
        prior = [self.latency.prior.tolist(), self.damage.prior.tolist()]
        return {**super().state(), "prior": prior, "shape": [self.latency.distances, self.damage.linear.distances]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned, with the forecasts fitted again."""
        super().restore(state)
        self.shape(*state["shape"])
        self.latency.prior, self.damage.prior = (np.array(p) for p in state["prior"])
        self._refit()
