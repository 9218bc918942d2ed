"""What schedulers are told of a table's network."""

from __future__ import annotations

from typing import Any

from made_up import curves, simulator

from whet.core.space import Decision


def test_facts_are_the_tables() -> None:
    facts = simulator().situation.facts
    assert facts.original_samples_per_second() == 1000.0 and facts.epoch_samples == 50_000
    assert facts.obvious() == curves().obvious and facts.foretold().damage["block3:keep"] == [0.0, 0.08]
    strategy: Any = facts.strategy(0)
    assert strategy.operations(Decision({"layer0:width": 0.5})) == curves().operations({"layer0:width": 0.5})
