"""What a strategy that forecasts is told before it proposes: what passes foretell, what probes found."""

from __future__ import annotations

import math
from functools import cached_property

from whet.core.strategy import Strategy
from whet.decisions.distance import distance
from whet.decisions.planner import Planner
from whet.schedule.foretold import LEAST_SHARE, Foretold, normal, scaled, together
from whet.schedule.mending import Mending
from whet.schedule.situation import Situation

REACH = (1.5, 6.0)
"""The damage after a short training, in shares of the limit, that first proposals may do: about what can be mended."""
UNLIMITED = (0.003, 0.2)
"""That damage where there is no limit."""
MENDED = (0.5, 1.5)
"""The damage of first proposals in shares of what the rounds can mend, where it is known how fast they train."""
WITHIN = (0.5, 1.1)
"""The damage of proposals, in shares of the limit, where training is too slow to mend any."""


class Beliefs:
    """Makes strategies and says to those that forecast what is believed of the choices."""

    def __init__(self, situation: Situation, mending: Mending) -> None:
        self.situation, self.mending = situation, mending

    def new_strategy(self, seed: int, scale: float = 1.0) -> Strategy:
        """Return a strategy; `scale` multiplies the damage that its proposals may do, if it bounds that."""
        limit = self.situation.goal.max_drop
        strategy = self.situation.facts.strategy(seed)
        if isinstance(strategy, Planner):
            low, high = (limit * REACH[0], limit * REACH[1]) if limit else UNLIMITED
            strategy.budgets = low * scale, high * scale
        return strategy

    def inform(self, strategy: Strategy) -> None:
        """Tell a strategy that can use it what the probes found."""
        if not isinstance(strategy, Planner):
            return
        self.teach(strategy)
        limit = self.situation.goal.max_drop
        head_start = self.situation.history.head_start
        if limit and head_start and (mended := self.mending.mendable(limit)) < math.inf:
            strategy.budgets = (mended * MENDED[0], mended * MENDED[1])
            if self.mending.slow:
                strategy.aim((limit * WITHIN[0], limit * WITHIN[1]))

    @cached_property
    def foretold(self) -> Foretold:
        """What passes tell of the choices' values; nothing where candidates are not repaired, as they mean repaired."""
        return self.situation.facts.foretold() if self.situation.facts.repairs else Foretold()

    def teach(self, strategy: Planner) -> None:
        """Tell a strategy what passes foretell, what probes found, and what whole kinds gained together."""
        s = self.situation
        strategy.shape(*self.foretold.shapes())
        effects, damage = self.effects(strategy)
        explored = [t for t in s.history.explored() if t.parent is None]
        base = s.finishing.base_gain
        seen = [(s.history.structural(t.decision), -math.log(t.gain / base)) for t in explored]
        steps = {c.name: [strategy.steps(c, v)[0] for v in c.values] for c in s.space}
        rows = {name: [effect * step for step in steps[name]] for name, effect in effects.items()}
        shape, latency = normal(together(rows, s.space.choices, seen), min)
        strategy.shape(shape, {})
        strategy.believe(dict.fromkeys(rows, 0.0) | latency, damage)

    def effects(self, strategy: Planner) -> tuple[dict[str, float], dict[str, float]]:
        """Return each choice's effect on log latency and on the drop that lasts, per unit of the strategy's distances.

        What was not probed goes by what is foretold, or is believed to be like the mean of its kind.
        """
        s, latency, damage = self.situation, dict[str, float](), dict[str, float]()
        for trial in s.history.of_stage("probe", "predicted"):
            if len(trial.decision) > 1:
                continue
            name, value = next(iter(trial.decision.items()))
            choice = s.space.choices[name]
            least = max(LEAST_SHARE * distance(choice, value), 1e-6)
            for_latency, for_damage = (max(step, least) for step in strategy.steps(choice, value))
            latency[name] = -math.log(max(trial.gain, 1e-6)) / for_latency
            lasting = 1.0 if s.facts.repairs else choice.lasting  # of repaired cuts training mends as much
            damage[name] = lasting * max(trial.drop, 0.0) / for_damage
        choices = list(s.space)
        return (
            scaled(latency, self.foretold.log_operations, choices, min),
            scaled(damage, self.foretold.damage, choices, max),
        )
