"""The trainings of a supernet: what each trains, until when, and what it counts for."""

from __future__ import annotations

from typing import Any

import pytest
from situations import situation

from whet.core.space import Decision, Space
from whet.schedule.beliefs import Beliefs
from whet.schedule.goal import Goal
from whet.schedule.legs import Legs
from whet.schedule.mending import Mending
from whet.schedule.plan import Plan
from whet.schedule.together import Together


def planned(
    rungs: int, rivals: int = 0, max_drop: float | None = 0.01, memos: dict[str, Any] | None = None, **plan: Any
) -> Legs:
    """Return the legs of so many rungs and rivals."""
    given = situation([], Space(), Goal(max_drop, budget_seconds=1200.0), memos, plan=Plan(elastic_until=0.4, **plan))
    return Legs(
        given, Mending(given), [Decision({"rung": i}) for i in range(rungs)],
        [Decision({"rival": i}) for i in range(rivals)], chained=max_drop is not None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rungs", "rivals", "legs"),
    [
        (6, 0, [(0.35, 6), (0.65, 4), (1.0, 3)]),
        (4, 0, [(0.65, 4), (1.0, 3)]),
        (3, 0, [(1.0, 3)]),
        (3, 3, [(0.35, 6), (1.875, 3)]),
        (1, 2, [(0.35, 3), (1.875, 2)]),
        (4, 2, [(0.35, 6), (0.65, 4), (1.875, 3)]),
    ],
)
def test_a_training_ends_only_where_rungs_are_left_behind(
    rungs: int, rivals: int, legs: list[tuple[float, int]]
) -> None:
    found = planned(rungs, rivals)
    assert found.parts == [(pytest.approx(share), most) for share, most in legs]
    assert found.until == pytest.approx(0.4 * legs[-1][0])
    assert found.mending.rounds_seconds == (300.0 if rivals else 1200.0)


def test_of_k_sub_networks_at_once_each_gains_as_if_from_one_by_the_root_of_k_of_the_samples() -> None:
    """Six, four and three are trained for 0.35, 0.3 and 0.35 of 100 samples; then each may have one full training."""
    memos = {f"supernet_samples_{leg}": 6000 * (leg + 1) for leg in range(3)}
    found = planned(6, memos=memos)
    assert found.own_samples(1) == int(6000 / 6**0.5)
    assert found.own_samples(3) == int(6000 / 6**0.5 + 12_000 / 2 + 18_000 / 3**0.5)
    assert [found.portion(leg) for leg in range(3)] == pytest.approx([0.35, 0.3, 0.35])
    by_samples = planned(6, memos=memos, elastic_samples=100, full_samples=7)
    assert by_samples.samples_to_come(1) == pytest.approx(100 * (0.3 / 2 + 0.35 / 3**0.5) + 7)


def test_without_a_limit_all_rungs_are_trained_to_the_end() -> None:
    assert planned(6, max_drop=None).parts == [(1.0, 6)]


def test_of_a_chain_only_the_rungs_are_tried() -> None:
    """ResNet-20's supernet of three rungs was asked for 22 other candidates, which took 90 seconds: they lost 2-51%."""
    legs = planned(3)
    pace = Together(legs.situation, legs.mending, Beliefs(legs.situation, legs.mending))
    pace.legs, pace.kept = legs, slice(0, 2)
    assert pace.most() == 2


def test_what_a_leg_did_to_the_drops_says_how_far_the_next_may_go() -> None:
    """Rungs at 3.5% are out of reach of a limit of 1% by what is believed, and within it where a leg halved drops."""
    windows = []
    for after in (0.034, 0.011):
        memos: dict[str, Any] = {"supernet_samples_per_second": 100.0}
        for leg, drops in enumerate(([0.01] + [0.035] * 7, [0.009] + [after] * 4 + [0.035] * 3)):
            memos |= {f"supernet_samples_{leg}": 60_000, f"supernet_drops_{leg}": drops}
        windows.append(planned(8, memos=memos).window(2))
    assert windows == [slice(0, 3), slice(3, 6)]
