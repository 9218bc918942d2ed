"""How much of a structure's training comes after the finishers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from resnet44 import SPACE, explored, rounds, trial
from situations import situation

from whet.core.space import Decision
from whet.schedule.goal import Goal
from whet.schedule.plan import Plan
from whet.schedule.portion import Portion
from whet.schedule.recovery import NOISE

INT8 = Decision({"network:int8": "all"})


def test_where_int8_costs_nothing_no_training_is_kept_back_for_it() -> None:
    """What int8 costs is seen on the untouched network, before anything is trained."""
    int8 = Decision({"network:int8": "all"})
    shares = {}
    for drop in (-0.0004, 0.004):
        untouched = replace(trial(0, "full", 1.3, drop, 0), decision=int8)
        stage, _ = rounds([untouched, *(replace(t, number=t.number + 1) for t in explored())])
        stage.situation.finishing.any = True
        shares[drop] = stage.prospects.portion.after, stage.shares.each(4)
    assert shares[-0.0004][0] == 0.0 and shares[0.004][0] == Plan().quantized_share
    assert shares[-0.0004][1] > 1.05 * shares[0.004][1]


def portion(drop: float, plan: Plan | None = None, finishers: bool = True) -> Portion:
    untouched = replace(trial(0, "full", 1.3, drop, 0), decision=INT8)
    return Portion(situation([untouched], SPACE, Goal(0.01), finishers=finishers, plan=plan))


@pytest.mark.parametrize(("drop", "kept"), [(NOISE * 0.01, False), (NOISE * 0.01 + 1e-4, True), (0.03, False)])
def test_training_is_kept_back_from_the_noise_up_to_where_finishers_are_left_out(drop: float, kept: bool) -> None:
    assert portion(drop).after == (Plan().quantized_share if kept else 0.0)
    assert portion(drop, finishers=False).after == 0.0


def test_before_and_after_together_are_the_whole_training() -> None:
    found = portion(0.004)
    before = 1.0 - found.after
    assert before * (1 + found.settling) == pytest.approx(1.0) and found.settling > found.after


def test_a_budget_of_samples_is_shared_out_whatever_the_seconds() -> None:
    found = portion(0.0, Plan(full_samples=1000))
    assert found.after == 0.2, "samples are kept back even where finishers cost nothing"
    assert found.samples_in(99.0) == 800.0 and found.samples(found.after) == 200.0
    assert portion(0.004).samples(0.5) is None and portion(0.004).samples_in(99.0) == 99.0 * 1200.0
