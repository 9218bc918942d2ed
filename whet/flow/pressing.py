"""What is done with ways of finishing that are trained: the untouched network is finished once, and trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whet.core.objectives import Figures
from whet.core.study import Trial
from whet.flow.training import recipe_in_earnest
from whet.flow.turns import Doing, Fit
from whet.schedule.pressing import Look, Press

if TYPE_CHECKING:
    from whet.flow.evaluator import Evaluator

RATE = 0.3
"""The share of the recipe's learning rate: after 40,000 images ResNet-20 in five levels had .8754 at all of it, .8788
at .3 (one run each, original .8872)."""


def press(evaluator: Evaluator, action: Press) -> Doing[Trial | Look]:
    """Train a finished network on from where the last such training ended; look at it, or verify it from its file."""
    request, way = evaluator.request, action.way
    begun = evaluator.pressed.pop(way) if way in evaluator.pressed else (evaluator.builder.finish(request.net, way), 0)
    result, samples = begun
    recipe = recipe_in_earnest(evaluator, RATE)
    asked = Fit(result.net, recipe, "finish", samples > 0, {"seconds": action.seconds})
    samples += (yield asked).report.samples
    evaluator.pressed[way] = result, samples
    if action.verified:
        return evaluator.verify(result, way, samples, None)
    quality, reference = evaluator.quick(result.net)
    size = evaluator.files.size_of(result.net)
    gain = request.objectives.gain(Figures(1.0, size), evaluator.baseline.figures)
    return Look(request.task.loss_of_quality(quality, reference), samples, gain)
