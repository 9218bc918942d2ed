"""One training for a chain of candidates: what is drawn and scored, and what is cut from it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from resnet44 import trial
from situations import drive, situation

from whet.core.space import Choice, Decision, Space
from whet.core.study import Trial
from whet.schedule.actions import Confirm, Score, TrainTogether
from whet.schedule.beliefs import Beliefs
from whet.schedule.goal import Goal
from whet.schedule.legs import LEGS
from whet.schedule.mending import Mending
from whet.schedule.plan import Plan
from whet.schedule.together import VERIFIED, Together, checkpoints

BLOCKS = Space([Choice(f"block{i}:keep", (True, False), True) for i in range(5)])
DAMAGES = (0.040, 0.048, 0.063, 0.075, 0.156)
PROBES = [
    Trial(i, "probe", Decision({f"block{i}:keep": False}), quality=0.9 - drop, drop=drop, speedup=1.1)
    for i, drop in enumerate(DAMAGES)
]


def together(trials: list[Trial], memos: dict[str, Any], limit: float | None = 0.01) -> Together:
    goal = Goal(limit, budget_seconds=1200.0)
    s = situation(trials, BLOCKS, goal, memos, plan=Plan(elastic_until=0.4))
    mending = Mending(s)
    return Together(s, mending, Beliefs(s, mending))


def trained(pace: Together) -> tuple[list[Any], list[Decision]]:
    """Return what the training of a supernet asks for, and what the strategy is to propose then."""
    memos, seen, proposed = pace.situation.study.remember, list[Any](), list[Decision]()
    memos("supernet_samples_per_second", 500.0)

    def do(action: Any) -> float | None:
        seen.append(action)
        if isinstance(action, TrainTogether):
            memos(f"supernet_samples_{action.leg}", 50_000)
        return 0.004 * len(action.decision) if isinstance(action, Score) else None

    strategy: Any = pace.beliefs.new_strategy(0)
    strategy.enqueue = proposed.extend
    drive(pace.before(strategy), do)
    return seen, proposed


def test_a_chain_is_trained_in_legs_and_scored_between_them() -> None:
    pace = together([*PROBES], {})
    seen, proposed = trained(pace)
    legs = [a for a in seen if isinstance(a, TrainTogether)]
    assert [a.leg for a in legs] == list(range(len(pace.legs.parts))) and len(legs) > 1
    assert [a.until_seconds for a in legs] == sorted({a.until_seconds for a in legs})
    first = seen[1 : seen.index(legs[1])]
    assert {a.decision for a in first} >= set(legs[0].drawn), "rungs and rivals are scored after the first leg"
    assert seen[-1] == legs[-1], "the last leg ends in candidates, which are scored as such"
    nested = [set(d.items()) for d in proposed]
    assert nested and all(a < b for a, b in pairwise(nested)), "each rung cuts what the one before cuts"
    assert proposed == pace.legs.rungs[: pace.kept.stop] and pace.most() == len(proposed)


def test_a_resumed_training_scores_nothing_twice_and_chooses_the_same_last_rung() -> None:
    memos: dict[str, Any] = {}
    seen, proposed = trained(together([*PROBES], memos))
    assert any(isinstance(a, Score) for a in seen)
    again, the_same = trained(together([*PROBES], memos))
    assert not any(isinstance(a, Score) for a in again) and the_same == proposed
    assert again == [a for a in seen if isinstance(a, TrainTogether)]


@pytest.mark.parametrize("samples", [0, 90_000])
def test_what_extends_a_structure_trained_in_earnest_is_not_cut_from_the_supernet(samples: int) -> None:
    pace = together([*PROBES, trial(5, "full", 2.0, 0.004, samples, 0)], {})
    trained(pace)
    wider = Decision({"block0:keep": False, "block3:keep": False})
    own = pace.legs.own_samples(len(pace.legs.parts))
    assert pace.look(wider, None).extracted == (None if samples else own)
    assert pace.look(Decision({"block3:keep": False}), None).extracted == own


def test_the_fastest_few_of_the_front_are_confirmed_once() -> None:
    short = [trial(i, "short", 1.0 + 0.1 * i, 0.001 * i, 50_000) for i in range(7)]
    beyond, grown = trial(7, "short", 3.0, 0.02, 50_000), trial(8, "short", 3.0, 0.0, 50_000, 0)
    done = trial(9, "full", 1.6, 0.006, 50_000, 6)
    pace, seen = together([*short, beyond, grown, done], {}), list[Any]()
    drive(pace.after(), seen.append)
    assert seen == [Confirm(short[i]) for i in (5, 4, 3)] and VERIFIED == 4


def test_each_training_has_a_file_and_its_unfinished_form() -> None:
    assert len(set(checkpoints())) == 2 * (len(LEGS) + 1)
    assert {"supernet-0.safetensors", "supernet-3.part"} <= set(checkpoints())
