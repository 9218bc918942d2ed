"""What comes before the rounds: in which order, until when, and what the strategy is told of it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from resnet44 import trial
from situations import asked, drive, situation

from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.core.study import Trial
from whet.schedule.actions import FindRecipe, FinishUntouched, Foresight, Probe, Try
from whet.schedule.alone import Alone
from whet.schedule.beliefs import Beliefs
from whet.schedule.exploring import AIM, FORESEEN, Exploring
from whet.schedule.goal import Goal
from whet.schedule.history import REPAIRED_SAMPLES
from whet.schedule.mending import Mending
from whet.schedule.recovery import POWER

BLOCKS = Space([Choice(f"block{i}:keep", (True, False), True) for i in range(3)])
INT8 = Decision({"network:int8": "all"})
TIMED = Goal(0.01, budget_seconds=1000.0)


def exploring(trials: list[Trial], goal: Goal = TIMED, space: Space = BLOCKS, **more: Any) -> Exploring:
    s = situation(trials, space, goal, **more)
    mending = Mending(s)
    return Exploring(s, mending, Beliefs(s, mending), Alone(s, mending))


def test_finishers_come_first_then_probes_then_the_recipe_then_candidates() -> None:
    goal = Goal(0.01, budget_seconds=1000.0, trials=2)
    kinds = [type(a) for a in asked(exploring([], goal, ways=[[INT8]], finishers=True).run())]
    assert kinds == [FinishUntouched, Probe, Probe, Probe, FindRecipe, Try, Try]


def test_where_there_is_nothing_to_cut_only_finishers_are_tried() -> None:
    assert asked(exploring([], space=Space(), ways=[[INT8]], finishers=True).run()) == [FinishUntouched(INT8)]


def test_no_recipe_is_looked_for_where_nothing_is_trained() -> None:
    seen = asked(exploring([], Goal(0.01, budget_seconds=1000.0, trials=2), trains=False, repairs=True).run())
    assert not any(isinstance(a, FindRecipe) for a in seen)
    assert any(isinstance(a, Try) for a in seen)


def test_no_candidate_is_begun_that_would_not_be_done_in_time() -> None:
    explorer = exploring([], file_seconds=2.0)
    step = 12.0 + 4.0  # a short training of 1,000 seconds; saving and timing
    assert drive(explorer.one_more(step + 1.0)) and not drive(explorer.one_more(step - 1.0))


def test_what_failed_is_told_without_a_number_so_that_it_is_not_proposed_again() -> None:
    explorer = exploring([])
    told: list[Observation] = []
    explorer.strategy = SimpleNamespace(ask=lambda n: [BOTH], tell=told.extend)  # type: ignore[assignment]
    assert drive(explorer.one_more(900.0)) and told == [Observation(BOTH)]


BOTH = Decision({"block0:keep": False, "block1:keep": False})


def test_the_strategy_is_told_what_a_drop_would_be_as_repaired_and_what_is_far_beyond_the_limit() -> None:
    longer = trial(0, "short", 2.0, 0.05, 3 * REPAIRED_SAMPLES)
    explorer = exploring([longer], repairs=True)
    told: list[Observation] = []
    explorer.strategy = SimpleNamespace(ask=lambda n: [], tell=told.extend)  # type: ignore[assignment]
    drive(explorer.explore())
    [found] = told
    assert found.values == (2.0, pytest.approx(0.05 * 4**POWER))
    assert found.violation == pytest.approx(0.05 - 4 * 0.01)


def test_a_strategy_is_aimed_about_a_drop() -> None:
    explorer: Any = exploring([])
    assert explorer.aim(0.05, BOTH)
    assert explorer.strategy.budgets == (0.05 * AIM[0], 0.05 * AIM[1]) and explorer.strategy.base == BOTH
    explorer.strategy = SimpleNamespace()
    assert not explorer.aim(0.05)


def test_what_an_error_tells_to_be_too_bad_or_too_slow_is_left() -> None:
    def foresight(base: Decision | None = None, **more: Any) -> Foresight | None:
        explorer: Any = exploring([trial(0, "full", 1.5, 0.001, 0)], **more)
        explorer.aim(0.05, base)
        explorer.strategy.believe({"block0:keep": -math.log(2.0)}, {})
        [action] = [a for a in [next(explorer.one_more(900.0))] if isinstance(a, Try)]
        if action.foresight is not None:
            assert action.foresight.gain == pytest.approx(math.exp(-explorer.strategy.log_latency(action.decision)))
        return action.foresight

    found = foresight(repairs=True)
    assert found is not None and (found.rate, found.best) == (0.3, 1.5)
    assert found.most_drop == pytest.approx(FORESEEN * 0.05 * AIM[1])
    assert foresight() is None, "without repairs errors are not looked at"
    assert foresight(BOTH, repairs=True) is None, "what is inherited has no error that says anything"
