"""`SimulatedFacts`: what schedulers are told of the network of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from whet.core.space import Decision, Value
from whet.core.strategy import Strategy
from whet.decisions.planner import Counting
from whet.schedule.foretold import Foretold
from whet.schedule.late import Late
from whet.schedule.situation import Mixable
from whet.search import strategies

if TYPE_CHECKING:
    from whet.bench.simulation.simulator import Simulator


class SimulatedFacts:
    """What schedulers are told of the network."""

    repairs, trains = True, True

    def __init__(self, simulator: Simulator) -> None:
        self.simulator, self.curves = simulator, simulator.curves

    @property
    def epoch_samples(self) -> int:
        return int(self.curves.about["epoch_samples"])

    def samples_per_second(self) -> float:
        recall = self.simulator.study.recall
        return float(recall("samples_per_second_full") or recall("samples_per_second_short") or 0.0)

    def original_samples_per_second(self) -> float:
        return self.simulator.speed.samples(self.curves.operations({}), 1.0)

    def reference(self) -> float:
        return self.simulator.reference

    def obvious(self) -> list[Decision]:
        return list(self.curves.obvious)

    def pressed(self) -> list[Decision]:
        return []

    def foretold(self) -> Foretold:
        both = self.curves.damage, self.curves.log_operations
        damage, logs = ({name: list(row) for name, row in rows.items()} for rows in both)
        return Foretold(damage, logs)

    def mixables(self) -> list[Mixable]:
        names = (frozenset(n for way in ways for n in way) for ways in self.curves.ways)
        return [Mixable(each, None) for each in names]

    def strategy(self, seed: int) -> Strategy:
        strategy = strategies.get(self.simulator.strategy_name, self.curves.space, seed=seed)
        if isinstance(strategy, Counting):
            strategy.operations = self.curves.operations
        return strategy

    def late(self, done: Mapping[str, Value], saved: Mapping[str, float]) -> Late:
        raise NotImplementedError("a table has no times of single layers: late choices are not simulated.")
