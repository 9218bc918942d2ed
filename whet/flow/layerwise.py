"""What is done to choose a finisher's values layer by layer: each is measured alone, mixtures are verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whet.core.net import Net
from whet.core.objectives import Figures
from whet.core.passes import Pass, Result
from whet.core.space import Choice, Decision, Value
from whet.core.study import Trial
from whet.schedule.actions import MeasureLayers, Mix
from whet.schedule.settling import Measured
from whet.schedule.situation import Mixable

if TYPE_CHECKING:
    from whet.flow.evaluator import Evaluator

SAVED = 1.01
"""What a value must gain by itself to be among those that are chosen from."""


def mixable(item: Pass, evaluator: Evaluator) -> Mixable:
    """Return what a scheduler has to know of a finisher."""
    choices = list(item.space(evaluator.request.net, evaluator.request.target))
    scopes = [Decision({c.when[0]: c.when[1][0]}) for c in choices if c.when is not None]
    return Mixable(frozenset(c.name for c in choices), next(iter(scopes), None))


def measure(evaluator: Evaluator, action: MeasureLayers) -> Measured:
    """Apply each value of each choice alone, in as much time as there is."""
    item, net = evaluator.request.finishers[action.finisher], _base(evaluator, action.trial).net
    timed, budget = evaluator.request.goal.timed, evaluator.run.budget
    whole, error = _gain(evaluator, net), evaluator.builder.output_error(net)
    found = Measured([], [], [])
    for choice in item.space(net, evaluator.request.target):
        if choice.when is None or (timed and budget.spent_seconds > action.until_seconds):
            continue
        rows = [_alone(evaluator, item, net, action.scope, choice, value) for value in choice.values]
        if max(gain for gain, _ in rows) > SAVED * whole:
            found.choices.append(choice)
            found.costs.append([whole / gain - 1 for gain, _ in rows])
            found.errors.append([max(own - error, 0.0) for _, own in rows])
    return found


def mix(evaluator: Evaluator, action: Mix) -> Trial:
    """Apply a finisher by a decision and verify that."""
    item, base = evaluator.request.finishers[action.finisher], _base(evaluator, action.trial)
    done = base.then(item.apply(base.net, action.decision, evaluator.run))
    return evaluator.verify(done, action.decision, action.trial.samples, action.trial.number)


def _base(evaluator: Evaluator, trial: Trial) -> Result:
    """Return the structure of a trial with its weights, before any finisher."""
    if evaluator.kept is not None and evaluator.kept[0] == trial.number:
        return evaluator.kept[1]
    origin, history, builder = trial, evaluator.history, evaluator.builder
    while history.is_finished(origin) and (parent := history.parent(origin)) is not None:
        origin = parent
    base = builder.structure(history.structural(origin.decision))
    if not history.is_finished(origin):
        base = Result(builder.rebuild(origin), base.changed, base.skipped)
    evaluator.kept = trial.number, base
    return base


def _alone(
    evaluator: Evaluator, item: Pass, net: Net, scope: Decision, choice: Choice, value: Value
) -> tuple[float, float]:
    """Return the gain of a network in which one choice alone has a value, and the error of its outputs."""
    decision = scope.merge({choice.name: value})
    done = item.apply(net, decision, evaluator.run).net if value != choice.identity else net
    return _gain(evaluator, done), evaluator.builder.output_error(done)


def _gain(evaluator: Evaluator, net: Net) -> float:
    """Return a network's gain from its file, which is timed only where speed is wanted."""
    objectives, whole = evaluator.request.objectives, evaluator.baseline.figures
    if "speed" not in objectives.wanted:
        return objectives.gain(Figures(1.0, evaluator.files.size_of(net)), whole)
    timed = evaluator.files.time_net(net, None)
    return objectives.gain(Figures(timed["latency"].ratio, timed["size_bytes"]), whole)
