"""What is done with the supernet of an elastic search: it is trained, and sub-networks are scored and cut from it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from whet.core.net import Net
from whet.core.passes import Chain, Freezes, Pass
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.study import Trial
from whet.elastic.supernet import Supernet
from whet.flow.builder import Builder
from whet.flow.request import Request
from whet.schedule.actions import Score, TrainTogether, Try
from whet.schedule.plan import limit
from whet.train.state import load_state, save_state

if TYPE_CHECKING:
    from whet.flow.evaluator import Evaluator

LEAST_SECONDS = 2.0
"""The shortest training of a supernet."""
SEEDS = 1_000_003
"""By how much the seeds of two requests' draws lie apart."""


def frozen(passes: tuple[Pass, ...], net: Net, run: Run) -> tuple[Pass, ...]:
    """Return passes that choose the same atoms whatever the weights are, so that sub-networks nest."""
    return tuple(p.frozen(net, run) if isinstance(p, Freezes) else p for p in passes)


class Supernets:
    """The supernet of a request, made when it is first needed; `drawn` is what its training steps draw from."""

    def __init__(self, request: Request, builder: Builder, run: Run) -> None:
        self.request, self.builder, self.run = request, builder, run
        self.drawn: Sequence[Decision] = [Decision()]

    @cached_property
    def supernet(self) -> Supernet:
        """The network whose weights all candidates share; made when it is first trained or read."""
        passes = Chain(self.request.passes)
        return Supernet(self.request.net, passes, self.run, space=self.builder.space, schedule=self.scheduled)

    def scheduled(self, step: int) -> Decision:
        """Return which sub-network a step trains."""
        return self.drawn[random.Random(self.request.seed * SEEDS + step).randrange(len(self.drawn))]

    def extract(self, decision: Decision) -> Net:
        """Return a sub-network, its batch norms estimated again."""
        return self.builder.recalibrated(self.supernet.extract(decision))


def train(evaluator: Evaluator, action: TrainTogether) -> None:
    """Train the supernet until a leg's end, or read it where that was done."""
    supernets, study, out = evaluator.supernets, evaluator.study, evaluator.request.out
    supernets.drawn = action.drawn
    finished, supernet = out / f"supernet-{action.leg}.safetensors", supernets.supernet
    if finished.exists():
        load_state(finished, supernet)
        return
    evaluator.recorder.say(f"training {len(set(action.drawn))} sub-networks at once")
    seconds = max(action.until_seconds - evaluator.run.budget.spent_seconds, LEAST_SECONDS)
    report = evaluator.run.fit(
        supernet, recipe=replace(evaluator.request.recipe, hints=()), checkpoint=out / f"supernet-{action.leg}.part",
        **limit(seconds, action.samples),
    )  # fmt: skip
    study.remember(f"supernet_samples_{action.leg}", report.samples)
    study.remember("supernet_samples_per_second", report.samples_per_second)
    save_state(supernet, finished)


def score(evaluator: Evaluator, action: Score) -> float:
    """Return the drop of a sub-network as it is."""
    quality = evaluator.quick(evaluator.supernets.extract(action.decision))[0]
    return evaluator.request.task.loss_of_quality(quality, evaluator.scores.reference)


def extracted(evaluator: Evaluator, action: Try) -> Trial:
    """Cut a candidate from the supernet, time it, score it in torch on part of the validation data."""
    result = evaluator.builder.cut(action.decision)
    timed = evaluator.files.time_net(result.net, action.finishers)
    net = evaluator.supernets.extract(action.decision)
    return evaluator.recorder.record(
        "short", action.decision, evaluator.quick(net)[0], reference=evaluator.scores.reference,
        samples=action.extracted, changed=result.changed, skipped=result.skipped, net=net, **timed,
    )  # fmt: skip
