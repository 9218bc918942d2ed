"""What is done with candidates that are trained in earnest: trained, finished, verified."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from whet.core.errors import TrainingError
from whet.core.net import Net
from whet.core.passes import Result, changes
from whet.core.study import Trial
from whet.flow.inheritance import inherit
from whet.flow.turns import Doing, Fit
from whet.graph.axes import analyze
from whet.graph.empty import EMPTIED, without_empty
from whet.schedule.actions import Confirm, Finish, Train
from whet.schedule.plan import limit
from whet.train.average import averaged
from whet.train.recipe import Recipe

if TYPE_CHECKING:
    from whet.flow.evaluator import Evaluator


def train(evaluator: Evaluator, action: Train) -> Doing[Trial]:
    """Train one candidate's structure and verify it as it is."""
    candidate = action.candidate
    result = evaluator.builder.structure(candidate.decision)
    net, parent = inherit(evaluator.builder, evaluator.study.trials, candidate.decision, result.net)
    begun = net.copy() if action.settled else None
    recipe, limits = recipe_in_earnest(evaluator, action.rate), limit(action.seconds, action.samples)
    done = yield Fit(net, recipe, "full", action.settled, limits)
    report, allowed = done.report, evaluator.request.max_drop
    if not report.samples and report.failure and allowed is not None and candidate.drop > allowed:
        raise TrainingError(f"not trained: {report.failure}")
    if begun is not None:
        net = _better(evaluator, net, averaged((begun, net)))
    samples = report.samples + (0 if parent is None else parent.samples)
    return evaluator.verify(cut_empty(replace(result, net=net)), candidate.decision, samples, candidate.number)


def cut_empty(result: Result) -> Result:
    """Return a trained structure without the channels, heads and neurons that its training took to zero."""
    narrow = without_empty(result.net)
    if narrow is result.net:
        return result
    left, groups = narrow.module.meta[EMPTIED], analyze(result.net).groups
    said = {site: f"{len(left[site])} are left: the others were zero after training" for site in left if site in groups}
    return result.then(Result(narrow, changes("emptied", said)))


def _better(evaluator: Evaluator, net: Net, mean: Net) -> Net:
    """Return the better of a net that was trained on and the mean of its weights with those it began with."""
    qualities = [evaluator.quick(n)[0] for n in (evaluator.builder.recalibrated(mean), net)]
    return mean if evaluator.request.task.loss_of_quality(*qualities) < 0 else net


def recipe_in_earnest(evaluator: Evaluator, rate: float) -> Recipe:
    """Return how to train in earnest, at a share of the recipe's learning rate.

    Without hints: they help the first epoch and no longer the third, and without them the teacher is remembered.
    """
    recipe = evaluator.request.recipe
    return replace(recipe, learning_rate=recipe.learning_rate * rate, hints=())


def finish(evaluator: Evaluator, action: Finish) -> Doing[Trial]:
    """Apply the finishers to a trained structure, train it on if there are seconds for it, verify it."""
    trained, builder = action.trained, evaluator.builder
    decision, made_of = trained.decision.merge(action.finishing), (trained.number, action.finishing)
    if evaluator.kept is not None and evaluator.kept[0] == made_of:
        result = evaluator.kept[1]
    else:
        whole = Result(builder.rebuild(trained), trained.changed, trained.skipped)
        result = builder.finished(whole, decision)
    evaluator.kept = (made_of, result) if action.seconds is None else None
    samples = trained.samples
    if action.seconds is not None:
        recipe, limits = recipe_in_earnest(evaluator, action.rate), limit(action.seconds, action.samples)
        samples += (yield Fit(result.net, recipe, "finish", False, limits)).report.samples
    return evaluator.verify(result, decision, samples, trained.number)


def confirm(evaluator: Evaluator, action: Confirm) -> Trial:
    """Verify a candidate with the weights that it has."""
    trial, builder = action.candidate, evaluator.builder
    result = replace(builder.cut(trial.decision), net=builder.rebuild(trial))
    return evaluator.verify(result, trial.decision, trial.samples, trial.number)
