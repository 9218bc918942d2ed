"""What is done with candidates that are only looked at: told from errors, verified as repaired, trained briefly."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from whet.core.passes import Result
from whet.core.space import Decision
from whet.core.study import Stage, Trial
from whet.flow.inheritance import inherit
from whet.flow.supernets import extracted
from whet.flow.turns import Doing, Fit
from whet.schedule.actions import FinishUntouched, Foretell, Hope, Predict, Probe, Try, Verify
from whet.schedule.plan import limit

if TYPE_CHECKING:
    from whet.flow.evaluator import Evaluator

FORESEEN_NOTE = "gain forecast, drop told from the error of the outputs"
COUNTED_NOTE = "speed-up predicted from multiply-accumulates, not measured"
TOLD_NOTE = "drop told from the error of the outputs"


def finish_untouched(evaluator: Evaluator, action: FinishUntouched) -> Trial:
    """Verify the untouched network with finishers."""
    result = evaluator.builder.finish(evaluator.request.net, action.way)
    return evaluator.verify(result, action.way, 0, None)


def foretell(evaluator: Evaluator, action: Foretell) -> Hope:
    """Return what is known of a repaired candidate before it is timed."""
    builder = evaluator.builder
    result = builder.structure(action.decision)
    error = builder.output_error(result.net)
    return Hope(error, skipped=result.skipped, **builder.forecast(result.net))


def predict(evaluator: Evaluator, action: Predict) -> Trial:
    """Write down what is told of a candidate that is not looked at further."""
    quality = evaluator.told.quality(action.rate, action.error)
    evaluator.told.note(action.decision, action.error)
    return _predicted(evaluator, action.decision, quality, action.gain, action.skipped)


def _predicted(
    evaluator: Evaluator, decision: Decision, quality: float, gain: float, skipped: Mapping[str, str]
) -> Trial:
    only_speed = evaluator.request.objectives.wanted == ("speed",)
    speedup = {"speedup": gain} if only_speed else {}
    return evaluator.recorder.record(
        "predicted", decision, quality, reference=evaluator.told.reference(), gain=gain, **speedup,
        skipped=dict(skipped), note=FORESEEN_NOTE,
    )  # fmt: skip


def probe(evaluator: Evaluator, action: Probe) -> Trial | None:
    """Time and score a single cut without training; one that changed nothing is not logged."""
    builder = evaluator.builder
    result = builder.structure(action.decision)
    if not result.changed:
        return None
    figures: dict[str, Any] = {}
    if action.timed:
        figures |= evaluator.files.time_net(result.net, None)
    else:
        figures |= {**builder.forecast(result.net), "note": COUNTED_NOTE}
    reference = evaluator.told.reference()
    if action.rate is not None:
        error = builder.output_error(result.net)
        quality = evaluator.told.quality(action.rate, error)
        evaluator.told.note(action.decision, error, probed=True)
        figures["note"] = "; ".join(filter(None, [figures.get("note"), TOLD_NOTE]))
    else:
        quality = evaluator.quick(result.net if builder.repairs else builder.recalibrated(result.net))[0]
    stage: Stage = "probe" if action.timed else "predicted"
    return evaluator.recorder.record(
        stage, action.decision, quality, reference=reference, skipped=result.skipped, **figures
    )


def look(evaluator: Evaluator, action: Try) -> Doing[Trial]:
    """Return what is found of a candidate, which is built once.

    Its time tells that of later ones where nothing is trained, or is trained here.
    """
    counted = action.counted and (action.seconds is None or evaluator.workers is None)
    with evaluator.stopwatch("repaired") if counted else nullcontext():
        if action.extracted is not None:
            return extracted(evaluator, action)
        result = evaluator.builder.structure(action.decision)
        found = _foreseen(evaluator, action, result)
        if found is None and action.verified:
            gain = action.foresight.gain if action.foresight is not None else None
            return _verified(evaluator, result, action.decision, action.finishers.applied, gain)
        return found or (yield from _trained(evaluator, action, result))


def verify(evaluator: Evaluator, action: Verify) -> Trial:
    """Verify a candidate as it was repaired, with finishers; one that was told of only where it keeps the limit."""
    chosen = action.candidate
    result = evaluator.builder.structure(chosen.decision)
    if action.told:
        return _verified(evaluator, result, chosen.decision, action.finishing, chosen.gain)
    return evaluator.verify(*_finished(evaluator, result, chosen.decision, action.finishing), 0, chosen.number)


def _foreseen(evaluator: Evaluator, action: Try, result: Result) -> Trial | None:
    """Return what is told of a candidate from its outputs' error alone, if that is enough to leave it at that."""
    foresight, told = action.foresight, evaluator.told
    if foresight is None:
        return None
    error = evaluator.builder.output_error(result.net)
    quality = told.quality(foresight.rate, error)
    if told.drop_of(quality) <= foresight.most_drop and foresight.gain > foresight.best:
        return None
    told.note(action.decision, error)
    return _predicted(evaluator, action.decision, quality, foresight.gain, result.skipped)


def _verified(
    evaluator: Evaluator, result: Result, decision: Decision, finishing: Decision, gain: float | None
) -> Trial:
    """Verify a candidate that is not to be trained; its error and drop tell of others from now on.

    With the `gain` that is expected of it, it is timed only where it is within the limit.
    """
    trial = evaluator.verify(*_finished(evaluator, result, decision, finishing), 0, None, brief=True, gain=gain)
    evaluator.told.remember(decision, evaluator.builder.output_error(result.net), trial.drop)
    return trial


def _finished(evaluator: Evaluator, result: Result, decision: Decision, finishing: Decision) -> tuple[Result, Decision]:
    done = evaluator.builder.finished(result, finishing) if finishing else result
    return done, decision.merge(finishing)


def _trained(evaluator: Evaluator, action: Try, result: Result) -> Doing[Trial]:
    """Time a candidate, fine-tune it briefly, if at all, and score it on part of the validation data."""
    request, builder = evaluator.request, evaluator.builder
    timed = evaluator.files.time_net(result.net, action.finishers)
    net, parent = inherit(builder, evaluator.study.trials, action.decision, result.net)
    samples, scores = 0 if parent is None else parent.samples, None
    if parent is None and not builder.repairs:
        builder.recalibrated(net)
    if action.seconds is not None:
        limits = limit(action.seconds, action.samples)
        goes_on = parent is not None and parent.stage == "full"
        done = yield Fit(net, request.recipe, "short", goes_on, limits, scored=True, most_drop=request.max_drop)
        samples, scores = samples + done.report.samples, done.scores
    quality, reference = scores or evaluator.quick(net, request.max_drop)
    trial = evaluator.recorder.record(
        "short", action.decision, quality, reference=reference,
        samples=samples, parent=None if parent is None else parent.number, changed=result.changed,
        skipped=result.skipped, net=net if samples else None, **timed,
    )  # fmt: skip
    if not samples and builder.repairs:
        evaluator.told.remember(trial.decision, builder.output_error(net), trial.drop)
    return trial
