"""How much of a structure's training comes after the finishers."""

from __future__ import annotations

from dataclasses import replace

from resnet44 import explored, rounds, trial

from whet.core.space import Decision
from whet.schedule.plan import Plan


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
