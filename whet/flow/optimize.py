"""`optimize`: the main job, from a trained network to a measured Pareto front."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whet.core.errors import TargetError, unknown
from whet.core.net import Net
from whet.core.passes import Pass
from whet.core.run import Budget, Progress, Run
from whet.core.space import Decision
from whet.core.strategy import Observation, Strategy
from whet.core.study import Study, Trial
from whet.core.target import Artifact
from whet.core.task import Task, split
from whet.flow.deliver import DeliveredFront, deliver
from whet.flow.job import Job
from whet.flow.limits import fraction, seconds
from whet.flow.workbench import Workbench
from whet.search import strategies

PASS_NAMES = {"depth": "whet.compress.depth:Depth", "width": "whet.compress.width:Width"}
EPOCH_TRIALS = 12
HOPEFUL = 0.8
"""The share of the limit that a forecast may use up; validation data are a sample, and int8 costs a little."""
FINISHER_NAMES = {"quantize": "whet.compress.quantize.static:StaticQuantization"}
"""What `passes=` may name: the structure is searched, the finishers are tried on each finished structure."""


@dataclass(frozen=True)
class Plan:
    """How the budget is cut up: shares of the time, or of the training samples when the budget is in epochs."""

    probe_share: float = 0.12
    explore_until: float = 0.38
    short_share: float = 0.012
    short_seconds: float = 2.0
    finals: int = 3
    quantized_share: float = 0.2
    reserve_share: float = 0.05
    short_samples: int | None = None
    full_samples: int | None = None

    @classmethod
    def of_epochs(cls, epochs: float, train_samples: int, trials: int) -> Plan:
        """Return the plan that trains on `epochs` times the training data in all, however long that takes."""
        total = epochs * train_samples
        finals = cls.finals
        return cls(short_samples=max(1, int(0.4 * total / trials)), full_samples=max(1, int(0.6 * total / finals)))

    @staticmethod
    def limit(seconds: float, samples: float | None) -> dict[str, Any]:
        """Return how long a training may be, as options of `fit`: samples where the budget is in epochs."""
        return {"seconds": seconds} if samples is None else {"samples": max(1, int(samples))}


def optimize(
    net: Net,
    task: Task,
    *,
    target: str = "cpu",
    max_drop: str | float | None = None,
    budget: str | float = "15min",
    epochs: float | None = None,
    out: str | Path = "runs/whet",
    passes: Sequence[str | Pass] = ("depth", "width", "quantize"),
    trials: int | None = None,
    strategy: str = "sensitivity",
    seed: int = 0,
    recipe: Any = None,
    restart: bool = False,
    plan: Plan | None = None,
    progress: Progress = lambda event: None,
    command: str = "",
) -> DeliveredFront:
    """Search for faster versions of `net` that lose at most `max_drop`, and deliver the measured front.

    `max_drop` is in points for accuracies (0.01 is one point) and relative for errors, as `task.drop` says.
    `budget` counts everything from this call on; `epochs` limits the training instead, to so many passes over the
    training data in all, and then time does not count. The same call with the same `out` resumes; `restart` begins
    anew.
    Ctrl-C delivers what was found so far. Raises `WhetError`s that name what is wrong.
    """
    from whet.hardware import targets
    from whet.hardware.guard import Guarded
    from whet.train.fit import fit
    from whet.train.recipe import Recipe

    named = [(p, load(p)) for p in passes]
    if epochs is not None:
        trials = trials or EPOCH_TRIALS
        length = sum(len(split(batch)[1]) for batch in task.train)
        plan = plan or Plan.of_epochs(epochs, length, trials)
    job = Job(
        net=net,
        task=task,
        target=Guarded(targets.get(target)),
        passes=tuple(p for n, p in named if n not in FINISHER_NAMES),
        finishers=tuple(p for n, p in named if n in FINISHER_NAMES),
        budget_seconds=seconds(budget) if epochs is None else math.inf,
        out=Path(out),
        max_drop=fraction(max_drop),
        trials=trials,
        strategy=strategy,
        seed=seed,
        recipe=recipe or Recipe(),
        command=command or " ".join(sys.argv),
        epochs=epochs,
    )
    if restart and (job.out / "study.db").exists():
        shutil.rmtree(job.out)
    if target == "inductor-cpu":
        raise TargetError(
            "target 'inductor-cpu' compiles for seconds a file and cannot be searched over: optimize for "
            "'openvino-cpu', 'onnxruntime-cpu' or 'cpu', and compare with `whet measure --target inductor-cpu`."
        )
    clock = Budget(job.budget_seconds)
    space = job.space()
    for item in job.finishers:
        space = space + item.space(net, job.target)
    space = space + job.target.space()
    study = Study.in_folder(job.out, job.config(), space)
    clock.spent_before = study.spent_seconds
    run = Run(task, job.target, net, seed, clock, job.out, fit, progress)
    bench = Workbench(job, study, run)
    search = Search(bench, plan or Plan())
    try:
        search.run()
    except KeyboardInterrupt:
        progress({"stage": "interrupted", "best": bench.best_line(), "seconds_left": clock.left_seconds})
        if not bench.bar:
            raise
    return deliver(bench)


def load(item: str | Pass) -> Any:
    """Return a pass by its name, or the pass itself."""
    if not isinstance(item, str):
        return item
    names = PASS_NAMES | FINISHER_NAMES
    if item not in names:
        raise unknown("pass", item, names)
    module, _, attribute = names[item].partition(":")
    return getattr(__import__(module, fromlist=[attribute]), attribute)()


class Search:
    """The stages of one optimization; each looks at the log first, so a resumed study goes on where it stopped."""

    def __init__(self, bench: Workbench, plan: Plan) -> None:
        self.bench, self.plan = bench, plan
        self.job, self.study, self.run_ = bench.job, bench.study, bench.run
        self.space = bench.job.space()
        limit = bench.job.max_drop
        budgets = (limit, limit * 6) if limit else (0.003, 0.2)
        options: dict[str, Any] = {"budgets": budgets} if bench.job.strategy == "sensitivity" else {}
        self.strategy: Strategy = strategies.get(bench.job.strategy, self.space, seed=bench.job.seed, **options)

    def run(self) -> None:
        self._say("uncompressed network in every setting")
        self.bench.prepare()
        self.finish_identity()
        if len(self.space):
            self.probe()
            self.explore()
        self.finals()

    def _say(self, stage: str) -> None:
        self.run_.progress({"stage": stage, "seconds_left": self.run_.budget.left_seconds})

    def _of_stage(self, *stages: str) -> list[Trial]:
        return [t for t in self.study.trials if t.stage in stages]

    @property
    def reserve_seconds(self) -> float:
        """Seconds to keep for delivering: verifying and timing about six files."""
        if math.isinf(self.job.budget_seconds):
            return 0.0
        return self.plan.reserve_share * self.job.budget_seconds + 6 * self.bench.cost("evaluate", 1.0) + 6.0

    # -- stage 0: what needs no training -------------------------------------------------------------------------

    def finish_identity(self) -> None:
        """Try the finishers on the untouched network: the cheapest candidates, often good ones."""
        if self.job.finishers and not self._of_stage("full"):
            self._say("int8 without training")
            self.verify(self.bench.finish(self.job.net, self.finisher_decision()), self.finisher_decision(), 0, None)

    def finisher_decision(self) -> Decision:
        """Return the decision that applies every finisher to the whole network."""
        chosen: dict[str, Any] = {}
        for item in self.job.finishers:
            for choice in item.space(self.job.net, self.job.target):
                if choice.when is None and choice.site == "network":
                    chosen[choice.name] = "all"
        return Decision(chosen)

    def verify(self, result: Any, decision: Decision, samples: int, parent: int | None) -> Trial:
        """Save, time and score a finished net on the full validation data in its runtime, and log it."""
        number = self.study.next_number
        folder = self.job.out / "trials" / str(number)
        path = self.bench.save(result.net, folder)
        latency, setting = self.bench.time_file(path, seconds=2.0)
        artifact = Artifact(path, setting)
        quality = self.bench.score_file(artifact, self.job.task.val)
        return self.bench.record(
            "full",
            decision,
            quality,
            latency=latency,
            simulated=False,
            samples=samples,
            parent=parent,
            size_bytes=artifact.size_bytes,
            artifact=str(path.relative_to(self.job.out)),
            settings=setting,
            changed=result.changed,
            skipped=result.skipped,
            net=result.net,
        )

    # -- stage 1: one choice at a time ---------------------------------------------------------------------------

    def probe(self) -> None:
        """Score, and where the budget allows time, each single choice without training: where forecasts begin."""
        done = {t.decision for t in self._of_stage("probe")}
        allowed = self.plan.probe_share * self.job.budget_seconds
        step = self.bench.cost("save", 3.0) + self.bench.cost("race", 1.0)
        timed = len(self.space) * step < allowed
        until = min(self.run_.budget.spent_seconds + allowed, self.job.budget_seconds - self.reserve_seconds)
        for choice in self.space:
            value = self._probe_value(choice.values, choice.identity)
            decision = self.space.canonical(Decision({choice.name: value}))
            if decision not in done and len(decision) and self.run_.budget.spent_seconds < until:
                self._say(f"probing {choice.name} = {value}")
                self._probe(decision, timed)
        if hasattr(self.strategy, "believe"):
            self.strategy.believe(*self._beliefs())

    def _probe(self, decision: Decision, timed: bool) -> None:
        result = self.bench.structure(decision)
        if not result.changed:
            return
        figures: dict[str, Any] = {}
        if timed:
            figures |= self.bench.time_net(result.net, None)
        else:
            figures["speedup"] = self.bench.forecast_speedup(result.net)
            figures["note"] = "speed-up predicted from multiply-accumulates, not measured"
        quality = self.bench.quick_quality(self.bench.recalibrated(result.net))
        self.bench.record(
            "probe",
            decision,
            quality,
            reference=self.bench.quick_reference(),
            skipped=result.skipped,
            **figures,
        )

    @staticmethod
    def _probe_value(values: Sequence[Any], identity: Any) -> Any:
        others = [v for v in values if v != identity]
        return others[len(others) // 2] if others else identity

    def _beliefs(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return each probed choice's effect on log latency and on the drop, per unit of distance."""
        from whet.search.predictors.linear import distance

        latency: dict[str, float] = {}
        damage: dict[str, float] = {}
        for trial in self._of_stage("probe"):
            name, value = next(iter(trial.decision.items()))
            step = max(distance(self.space.choices[name], value), 1e-6)
            latency[name] = -math.log(max(trial.speedup, 1e-6)) / step
            damage[name] = max(trial.drop, 0.0) / step
        return latency, damage

    # -- stage 2: many candidates, a little training each --------------------------------------------------------

    def explore(self) -> None:
        """Give each proposed candidate a short fine-tuning; most are not trained further."""
        observed = self._of_stage("short")
        for trial in observed:
            self._tell(trial)
        until = max(self.plan.explore_until * self.job.budget_seconds, self.run_.budget.spent_seconds + 15.0)
        until = min(until, self.job.budget_seconds - self.reserve_seconds)
        short = max(self.plan.short_seconds, self.plan.short_share * self.job.budget_seconds)
        short = 0.0 if math.isinf(short) else short
        count = len(observed)
        while self.job.trials is None or count < self.job.trials:
            step = short + self.bench.cost("save", 4.0) + self.bench.cost("race", 2.0)
            asked = self.strategy.ask(1) if self.run_.budget.spent_seconds + step <= until else []
            if not asked:
                break
            if len(asked[0]):
                self._tell(self.short(asked[0], short))
                count += 1

    def _tell(self, trial: Trial) -> None:
        structural = Decision({n: v for n, v in trial.decision.items() if n in self.space.choices})
        excess = max(0.0, trial.drop - 4 * self.job.max_drop) if self.job.max_drop is not None else 0.0
        self.strategy.tell([Observation(structural, (trial.speedup / self.base_speedup, trial.drop), excess)])

    @property
    def base_speedup(self) -> float:
        """The speed-up of the untouched structure with the finishers: what structural choices multiply."""
        untouched = [t.speedup for t in self._of_stage("full") if not t.samples and t.speedup > 0]
        return max([1.0, *untouched[:1]])

    def short(self, decision: Decision, duration: float) -> Trial:
        """Time a candidate, fine-tune it briefly, score it in torch on part of the validation data."""
        result = self.bench.structure(decision)
        timed = self.bench.time_net(result.net, self.finisher_decision())
        net, parent = self.bench.inherit(decision, result.net)
        samples = self._samples(parent)
        if parent is None:
            self.bench.recalibrated(net)
        report = self.bench.train(net, **self.plan.limit(duration, self.plan.short_samples))
        return self.bench.record(
            "short", decision, self.bench.quick_quality(net), reference=self.bench.quick_reference(),
            samples=samples + report.samples, parent=parent, changed=result.changed, skipped=result.skipped, net=net,
            **timed,
        )  # fmt: skip

    def _samples(self, parent: int | None) -> int:
        return 0 if parent is None else self.study.trials[parent].samples

    # -- stage 3: the few that may be on the front ---------------------------------------------------------------

    def finals(self) -> None:
        """Train the most promising structures for real; verify each as it is, then with the finishers.

        What is left of the budget is shared by the rounds to come; a structure whose finishing was lost to a kill
        is finished first.
        """
        few = 2 if len(self.space) else 1
        planned = self.plan.finals if self.job.budget_seconds >= 600 and len(self.space) else few
        while True:
            trained = [t for t in self._of_stage("full") if t.samples and not self._is_finished(t)]
            unfinished = [t for t in trained if self.job.finishers and not self._finishing_of(t)]
            rounds = planned - len(trained)
            if not unfinished and rounds <= 0:
                break
            units = rounds + self.portion * len(unfinished)
            share = (self.run_.budget.left_seconds - self.reserve_seconds) / units - self._finishing_seconds()
            if share < 2.0:
                break
            if unfinished:
                self.finish(unfinished[0], share * self.portion)
                continue
            candidate = self.choose(share * (1 - self.portion))
            if candidate is None:
                break
            self.full(candidate, share * (1 - self.portion))

    @property
    def portion(self) -> float:
        """The share of a round's training that comes after the finishers."""
        return self.plan.quantized_share if self.job.finishers else 0.0

    def _samples_of(self, share: float) -> float | None:
        return None if self.plan.full_samples is None else self.plan.full_samples * share

    def _is_finished(self, trial: Trial) -> bool:
        """Say whether finishers were applied in `trial`."""
        return any(n not in self.space.choices for n in trial.decision)

    def _finishing_of(self, trial: Trial) -> Trial | None:
        return next((t for t in self._of_stage("full") if t.parent == trial.number and self._is_finished(t)), None)

    def _finishing_seconds(self) -> float:
        files = 1 + bool(self.job.finishers)
        return files * (self.bench.cost("save", 3.0) + self.bench.cost("race", 2.0) + self.bench.cost("evaluate", 1.0))

    def choose(self, seconds: float) -> Trial | None:
        """Return the fastest candidate expected to be within the limit after `seconds` more of training.

        Candidates are those of short training and those that missed the limit after a full one, not yet gone on with.
        """
        explored = self._of_stage("short") if len(self.space) else [self._identity_trial()]
        trained = [t for t in self._of_stage("full") if t.samples and not self._is_finished(t)]
        continued = {t.parent for t in trained}
        missed = [t for t in trained if not self.bench.feasible(t)]
        waiting = [t for t in explored + missed if t.number not in continued]
        if not waiting:
            return None
        limit = self.job.max_drop
        if limit is None:
            return max(waiting, key=lambda t: t.speedup / (1 + max(t.drop, 0.0) * 20))
        later = self._samples_of(1 - self.portion) or seconds * self.bench.samples_per_second
        power = self.recovery()
        expected = {t.number: max(t.drop, 0.0) * ((t.samples + later) / max(t.samples, 1)) ** -power for t in waiting}
        hopeful = [t for t in waiting if expected[t.number] <= HOPEFUL * limit]
        if hopeful:
            return max(hopeful, key=self._forecast_speedup)
        return min(waiting, key=lambda t: expected[t.number])

    def _forecast_speedup(self, trial: Trial) -> float:
        """Return the speed-up with the finishers: for a trained candidate that of the explored one it began as."""
        while trial.stage == "full" and trial.parent is not None and trial.parent >= 0:
            trial = self.study.trials[trial.parent]
        return trial.speedup

    def _identity_trial(self) -> Trial:
        return Trial(-1, "short", Decision(), self.bench.reference, 0.0, 1.0)

    def recovery(self) -> float:
        """Return p, where a drop shrinks with the samples n that it was trained on as n^-p: what was seen so far.

        On ResNet-20 without three of its blocks a training of ten times the samples left 0.33 of the drop, p = 0.48.
        """
        powers = [0.5]
        for t in self._of_stage("full"):
            if t.parent is not None and t.parent >= 0 and not self._is_finished(t):
                before = self.study.trials[t.parent]
                if before.drop > 1e-3 and t.samples > before.samples > 0:
                    ratio = min(max(t.drop / before.drop, 0.05), 1.0)
                    powers.append(-math.log(ratio) / math.log(t.samples / before.samples))
        return sum(powers) / len(powers)

    def full(self, candidate: Trial, duration: float) -> None:
        """Train one candidate's structure and verify it as it is."""
        self._say(f"training candidate {candidate.number} (x{candidate.speedup:.2f})")
        result = self.bench.structure(candidate.decision)
        net, parent = self.bench.inherit(candidate.decision, result.net)
        report = self.bench.train(net, **self.plan.limit(duration, self._samples_of(1 - self.portion)))
        samples = self._samples(parent) + report.samples
        self.verify(replace(result, net=net), candidate.decision, samples, candidate.number)

    def finish(self, trained: Trial, duration: float) -> None:
        """Apply the finishers to a trained structure, let it settle at a tenth of the learning rate, verify it."""
        self._say(f"finishing trial {trained.number} in int8")
        decision = trained.decision.merge(self.finisher_decision())
        finished = self.bench.finish(self.bench.rebuild(trained), decision)
        gentle = replace(self.job.recipe, learning_rate=self.job.recipe.learning_rate * 0.1)
        report = self.bench.train(finished.net, gentle, **self.plan.limit(duration, self._samples_of(self.portion)))
        both = replace(
            finished,
            changed={**trained.changed, **finished.changed},
            skipped={**trained.skipped, **finished.skipped},
        )
        self.verify(both, decision, trained.samples + report.samples, trained.number)
