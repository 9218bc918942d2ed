"""`optimize`: the main job, from a trained network to a measured Pareto front."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from whet import catalogue
from whet.core.errors import MethodError, StudyError, TargetError, TaskError
from whet.core.net import Net
from whet.core.objectives import Objectives, wanted_of
from whet.core.passes import Pass, Untrained
from whet.core.run import Budget, Progress, Run
from whet.core.space import Decision
from whet.core.study import DATABASE, Study
from whet.core.task import Task, rows_of, split
from whet.data.bind import bind
from whet.flow.deliver import deliver
from whet.flow.elastic import ElasticExplore, checkpoints, frozen
from whet.flow.explore import Explore
from whet.flow.failures import is_disk_full
from whet.flow.finals import Finals
from whet.flow.folder import Folder
from whet.flow.front import DeliveredFront
from whet.flow.identity import identity
from whet.flow.job import Job, describe
from whet.flow.limits import parse, positive, resolved, seconds, size_bytes, whole
from whet.flow.settling import Settling
from whet.flow.stage import Plan
from whet.flow.workbench import Workbench
from whet.search import strategies
from whet.train.restore_norms import restore_batch_norms

EPOCH_TRIALS = 24
"""Engines begin with twelve decisions that no model proposes; as many again are proposed by their models."""
SQLITE_SIDES = ("-journal", "-wal", "-shm")
"""The ends of the names of what SQLite writes beside a database."""
ELASTIC_UNTIL = 0.4
"""The share of the budget after which the supernet's training ends."""


def optimize(
    net: Net,
    task: Task,
    *,
    target: str = "cpu",
    max_drop: str | float | None = None,
    max_size: str | float | None = None,
    min_speedup: float = 0.0,
    objectives: str | Sequence[str] = "speed",
    threads: int | None = None,
    batch: int = 1,
    budget: str | float = "15min",
    epochs: float | None = None,
    out: str | Path = "runs/whet",
    passes: Sequence[str | Pass] | None = None,
    trials: int | None = None,
    strategy: str = "improvement",
    seed: int = 0,
    recipe: Any = None,
    elastic: bool = False,
    training: bool = True,
    restart: bool = False,
    plan: Plan | None = None,
    progress: Progress = lambda event: None,
    command: str = "",
) -> DeliveredFront:
    """Search for faster versions of `net` that lose at most `max_drop`, and deliver the measured front.

    `max_drop` is a share of the metric's scale (`"1%"`), points (`"1pt"`) or a number in the metric's own unit.
    `objectives` is what is made large: `speed`, `size`, or both (`"speed,size"`); the front is over them and quality.
    `passes` are by default those of `catalogue.DEFAULT_PASSES` for the objectives.
    `max_size`, such as `"500kB"`, and `min_speedup`, a ratio to the fastest uncompressed setting, keep files off it.
    `threads` and `batch` say how the file will be served; by default with the threads that are fastest, one sample a
    call. `budget` counts everything from this call on; `epochs` limits the training instead, to so many passes over the
    training data in all, and then time does not count. The same call with the same `out` resumes; with other weights,
    data or code it is refused. `restart` removes what whet wrote into `out`, nothing else, and begins anew.
    `elastic` trains one supernet of all candidates instead of each candidate briefly. Without `training` candidates
    are solved and quantized on calibration data, for which the training data serve. Without a `recipe` one is found
    for this network, in at most 5 % of the budget, beginning with what is usual for its kind (`train.recipe.usual`).
    Ctrl-C delivers what was found so far. Raises `WhetError`s that name what is wrong.
    """
    from whet.hardware import targets
    from whet.hardware.guard import Guarded
    from whet.train.recipe import usual

    passes = catalogue.default_passes(wanted_of(objectives)) if passes is None else passes
    check_words(target, max_drop, budget, strategy, passes, trials, epochs, seed)
    wanted = Objectives(wanted_of(objectives), min_speedup, size_bytes(max_size))
    clock = Budget(seconds(budget) if epochs is None else math.inf)
    if not training:
        task = untrained(task)
    given, task = task, bind(task, net)
    resolved(parse(max_drop), task.glance, task)
    if task.train is None and (elastic or epochs is not None):
        raise TaskError(f"task '{task.name}' has no training data, and elastic and epochs train: give train=...")
    trials = trials or (EPOCH_TRIALS if epochs is not None else None)
    plan = plan or (Plan() if epochs is None else Plan.of_epochs(epochs, _length(task), trials or EPOCH_TRIALS))
    searched, finishers = by_phase(passes, trained=task.train is not None)
    if elastic and (others := [describe(p)["name"] for p in searched if not p.traits.nests]):
        raise MethodError(f"elastic trains all candidates in one supernet, where {', '.join(others)} cannot be.")
    with (
        _full_disk_is_said(Path(out)),
        closing(Folder(Path(out))) as folder,
        closing(Guarded(targets.get(target, threads))) as guarded,
    ):
        job = Job(
            net=net, task=task, target=guarded, passes=searched, finishers=finishers, out=Path(out), trials=trials,
            budget_seconds=clock.seconds, limit=parse(max_drop), strategy=strategy, seed=seed, epochs=epochs,
            recipe=recipe or usual(net.module), finds_recipe=recipe is None, command=command or " ".join(sys.argv),
            elastic=elastic, identity=identity(net, given), objectives=wanted,
            threads=threads, batch=whole("batch", batch),
        )  # fmt: skip
        if restart:
            folder.clear()
        bench, plan = _opened(job, folder, plan, progress, clock)
        _search(bench, plan)
        with bench.stopwatch.stage("delivery"):
            return deliver(bench)


def untrained(task: Task) -> Task:
    """Return the task without training data; where it has no calibration data, they take their place."""
    return replace(task, train=None, calibration=task.train if task.calibration is None else task.calibration)


def by_phase(passes: Sequence[str | Pass], trained: bool = True) -> tuple[tuple[Pass, ...], tuple[Pass, ...]]:
    """Return the passes that act before training, and those that act on a finished structure.

    Where nothing is `trained`, passes that say how they are then best searched are set so.
    """
    made = [load(p) for p in passes]
    if not trained:
        made = [p.untrained() if isinstance(p, Untrained) else p for p in made]
    early, late = ([p for p in made if (p.traits.phase == "structure") == first] for first in (True, False))
    return tuple(early), tuple(late)


def check_words(
    target: str, max_drop: str | float | None, budget: str | float, strategy: str, passes: Sequence[str | Pass],
    trials: int | None = None, epochs: float | None = None, seed: int = 0,
) -> None:  # fmt: skip
    """Raise the error of an option that cannot be read or is not known; it takes no network, so it can come first."""
    from whet.hardware import targets

    if target == "inductor-cpu":
        raise TargetError(
            "target 'inductor-cpu' compiles for seconds a file and cannot be searched over: optimize for "
            "'openvino-cpu', 'onnxruntime-cpu' or 'cpu', and compare with `whet measure --target inductor-cpu`."
        )
    targets.get(target)
    seconds(budget)
    parse(max_drop)
    if trials is not None:
        whole("trials", trials)
    if epochs is not None:
        positive("epochs", epochs)
    whole("seed", seed, least=0)
    strategies.check(strategy)
    for item in passes:
        load(item)


def _length(task: Task) -> int:
    return sum(rows_of(split(batch)[0]) for batch in task.training)


def _opened(
    job: Job, folder: Folder, plan: Plan, progress: Progress, clock: Budget | None = None
) -> tuple[Workbench, Plan]:
    """Return the workbench of a new or resumed study; an elastic one's passes cut by importances drawn up once."""
    from whet.data.memory import TeacherMemory
    from whet.train.fit import fit

    clock = clock or Budget(job.budget_seconds)
    job = _with_norms(job, progress)
    space = job.space()
    for item in job.finishers:
        space = space + item.space(job.net, job.target)
    folder.claim(DATABASE, *(DATABASE + side for side in SQLITE_SIDES))
    study = Study.in_folder(job.out, job.config(), space + job.target.space(), job.objectives)
    clock.spent_before = study.spent_seconds
    train = partial(fit, memory=TeacherMemory(job.net))
    run = Run(job.task, job.target, job.net, job.seed, clock, job.out, train, progress)
    if job.elastic:
        folder.claim(*checkpoints())
        plan = replace(plan, elastic_until=plan.elastic_until or ELASTIC_UNTIL)
        job = replace(job, passes=frozen(job.passes, job.net, run))
    return Workbench(job, study, run, folder), plan


def _with_norms(job: Job, progress: Progress) -> Job:
    """Put back the batch norms that an exporter folded into the network's convolutions."""
    net, left = restore_batch_norms(job.net, job.task.train) if job.task.train is not None else (job.net, {})
    added = len(net.layers()) - len(job.net.layers())
    if not added:
        return job
    progress({"stage": f"batch norms put back behind {added} convolutions", "seconds_left": job.budget_seconds})
    return replace(job, net=net, skipped=left)


def _search(bench: Workbench, plan: Plan) -> None:
    """Run the stages; Ctrl-C ends them, once there is something to deliver."""
    left = bench.run.budget.left_seconds
    try:
        bench.run.progress({"stage": "uncompressed network in every setting", "seconds_left": left})
        bench.stopwatch.charge("beginning", bench.run.budget.spent_seconds - bench.run.budget.spent_before)
        with bench.stopwatch.stage("uncompressed"):
            bench.prepare()
        explorer = (ElasticExplore if bench.job.elastic else Explore)(bench, plan)
        stages = [explorer.run, Finals(bench, plan, explorer).run, Settling(bench, plan).run]
        if bench.job.task.train is None:
            bench.note("without training data only what needs no training was tried")
        for stage in stages:
            with bench.attempt("search", Decision()):  # whatever fails, what was verified until then is delivered
                stage()
    except KeyboardInterrupt:
        best = bench.best_line()
        bench.run.progress({"stage": "interrupted", "best": best, "seconds_left": bench.run.budget.left_seconds})
        if not bench.bar:
            raise


@contextmanager
def _full_disk_is_said(out: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise StudyError(
            f"the disk of '{out}' is full. What was finished is safe in it: make room, and the same command goes on."
        ) from error


def load(item: str | Pass) -> Pass:
    """Return a pass by its words, `width(tie='network')`, or the pass itself."""
    made: Pass = catalogue.make(item, "pass") if isinstance(item, str) else item
    return made
