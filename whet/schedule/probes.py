"""What each single choice does, without training: where forecasts begin."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from whet.core.space import Choice, Decision, Space
from whet.schedule.actions import Actions, Probe
from whet.schedule.mending import Mending
from whet.schedule.situation import Situation

FEWER = 0.5
"""The share of the time for probes that is taken where nothing is trained: candidates then cost little more than they
do, and what passes foretell needs only a scale."""
TRAINED_SHARE = 0.25
"""The share of the budget that is rather trained than spent on probes."""


def probing_order(space: Space) -> list[Choice]:
    """Return the choices so that any first few hold every kind, and of each kind some from all over the network.

    Within a kind the order is that of the reversed binary digits of the positions: 0, 4, 2, 6, 1, 5, 3, 7.
    """
    kinds: dict[str, list[Choice]] = {}
    for choice in space:
        kinds.setdefault(choice.kind, []).append(choice)
    columns = []
    for alike in kinds.values():
        digits = len(alike).bit_length()
        columns.append([alike[i] for i in sorted(range(len(alike)), key=lambda i: f"{i:0{digits}b}"[::-1])])
    return [choice for row in zip_longest(*columns) for choice in row if choice is not None]


def pressed(s: Situation, mending: Mending) -> bool:
    """Say whether probes would leave too little time to train the candidates that there are."""
    if not (s.goal.timed and s.history.explored()) or mending.slow:
        return False
    if len(s.space) == 1:
        return True
    probed = s.plan.probe_share * s.goal.budget_seconds
    return s.clock.left_after(1) - probed < TRAINED_SHARE * s.goal.budget_seconds


def probe(s: Situation) -> Actions[None]:
    """Score, and where the budget allows time, each single choice without training.

    Where the budget is short of that, some of each kind.
    """
    probed = s.history.of_stage("probe", "predicted") + s.history.failures("probe")
    done = {t.decision for t in probed}
    allowed = s.plan.probe_share * s.goal.budget_seconds * (1.0 if s.facts.trains else FEWER)
    step = s.clock.timing_seconds(1.0)
    rate = s.told.by_errors(s.goal.max_drop)
    timed = len(s.space) * step < allowed
    until = min(s.clock.spent_seconds + allowed, s.goal.budget_seconds - s.clock.reserve_seconds())
    for choice in probing_order(s.space):
        value = _probe_value(choice.values, choice.identity)
        decision = s.space.canonical(Decision({choice.name: value}))
        if s.history.hopeless():
            break
        ready = s.clock.spent_seconds + s.clock.costs.cost("probe", step if timed else 0.0)
        if decision not in done and len(decision) and ready < until:
            s.say(f"probing {choice.name} = {value}")
            yield Probe(decision, timed, rate)


def _probe_value(values: Sequence[Any], identity: Any) -> Any:
    others = [v for v in values if v != identity]
    return others[len(others) // 2] if others else identity
