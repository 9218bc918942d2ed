"""What is said of a delivered file beside its scores: how its outputs agree, how sure its drop is, what computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whet.core.target import Artifact
from whet.hardware.elsewhere import machine_of
from whet.hardware.executed import account
from whet.verify.equivalence import agreement
from whet.verify.interval import drop_interval, drop_of_returns

if TYPE_CHECKING:
    from whet.flow.evaluator import Evaluator

UNKNOWN: dict[str, Any] = {"agreement": {}, "max_abs_difference": None, "relative_difference": None}
"""What is said of a file whose outputs were not looked at, as the delivery was interrupted."""


def inspected(evaluator: Evaluator, artifact: Artifact) -> dict[str, Any]:
    """Return fields of `Member`: agreement with the original on the validation data, and layers by precision.

    Raises: TargetError, ArtifactError where the file cannot be run.
    """
    task, net, scores = evaluator.request.task, evaluator.request.net, evaluator.scores
    outputs, targets = scores.outputs(artifact, task.val)
    reference, _ = scores.outputs(evaluator.baseline.reference_artifact, task.val)
    same = agreement(outputs, reference, task.kinds, [port.name for port in net.outputs])
    original = evaluator.baseline.reference_artifact
    found = (
        drop_interval(task, outputs, reference, targets)
        if task.played is None
        else drop_of_returns(task, scores.returns(artifact, task.val), scores.returns(original, task.val))
    )
    low, high = found or (None, None)
    machine, batch = machine_of(evaluator.request.target), evaluator.request.batch
    counts, floats = account(artifact.path, artifact.settings, list(net.layers()), batch, machine)
    return {
        "agreement": same.figures,
        "max_abs_difference": same.max_abs_difference,
        "relative_difference": same.relative_difference,
        "drop_low": low,
        "drop_high": high,
        "computed": counts,
        "floats": floats,
    }
