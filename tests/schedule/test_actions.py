"""Schedulers yield plain data, get what came of it, and say what a failed trial would be."""

from __future__ import annotations

import pytest
from resnet44 import trial

from whet.core.space import Decision
from whet.schedule import actions
from whet.schedule.actions import Action, Actions, FindRecipe, Finishers, Scheduled

CUT, INT8 = Decision({"block0:keep": False}), Decision({"network:int8": "all"})
BEGUN = trial(7, "short", 2.0, 0.01, 10)


def test_each_outcome_goes_to_the_action_that_it_came_of() -> None:
    seen = []

    def three() -> Actions[None]:
        for _ in range(3):
            seen.append((yield FindRecipe()))

    scheduler = Scheduled(three())
    scheduler.next("of no action")
    for outcome in (1, None, 3):
        last = scheduler.next(outcome)
    assert seen == [1, None, 3] and last is None and scheduler.next() is None


@pytest.mark.parametrize(
    ("action", "attempt"),
    [
        (actions.FinishUntouched(INT8), ("full", INT8, None)),
        (actions.Foretell(CUT), ("short", CUT, None)),
        (actions.Probe(CUT, timed=True), ("probe", CUT, None)),
        (actions.Try(CUT, Finishers(INT8)), ("short", CUT, None)),
        (actions.Verify(BEGUN, INT8, told=False), ("full", CUT.merge(INT8), 7)),
        (actions.Train(BEGUN, 9.0, None, 1.0, settled=False), ("full", CUT, 7)),
        (actions.Finish(BEGUN, INT8), ("full", CUT.merge(INT8), 7)),
        (actions.Confirm(BEGUN), ("full", CUT, 7)),
        (actions.TrainTogether(0, (CUT,), 9.0, None), None),
        (actions.Score(CUT), None),
        (actions.Predict(CUT, 0.1, 0.3, 1.5), None),
    ],
)
def test_what_fails_is_told_with_its_decision_and_the_trial_it_would_have_continued(
    action: Action, attempt: actions.Attempted | None
) -> None:
    assert action.attempt == attempt


def test_finishers_are_applied_to_what_is_trained_no_more_only_where_they_pay() -> None:
    assert Finishers(INT8, alone=True).applied == INT8 and Finishers(INT8).applied == Decision()
