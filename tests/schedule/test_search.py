"""The stages of a search have one explorer, whose pace is that of the request."""

from __future__ import annotations

from typing import Any

import pytest
from resnet44 import SPACE
from situations import situation

from whet.schedule.alone import Alone
from whet.schedule.exploring import Exploring
from whet.schedule.goal import Goal
from whet.schedule.pressing import Pressing
from whet.schedule.rounds import Rounds
from whet.schedule.search import stages
from whet.schedule.settling import Settling
from whet.schedule.together import Together


@pytest.mark.parametrize(("elastic", "pace"), [(False, Alone), (True, Together)])
def test_small_forms_come_first_and_settling_last(elastic: bool, pace: type) -> None:
    made: list[Any] = [stage.gi_frame.f_locals["self"] for stage in stages(situation([], SPACE, Goal(0.01)), elastic)]
    _, explorer, rounds, _ = made
    assert [type(stage) for stage in made] == [Pressing, Exploring, Rounds, Settling]
    assert type(explorer.pace) is pace and rounds.explorer is explorer
    assert explorer.mending is explorer.pace.mending is explorer.beliefs.mending, "what the pace plans all go by"
