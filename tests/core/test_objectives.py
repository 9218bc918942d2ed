"""What is wanted, and by how much a file misses the limits."""

from __future__ import annotations

import math

import pytest

from whet.core.errors import UnknownNameError
from whet.core.objectives import ObjectiveError, Objectives, wanted_of


def test_a_gain_is_the_ratio_that_is_wanted_or_the_mean_of_them() -> None:
    assert Objectives().gain(2.0, 8.0) == 2.0 and Objectives(("size",)).gain(2.0, 8.0) == 8.0
    assert Objectives(("speed", "size")).gain(2.0, 8.0) == pytest.approx(4.0)


def test_limits_are_met_or_missed_by_a_factor() -> None:
    limits = Objectives(("speed",), least_speedup=1.5, most_bytes=1000)
    assert limits.met(1.5, 1000) and not limits.met(1.49, 1000) and not limits.met(1.5, 1001)
    assert limits.violation(1.5, 1000) == 0
    assert limits.violation(0.75, 1000) == pytest.approx(math.log(2))
    assert limits.violation(2.0, 4000) == pytest.approx(math.log(4))
    assert limits.violation(math.nan, 0) == 0, "what is not known breaks no limit"


def test_better_in_one_and_no_worse_in_all() -> None:
    both = Objectives(("speed", "size"))
    assert both.is_better(0.9, 1.1) and not both.is_no_worse(0.9, 1.1) and both.is_no_worse(1.0, 1.0)
    assert not both.is_better(1.0, 1.0) and not Objectives().is_better(0.9, 5.0)
    assert both.costs(2.0, 500) == (-2.0, 500.0) and Objectives(("size",)).costs(2.0, 500) == (500.0,)


@pytest.mark.parametrize(
    "options", [{"wanted": ()}, {"wanted": ("size", "size")}, {"most_bytes": 0}, {"least_speedup": math.inf}]
)
def test_objectives_that_contradict_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ObjectiveError):
        Objectives(**options)  # type: ignore[arg-type]


def test_a_misspelt_objective_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'size'"):
        Objectives(wanted_of("speed,sise"))
