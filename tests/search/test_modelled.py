"""What strategies that learn share: draws first, then candidates; objectives in logarithms, limits as penalties."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.search.modelled import PENALTY, Modelled

SPACE = Space([Choice(f"layer{i}:width", (0.25, 0.5, 1.0), 1.0) for i in range(3)])
BEST = Decision({"layer0:width": 0.25})


class Fixed(Modelled):
    """Proposes the identity, then one decision, always."""

    def candidates(self) -> Iterable[Decision]:
        return [Decision(), BEST]


def test_the_first_new_candidate_is_taken_once_enough_are_out() -> None:
    strategy = Fixed(SPACE, warm_up=3)
    strategy.tell([Observation(Decision(), (1.0, 0.0)), Observation(Decision({"layer1:width": 0.5}), (1.2, 0.1))])
    (drawn,) = strategy.ask()
    assert drawn != BEST or len(strategy.ledger.entries) < 3
    strategy.tell([Observation(drawn, (1.1, 0.2))])
    if drawn != BEST:
        assert strategy.ask() == [BEST], "the identity was measured already"
    (further,) = strategy.ask()
    assert further not in (Decision(), BEST), "where no candidate is new it draws"


def seen(*values: tuple[float, float], violations: tuple[float, ...] = ()) -> list[Observation]:
    broken = violations or (0.0,) * len(values)
    return [Observation(Decision(), v, b) for v, b in zip(values, broken, strict=True)]


def test_speed_ups_are_logarithms_to_minimise_and_drops_stay() -> None:
    found = Fixed(SPACE).objectives(seen((1.0, 0.0), (np.e, -0.5)))
    assert found.tolist() == [[0.0, 0.0], [pytest.approx(-1.0), -0.5]]


def test_a_broken_limit_counts_ten_ranges_of_each_objective() -> None:
    given = seen((1.0, 0.0), (np.e, 0.5), violations=(-1.0, 0.1))
    strategy = Fixed(SPACE)
    assert strategy.violations(given).tolist() == [0.0, 0.1]
    extra = strategy.penalised(given) - strategy.objectives(given)
    assert extra.tolist() == [[0.0, 0.0], [pytest.approx(PENALTY * 0.1), pytest.approx(PENALTY * 0.1 * 0.5)]]


def test_rewards_run_from_the_last_front_to_the_first() -> None:
    found = Fixed(SPACE).rewards(seen((3.0, 0.0), (2.0, 0.1), (1.0, 0.2)))
    assert found.tolist() == [1.0, 0.5, 0.0]


def test_the_generator_of_a_proposal_is_that_of_its_number() -> None:
    one, other = Fixed(SPACE, seed=3), Fixed(SPACE, seed=3)
    assert one.generator().random() == other.generator().random()
    one.tell([Observation(Decision(), (1.0, 0.0))])
    assert one.generator().random() != other.generator().random()
