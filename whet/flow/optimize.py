"""`optimize`: the main job, from a trained network to a measured Pareto front."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from whet.core.errors import StudyError, TargetError, TaskError, unknown
from whet.core.net import Net
from whet.core.passes import Pass
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
from whet.flow.job import Job
from whet.flow.limits import parse, positive, resolved, seconds, whole
from whet.flow.stage import Plan
from whet.flow.workbench import Workbench
from whet.search import strategies
from whet.train.restore_norms import restore_batch_norms

PASS_NAMES = {
    "depth": "whet.compress.depth:Depth",
    "width": "whet.compress.width:Width",
    "kernel": "whet.compress.kernel:Kernel",
    "resolution": "whet.elastic.resolution:Resolution",
}
FINISHER_NAMES = {"quantize": "whet.compress.quantize.static:StaticQuantization"}
"""What `passes=` may name: the structure is searched, the finishers are tried on each finished structure."""
UNTRAINED = {"width": {"tie": "none", "fractions": (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)}}
"""How passes that are named are set where nothing is trained: a candidate then costs a second, and hundreds of them can
tell finer choices apart."""
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
    budget: str | float = "15min",
    epochs: float | None = None,
    out: str | Path = "runs/whet",
    passes: Sequence[str | Pass] = ("depth", "width", "quantize"),
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
    `budget` counts everything from this call on; `epochs` limits the training instead, to so many passes over the
    training data in all, and then time does not count. The same call with the same `out` resumes; with other weights,
    data or code it is refused. `restart` removes what whet wrote into `out`, nothing else, and begins anew.
    `elastic` trains one supernet of all candidates instead of each candidate briefly. Without `training` candidates
    are solved and quantized on calibration data, for which the training data serve. Without a `recipe` one is found
    for this network, in at most 5 % of the budget.
    Ctrl-C delivers what was found so far. Raises `WhetError`s that name what is wrong.
    """
    from whet.hardware import targets
    from whet.hardware.guard import Guarded
    from whet.train.recipe import Recipe

    check_words(target, max_drop, budget, strategy, passes, trials, epochs, seed)
    clock = Budget(seconds(budget) if epochs is None else math.inf)
    if not training:
        task = untrained(task)
    given, task = task, bind(task, net)
    resolved(parse(max_drop), task.glance, task)
    if task.train is None and (elastic or epochs is not None):
        raise TaskError(f"task '{task.name}' has no training data, and elastic and epochs train: give train=...")
    trials = trials or (EPOCH_TRIALS if epochs is not None else None)
    plan = plan or (Plan() if epochs is None else Plan.of_epochs(epochs, _length(task), trials or EPOCH_TRIALS))
    searched, finishers = _parted(passes, UNTRAINED if task.train is None else {})
    with (
        _full_disk_is_said(Path(out)),
        closing(Folder(Path(out))) as folder,
        closing(Guarded(targets.get(target))) as guarded,
    ):
        job = Job(
            net=net, task=task, target=guarded, passes=searched, finishers=finishers, out=Path(out), trials=trials,
            budget_seconds=clock.seconds, limit=parse(max_drop), strategy=strategy, seed=seed, epochs=epochs,
            recipe=recipe or Recipe(), finds_recipe=recipe is None, command=command or " ".join(sys.argv),
            elastic=elastic, identity=identity(net, given),
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


def _parted(passes: Sequence[str | Pass], options: Mapping[str, Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what is searched, and what is tried on each finished structure; `options` are of passes by name."""
    named = [(p, replace(load(p), **options[p]) if isinstance(p, str) and p in options else load(p)) for p in passes]
    searched, finishers = ([p for n, p in named if (n in FINISHER_NAMES) == late] for late in (False, True))
    return tuple(searched), tuple(finishers)


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
    study = Study.in_folder(job.out, job.config(), space + job.target.space())
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
        stages = [explorer.run, Finals(bench, plan, explorer).run]
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


def load(item: str | Pass) -> Any:
    """Return a pass by its name, or the pass itself."""
    if not isinstance(item, str):
        return item
    names = PASS_NAMES | FINISHER_NAMES
    if item not in names:
        raise unknown("pass", item, names)
    module, _, attribute = names[item].partition(":")
    return getattr(__import__(module, fromlist=[attribute]), attribute)()
