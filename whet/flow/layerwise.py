"""What is done to choose a finisher's values layer by layer: each is measured alone, mixtures are verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whet.core.net import Net
from whet.core.objectives import Figures
from whet.core.passes import Pass
from whet.core.space import Choice, Decision, Space, Value
from whet.core.study import Trial
from whet.flow.mixing import base_of, choices_in, profile
from whet.schedule.actions import MeasureLayers, Mix, ProfileLayers
from whet.schedule.settling import Measured
from whet.schedule.situation import Mixable

if TYPE_CHECKING:
    from whet.flow.evaluator import Evaluator

SAVED = 1.01
"""What a value must gain by itself to be among those that are chosen from."""


def mixables(item: Pass, place: int, evaluator: Evaluator) -> list[Mixable]:
    """Return what a scheduler has to know of a finisher: once for each scope that its choices for layers count in."""
    space = item.space(evaluator.request.net, evaluator.request.target)
    names, inner = frozenset(space.choices), {c.when[0] for c in space if c.when is not None}
    scopes = [scope_of(space, c) for c in space if c.when is not None and c.name not in inner]
    return [Mixable(names, scope, place) for scope in dict.fromkeys(scopes) or [None]]


def scope_of(space: Space, choice: Choice) -> Decision:
    """Return the values of other choices under which one counts, the first of each that do.

    >>> outer = Choice("n:form", ("none", "a"), "none")
    >>> inner = Choice("n:a", ("off", "each"), "off", ("n:form", ("a",)))
    >>> space = Space([outer, inner, Choice("x:a", (8, 32), 32, ("n:a", ("each",)))])
    >>> dict(scope_of(space, space.choices["x:a"]))
    {'n:a': 'each', 'n:form': 'a'}
    """
    if choice.when is None:
        return Decision()
    name, values = choice.when
    return scope_of(space, space.choices[name]).merge({name: values[0]})


def measure(evaluator: Evaluator, action: MeasureLayers) -> Measured:
    """Apply each value of each choice alone, in as much time as there is.

    What layers gain of speed is told by the runtime's profile of whole files, where it has one: what a single layer
    saves is lost in the noise of a file's time.
    """
    item, net = evaluator.request.finishers[action.finisher], base_of(evaluator, action.trial).net
    timed, budget = evaluator.request.goal.timed, evaluator.run.budget
    choices = choices_in(item.space(net, evaluator.request.target), action.scope)
    profiled = _profiled(evaluator, action, choices)
    whole, error = 0.0 if profiled else _gain(evaluator, net), evaluator.builder.output_error(net)
    found = Measured([], [], [])
    for choice in choices:
        if timed and budget.spent_seconds > action.until_seconds:
            break
        costs = profiled.get(choice.name)
        if profiled and not (costs and min(costs) < 0):
            continue
        nets = [_alone(evaluator, item, net, action.scope, choice, value) for value in choice.values]
        if costs is None:
            gains = [_gain(evaluator, each) for each in nets]
            if max(gains) <= SAVED * whole:
                continue
            costs = [whole / gain - 1 for gain in gains]
        found.choices.append(choice)
        found.costs.append(costs)
        found.errors.append([max(evaluator.builder.output_error(each) - error, 0.0) for each in nets])
    return found


def _profiled(evaluator: Evaluator, action: MeasureLayers, choices: list[Choice]) -> dict[str, list[float]]:
    """Return by choice what each value leaves of the latency, less 1, from a file in which all layers have it."""
    if evaluator.request.objectives.wanted != ("speed",) or not choices:
        return {}
    values = list(dict.fromkeys(v for c in choices for v in c.values if v != c.identity))
    wholes = [action.scope.merge({c.name: v for c in choices if v in c.values}) for v in values]
    times = profile(evaluator, ProfileLayers(action.trial, action.finisher, (Decision(), *wholes)))
    if times is None:
        return {}
    total, by_value = sum(times[0].values()), dict(zip(values, times[1:], strict=True))
    return {c.name: [(by_value.get(v, times[0])[c.site] - times[0][c.site]) / total for v in c.values] for c in choices}


def mix(evaluator: Evaluator, action: Mix) -> Trial:
    """Apply a finisher by a decision and verify that."""
    item, base = evaluator.request.finishers[action.finisher], base_of(evaluator, action.trial)
    done = base.then(item.apply(base.net, action.decision, evaluator.run))
    return evaluator.verify(done, action.decision, action.trial.samples, action.trial.number)


def _alone(
    evaluator: Evaluator, item: Pass, net: Net, scope: Decision, choice: Choice, value: Value
) -> Net:  # fmt: skip
    """Return a network in which one choice alone has a value."""
    decision = scope.merge({choice.name: value})
    return item.apply(net, decision, evaluator.run).net if value != choice.identity else net


def _gain(evaluator: Evaluator, net: Net) -> float:
    """Return a network's gain from its file, which is timed only where speed is wanted."""
    objectives, whole = evaluator.request.objectives, evaluator.baseline.figures
    if "speed" not in objectives.wanted:
        return objectives.gain(Figures(1.0, evaluator.files.size_of(net)), whole)
    timed = evaluator.files.time_net(net, None)
    return objectives.gain(Figures(timed["latency"].ratio, timed["size_bytes"]), whole)
