"""What is done with each action in a simulated search."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from whet.core.space import Decision
from whet.core.study import Trial
from whet.schedule import actions
from whet.schedule.actions import Action, Hope

if TYPE_CHECKING:
    from whet.bench.simulation.simulator import Simulator

PREDICT_SECONDS = 0.02
"""What writing a forecast down takes."""


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
    told.note(action.decision, action.error)
    return s.record("predicted", action.decision, told.drop_of(told.quality(action.rate, action.error)), action.gain)


def _probe(s: Simulator, action: actions.Probe) -> Trial:
    began, told = s.budget.spent_seconds, s.situation.told
    s.step("cut", "repair")
    if action.rate is not None:
        s.step("error")
        error = s.error(action.decision)
        drop = told.drop_of(told.quality(action.rate, error))
        told.note(action.decision, error, probed=True)
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
