"""Doings that ask for a training: done alone, one after the other, or in turns while workers train for them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from torch import Tensor

from whet.core.net import Net
from whet.flow.recipes import learn_of
from whet.flow.work import Training, Work
from whet.train.fit import FitReport
from whet.train.recipe import Recipe

if TYPE_CHECKING:
    from whet.flow.evaluator import Evaluator
    from whet.schedule.actions import Action, Several


@dataclass(frozen=True)
class Fit:
    """A training that a doing asks for: of `net`, in place, for so many `seconds` or `samples` of `limit`.

    With `scored` whoever trains may score the net as well, on the first validation samples, up to this drop.
    """

    net: Net
    recipe: Recipe
    what: Training
    goes_on: bool
    limit: Mapping[str, Any]
    scored: bool = False
    most_drop: float | None = None


@dataclass
class Done:
    """What came of a training: its report, the quality and the original's where they were asked for, the weights.

    `state` is empty where the net itself was trained.
    """

    report: FitReport
    scores: tuple[float, float] | None = None
    state: dict[str, Tensor] = field(default_factory=dict)


T = TypeVar("T")
Doing = Generator[Fit, Done, T]
"""What does an action that trains: it yields the training, gets what came of it, and goes on."""


class Workers(Protocol):
    """Those who train for this process, on its own machine or on others."""

    def size(self) -> int:
        """Return how many trainings are done at once by now: more where workers joined."""
        ...

    def give(self, work: Work) -> Callable[[], Done]:
        """Have a training done; what is returned waits for it.

        When it returns, nobody trains on this machine: so whatever is measured between two calls has it for itself.
        """
        ...


def alone(doing: Doing[T], train: Callable[[Fit], Done]) -> T:
    """Do all of a doing at once; whenever it asks for a training, `train`."""
    done: Any = None
    try:
        while True:
            done = train(doing.send(done))
    except StopIteration as end:
        value: T = end.value
        return value


def fit(evaluator: Evaluator, asked: Fit) -> Done:
    """Train what a doing asks for, here or by a worker, and wait for it."""
    if evaluator.workers is None:
        return Done(evaluator.train(asked.net, asked.recipe, asked.what, asked.goes_on, **asked.limit))
    return given(evaluator, asked, evaluator.workers)()


def given(evaluator: Evaluator, asked: Fit, workers: Workers) -> Callable[[], Done]:
    """Have a worker train; what is returned waits for it, and puts the weights into the net."""
    trainer = evaluator.trainer
    work = trainer.work(asked.net, asked.recipe, asked.what, asked.goes_on, **asked.limit)
    if isinstance(work, FitReport):
        report = work
        return lambda: Done(report)
    work.scored, work.most_drop = asked.scored, asked.most_drop
    waiting = workers.give(work)

    def end() -> Done:
        with evaluator.stopwatch("train"):
            done = waiting()
        if done.state:
            asked.net.module.load_state_dict(done.state)
        learn_of(trainer, work, done.report)
        return done

    return end


def several(evaluator: Evaluator, action: Several) -> list[Any]:
    """Do actions whose trainings are done at once, if there are workers; return their outcomes in order.

    Each is begun, up to its training; then each goes on as its training ends, in order. What is done here is never done
    for two of them at once.
    """
    if evaluator.workers is None:
        return [evaluator.do(each) for each in action.actions]
    turns = [_Turn(evaluator, each, evaluator.workers) for each in action.actions]
    waiting: Sequence[_Turn] = turns
    while waiting:
        for turn in waiting:
            turn.go_on()
        waiting = [turn for turn in waiting if turn.training is not None]
    return [turn.outcome for turn in turns]


class _Turn:
    """One of several actions: how far it is, and the training that it waits for."""

    def __init__(self, evaluator: Evaluator, action: Action, workers: Workers) -> None:
        self.evaluator, self.action, self.workers = evaluator, action, workers
        self.doing: Any = None
        self.training: Callable[[], Done] | None = None
        self.outcome: Any = None

    def go_on(self) -> None:
        """Go on until the next training, or to the end; a failure becomes a failed trial, and is the end."""
        training, self.training = self.training, None
        attempt = self.action.attempt
        assert attempt is not None
        with self.evaluator.recorder.attempt(*attempt):
            self._step(training)

    def _step(self, training: Callable[[], Done] | None) -> None:
        if self.doing is None:
            self.doing = self.evaluator.doing(self.action)
        if not isinstance(self.doing, Generator):  # it trains nothing
            self.outcome = self.doing
            return
        done = None if training is None else training()
        try:
            asked = self.doing.send(done)
        except StopIteration as end:
            self.outcome = end.value
            return
        self.training = given(self.evaluator, asked, self.workers)
