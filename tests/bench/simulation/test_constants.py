"""A constant of the schedule is set for everything that was made of it, and back again."""

from __future__ import annotations

import sys

import pytest
from made_up import landscape

from whet.bench.simulation.constants import changed, constants, numbers, parsed
from whet.core.errors import UnknownNameError
from whet.schedule import growth, recovery


def test_what_was_imported_by_name_or_is_a_default_changes_too_and_is_set_back() -> None:
    with changed({"recovery.SPARE": 0.7, "recovery.POWER": 0.25, "plan.most_rounds": 9, "growth.MORE": 2}):
        modules = sys.modules
        assert modules["whet.schedule.growth"].SPARE == 0.7 and modules["whet.schedule.growth"].MORE == 2
        assert modules["whet.schedule.growth"].MOST == growth.MOST, "a neighbour in the same line stays"
        assert modules["whet.schedule.recovery"].Recovery(0.01).power == 0.25
        assert modules["whet.schedule.plan"].Plan().most_rounds == 9
    assert sys.modules["whet.schedule.growth"] is growth and growth.SPARE == recovery.SPARE == 0.9


def test_a_search_goes_by_the_changed_constant() -> None:
    with changed({}) as same:
        plain = same.simulate(landscape(), 90.0, 1, "random")
    with changed({"plan.explore_until": 0.9}) as other:
        longer = other.simulate(landscape(), 90.0, 1, "random")
    assert longer.trials > plain.trials


def test_constants_are_found_and_read() -> None:
    known = constants()
    assert len(known) > 70 and all(numbers(value) for value in known.values())
    assert parsed("hopes.BEYOND=(4.0, 1.0, 20.0)") == ("hopes.BEYOND", (4.0, 1.0, 20.0))
    with pytest.raises(UnknownNameError, match=r"recovery\.SPARE"):
        parsed("recovery.SPARES=1")
