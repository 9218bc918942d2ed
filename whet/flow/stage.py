"""What the stages of a search share: the plan, the log, and the verification of a finished candidate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from whet.core.passes import Pass, Result
from whet.core.space import Decision
from whet.core.study import Trial
from whet.core.target import Artifact
from whet.decisions.pareto import non_dominated
from whet.flow.failures import IN_A_ROW
from whet.flow.forecast import mixed_samples
from whet.flow.job import Job
from whet.flow.obvious import Obvious
from whet.flow.recipes import find_recipe
from whet.flow.workbench import FINISHED_SECONDS, Workbench

TRAINED_SECONDS = 5.0
"""What a training in earnest is worth beginning for, where the user is told how long a budget it takes."""
TOLERABLE = 2.0
"""The drop of the untouched network with the finishers, in shares of the limit, above which they are left out.

int8 took 6% from the MLP on protein at a limit of 1%, and 2 to 5% from candidates trained on with it.
"""

REPAIRED_SAMPLES = 4500
"""How many samples of training a repair is worth: it is as if drops had been falling since then.

ResNet-44's drop of 5.4 points at half of its inner channels was 3.6 after 8,000 more samples, at 0.3 of the recipe's
rate, and that of 10.9 without every second block 6.6 at the full rate; the powers of `whet.flow.forecast` say 4,600 and
4,650.
"""
SAVE_SECONDS = 0.5
"""What writing a file is believed to cost until one was written: the table of operators takes a tenth of a second."""


SCORED_NOTE = "gain forecast, scored from the file"
TESTED, DELIVERY_SECONDS = 5, 1.0
"""How many files beside the original a delivery is expected to score, and what copying and reporting take."""
RACED, RACED_SECONDS = 1.8, 6.0
"""How many times the share of the budget for it, or so long for each file of the front, the last race takes: files have
several settings, and the uncompressed network is there in all of its."""


SETTLING_SHARE = 0.12
"""The share of the budget in which the finishers' choices are settled layer by layer, where size is wanted."""
UNMET = 1e-3
"""The gain of the original where it is not within the limits itself: whatever is beats it."""


@dataclass(frozen=True)
class Plan:
    """How the budget is cut up: shares of the time, or of the training samples when the budget is in epochs.

    With `elastic_until` above zero, all candidates are trained at once until then, in place of one by one; a chain of
    few is trained for longer (`whet.flow.elastic.CHOSEN_UNTIL`).
    """

    probe_share: float = 0.12
    explore_until: float = 0.28
    short_share: float = 0.012
    short_seconds: float = 2.0
    elastic_until: float = 0.0
    elastic_explore_share: float = 0.08
    elastic_samples: int | None = None
    finals: int = 3
    most_finals: int = 5
    final_seconds: float = 250.0
    final_epochs: float = 8.0
    quantized_share: float = 0.2
    reserve_share: float = 0.05
    short_samples: int | None = None
    full_samples: int | None = None

    @classmethod
    def of_epochs(cls, epochs: float, train_samples: int, trials: int) -> Plan:
        """Return the plan that trains on `epochs` times the training data in all, however long that takes."""
        total = epochs * train_samples
        finals = cls.finals
        return cls(
            short_samples=max(1, int(0.4 * total / trials)),
            elastic_samples=max(1, int(0.4 * total)),
            full_samples=max(1, int(0.6 * total / finals)),
        )

    def rounds(self, budget_seconds: float, epochs: float = 0.0) -> int:
        """Return how many structures are trained in earnest, from two to `most_finals`.

        One for each `final_seconds` of the budget, or for each `final_epochs` of the `epochs` that there is time for.
        More training of one structure soon gives little: what is left of its drop is what the structure lacks.

        >>> Plan().rounds(180.0), Plan().rounds(1200.0), Plan().rounds(180.0, epochs=58.0)
        (2, 4, 5)
        """
        if math.isinf(budget_seconds):
            return self.finals
        wanted = max(budget_seconds / self.final_seconds, epochs / self.final_epochs)
        return max(2, min(self.most_finals, int(wanted)))

    @staticmethod
    def limit(seconds: float, samples: float | None) -> dict[str, Any]:
        """Return how long a training may be, as options of `fit`: samples where the budget is in epochs."""
        return {"seconds": seconds} if samples is None else {"samples": max(1, int(samples))}


class Stage:
    """A stage of one optimization; it looks at the log first, so a resumed study goes on where it stopped."""

    settles = False

    def __init__(self, bench: Workbench, plan: Plan) -> None:
        self.bench, self.plan = bench, plan
        self.study, self.run_ = bench.study, bench.run
        self.space = bench.job.space()
        self.began_seconds = self.run_.budget.spent_seconds if self.run_ is not None else 0.0

    @property
    def job(self) -> Job:
        """The job as it stands: its recipe is found on the way."""
        return self.bench.job

    def find_recipe(self) -> None:
        """Find how to train, where that was not done yet; it comes before the first training."""
        with self.bench.attempt("search", Decision()):
            find_recipe(self.bench)

    def say(self, stage: str) -> None:
        self.run_.progress({"stage": stage, "seconds_left": self.run_.budget.left_seconds})

    def of_stage(self, *stages: str) -> list[Trial]:
        return [t for t in self.study.trials if t.stage in stages]

    def failures(self, attempted: str) -> list[Trial]:
        """Return the trials that failed before they became one of a stage."""
        return [t for t in self.of_stage("failed") if t.attempted == attempted]

    def hopeless(self) -> bool:
        """Say whether candidates fail one after the other, so that there is no sense in trying more."""
        last = self.study.trials[-IN_A_ROW:]
        return len(last) == IN_A_ROW and all(t.stage == "failed" for t in last)

    @property
    def reserve_seconds(self) -> float:
        """Seconds to keep for the end: settling, the last race, the test data in the original and some files."""
        if math.isinf(self.job.budget_seconds):
            return 0.0
        before = self.study.recall("delivery_seconds")
        if before is not None:  # of this study, when it ended with a smaller budget
            return 1.25 * float(before)
        kept = SETTLING_SHARE * self.job.budget_seconds if not self.settles and self._settled_later else 0.0
        raced = RACED * min(self.plan.reserve_share * self.job.budget_seconds, RACED_SECONDS * self._front_size())
        return kept + raced + self._tested_seconds() + DELIVERY_SECONDS

    @property
    def _settled_later(self) -> bool:
        """Whether time is kept to choose layer by layer, which pays in bytes."""
        return "size" in self.job.objectives.wanted and bool(self.job.finishers)

    def _tested_seconds(self) -> float:
        """Return what scoring on the test data is expected to take: the original in f32, the slowest, bar and front."""
        files = min(TESTED, 1 + self._front_size())
        return self.bench.longest("evaluate", 1.0) + files * self.bench.cost("evaluate", 1.0)

    def _front_size(self) -> int:
        """Return how many files within the limit no other one beats; at least one."""
        return max(1, len(self.front_of(self.of_stage("full"))))

    def front_of(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return the trials within the limits that no other one beats in gain and quality."""
        within = [t for t in trials if self.bench.feasible(t)]
        return [within[i] for i in non_dominated([(-t.gain, t.drop) for t in within])]

    @property
    def timed(self) -> bool:
        """Whether the budget is one of time, and not of epochs."""
        return not math.isinf(self.job.budget_seconds)

    def needed_seconds(self) -> float:
        """Return the budget that one training in earnest would take, by what the steps so far cost."""
        delivery = self._tested_seconds() + DELIVERY_SECONDS
        fixed = self.began_seconds + delivery + 2 * self.file_seconds + TRAINED_SECONDS
        return fixed / (1 - self.plan.explore_until - self.plan.reserve_share)

    def is_finished(self, trial: Trial) -> bool:
        """Say whether finishers were applied in `trial`."""
        return self.is_finished_by(trial.decision)

    def is_finished_by(self, decision: Decision) -> bool:
        """Say whether a decision applies finishers."""
        return any(n not in self.space.choices for n in decision)

    def untouched(self) -> list[Trial]:
        """Return the trials of the untrained, untouched network with the finishers, in the order they were made."""
        untrained = (t for t in self.of_stage("full") if not t.samples and len(t.decision))
        return [t for t in untrained if not any(n in self.space.choices for n in t.decision)]

    @property
    def finishers(self) -> tuple[Pass, ...]:
        """The finishers that are worth trying on candidates.

        None where the untouched network gains nothing by them, or loses far too much.
        """
        tried, limit = self.untouched(), self.job.max_drop
        if not len(self.space) or not tried:
            return self.job.finishers
        slower = max(t.gain for t in tried) < 1.0
        worse = limit is not None and min(t.drop for t in tried) > TOLERABLE * limit
        return () if slower or worse else self.job.finishers

    def finished_untouched(self) -> Trial | None:
        """Return the trial of the untouched network in the way of finishing that is taken, once there is one."""
        return max(self.untouched() if self.finishers else [], key=self.merit, default=None)

    def merit(self, trial: Trial) -> float:
        """Return what a trial gains for what it loses: a drop of the whole limit halves it."""
        limit = 0.05 if self.job.max_drop is None else max(self.job.max_drop, 1e-9)
        return trial.gain / (1 + max(trial.drop, 0.0) / limit)

    def finisher_decision(self) -> Decision:
        """Return the decision that finishes a whole network in the way that is taken."""
        taken = self.finished_untouched()
        if taken is not None:
            return taken.decision
        ways = [way for ways in self.ways() for way in ways]
        return ways[0] if ways and self.finishers else Decision()

    def ways(self) -> list[list[Decision]]:
        """Return for each finisher what anyone would try of it on the whole network, in the order to try it."""
        each = [p.obvious(self.job.net, self.job.target) for p in self.job.finishers if isinstance(p, Obvious)]
        return [ways for ways in each if ways]

    @property
    def file_seconds(self) -> float:
        """Seconds that it costs to save, time and score one candidate."""
        return self.bench.cost("save", SAVE_SECONDS) + self.bench.cost("race", 2.0) + self.bench.cost("evaluate", 1.0)

    def best_gain(self) -> float:
        """Return the largest gain that is verified and within the limits; the original's is 1, where it is."""
        original = 1.0 if self.job.objectives.met(1.0, self.bench.original_bytes) else UNMET
        return max([original, *(t.gain for t in self.of_stage("full") if self.bench.feasible(t))])

    def samples_of(self, parent: int | None) -> int:
        return 0 if parent is None or parent < 0 else self.study.trials[parent].samples

    @property
    def head_start(self) -> int:
        """The samples of training that a repair is worth."""
        return REPAIRED_SAMPLES if self.bench.repairs else 0

    def fresh_samples(self, trial: Trial) -> int:
        """Return the samples after which a net trained from scratch would have the drop of `trial` and its future.

        What a trial inherits was trained longer than what its own cuts broke.
        """
        if trial.parent is None or trial.parent < 0:
            return trial.samples + self.head_start
        parent = self.study.trials[trial.parent]
        own, inherited = trial.samples - parent.samples, min(max(parent.drop, 0.0), max(trial.drop, 0.0))
        if len(trial.decision) <= len(parent.decision):  # gone on with as it was
            return own + self.fresh_samples(parent)
        return mixed_samples([(inherited, own + self.fresh_samples(parent)), (trial.drop - inherited, own)])

    def structural(self, decision: Decision) -> Decision:
        """Return what a decision says of the structure, without the finishers."""
        return Decision({n: v for n, v in decision.items() if n in self.space.choices})

    def finished(self, result: Result, finishing: Decision) -> Result:
        """Apply the finishers to a structure; what was changed and skipped before stays said."""
        return result.then(self.bench.finish(result.net, finishing))

    def verify(
        self, result: Result, decision: Decision, samples: int, parent: int | None, seconds: float = FINISHED_SECONDS,
        gain: float | None = None,
    ) -> Trial:  # fmt: skip
        """Save, time for so long and score a finished net on the full validation data in its runtime, and log it.

        With the `gain` that is expected of it, it is scored first, and not timed where it breaks the limit.
        """
        folder = self.job.out / "trials" / str(self.study.next_number)
        self.bench.claim_model(folder)
        path = self.bench.save(result.net, folder)
        said = {
            "artifact": str(path.relative_to(self.job.out)), "size_bytes": Artifact(path, {}).size_bytes,
            "samples": samples, "parent": parent, "changed": result.changed, "skipped": result.skipped,
        }  # fmt: skip
        if gain is not None:
            settings = self._likely_settings(self.is_finished_by(decision))
            quality = self.bench.score_file(Artifact(path, settings), self.job.task.val)
            if self.job.max_drop is not None and self.bench.drop(quality) > self.job.max_drop:
                return self.bench.record("predicted", decision, quality, gain=gain, note=SCORED_NOTE, **said)
        latency, settings = self.bench.time_file(path, seconds)
        quality = self.bench.score_file(Artifact(path, settings), self.job.task.val)
        figures = {"latency": latency, "settings": settings, "simulated": False, "net": result.net}
        return self.bench.record("full", decision, quality, **figures, **said)

    def _likely_settings(self, finished: bool) -> dict[str, Any]:
        """Return the setting that the last file of that kind was fastest in, the bar's where there is none."""
        alike = [t.settings for t in self.of_stage("full") if self.is_finished(t) == finished and t.settings]
        return dict(alike[-1] if alike else self.bench.bar_artifact.settings)
