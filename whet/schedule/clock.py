"""`Clock`: what is left of the budget, what steps cost, and what has to be kept."""

from __future__ import annotations

from typing import Protocol

from whet.core.run import Budget
from whet.schedule.history import History
from whet.schedule.plan import Plan

TRAINED_SECONDS = 5.0
"""What a training in earnest is worth beginning for, where the user is told how long a budget it takes."""
SAVE_SECONDS = 0.5
"""What writing a file is believed to cost until one was written: the table of operators takes a tenth of a second."""
TESTED, DELIVERY_SECONDS = 5, 1.0
"""How many files beside the original a delivery is expected to score, and what copying and reporting take."""
RACED, RACED_SECONDS = 1.8, 6.0
"""How many times the share of the budget for it, or so long for each file of the front, the last race takes: files have
several settings, and the uncompressed network is there in all of its."""
SETTLING_SHARE = 0.12
"""The share of the budget in which the finishers' choices are settled layer by layer, where size is wanted."""


class Costs(Protocol):
    """What steps took so far, by their kind."""

    def cost(self, what: str, otherwise: float) -> float:
        """Return the mean seconds of the last steps of a kind."""
        ...

    def longest(self, what: str, otherwise: float) -> float:
        """Return the seconds of the longest step of a kind."""
        ...


class Clock:
    """The time of one search. With `settles` some is kept to choose layer by layer, where that pays in bytes."""

    def __init__(self, budget: Budget, costs: Costs, history: History, plan: Plan, settles: bool) -> None:
        self.budget, self.costs, self.history, self.plan = budget, costs, history, plan
        self.total_seconds = history.goal.budget_seconds
        self.settles = settles and "size" in history.goal.objectives.wanted
        self.began_seconds = budget.spent_seconds

    @property
    def spent_seconds(self) -> float:
        """Seconds of the budget that all sessions used so far."""
        return self.budget.spent_seconds

    @property
    def left_seconds(self) -> float:
        """Seconds that are left before those that are kept for the end."""
        return self.budget.left_seconds - self.reserve_seconds()

    def left_after(self, files: int) -> float:
        """Return the seconds that are left to train in, if so many files are verified."""
        return self.left_seconds - files * self.file_seconds

    @property
    def file_seconds(self) -> float:
        """Seconds that it costs to save, time and score one candidate."""
        return self.timing_seconds(2.0) + self.costs.cost("evaluate", 1.0)

    @property
    def longest_file_seconds(self) -> float:
        """Seconds that it costs to save, time and score a candidate where each takes as long as it ever did.

        What an error tells of is timed and scored briefly, in a quarter of the time that a trained one takes.
        """
        steps = ("save", SAVE_SECONDS), ("race", 2.0), ("evaluate", 1.0)
        return sum(self.costs.longest(what, otherwise) for what, otherwise in steps)

    def timing_seconds(self, otherwise: float) -> float:
        """Return the seconds that it costs to save and time one candidate; timing so many while none was timed."""
        return self.costs.cost("save", SAVE_SECONDS) + self.costs.cost("race", otherwise)

    def reserve_seconds(self, settling: bool = False) -> float:
        """Return what to keep for the end: `settling`, the last race, the test data in the original and some files.

        While layers are being settled nothing is kept for that any more.
        """
        if not self.history.goal.timed:
            return 0.0
        before = self.history.study.recall("delivery_seconds")
        if before is not None:  # of this study, when it ended with a smaller budget
            return 1.25 * float(before)
        kept = SETTLING_SHARE * self.total_seconds if self.settles and not settling else 0.0
        raced = RACED * min(self.plan.reserve_share * self.total_seconds, RACED_SECONDS * self._front_size())
        return kept + raced + self._tested_seconds() + DELIVERY_SECONDS

    def needed_seconds(self) -> float:
        """Return the budget that one training in earnest would take, by what the steps so far cost."""
        delivery = self._tested_seconds() + DELIVERY_SECONDS
        fixed = self.began_seconds + delivery + 2 * self.file_seconds + TRAINED_SECONDS
        return fixed / (1 - self.plan.explore_until - self.plan.reserve_share)

    def _tested_seconds(self) -> float:
        """Return what scoring on the test data is expected to take: the original in f32, the slowest, bar and front."""
        files = min(TESTED, 1 + self._front_size())
        return self.costs.longest("evaluate", 1.0) + files * self.costs.cost("evaluate", 1.0)

    def _front_size(self) -> int:
        """Return how many files within the limit no other one beats; at least one."""
        return max(1, len(self.history.front_of(self.history.of_stage("full"))))
