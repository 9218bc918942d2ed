"""What the finals train next, on the figures of a search on ResNet-44."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from whet.core.run import Budget
from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.flow.finals import MORE, Finals
from whet.flow.stage import Plan

SPACE = Space([Choice(f"block{i}:keep", (True, False), True) for i in range(6)])
EXPLORED = [(1.75, 0.0136, 10_240), (2.48, 0.0258, 14_592), (4.59, 0.2056, 17_920), (2.81, 0.0468, 13_568)]


class Explorer:
    """Stands in for the exploration: says what it was aimed at and adds a candidate each time."""

    def __init__(self, trials: list[Trial]) -> None:
        self.trials, self.aimed = trials, 0.0

    def short_seconds(self) -> float:
        return 14.0

    def aim(self, drop: float) -> None:
        self.aimed = drop

    def one_more(self, until: float) -> bool:
        if until < 0:
            return False
        self.trials.append(trial(len(self.trials), "short", 1.5, self.aimed, 12_000))
        return True


def trial(number: int, stage: Any, speedup: float, drop: float, samples: int, parent: int | None = None) -> Trial:
    return Trial(
        number, stage, Decision({"block0:keep": False}), quality=0.9 - drop, drop=drop, speedup=speedup,
        samples=samples, parent=parent,
    )  # fmt: skip


def finals(trials: list[Trial], seconds: float = 1200.0) -> tuple[Finals, Explorer]:
    job = SimpleNamespace(space=lambda: SPACE, max_drop=0.01, trials=None, finishers=(), budget_seconds=seconds)
    run = SimpleNamespace(budget=Budget(seconds), progress=lambda event: None)
    bench: Any = SimpleNamespace(
        job=job, study=SimpleNamespace(trials=trials), run=run, samples_per_second=1200.0,
        feasible=lambda t: t.drop <= 0.01, cost=lambda what, otherwise: otherwise,
    )  # fmt: skip
    explorer: Any = Explorer(trials)
    return Finals(bench, Plan(), explorer), explorer


def explored() -> list[Trial]:
    return [trial(i, "short", *figures) for i, figures in enumerate(EXPLORED)]


def test_the_candidate_that_promises_most_is_trained_first() -> None:
    chosen, gain = finals(explored())[0].choose(100.0)
    assert chosen is not None and chosen.speedup == 2.48
    assert 0.3 < gain < 1.48


def test_with_little_time_a_safer_candidate_is_taken() -> None:
    chosen, _ = finals(explored())[0].choose(5.0)
    assert chosen is not None and chosen.speedup == 1.75


def test_where_the_best_cannot_be_beaten_more_candidates_are_looked_for() -> None:
    trials = explored()[:2]
    trials.append(trial(2, "full", 2.5, 0.009, 150_000, parent=1))
    stage, explorer = finals(trials)
    chosen, gain = stage.choose(100.0)
    assert chosen is not None and chosen.number == 0 and gain == 0.0
    found = 0
    while stage.explore_more(100.0):
        found += 1
    assert found == MORE
    assert explorer.aimed == pytest.approx(0.03, rel=0.3)


def test_a_structure_whose_int8_form_missed_the_limit_is_gone_on_with() -> None:
    trials = explored()[:2]
    trials.append(trial(2, "full", 1.9, 0.004, 150_000, parent=1))
    finished = replace(trial(3, "full", 2.48, 0.011, 170_000, parent=2), decision=Decision({"network:int8": "all"}))
    chosen, gain = finals([*trials, finished])[0].choose(100.0)
    assert chosen is not None and chosen.number == 2 and gain > 0.1
    met = replace(finished, drop=0.008)
    chosen, gain = finals([*trials, met])[0].choose(100.0)
    assert chosen is None or chosen.number == 0


def test_no_more_are_looked_for_at_the_end_of_the_budget() -> None:
    trials = [*explored(), trial(4, "full", 4.6, 0.009, 150_000, parent=2)]
    stage, _ = finals(trials, seconds=60.0)
    assert not stage.explore_more(20.0)
