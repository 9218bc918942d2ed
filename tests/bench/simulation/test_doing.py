"""What comes of single actions in a simulated search."""

from __future__ import annotations

import pytest
from made_up import INT8, curves, landscape, simulator

from whet.core.space import Decision
from whet.schedule.actions import Finishers, FinishUntouched, Score, Train, Try


def test_finishers_on_the_untouched_network_are_what_the_table_says() -> None:
    s = simulator()
    trial = s.do(FinishUntouched(INT8))
    assert trial.drop == pytest.approx(0.001) and trial.speedup == pytest.approx(1.2, rel=0.1)
    spent = sum(curves().costs.seconds[k] for k in ("finish", "save", "evaluate", "race"))
    assert s.budget.spent_seconds == pytest.approx(spent, rel=0.3)


def test_training_goes_on_along_the_curve_and_what_extends_begins_with_a_share() -> None:
    s, cut = simulator(), Decision({"block3:keep": False, "layer1:width": 0.25})
    more = cut.merge({"block0:keep": False})
    looked = s.do(Try(cut, Finishers(), seconds=4.0))
    assert looked.stage == "short" and looked.samples == pytest.approx(4000, rel=0.5)
    trained = s.do(Train(looked, 40.0, None, 1.0, False))
    assert trained.parent == looked.number and trained.samples > 5 * looked.samples
    assert trained.drop < looked.drop < s.shape(cut).drop(0)
    child = s.do(Try(more, Finishers(), seconds=None))
    assert child.parent == trained.number and child.samples == trained.samples
    assert child.drop == pytest.approx(s.shape(more).drop(landscape().carried * s.trained[trained.number]))


def test_what_has_no_table_is_not_simulated() -> None:
    with pytest.raises(KeyError):
        simulator().do(Score(Decision()))
