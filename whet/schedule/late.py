"""`Late`: what is decided of a structure that is done, proposed by the strategy: formats of layers, settings."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from whet.core.space import Choice, Decision, Space, Value
from whet.core.strategy import Observation, Strategy
from whet.decisions.given import agrees, whole
from whet.decisions.planner import Planner

DAMAGE = 1e-3
"""What all layers finished are told to lose: files of a race are not scored, and whole ones were before."""
TYPICAL = 0.1
"""The log latency that a choice of the structure saves: forecasts believe what is far below that to be noise."""
Heat = list[dict[Decision, float]]
"""Of each file of a race its gain in each setting, by the choices of that setting."""


class Late:
    """Asks a strategy on the one space, with all given that is done: the structure, and in which scope layers differ.

    `space` holds the choices of the structure, of the finishers and of the target; `done` what is decided of them, and
    `gains` by the name of a choice for a layer which share of the latency its value saves. The strategy is told of each
    file in each setting, and believes what single layers save. A layer saves little of a network: gains are told to
    the power that makes a typical layer's as large as a typical choice's of a structure, which leaves their order.
    """

    def __init__(
        self, strategy: Strategy, space: Space, settings: Collection[str], done: Mapping[str, Value],
        gains: Mapping[str, float],
    ) -> None:  # fmt: skip
        self.strategy, self.space, self.settings = strategy, space, set(settings)
        self.layers = [name for name in gains if name in space.choices]
        free = self.settings | set(self.layers)
        decided = Decision({n: v for n, v in done.items() if n in space.choices})
        self.given = Decision({c.name: decided.of(c) for c in space if c.name not in free})
        logs = {name: math.log(max(1.0 - gains[name], 1e-6)) for name in self.layers}
        typical = sum(map(abs, logs.values())) / max(len(logs), 1)
        self.power = max(1.0, TYPICAL / typical) if typical else 1.0
        if isinstance(strategy, Planner):
            believed = {name: self.power * log / _furthest(strategy, space.choices[name]) for name, log in logs.items()}
            damage = dict.fromkeys(self.layers, DAMAGE / max(len(self.layers), 1))
            nothing = dict.fromkeys(space.choices, 0.0)
            strategy.believe(nothing | believed, nothing | damage)

    def tell(self, decisions: Sequence[Decision], heat: Heat) -> None:
        """Tell the strategy how fast each file of a race was in each setting, over the structure as it is."""
        plain = max(heat[0].values(), default=0.0)
        seen = [
            Observation(self.decision(decision, setting), ((gain / plain) ** self.power, self._damage(decision)))
            for decision, gains in zip(decisions, heat, strict=True)
            for setting, gain in gains.items()
            if plain > 0 and gain > 0
        ]
        self.strategy.tell(o for o in seen if agrees(self.space, o.decision, self.given))

    def ask(self, count: int) -> list[Decision]:
        """Return what the strategy proposes of the layers, with the scope; one a mixture, whatever its setting."""
        asked = self.strategy.ask(count, self.given)
        own = [Decision({n: v for n, v in d.items() if n not in self.settings}) for d in asked]
        return list(dict.fromkeys(own))

    def decision(self, decision: Decision, setting: Decision) -> Decision:
        """Return the point of the space that a file in a setting is."""
        known = {n: v for n, v in {**decision, **setting}.items() if n in self.space.choices}
        return whole(self.space, known, self.given)

    def _damage(self, decision: Decision) -> float:
        return DAMAGE * sum(name in decision for name in self.layers) / max(len(self.layers), 1)


def _furthest(strategy: Planner, choice: Choice) -> float:
    """Return the strategy's distance of a choice's furthest value."""
    return max(*(strategy.steps(choice, value)[0] for value in choice.values), 1e-6)
