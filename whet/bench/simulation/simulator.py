"""`Simulator`: stands in for the evaluator of a search, with a table for a network and a made-up clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whet.bench.simulation.doing import DOERS
from whet.bench.simulation.facts import SimulatedFacts
from whet.bench.simulation.landscape import Landscape
from whet.core.objectives import Figures
from whet.core.space import Decision
from whet.core.study import Stage, Trial
from whet.core.task import Task
from whet.flow.stopwatch import Stopwatch
from whet.schedule import actions
from whet.schedule.actions import Action, Actions
from whet.schedule.clock import Clock
from whet.schedule.finishing import Finishing
from whet.schedule.goal import Goal
from whet.schedule.history import SCORED_NOTE, History
from whet.schedule.plan import Plan
from whet.schedule.recovery import NOISE
from whet.schedule.search import stages
from whet.schedule.situation import Situation
from whet.schedule.told import Told, quality_at
from whet.train.speed import LEAST_STEPS, TrainingSpeed

BEGINNING_SECONDS = 10.0
"""What loading and writing the uncompressed network take, beside timing it: in a search on digits."""
TIMED_AT_FIRST = 6.0, 0.05
"""How long the uncompressed network is timed, and at most which share of the budget."""
RACED_SECONDS = {"candidate": 1.2, "finished": 2.0}
JITTER = 0.1
"""The standard deviation of the logarithm of a step's seconds."""
RACE_NOISE = 0.02
"""The standard deviation of the logarithm of a measured ratio."""
JUDGED = 2000
"""Validation samples that say whether a training did harm."""


@dataclass
class MadeUpBudget:
    """A budget whose seconds pass when somebody says so."""

    seconds: float
    spent_seconds: float = 0.0

    @property
    def left_seconds(self) -> float:
        """Seconds until the budget is used up."""
        return self.seconds - self.spent_seconds


@dataclass
class Log:
    """A study in memory."""

    trials: list[Trial] = field(default_factory=list)
    memos: dict[str, Any] = field(default_factory=dict)

    def remember(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.memos[key] = value

    def recall(self, key: str) -> Any:
        """Return what was kept, or None."""
        return self.memos.get(key)


@dataclass(frozen=True)
class Found:
    """What a simulated search ends with: the best true speed-up within the limit, 1 where there is none, its drop."""

    speedup: float
    drop: float
    decision: Decision
    seconds: float
    trials: int
    trained: int


class Simulator:
    """Does actions by a landscape and charges the table's seconds; what comes of them goes into `study`.

    Simulated are candidates that are trained one by one. Learning rates make no difference here, layers are not
    settled one by one (`MeasureLayers` finds nothing), and supernets have no table. Time is that of the steps; what a
    strategy takes to propose is not charged.
    """

    def __init__(self, landscape: Landscape, goal: Goal, seed: int, strategy: str, plan: Plan) -> None:
        self.landscape, self.curves, self.goal, self.seed = landscape, landscape.curves, goal, seed
        self.generator = np.random.default_rng([seed, 1])
        self.budget, self.study, self.watch = MadeUpBudget(goal.budget_seconds), Log(), Stopwatch()
        self.speed, self.reference = TrainingSpeed(self.curves.costs.training), float(self.curves.about["reference"])
        about = self.curves.about
        self.task = Task(about["task"], None, [1], direction=about["direction"], drop=about["drop"])
        self.trained: dict[int, float] = {}
        """Of each trained trial, the samples after which its curve has its drop."""
        self.drops: dict[int, float] = {}
        """Of each trained trial, its drop as it is."""
        self.strategy_name = strategy
        self.situation = self._situation(plan)

    def _situation(self, plan: Plan) -> Situation:
        study: Any = self.study
        budget: Any = self.budget
        facts = SimulatedFacts(self)
        whole = Figures(1.0, int(self.curves.about["original_bytes"]))
        history = History(study, self.curves.space, self.goal, True, whole)
        told = Told(study, self.task, lambda: self.reference, True)
        finishing = Finishing(history, lambda: [list(w) for w in self.curves.ways], bool(self.curves.ways))
        clock = Clock(budget, self.watch, history, plan, bool(self.curves.ways))
        return Situation(
            study, self.curves.space, self.goal, plan, history, clock, finishing, told, facts, self.seed,
            say=lambda text: None, note=lambda text: None,
        )  # fmt: skip

    def run(self) -> Found:
        """Search until the schedulers have no more to do, and return the best."""
        whole, share = TIMED_AT_FIRST
        self._spend("beginning", BEGINNING_SECONDS + min(whole, share * self.goal.budget_seconds))
        for turn in stages(self.situation, elastic=False):
            self._do_all(turn)
        return self.found()

    def _do_all(self, turn: Actions[None]) -> None:
        outcome = None
        try:
            while True:
                outcome = self.do(turn.send(outcome))
        except StopIteration:
            return

    def do(self, action: Action) -> Any:
        """Do an action and return its outcome. Raises: KeyError for one that is not simulated."""
        return DOERS[type(action)](self, action)

    def found(self) -> Found:
        """Return the fastest of the verified trials within the limit: the last race tells true speeds."""
        full = [t for t in self.study.trials if t.stage == "full"]
        within = [(self._true(t.decision), t) for t in full if self.goal.feasible(t)]
        trained = sum(1 for t in full if t.samples)
        speed, best = max(within, key=lambda pair: pair[0], default=(1.0, None))
        seconds, count = self.budget.spent_seconds, len(self.study.trials)
        if best is None or speed < 1.0:
            return Found(1.0, 0.0, Decision(), seconds, count, trained)
        return Found(speed, best.drop, best.decision, seconds, count, trained)

    # -- what actions share ------------------------------------------------------------------------------------------

    def _spend(self, kind: str, seconds: float) -> float:
        """Let so many seconds pass, more or less, and keep them for the plans."""
        took = seconds * math.exp(JITTER * self.generator.standard_normal())
        self.budget.spent_seconds += took
        self.watch.lasted.setdefault(kind, []).append(took)
        return took

    def step(self, *kinds: str) -> None:
        """Do steps of the table's costs."""
        for kind in kinds:
            self._spend(kind, self.curves.costs.seconds[kind] + self._first(kind))

    def _first(self, kind: str) -> float:
        """Return what the first step of a kind takes beyond a later one."""
        return 0.0 if kind in self.watch.lasted else float(self.curves.costs.first.get(kind, 0.0))

    def race(self, how: str, variants: int = 1) -> None:
        """Save and time files."""
        extra = self.curves.costs.seconds["race"] - RACED_SECONDS["finished"]
        for _ in range(variants):
            self.step("save")
        self._spend("race", RACED_SECONDS[how] + variants * max(extra, 0.0))

    def structural(self, decision: Mapping[str, Any]) -> Decision:
        """Return what a decision says of the structure."""
        return Decision({n: v for n, v in decision.items() if n in self.curves.space.choices})

    def shape(self, decision: Mapping[str, Any]) -> Any:
        """Return what a decision's structure is."""
        return self.landscape.shape(self.structural(decision), self.seed)

    def finishes(self, decision: Mapping[str, Any]) -> bool:
        """Say whether a decision applies finishers."""
        return any(n not in self.curves.space.choices for n in decision)

    def _true(self, decision: Mapping[str, Any]) -> float:
        shape = self.shape(decision)
        return float(shape.speedup_finished if self.finishes(decision) else shape.speedup)

    def measured(self, speedup: float) -> float:
        """Return a speed-up as a race measures it."""
        return float(speedup * math.exp(RACE_NOISE * self.generator.standard_normal()))

    def error(self, decision: Decision) -> float:
        """Return the error of a structure's outputs as it is repaired."""
        return float(self.shape(decision).error)

    def forecast(self, decision: Decision) -> float:
        """Return the gain by operations."""
        return self.curves.operations({}) / max(self.curves.operations(decision), 1.0)

    def record(self, stage: Stage, decision: Decision, drop: float, gain: float, **more: Any) -> Trial:
        """Append a trial."""
        quality = quality_at(drop, self.reference, self.task)
        trial = Trial(
            len(self.study.trials), stage, decision, quality=quality, drop=drop, speedup=gain, gain=gain,
            spent_seconds=self.budget.spent_seconds, **more,
        )  # fmt: skip
        self.study.trials.append(trial)
        return trial

    def parent_of(self, decision: Decision) -> Trial | None:
        """Return the longest trained trial that a decision extends or is."""
        trained = [t for t in self.study.trials if t.number in self.trained and not self.finishes(t.decision)]
        parents = [t for t in trained if t.decision.items() <= decision.items()]
        return max(parents, key=lambda t: t.samples, default=None)

    def begun(self, decision: Decision, parent: Trial | None) -> float:
        """Return the samples after which a structure's own curve has the drop that it begins with."""
        if parent is None:
            return 0.0
        share = 1.0 if parent.decision == decision else self.landscape.carried
        return share * self.trained[parent.number]

    def train(self, decision: Decision, begun: float, what: str, seconds: float) -> tuple[int, float, float]:
        """Train for so long; return the samples, where the curve then is, and the drop, which is undone where worse."""
        about, shape = self.curves.about, self.shape(decision)
        each = self.speed.seconds(self.curves.operations(decision))
        each *= math.exp(JITTER * self.generator.standard_normal())
        samples = int(max(seconds - self._first("train"), 0.0) / each)
        before = shape.drop(begun)
        if seconds / each / float(about["batch"]) < LEAST_STEPS or not samples:
            return 0, begun, before
        judging = min(1.0, JUDGED / float(about["val_samples"])) * self.curves.costs.seconds["quick"]
        self._spend("train", seconds + 2 * judging)
        self.study.remember(f"samples_per_second_{what}", 1 / each)
        after = shape.drop(begun + samples) + self.landscape.luck * self.generator.standard_normal()
        if after > before + NOISE * (self.goal.max_drop or 0.0):
            return samples, begun, before
        return samples, begun + samples, after

    def verify(
        self, decision: Decision, drop: float, samples: int, parent: int | None, brief: bool = False,
        gain: float | None = None,
    ) -> Trial:  # fmt: skip
        """Save, time and score; with the `gain` expected of it, one beyond the limit is not timed."""
        if gain is not None:
            self.step("save", "evaluate")
            if self.goal.max_drop is not None and drop > self.goal.max_drop:
                return self.record("predicted", decision, drop, gain, note=SCORED_NOTE, samples=samples, parent=parent)
            self._spend("race", RACED_SECONDS["candidate"])
        else:
            self.race("candidate" if brief else "finished")
            self.step("evaluate")
        found = self.measured(self._true(decision))
        return self.record("full", decision, drop, found, simulated=False, samples=samples, parent=parent)

    def foreseen(self, action: actions.Try) -> Trial | None:
        """Return what is told of a candidate from its outputs' error alone, if that is enough."""
        foresight, told = action.foresight, self.situation.told
        if foresight is None:
            return None
        self.step("error")
        error = self.error(action.decision)
        drop = told.drop_of(told.quality(foresight.rate, error))
        if drop <= foresight.most_drop and foresight.gain > foresight.best:
            return None
        told.note(action.decision, error)
        return self.record("predicted", action.decision, drop, foresight.gain)


def simulate(
    landscape: Landscape, seconds: float, seed: int, strategy: str = "improvement", max_drop: float | None = None
) -> Found:
    """Search once with so many seconds, none of which pass; by default within the table's limit."""
    goal = Goal(landscape.limit if max_drop is None else max_drop, budget_seconds=seconds)
    return Simulator(landscape, goal, seed, strategy, Plan()).run()
