"""What a search is to reach: limits are met at their edge, and a merit weighs gain against drop."""

from __future__ import annotations

import pytest
from resnet44 import trial

from whet.core.objectives import Objectives
from whet.schedule.goal import TYPICAL_DROP, Goal


@pytest.mark.parametrize(("drop", "speedup", "within"), [(0.01, 1.5, True), (0.0101, 1.5, False), (0.0, 1.49, False)])
def test_a_trial_is_feasible_up_to_and_at_every_limit(drop: float, speedup: float, within: bool) -> None:
    assert Goal(0.01, Objectives(least_speedup=1.5)).feasible(trial(0, "full", speedup, drop, 0)) is within


def test_without_a_limit_any_drop_is_feasible_and_only_other_limits_are_broken() -> None:
    lossy = trial(0, "full", 1.2, 0.9, 0)
    assert Goal().feasible(lossy) and not Goal(0.01).breaks(lossy), "training may mend a drop"
    assert Goal(objectives=Objectives(least_speedup=1.5)).breaks(lossy)


def test_a_drop_of_the_whole_limit_halves_a_gain() -> None:
    assert Goal(0.02).merit(trial(0, "full", 3.0, 0.02, 0)) == 1.5
    assert Goal().merit(trial(0, "full", 3.0, TYPICAL_DROP, 0)) == 1.5
    assert Goal(0.02).merit(trial(0, "full", 3.0, -0.02, 0)) == 3.0, "what became better is worth no more than its gain"
    assert Goal(0.0).merit(trial(0, "full", 3.0, 0.0, 0)) == 3.0


def test_a_budget_in_epochs_is_none_of_time() -> None:
    assert Goal(budget_seconds=10.0).timed and not Goal().timed
