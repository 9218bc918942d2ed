"""What is wanted, and by how much a file misses the limits."""

from __future__ import annotations

import math

import pytest

from whet.core.errors import UnknownNameError
from whet.core.objectives import Figures, ObjectiveError, Objectives


def test_a_gain_is_the_ratio_that_is_wanted_or_the_mean_of_them() -> None:
    served, whole = Figures(2.0, 1000, 5000), Figures(1.0, 8000, 20_000)
    assert Objectives().gain(served, whole) == 2.0 and Objectives(("size",)).gain(served, whole) == 8.0
    assert Objectives(("speed", "size")).gain(served, whole) == pytest.approx(4.0)
    assert Objectives(("memory",)).gain(served, whole) == 4.0
    assert Objectives(("speed", "size", "memory")).gain(served, whole) == pytest.approx(4.0)


def test_memory_that_was_not_measured_is_what_the_uncompressed_file_takes_without_the_bytes_that_are_gone() -> None:
    whole = Figures(1.0, 8000, 20_000)
    assert Objectives(("memory",)).gain(Figures(2.0, 3000), whole) == pytest.approx(20_000 / 15_000)
    assert Objectives(("memory",)).gain(Figures(2.0, 3000), Figures(1.0, 8000)) == 1.0, "nothing is known"


def test_limits_are_met_or_missed_by_a_factor() -> None:
    limits = Objectives(("speed",), least_speedup=1.5, most_bytes=1000, most_memory_bytes=9000)
    assert limits.met(Figures(1.5, 1000, 9000))
    assert not any(map(limits.met, (Figures(1.49, 1000), Figures(1.5, 1001), Figures(1.5, 1000, 9001))))
    assert limits.violation(Figures(0.75, 1000)) == pytest.approx(math.log(2))
    assert limits.violation(Figures(2.0, 4000, 18_000)) == pytest.approx(math.log(8))
    assert limits.violation(Figures(math.nan, 0, 0)) == 0, "what is not known breaks no limit"
    assert limits.need_memory and not Objectives().need_memory and Objectives(("memory",)).need_memory


def test_a_front_makes_costs_small() -> None:
    served = Figures(2.0, 500, 7000)
    assert Objectives(("speed", "size")).costs(served) == (-2.0, 500.0)
    assert Objectives(("memory", "size")).costs(served) == (7000.0, 500.0)


@pytest.mark.parametrize(
    "options",
    [
        {"wanted": ()}, {"wanted": ("size", "size")}, {"most_bytes": 0}, {"most_memory_bytes": -1},
        {"least_speedup": math.inf},
    ],
)  # fmt: skip
def test_objectives_that_contradict_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ObjectiveError):
        Objectives(**options)  # type: ignore[arg-type]


def test_a_misspelt_objective_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'size'"):
        Objectives(("speed", "sise"))
