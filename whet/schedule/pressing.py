"""`Pressing`: ways of finishing that lose too much until the finished network is trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from whet.core.net import Net
from whet.core.space import Decision
from whet.core.study import Trial
from whet.core.target import Target
from whet.schedule.actions import Action, Actions, Attempted
from whet.schedule.obvious import in_words
from whet.schedule.recovery import Recovery
from whet.schedule.shares import LEAST_SECONDS
from whet.schedule.situation import Situation
from whet.schedule.untouched import finish_untouched

LOOKED = 0.05
"""The share of the time that is left in which a way is trained to tell whether it is worth more."""
FIRST = 0.7
"""The share of what is left after that for the first training in earnest; the rest is for what it missed, or gained."""
POWER = 0.4
"""By which power of the samples the drop of rounded weights shrinks: ResNet-20 in five levels lost 7.4 points after 9
steps of 128 images, 1.2 after 313."""
KEPT = 0.4
"""The share of the time that is kept for structures, where any can be searched: they may have fewer bytes still."""
LONG = 90.0
"""The seconds below which structures have all of the time: a short search is done with them before this is trained."""
WORTHLESS = 0.05
"""The gain to be expected, as a share of the best so far, below which nothing more is trained."""


@runtime_checkable
class Pressed(Protocol):
    """A finisher with ways that lose much until the finished network is trained on: the mildest first."""

    def pressed(self, net: Net, target: Target) -> list[Decision]: ...


@dataclass(frozen=True)
class Look:
    """What a short training left: the drop, on part of the validation data, the samples so far, and the gain."""

    drop: float
    samples: int
    gain: float


@dataclass(frozen=True)
class Press(Action):
    """Train the untouched network with finishers on, from where the last such training of it ended.

    Outcome: a `Look`, or where it is `verified` its trial.
    """

    way: Decision
    seconds: float
    verified: bool = False

    @property
    def attempt(self) -> Attempted:
        """A verified trial of the finishers alone, which continues none."""
        return "full", self.way, None


class Pressing:
    """Trains the whole network in the finishers' dearest ways, where bytes are wanted and speed is not.

    Each way is trained for a moment; that of most gain, times the chance that the training to come brings it within the
    limit, is trained in earnest and verified from its file. What time is left then goes on with it, or with another
    way, by what the first one ended with. What needs no training is verified before, so that there is something to
    deliver.
    """

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.looks: dict[Decision, Look] = {}
        self.per_second: dict[Decision, float] = {}
        self.kept_seconds = 0.0

    def run(self) -> Actions[None]:
        """Look at all ways, then train what is worth most until the time is up or nothing is worth it."""
        s = self.situation
        ways = s.facts.pressed() if self.pays() else []
        if not ways or any(t.decision in ways and t.samples for t in s.history.of_stage("full")):
            return
        yield from finish_untouched(s)
        if len(s.space) and self.left() < LONG:
            return
        each = LOOKED * self.left()
        self.kept_seconds = KEPT * self.left() if len(s.space) else 0.0
        for way in ways if each >= LEAST_SECONDS else []:
            s.say(f"{in_words(way)}, trained for a moment")
            look = yield Press(way, each)
            if look is not None:
                self.looks[way], self.per_second[way] = look, look.samples / each
        share = FIRST
        while (seconds := share * self.left()) >= LEAST_SECONDS and (best := self.best(seconds)) is not None:
            s.say(f"{in_words(best)}, trained for {seconds:.0f} s")
            self.learn(best, (yield Press(best, seconds, verified=True)))
            share = 1.0

    def pays(self) -> bool:
        """Say whether finishers may gain anything by a training: bytes are wanted, and there are data and a limit."""
        goal = self.situation.goal
        wanted = goal.objectives.wanted
        sized = "size" in wanted and "speed" not in wanted
        return sized and goal.timed and goal.max_drop is not None and self.situation.facts.trains

    def left(self) -> float:
        """Return the seconds that are left to train in, less those of two files and of the structures to come."""
        clock = self.situation.clock
        kept = clock.reserve_seconds(settling=True) + 2 * clock.file_seconds + self.kept_seconds
        return clock.budget.left_seconds - kept

    def best(self, seconds: float) -> Decision | None:
        """Return the way that is worth most where it is trained for so long; None where none is worth it."""
        best = self.situation.history.best_gain()
        worth = {way: self.worth(look, seconds * self.per_second[way], best) for way, look in self.looks.items()}
        way = max(worth, key=lambda w: worth[w], default=None)
        return way if way is not None and worth[way] > WORTHLESS * best else None

    def worth(self, look: Look, more: float, best: float) -> float:
        """Return the gain to be expected over the best so far after a training on so many more samples."""
        limit = self.situation.goal.max_drop
        assert limit is not None
        return Recovery.of(limit, POWER).worth(look.gain, best, look.drop, max(look.samples, 1), more)

    def learn(self, way: Decision, trial: Trial | None) -> None:
        """Go by what a training in earnest ended with: a way that failed or is within the limit is done with."""
        if trial is None or self.situation.goal.feasible(trial):
            del self.looks[way]
        else:
            self.looks[way] = replace(self.looks[way], drop=trial.drop, samples=trial.samples)
