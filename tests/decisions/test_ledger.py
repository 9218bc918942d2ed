"""A ledger is replayed from its state, takes queued decisions first and none twice."""

from __future__ import annotations

import json

import pytest

from whet.core.errors import DecisionError, StudyError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.decisions.enumerate import draw
from whet.decisions.ledger import Ledger, LedgerStrategy

SPACE = Space([Choice("a:bits", (4, 8, 32), 32), Choice("b:bits", (8, 32), 32)])
A, B = Decision({"a:bits": 4}), Decision({"b:bits": 8})


class Drawing(LedgerStrategy):
    """Proposes what it draws."""

    def propose(self) -> Decision | None:
        return draw(self.space, self.ledger.rng(), self.ledger.entries)


def test_each_decision_of_the_space_is_asked_once_queued_ones_first() -> None:
    strategy = Drawing(SPACE, seed=3)
    strategy.tell([Observation(A, (1.0, 0.5))])
    strategy.enqueue([A, Decision({"a:bits": 32, "b:bits": 8}), B])
    asked = strategy.ask(100)
    assert asked[0] == B and len(asked) == len(set(asked)) == 6 - 1 and A not in asked
    assert strategy.ledger.exhausted and strategy.ask() == []


def test_a_strategy_goes_on_from_its_state_as_if_nothing_had_been() -> None:
    first = Drawing(SPACE, seed=7)
    (asked,) = first.ask()
    first.tell([Observation(asked, (2.0, 0.1), 0.3)])
    first.ask()  # in flight
    first.enqueue([Decision()])
    state = json.loads(json.dumps(first.state()))
    second = Drawing(SPACE, seed=7)
    second.restore(state)
    assert second.state() == first.state() and second.ledger.measured() == first.ledger.measured()
    assert second.ask(3) == first.ask(3)


def test_failures_and_what_is_in_flight_are_not_measured_and_the_latest_result_counts() -> None:
    ledger = Ledger(SPACE, 0)
    ledger.entries[Decision()] = None
    ledger.tell([Observation(A, (1.0,)), Observation(B), Observation(A, (2.0,))])
    assert ledger.measured() == [Observation(A, (2.0,))]
    assert ledger.measured(1) == [] and len(ledger.entries) == 3


def test_ledger_refuses_a_state_of_another_seed() -> None:
    with pytest.raises(StudyError, match="seed 1, now 2"):
        Ledger(Space(), 2).restore(Ledger(Space(), 1).state())


def test_directions_and_values_that_do_not_fit_are_told() -> None:
    with pytest.raises(DecisionError, match="'maximize' or 'minimize'"):
        Drawing(SPACE, directions=("up",))
    with pytest.raises(DecisionError, match="one value per objective"):
        Drawing(SPACE).tell([Observation(A, (1.0,))])
