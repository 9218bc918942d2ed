"""Which way of int8 a search takes, and when it takes none, from what the untouched network loses by it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from situations import situation
from torch import nn

import whet
from whet.compress.quantize.static import StaticQuantization
from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.flow.facts import Facts
from whet.schedule.finishing import Finishing
from whet.schedule.goal import Goal
from whet.testing.runs import AlignedTarget

ALL, ASYMMETRIC = Decision({"network:int8": "all"}), Decision({"network:int8": "asymmetric"})
NET = whet.lift(nn.Sequential(nn.Linear(4, 4)).eval(), (torch.randn(2, 4),))
SPACE = Space([Choice("a:keep", (True, False), True)])


def finishing(
    drops: dict[Decision, float], space: Space = SPACE, limit: float | None = 0.01, speedup: float = 1.4,
    slower: float = 1.0,
) -> Finishing:  # fmt: skip
    speeds = {ASYMMETRIC: speedup * slower}
    trials = [
        Trial(i, "full", d, quality=0.9, drop=drop, speedup=speeds.get(d, speedup))
        for i, (d, drop) in enumerate(drops.items())
    ]
    return situation(trials, space, Goal(limit), finishers=True, ways=[[ALL, ASYMMETRIC]]).finishing


def test_the_symmetric_way_comes_first() -> None:
    int8 = StaticQuantization()
    request: Any = SimpleNamespace(finishers=(int8, object()), net=NET, target=AlignedTarget())
    assert Facts(SimpleNamespace(request=request)).ways() == [[ALL, ASYMMETRIC]]  # type: ignore[arg-type]
    assert finishing({}).decision == ALL


@pytest.mark.parametrize(
    "asymmetric, slower, taken", [(0.006, 0.78, ALL), (0.004, 0.78, ASYMMETRIC), (0.006, 1.0, ASYMMETRIC)]
)
def test_zero_points_are_taken_where_the_drop_that_they_save_is_worth_their_time(
    asymmetric: float, slower: float, taken: Decision
) -> None:
    """A drop of the whole limit halves what a gain is worth."""
    assert finishing({ALL: 0.01, ASYMMETRIC: asymmetric}, slower=slower).decision == taken


def test_a_cut_network_that_nothing_trains_says_nothing_of_the_untouched_one() -> None:
    cut = Decision({**ALL, "a:keep": False})
    assert finishing({ALL: 0.001, cut: 0.5}).decision == ALL
    assert [t.decision for t in finishing({cut: 0.5}).history.untouched()] == []


def test_where_the_untouched_network_loses_far_too_much_candidates_are_left_in_float() -> None:
    """The MLP of `protein` loses 6% and 4% by int8 at a limit of 1%, its trained candidates 2 to 5%."""
    mlp = {ALL: 0.0609, ASYMMETRIC: 0.0373}
    assert finishing(mlp).worthwhile is False and finishing(mlp).decision == Decision()
    assert finishing(mlp, limit=0.02).worthwhile
    assert finishing(mlp, limit=None).worthwhile
    assert finishing(mlp, space=Space()).worthwhile, "where nothing else can be done, int8 is trained all the same"


def test_where_the_untouched_network_is_slower_in_int8_candidates_are_left_in_float() -> None:
    """ResNet-44 on a processor with AMX: x0.97 of bf16, and each candidate's int8 form took five seconds to time."""
    assert finishing({ALL: 0.0006}, speedup=0.974).worthwhile is False
    assert finishing({ALL: 0.0006}, speedup=1.01).worthwhile
