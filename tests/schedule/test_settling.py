"""The error that a limit leaves room for is shared out to the layers."""

from __future__ import annotations

import pytest
from situations import situation

from whet.core.objectives import Objectives
from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.schedule.goal import Goal
from whet.schedule.settling import Measured, Settling

NAMES = ("a:weights", "b:weights", "c:weights")
CHOICES = [Choice(name, ("float", "int8", "int4"), "float") for name in NAMES]


def test_the_mixture_saves_most_within_the_error() -> None:
    costs, errors = [[0.0, -0.3, -0.35]] * 3, [[0.0, 0.01, 0.02], [0.0, 0.01, 0.5], [0.0, 0.01, 0.1]]
    measured = Measured(CHOICES, costs, errors)
    assert measured.largest == pytest.approx(0.62)
    assert not measured.best(0.0)
    assert measured.best(0.03) == Decision(dict.fromkeys(NAMES, "int8"))
    assert measured.best(0.05) == Decision({"a:weights": "int4", "b:weights": "int8", "c:weights": "int8"})
    assert measured.best(0.13) == Decision({"a:weights": "int4", "b:weights": "int8", "c:weights": "int4"})
    assert measured.best(1.0) == Decision(dict.fromkeys(NAMES, "int4"))
    assert not Measured([], [], []).best(1.0)


@pytest.mark.parametrize(
    "wanted, drop, gain, pays",
    [
        (("size",), 0.001, 1.0, True),
        (("speed",), 0.001, 1.5, False),  # all layers together are within the limit
        (("speed",), 0.03, 1.5, True),
        (("speed",), 0.03, 1.05, False),  # nothing to gain
    ],
)
def test_layers_are_chosen_where_that_may_gain_something(
    wanted: tuple[str, ...], drop: float, gain: float, pays: bool
) -> None:
    trials = [Trial(0, "full", Decision({"network:int8": "all"}), 0.9, drop, gain)]
    given = situation(trials, Space(), Goal(0.01, Objectives(wanted)), finishers=True)
    assert Settling(given).pays() is pays
