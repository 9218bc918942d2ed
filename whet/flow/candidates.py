"""`Candidates`: one candidate looked at: told from its error, verified as it was repaired, or trained briefly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from whet.core.passes import Result
from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow.forecast import Recovery
from whet.flow.inheritance import inherit
from whet.flow.probing import Probing
from whet.flow.stage import SCORED_NOTE
from whet.flow.workbench import CANDIDATE_SECONDS

FINALS_SHARE, SLOW = 0.4, 3.0
"""The share of the budget that the finals have; training is slow where a final's samples are fewer than so many times a
repair's worth."""
TRAINING_COST = 5.0
"""How many times as long as scoring a sample training on it takes, where that was not measured: 4.5 on ResNet-44."""
FORESEEN_NOTE = "gain forecast, drop told from the error of the outputs"


class Candidates(Probing):
    """Looks at candidates, and says what training can mend of them."""

    # -- what training can mend --------------------------------------------------------------------------------------

    def mendable(self, limit: float) -> float:
        """Return the drop of a repaired candidate that one of the finals is expected to mend."""
        more = self.trainable()
        return math.inf if math.isinf(more) else Recovery(limit).mendable(self.head_start, more)

    def trainable(self) -> float:
        """Return the samples that one of the finals is trained on, by the original's speed; infinite if unknown."""
        if self.job.task.train is None:
            return 0.0
        if not self.timed:
            return math.inf
        seconds = FINALS_SHARE * self.job.budget_seconds / self.plan.rounds(self.finals_seconds())
        measured = self.bench.trainer.speed("full").samples(self._original_operations, 1.0)
        return seconds * (measured if math.isfinite(measured) else self.bench.scores.original_speed / TRAINING_COST)

    def finals_seconds(self) -> float:
        """Return the budget that full trainings are planned for."""
        return self.job.budget_seconds

    @cached_property
    def _original_operations(self) -> float:
        return self.bench.trainer.operations(self.job.net)

    @property
    def slow(self) -> bool:
        """Whether training is so slow that candidates are looked for which need none.

        Of few data some epochs are soon gone through, and mend much.
        """
        enough = min(SLOW * self.head_start, self.bench.epoch_samples or math.inf)
        return self.bench.repairs and self.trainable() < enough

    # -- one candidate -----------------------------------------------------------------------------------------------

    def predicted(self, decision: Decision, skipped: Mapping[str, str], quality: float, gain: float) -> Trial:
        """Write down what is told of a candidate that is not looked at further."""
        speedup = {"speedup": gain} if self.job.objectives.wanted == ("speed",) else {}
        return self.bench.record(
            "predicted", decision, quality, reference=self.reference(), gain=gain, **speedup,
            skipped=dict(skipped), note=FORESEEN_NOTE,
        )  # fmt: skip

    def told(self) -> list[Trial]:
        """Return the obvious candidates that were not looked at, with the drops that their errors tell by now."""
        hopes = {Decision.from_json(key): hope["error"] for key, hope in (self.study.recall("hopes") or {}).items()}
        others = self.of_stage("short", "full") + self.failures("short") + self.failures("full")
        known = {self.structural(t.decision) for t in others} | self.untrained.keys()
        waiting = [t for t in self.of_stage("predicted") if t.decision in hopes and t.decision not in known]
        return [replace(t, drop=self.drop_told(hopes[t.decision])) for t in waiting]

    def missed(self) -> list[Trial]:
        """Return the candidates that were found beyond the limit when they were verified as repaired."""
        known = {self.structural(t.decision) for t in self.of_stage("short", "full")}
        scored = [t for t in self.of_stage("predicted") if t.note == SCORED_NOTE]
        return [replace(t, decision=d) for t in scored if (d := self.structural(t.decision)) not in known]

    def at_once(self, decision: Decision, result: Result, gain: float | None = None) -> Trial:
        """Verify a candidate as it was repaired, with the finishers where they pay: it is not to be trained.

        With the `gain` that is expected of it, it is timed only where it is within the limit.
        """
        pays = bool(self.finishers) and self.bench.finishing_pays
        finishing = self.finisher_decision() if pays else Decision()
        done = self.finished(result, finishing) if pays else result
        trial = self.verify(done, decision.merge(finishing), 0, None, CANDIDATE_SECONDS, gain)
        self.remember(decision, self.bench.output_error(result.net), trial.drop)
        return trial

    @property
    def base_gain(self) -> float:
        """The gain of the untouched structure with the finishers: what structural choices multiply."""
        taken = self.finished_untouched()
        return 1.0 if taken is None else max(1.0, taken.gain)

    def short(self, decision: Decision, duration: float | None, result: Result | None = None) -> Trial:
        """Time a candidate, fine-tune it briefly unless `duration` is None, score it on part of the validation data.

        `result` is its structure, where that was built already.
        """
        result = result or self.bench.structure(decision)
        timed = self.bench.time_net(result.net, self.finisher_decision())
        net, parent = inherit(self.bench, decision, result.net)
        samples = self.samples_of(parent)
        if parent is None and not self.bench.repairs:
            self.bench.recalibrated(net)
        if duration is not None:
            limit = self.plan.limit(duration, self.plan.short_samples)
            goes_on = parent is not None and self.study.trials[parent].stage == "full"
            samples += self.bench.train(net, self.job.recipe, "short", goes_on, **limit).samples
        quality, reference = self.bench.quick(net, self.job.max_drop)
        trial = self.bench.record(
            "short", decision, quality, reference=reference,
            samples=samples, parent=parent, changed=result.changed, skipped=result.skipped,
            net=net if samples else None, **timed,
        )  # fmt: skip
        if not samples and self.bench.repairs:
            self.remember(trial.decision, self.bench.output_error(net), trial.drop)
        return trial
