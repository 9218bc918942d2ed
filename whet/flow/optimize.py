"""`optimize`: the main work, from a trained network to a measured Pareto front."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from whet import catalogue
from whet.core.errors import MethodError, StudyError, TargetError, TaskError
from whet.core.net import Net
from whet.core.objectives import Objectives
from whet.core.passes import Pass, Untrained
from whet.core.run import Budget, Progress, Run
from whet.core.space import Decision, Space
from whet.core.study import DATABASE, Study
from whet.core.target import Target
from whet.core.task import Task, rows_of, split
from whet.data.bind import bind
from whet.flow.again import take_over, time_scored
from whet.flow.deliver import deliver
from whet.flow.delivered import DeliveredFront
from whet.flow.evaluator import Evaluator
from whet.flow.facts import situation
from whet.flow.failures import is_disk_full
from whet.flow.folder import Folder
from whet.flow.identity import identity
from whet.flow.lifting import lifted
from whet.flow.quantities import parse, positive, resolved, seconds, size_bytes, wanted_of, whole
from whet.flow.records import check_storage, copy_record, study_name
from whet.flow.request import Request, describe
from whet.flow.run_file import RUN, write_run
from whet.flow.supernets import frozen
from whet.report.shown import shown
from whet.schedule.actions import Scheduled, Scheduler
from whet.schedule.plan import Plan
from whet.schedule.search import stages
from whet.schedule.together import checkpoints
from whet.search import strategies
from whet.train.recipe import usual
from whet.train.restore_norms import restore_batch_norms
from whet.verdict.also import formats_of
from whet.workers.where import where

EPOCH_TRIALS = 24
"""Engines begin with twelve decisions that no model proposes; as many again are proposed by their models."""
SQLITE_SIDES = ("-journal", "-wal", "-shm")
"""The ends of the names of what SQLite writes beside a database."""
ELASTIC_UNTIL = 0.4
"""The share of the budget after which the supernet's training ends."""


def optimize(
    net: Net | nn.Module, task: Task, *, target: str = "cpu", max_drop: str | float | None = None,
    max_size: str | float | None = None, max_memory: str | float | None = None, min_speedup: float = 0.0,
    objectives: str | Sequence[str] = "speed", threads: int | None = None, batch: int = 1,
    budget: str | float = "15min", epochs: float | None = None, out: str | Path = "runs/whet",
    passes: Sequence[str | Pass] | None = None, trials: int | None = None, strategy: str = "improvement", seed: int = 0,
    recipe: Any = None, elastic: bool = False, training: bool = True, restart: bool = False, plan: Plan | None = None,
    progress: Progress | bool | None = None, command: str = "", again: str | Path | None = None, options: Any = None,
    workers: int | str | None = None, storage: str | None = None, also: str | Sequence[str] = (),
) -> DeliveredFront:  # fmt: skip
    """Search for faster versions of `net`, a `Net` or a module, that lose at most `max_drop`; deliver the front.

    `max_drop` is a share of the metric's scale (`"1%"`), points (`"1pt"`) or a number in the metric's own unit.
    `objectives` is what the front is over beside quality, `speed`, `size`, `memory` or several (`"speed,size"`);
    `passes` are by default `catalogue.DEFAULT_PASSES` for them. `max_size`, such as `"500kB"`, `max_memory`, at the
    peak of a process that serves a file, and `min_speedup`, over the fastest uncompressed setting, keep files off it.
    `threads` and `batch` say how the file will be served, by default in the fastest setting. `budget` counts all time
    from this call on; `epochs` limits the training instead. The same call with the same `out` resumes; with other
    weights, data or code it is refused. `restart` removes what whet wrote into `out` and begins anew. `again` delivers
    another folder's study under these limits. `elastic` trains one supernet of all candidates. Without `training` they
    are solved and quantized on calibration or training data. Without a `recipe` one is found in at most 5 % of the
    budget. `progress` is told what goes on; by default a line shows it, False is silent. `options` go to `run.toml`.
    `workers` train, here or a cluster's; `storage` is the study's database; `also` are formats. Raises `WhetError`s.
    """
    check_words(target, max_drop, budget, strategy, passes or (), trials, epochs, seed, workers, storage)
    wanted = Objectives(wanted_of(objectives), min_speedup, size_bytes(max_size), size_bytes(max_memory, "max_memory"))
    clock = Budget(math.inf if again or epochs is not None else seconds(budget))
    net, given = lifted(net, task), task if training else untrained(task)
    task = _bound(given, net, max_drop, trains=elastic or epochs is not None)
    searched, finishers = by_phase(passes, task.train is not None, elastic, wanted.wanted)
    with shown(progress) as told, _folder(Path(out), restart) as folder, _target(target, threads) as guarded:
        request = Request(
            net=net, task=task, target=guarded, passes=searched, finishers=finishers, out=folder.path, epochs=epochs,
            trials=trials or (EPOCH_TRIALS if epochs is not None else None), limit=parse(max_drop), options=options,
            strategy=strategy, seed=seed, recipe=recipe or usual(net.module), finds_recipe=recipe is None,
            command=command or " ".join(sys.argv), elastic=elastic, identity=identity(net, given), threads=threads,
            objectives=wanted, batch=whole("batch", batch), again=Path(again) if again else None, storage=storage,
            budget_seconds=clock.seconds, workers=where(workers), also=formats_of(also),
        )  # fmt: skip
        return _optimized(request, folder, plan or _plan_of(request), told, clock)


def untrained(task: Task) -> Task:
    """Return the task without training data; where it has no calibration data, they take their place."""
    return replace(task, train=None, calibration=task.train if task.calibration is None else task.calibration)


def by_phase(
    passes: Sequence[str | Pass] | None, trained: bool = True, nested: bool = False, wanted: Sequence[str] = ("speed",)
) -> tuple[tuple[Pass, ...], tuple[Pass, ...]]:
    """Return the passes that act before training, and those that act on a finished structure; default ones for None.

    Where nothing is `trained`, passes that say how they are then best searched are set so.
    Raises: MethodError where the first are to be `nested` in one supernet and cannot.
    """
    made = [load(p) for p in (catalogue.default_passes(tuple(wanted)) if passes is None else passes)]
    if not trained:
        made = [p.untrained() if isinstance(p, Untrained) else p for p in made]
    early, late = ([p for p in made if (p.traits.phase == "structure") == first] for first in (True, False))
    if nested and (others := [describe(p)["name"] for p in early if not p.traits.nests]):
        raise MethodError(f"elastic trains all candidates in one supernet, where {', '.join(others)} cannot be.")
    return tuple(early), tuple(late)


def check_words(
    target: str, max_drop: str | float | None, budget: str | float, strategy: str, passes: Sequence[str | Pass],
    trials: int | None = None, epochs: float | None = None, seed: int = 0, workers: int | str | None = None,
    storage: str | None = None,
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
    where(workers)
    check_storage(storage)
    for item in passes:
        load(item)


def _length(task: Task) -> int:
    return sum(rows_of(split(batch)[0]) for batch in task.training)


def _bound(task: Task, net: Net, max_drop: str | float | None, trains: bool) -> Task:
    """Return the task bound to the network; raise the errors of a limit or of data that cannot be meant."""
    task = bind(task, net)
    resolved(parse(max_drop), task.glance, task)
    if task.train is None and trains:
        raise TaskError(f"task '{task.name}' has no training data, and elastic and epochs train: give train=...")
    return task


def _plan_of(request: Request) -> Plan:
    """Return how the budget is cut up by default."""
    if request.epochs is None:
        return Plan()
    samples = sum(rows_of(split(batch)[0]) for batch in request.task.training)
    return Plan.of_epochs(request.epochs, samples, request.trials or EPOCH_TRIALS)


@contextmanager
def _folder(out: Path, restart: bool) -> Iterator[Folder]:
    """Hold the folder of a study, emptied of what whet wrote to begin anew."""
    with _full_disk_is_said(out), closing(Folder(out)) as folder:
        if restart:
            folder.clear()
        yield folder


@contextmanager
def _target(name: str, threads: int | None) -> Iterator[Target]:
    """Hold a target that survives crashes of its runtimes."""
    from whet.hardware import targets
    from whet.hardware.guard import Guarded

    with closing(Guarded(targets.get(name, threads))) as guarded:
        guarded.begin()
        yield guarded


def _optimized(request: Request, folder: Folder, plan: Plan, progress: Progress, clock: Budget) -> DeliveredFront:
    """Search, or take over what another study found, and deliver."""
    evaluator, plan = _opened(request, folder, plan, progress, clock)
    if request.again is None:
        with _workers(evaluator):
            _search(evaluator, plan)
    else:
        evaluator.prepare()
        time_scored(evaluator)
    with evaluator.stopwatch.stage("delivery"):
        front = deliver(evaluator)
    if request.storage is not None:
        copy_record(request.storage, folder)
    return front


def _opened(
    request: Request, folder: Folder, plan: Plan, progress: Progress, clock: Budget | None = None
) -> tuple[Evaluator, Plan]:
    """Return the evaluator of a new or resumed study; an elastic one's passes cut by importances drawn up once."""
    from whet.data.memory import TeacherMemory
    from whet.train.fit import fit

    clock = clock or Budget(request.budget_seconds)
    request = _with_norms(request, progress)
    space = request.space()
    for item in request.finishers:
        space = space + item.space(request.net, request.target)
    folder.claim(DATABASE, *(DATABASE + side for side in SQLITE_SIDES))
    if request.options:
        folder.claim(RUN)
        write_run(folder.path, request.options)
    if request.again is not None:
        take_over(request.again, folder, request.config())
    study = _study(request, folder, space + request.target.space())
    clock.spent_before = study.spent_seconds
    train = partial(fit, memory=TeacherMemory(request.net))
    run = Run(request.task, request.target, request.net, request.seed, clock, request.out, train, progress)
    if request.elastic:
        folder.claim(*checkpoints())
        plan = replace(plan, elastic_until=plan.elastic_until or ELASTIC_UNTIL)
        request = replace(request, passes=frozen(request.passes, request.net, run))
    return Evaluator(request, study, run, folder), plan


def _study(request: Request, folder: Folder, space: Space) -> Study:
    """Open the record: a file in the folder, or in another storage under a name that the folder keeps."""
    if request.storage is None:
        return Study.in_folder(request.out, request.config(), space, request.objectives)
    return Study(request.storage, request.config(), space, request.objectives, study_name(folder))


def _with_norms(request: Request, progress: Progress) -> Request:
    """Put back the batch norms that an exporter folded into the network's convolutions."""
    if request.task.train is None:
        return request
    net, left = restore_batch_norms(request.net, request.task.train)
    added = len(net.layers()) - len(request.net.layers())
    if not added:
        return request
    progress({"stage": f"batch norms put back behind {added} convolutions", "seconds_left": request.budget_seconds})
    return replace(request, net=net, skipped=left)


@contextmanager
def _workers(evaluator: Evaluator) -> Iterator[None]:
    """Hold the workers that the request asks for, if any; the study may be delivered without them."""
    if evaluator.request.workers is None:
        yield
        return
    from whet.workers.crew import crew

    recorder = evaluator.recorder

    def tell(text: str) -> None:
        recorder.say(text)
        recorder.note(text)

    recorder.say("beginning workers")
    with crew(evaluator.request.workers, evaluator.request, tell) as evaluator.workers:
        yield
    evaluator.workers = None


def _search(evaluator: Evaluator, plan: Plan) -> None:
    """Do what the schedulers say; Ctrl-C ends that, once there is something to deliver."""
    recorder, budget = evaluator.recorder, evaluator.run.budget
    try:
        recorder.say("uncompressed network in every setting")
        evaluator.stopwatch.charge("beginning", budget.spent_seconds - budget.spent_before)
        with evaluator.stopwatch.stage("uncompressed"):
            evaluator.prepare()
        turns = stages(situation(evaluator, plan), evaluator.request.elastic)
        if evaluator.request.task.train is None:
            recorder.note("without training data only what needs no training was tried")
        for actions in turns:
            with recorder.attempt("search", Decision()):  # whatever fails, what was verified until then is delivered
                _do_all(Scheduled(actions), evaluator)
    except KeyboardInterrupt:
        recorder.say("interrupted", best=recorder.best_line())
        recorder.interrupted = True
        if not evaluator.is_prepared:
            raise


def _do_all(scheduler: Scheduler, evaluator: Evaluator) -> None:
    """Do one action after the other until the scheduler has no more."""
    outcome = None
    while (action := scheduler.next(outcome)) is not None:
        outcome = evaluator.do(action)


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
