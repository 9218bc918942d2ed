"""`Simulator`: stands in for the evaluator of a search, with a table in place of a network and a clock that is made up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from whet.bench.simulation.curves import Curves
from whet.bench.simulation.landscape import Landscape
from whet.core.objectives import Figures
from whet.core.space import Decision, Space
from whet.core.strategy import Strategy
from whet.core.study import Stage, Trial
from whet.core.task import Task
from whet.decisions.planner import Counting
from whet.flow.stopwatch import Stopwatch
from whet.schedule import actions
from whet.schedule.actions import Action, Actions, Hope
from whet.schedule.clock import Clock
from whet.schedule.finishing import Finishing
from whet.schedule.foretold import Foretold
from whet.schedule.goal import Goal
from whet.schedule.history import SCORED_NOTE, History
from whet.schedule.plan import Plan
from whet.schedule.recovery import NOISE
from whet.schedule.search import stages
from whet.schedule.situation import Mixable, Situation
from whet.schedule.told import Told, quality_at
from whet.search import strategies
from whet.train.speed import LEAST_STEPS, TrainingSpeed

BEGINNING_SECONDS = 10.0
"""What loading and writing the uncompressed network take, beside timing it: in a search on digits."""
TIMED_AT_FIRST = 6.0, 0.05
"""How long the uncompressed network is timed, and at most which share of the budget."""
RACED_SECONDS = {"candidate": 1.2, "finished": 2.0}
PREDICT_SECONDS = 0.02
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
        history = History(study, self.curves.space, self.goal, True, Figures(1.0, int(self.curves.about["original_bytes"])))
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
        """Return the fastest by true speed of the verified trials within the limit, as the last race tells them apart."""
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
        each = self.speed.seconds(self.curves.operations(decision)) * math.exp(JITTER * self.generator.standard_normal())
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
        drop = told.drop_of(told.quality(foresight.rate, self.error(action.decision)))
        if drop <= foresight.most_drop and foresight.gain > foresight.best:
            return None
        return self.record("predicted", action.decision, drop, foresight.gain)


class SimulatedFacts:
    """What schedulers are told of the network."""

    repairs, trains = True, True

    def __init__(self, simulator: Simulator) -> None:
        self.simulator, self.curves = simulator, simulator.curves

    @property
    def epoch_samples(self) -> int:
        return int(self.curves.about["epoch_samples"])

    def samples_per_second(self) -> float:
        recall = self.simulator.study.recall
        return float(recall("samples_per_second_full") or recall("samples_per_second_short") or 0.0)

    def original_samples_per_second(self) -> float:
        return self.simulator.speed.samples(self.curves.operations({}), 1.0)

    def reference(self) -> float:
        return self.simulator.reference

    def obvious(self) -> list[Decision]:
        return list(self.curves.obvious)

    def foretold(self) -> Foretold:
        damage, logs = ({n: list(row) for n, row in rows.items()} for rows in (self.curves.damage, self.curves.log_operations))
        return Foretold(damage, logs)

    def mixables(self) -> list[Mixable]:
        names = (frozenset(n for way in ways for n in way) for ways in self.curves.ways)
        return [Mixable(each, None) for each in names]

    def strategy(self, seed: int) -> Strategy:
        strategy = strategies.get(self.simulator.strategy_name, self.curves.space, seed=seed)
        if isinstance(strategy, Counting):
            strategy.operations = self.curves.operations
        return strategy


# -- what does each action -----------------------------------------------------------------------------------------------


def _finish_untouched(s: Simulator, action: actions.FinishUntouched) -> Trial:
    s.step("finish")
    return s.verify(action.way, s.shape({}).finished_drop(0), 0, None)


def _foretell(s: Simulator, action: actions.Foretell) -> Hope:
    s.step("cut", "repair", "error")
    gain = s.forecast(action.decision)
    return Hope(s.error(action.decision), gain, gain, {})


def _predict(s: Simulator, action: actions.Predict) -> Trial:
    s.budget.spent_seconds += PREDICT_SECONDS
    told = s.situation.told
    return s.record("predicted", action.decision, told.drop_of(told.quality(action.rate, action.error)), action.gain)


def _probe(s: Simulator, action: actions.Probe) -> Trial:
    began, told = s.budget.spent_seconds, s.situation.told
    s.step("cut", "repair")
    if action.rate is not None:
        s.step("error")
        drop = told.drop_of(told.quality(action.rate, s.error(action.decision)))
    else:
        s.step("quick")
        drop = s.shape(action.decision).drop(0)
    gain = s.forecast(action.decision)
    if action.timed:
        s.race("candidate")
        gain = s.measured(s.shape(action.decision).speedup)
    s.watch.lasted.setdefault("probe", []).append(s.budget.spent_seconds - began)
    return s.record("probe" if action.timed else "predicted", action.decision, drop, gain)


def _try(s: Simulator, action: actions.Try) -> Trial:
    began = s.budget.spent_seconds
    s.step("cut", "repair")
    found = s.foreseen(action)
    if found is None:
        found = _verified_at_once(s, action) if action.verified else _looked_at(s, action)
    if action.counted:
        s.watch.lasted.setdefault("repaired", []).append(s.budget.spent_seconds - began)
    return found


def _verified_at_once(s: Simulator, action: actions.Try) -> Trial:
    gain = None if action.foresight is None else action.foresight.gain
    return _verified(s, action.decision, action.finishers.applied, gain)


def _verified(s: Simulator, decision: Decision, finishing: Decision, gain: float | None) -> Trial:
    shape = s.shape(decision)
    if finishing:
        s.step("finish")
    drop = shape.finished_drop(0) if finishing else shape.drop(0)
    trial = s.verify(decision.merge(finishing), drop, 0, None, brief=True, gain=gain)
    s.situation.told.remember(decision, s.error(decision), trial.drop)
    return trial


def _looked_at(s: Simulator, action: actions.Try) -> Trial:
    decision, finishers, shape = action.decision, action.finishers, s.shape(action.decision)
    variants = [] if finishers.alone else [shape.speedup]
    variants += [shape.speedup_finished] if finishers.decision else []
    s.race("candidate", len(variants))
    parent = s.parent_of(decision)
    begun, samples = s.begun(decision, parent), 0
    drop = shape.drop(begun)
    if action.seconds is not None:
        samples, begun, drop = s.train(decision, begun, "short", action.seconds)
    s.step("quick")
    inherited = 0 if parent is None else parent.samples
    gain = s.measured(max(variants))
    number = None if parent is None else parent.number
    trial = s.record("short", decision, drop, gain, samples=samples + inherited, parent=number)
    if trial.samples:
        s.trained[trial.number] = begun
    else:
        s.situation.told.remember(decision, s.error(decision), drop)
    return trial


def _verify(s: Simulator, action: actions.Verify) -> Trial:
    chosen = action.candidate
    s.step("cut", "repair")
    if action.told:
        return _verified(s, chosen.decision, action.finishing, chosen.gain)
    if action.finishing:
        s.step("finish")
    shape = s.shape(chosen.decision)
    drop = shape.finished_drop(0) if action.finishing else shape.drop(0)
    return s.verify(chosen.decision.merge(action.finishing), drop, 0, chosen.number)


def _train(s: Simulator, action: actions.Train) -> Trial:
    decision = action.candidate.decision
    s.step("cut", "repair")
    parent = s.parent_of(decision)
    samples, reached, drop = s.train(decision, s.begun(decision, parent), "full", action.seconds)
    trial = s.verify(decision, drop, samples + (0 if parent is None else parent.samples), action.candidate.number)
    s.trained[trial.number] = reached
    return trial


def _finish(s: Simulator, action: actions.Finish) -> Trial:
    trained, decision = action.trained, s.structural(action.trained.decision)
    s.step("cut", "finish")
    reached, samples, shape = s.trained.get(trained.number, 0.0), trained.samples, s.shape(decision)
    plain = trained.drop
    if action.seconds is not None:
        more, reached, drop = s.train(decision, reached, "finish", action.seconds)
        samples, plain = samples + more, min(plain, drop)
    added = shape.finished_drop(reached) - shape.drop(reached)
    return s.verify(trained.decision.merge(action.finishing), plain + added, samples, trained.number)


def _mix(s: Simulator, action: actions.Mix) -> Trial:
    s.step("finish")
    reached, shape = s.trained.get(action.trial.number, 0.0), s.shape(action.trial.decision)
    added = shape.finished_drop(reached) - shape.drop(reached)
    return s.verify(action.decision, action.trial.drop + added, action.trial.samples, action.trial.number)


DOERS: dict[type[Action], Callable[[Simulator, Any], Any]] = {
    actions.FinishUntouched: _finish_untouched,
    actions.Foretell: _foretell,
    actions.Predict: _predict,
    actions.Probe: _probe,
    actions.Try: _try,
    actions.FindRecipe: lambda s, action: None,
    actions.Verify: _verify,
    actions.Train: _train,
    actions.Finish: _finish,
    actions.Mix: _mix,
    actions.MeasureLayers: lambda s, action: None,
}
"""What does each action; those of supernets have no table."""


def simulate(
    landscape: Landscape, seconds: float, seed: int, strategy: str = "improvement", max_drop: float | None = None
) -> Found:
    """Search once with so many seconds, none of which pass; by default within the table's limit."""
    goal = Goal(landscape.limit if max_drop is None else max_drop, budget_seconds=seconds)
    return Simulator(landscape, goal, seed, strategy, Plan()).run()
