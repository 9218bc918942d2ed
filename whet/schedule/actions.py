"""What there is to spend time on: plain data that an evaluator does and a scheduler gets the outcome of."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from whet.core.space import Decision
from whet.core.study import Trial

Attempted = tuple[str, Decision, int | None]
"""Of an action that may fail alone: the stage and the decision of its trial, and the trial that it continues."""


@dataclass(frozen=True)
class Action:
    """Something to spend time on.

    Where it has an `attempt`, a failure becomes a failed trial and its outcome is None; a failure of another one ends
    the scheduler that asked for it.
    """

    @property
    def attempt(self) -> Attempted | None:
        """What a failed trial would say of it; None for what may not fail alone."""
        return None


T = TypeVar("T")
Actions = Generator[Action, Any, T]
"""A scheduler, or a part of one: it yields an action, gets the action's outcome, and goes on by that."""


class Scheduler(Protocol):
    """Says what to spend time on next; it reads the log first, so a resumed study goes on where it stopped."""

    def next(self, outcome: Any = None) -> Action | None:
        """Return the next action, given what came of the last one; None when there is nothing left to do."""
        ...


class Scheduled:
    """The scheduler whose actions a generator yields.

    What comes next depends on what came of an action: a generator keeps its place and its names meanwhile, where a
    function of the log would have to find both again.

    >>> def twice():
    ...     outcome = yield FindRecipe()
    ...     if outcome is None:
    ...         yield FindRecipe()
    >>> scheduler = Scheduled(twice())
    >>> scheduler.next(), scheduler.next("found")
    (FindRecipe(), None)
    """

    def __init__(self, actions: Actions[None]) -> None:
        self.actions = actions
        self.begun = False

    def next(self, outcome: Any = None) -> Action | None:
        try:
            action = self.actions.send(outcome if self.begun else None)
            self.begun = True
            return action
        except StopIteration:
            return None


# -- before anything is trained ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FinishUntouched(Action):
    """Apply finishers to the untouched network, and verify it. Outcome: its trial."""

    way: Decision

    @property
    def attempt(self) -> Attempted:
        """A verified trial of the finishers alone, which continues none."""
        return "full", self.way, None


@dataclass(frozen=True)
class Hope:
    """What is known of a repaired candidate before it is timed: its outputs' error, and forecasts by operations."""

    error: float
    speedup: float
    gain: float
    skipped: dict[str, str]


@dataclass(frozen=True)
class Foretell(Action):
    """Build a candidate and look at the error of its outputs. Outcome: a `Hope`."""

    decision: Decision

    @property
    def attempt(self) -> Attempted:
        """A trial of the exploration, which continues none."""
        return "short", self.decision, None


@dataclass(frozen=True)
class Predict(Action):
    """Log a candidate that is not looked at further, with the drop that its error tells. Outcome: its trial."""

    decision: Decision
    error: float
    rate: float
    gain: float
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe(Action):
    """Build, time unless `timed` says no, and score a candidate untrained. Outcome: its trial; None for no change.

    With a `rate` its drop is told from its outputs' error.
    """

    decision: Decision
    timed: bool
    rate: float | None = None

    @property
    def attempt(self) -> Attempted:
        """A trial of the probes, which continues none."""
        return "probe", self.decision, None


@dataclass(frozen=True)
class Foresight:
    """When a candidate is left at what its outputs' error tells.

    It is where the drop told, `rate` times the error, is above `most_drop`, or its forecast `gain` not above `best`.
    """

    rate: float
    most_drop: float
    gain: float
    best: float


@dataclass(frozen=True)
class Finishers:
    """The decision that finishes a candidate, and whether it is timed in no other form."""

    decision: Decision = field(default_factory=Decision)
    alone: bool = False

    @property
    def applied(self) -> Decision:
        """What is applied to a candidate that is verified and trained no more: the finishers where they pay."""
        return self.decision if self.alone else Decision()


@dataclass(frozen=True)
class Try(Action):
    """Look at a candidate: train it for `seconds` or `samples`, not at all if they are None. Outcome: its trial.

    `foresight` says when not even that. With `verified` it is verified as it was repaired, in place of a training.
    With `extracted` it is cut from the supernet. `counted` says that its time tells that of later ones.
    """

    decision: Decision
    finishers: Finishers
    seconds: float | None = None
    samples: int | None = None
    foresight: Foresight | None = None
    verified: bool = False
    extracted: int | None = None
    counted: bool = True

    @property
    def attempt(self) -> Attempted:
        """A trial of the exploration, which continues none, whatever it inherits."""
        return "short", self.decision, None


# -- in earnest ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FindRecipe(Action):
    """Find how to train, where that was not done yet; it comes before the first training."""

    @property
    def attempt(self) -> Attempted:
        """A trial of no candidate: the untouched network is what it trains."""
        return "search", Decision(), None


@dataclass(frozen=True)
class Verify(Action):
    """Verify an untrained candidate, with finishers. Outcome: its trial.

    One that was only `told` of is timed briefly, and only where its score is within the limit.
    """

    candidate: Trial
    finishing: Decision
    told: bool

    @property
    def attempt(self) -> Attempted:
        """A verified trial of the candidate with its finishers, which continues the candidate."""
        return "full", self.candidate.decision.merge(self.finishing), self.candidate.number


@dataclass(frozen=True)
class Train(Action):
    """Train a candidate's structure for `seconds` or `samples` and verify it as it is. Outcome: its trial.

    `rate` is the share of the recipe's learning rate; one that is `settled` may be averaged with what it was.
    """

    candidate: Trial
    seconds: float
    samples: float | None
    rate: float
    settled: bool

    @property
    def attempt(self) -> Attempted:
        """A verified trial of the structure, without finishers, which continues the candidate."""
        return "full", self.candidate.decision, self.candidate.number


@dataclass(frozen=True)
class Finish(Action):
    """Apply finishers to a trained structure and verify it; with `seconds`, after a training. Outcome: its trial."""

    trained: Trial
    finishing: Decision
    seconds: float | None = None
    samples: float | None = None
    rate: float = 1.0

    @property
    def attempt(self) -> Attempted:
        """A verified trial of the structure with the finishers, which continues the trained one."""
        return "full", self.trained.decision.merge(self.finishing), self.trained.number


# -- together --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainTogether(Action):
    """Train the supernet on sub-networks drawn from `drawn`, until so much of the budget or so many samples are used.

    `leg` counts its trainings; one that is finished is read.
    """

    leg: int
    drawn: tuple[Decision, ...]
    until_seconds: float
    samples: float | None


@dataclass(frozen=True)
class Score(Action):
    """Score a sub-network of the supernet as it is. Outcome: its drop."""

    decision: Decision


@dataclass(frozen=True)
class Confirm(Action):
    """Verify a candidate with the weights that it has. Outcome: its trial."""

    candidate: Trial

    @property
    def attempt(self) -> Attempted:
        """A verified trial of the same decision, which continues the candidate."""
        return "full", self.candidate.decision, self.candidate.number


# -- at once ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Several(Action):
    """Do actions that train, each of which may fail alone, at once where there are workers. Outcome: that of each."""

    actions: tuple[Action, ...]


# -- layer by layer --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MeasureLayers(Action):
    """Apply each value of each of a finisher's choices alone to a trial's structure. Outcome: a `Measured`.

    `finisher` is its place among all; no choice is begun after `until_seconds` of the budget.
    """

    trial: Trial
    finisher: int
    scope: Decision
    until_seconds: float

    @property
    def attempt(self) -> Attempted:
        """A trial of the structure that layers are measured on, which continues it."""
        return "full", self.trial.decision, self.trial.number


@dataclass(frozen=True)
class OfLayers(Action):
    """Something that is done to tell layers of a trial's structure apart. `finisher` is its place among all."""

    trial: Trial
    finisher: int

    @property
    def attempt(self) -> Attempted:
        """A trial of the structure whose layers are told apart, which continues it."""
        return "full", self.trial.decision, self.trial.number


@dataclass(frozen=True)
class LayersOf(OfLayers):
    """Find the choices of a finisher for single layers of a structure that count within a scope. Outcome: `Layers`."""

    scope: Decision


@dataclass(frozen=True)
class ProfileLayers(OfLayers):
    """Time each layer in the file of each of a finisher's decisions, by the runtime's own clock.

    Outcome: the milliseconds by site, for each decision; None where the runtime does not tell them.
    """

    decisions: tuple[Decision, ...]


@dataclass(frozen=True)
class Race(OfLayers):
    """Time the file of each of a finisher's decisions, all in one race. Outcome: for each its gain by the setting."""

    decisions: tuple[Decision, ...]


@dataclass(frozen=True)
class Mix(Action):
    """Apply a finisher by a decision to a trial's structure, and verify it. Outcome: its trial."""

    trial: Trial
    finisher: int
    decision: Decision

    @property
    def attempt(self) -> Attempted:
        """A trial of the structure that is mixed, which continues it: a failure says nothing of the mixture."""
        return "full", self.trial.decision, self.trial.number
