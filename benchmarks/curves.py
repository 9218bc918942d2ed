"""Record learning curves of cut networks: `python benchmarks/curves.py digits_cnn --out FOLDER`.

Decisions are drawn that cover what a search meets: what anyone would try, each value of each choice alone, and joint
cuts from mild to harsh. Each is cut and repaired as the flow does it, scored with and without finishers, trained five
times, one training going on from the other, and scored after each. Any first few of them cover all kinds.

Speeds are measured apart, on a machine that does nothing else: `--time 150` goes on with that for so many seconds.
Killed at any instant, the same command goes on; it loses the decision in flight. `--table` writes the table of what is
there beside the others.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise, zip_longest
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer

from whet import catalogue, tasks
from whet.bench.lines import Lines
from whet.bench.results import commit
from whet.bench.simulation.curves import Costs, Curve, Curves
from whet.core.net import Net
from whet.core.passes import Chain
from whet.core.run import Budget, Run
from whet.core.space import Decision, Space
from whet.core.study import Study
from whet.core.target import Artifact
from whet.core.task import rows_of, split
from whet.data.bind import bind
from whet.data.memory import TeacherMemory
from whet.flow.evaluator import Evaluator
from whet.flow.facts import Facts
from whet.flow.files import FINISHED_SECONDS
from whet.flow.folder import Folder
from whet.flow.identity import identity
from whet.flow.optimize import by_phase
from whet.flow.quantities import parse
from whet.flow.request import Request
from whet.flow.scoring import EVALUATION_BATCH
from whet.flow.timing import cost_signature
from whet.graph.lift import lift
from whet.graph.operations import Operations, total_operations
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.guard import Guarded
from whet.train.fit import fit
from whet.verify.equivalence import evaluate

HERE = Path(__file__).parent
NOMINAL_SECONDS = 1200.0
"""The budget that the steps' plans are made for."""
TIMED_SECONDS = 0.5
"""How long each form of a signature is timed beside the bar."""
SPEED_SAMPLES = 1280
"""Samples of the training that tells how fast a network trains."""
COSTED = 12
"""Of how many decisions the steps' seconds are measured."""
FIRST = 10.0
"""From how many times the usual seconds on a step is taken for the first of its process."""
FORMS = ("plain", "finished")
EXTENDED_EVERY = 8
"""One of so many trained structures is cut further and trained on."""


@dataclass(frozen=True)
class Plan:
    """The task, how many decisions are recorded, and the samples after which their drops are."""

    task: str
    decisions: int
    samples: tuple[int, ...]


PLANS = {
    "digits_cnn": Plan("digits", 300, (512, 1024, 2048, 4096, 8192)),
    "resnet20": Plan("cifar10", 60, (1024, 2560, 6400, 12_800, 25_600)),
}


def drawn(space: Space, obvious: list[Decision], count: int) -> list[Decision]:
    """Return `count` decisions of all kinds, each kind from beginning to end: obvious, single and joint cuts.

    Of a joint cut first the harshness is drawn, then by it which choices are cut, and how far.
    """
    generator = random.Random(0)
    mixed = generator.sample(obvious, len(obvious))
    singles = [Decision({c.name: v}) for c in space for v in c.values if v != c.identity]
    generator.shuffle(singles)
    found = dict.fromkeys([Decision()])
    for row in zip_longest(mixed, singles, fillvalue=None):
        found |= dict.fromkeys(space.canonical(d) for d in row if d is not None)
        found |= dict.fromkeys(_joint(space, generator) for _ in range(2))
    while len(found) < count:
        found[_joint(space, generator)] = None
    return list(found)[:count]


def _joint(space: Space, generator: random.Random) -> Decision:
    harshness, cuts = generator.uniform(0.1, 0.95), dict[str, Any]()
    for choice in space:
        others = [v for v in choice.values if v != choice.identity]
        if others and generator.random() < harshness:
            cuts[choice.name] = generator.choice(others)
    return space.canonical(Decision(cuts))


class Recorder:
    """One table in the making; what is finished lies in `out`."""

    def __init__(self, evaluator: Evaluator, plan: Plan, out: Path) -> None:
        self.evaluator, self.plan, self.out = evaluator, plan, out
        self.facts, self.space = Facts(evaluator), evaluator.builder.space
        self.decisions = drawn(self.space, self.facts.obvious(), plan.decisions)
        self.ways = self.facts.ways()
        self.finishing = self.ways[0][0] if self.ways else Decision()
        self.curves, self.times, self.costs = (Lines(out / f"{n}.jsonl") for n in ("curves", "times", "costs"))

    # -- training --------------------------------------------------------------------------------------------------

    def record(self) -> None:
        """Train what is not yet trained."""
        known = self.curves.read()
        for count, decision in enumerate(self.decisions):
            if decision.to_json() not in known:
                began = time.process_time()
                self.curves.append(decision.to_json(), self.curve(decision, extended=not count % EXTENDED_EVERY))
                took = time.process_time() - began
                print(f"{count + 1} of {len(self.decisions)}: {took:.1f} s of processor", file=sys.stderr, flush=True)

    def curve(self, decision: Decision, extended: bool) -> dict[str, Any]:
        """Return what a decision's structure is, and becomes with training."""
        e = self.evaluator
        e.study.remember("rate_shares", {})  # what a training did to one structure does not slow down the next
        result = e.builder.structure(decision)
        net, signature = result.net, cost_signature(result.net)
        error, operations = e.builder.output_error(net), float(total_operations(net))
        finished = [self.finished_drop(net, signature)]
        drops = [self.drop_of(net), *self.trained(net, (0, *self.plan.samples))]
        finished.append(self.finished_drop(net, signature))
        more = self.extension(decision, net) if extended else None
        samples = [0, *self.plan.samples]
        return {
            "error": error, "operations": operations, "signature": signature, "samples": samples, "drops": drops,
            "finished": finished, "extended": more,
        }  # fmt: skip

    def trained(self, net: Net, samples: Sequence[int]) -> list[float]:
        """Train a network in place from each number of samples to the next; return its drops after each."""
        e, drops = self.evaluator, list[float]()
        for before, until in pairwise(samples):
            recipe = replace(e.request.recipe, hints=()) if before else e.request.recipe
            e.train(net, recipe, "full" if before else "short", before > 0, samples=until - before)
            drops.append(self.drop_of(net))
        return drops

    def extension(self, decision: Decision, net: Net) -> dict[str, Any] | None:
        """Return what becomes of a trained structure that is cut further, and trained on."""
        generator = random.Random(decision.to_json())
        left = [c for c in self.space if c.name not in decision and len(c.values) > 1]
        if not left:
            return None
        choices = generator.sample(left, min(len(left), 2))
        more = Decision({c.name: generator.choice([v for v in c.values if v != c.identity]) for c in choices})
        e = self.evaluator
        child = Chain(e.request.passes).apply(net, more, e.run)
        grown = e.builder.repaired(child, net).net
        samples = (0, self.plan.samples[1], self.plan.samples[2])
        drops = [self.drop_of(grown), *self.trained(grown, samples)]
        return {"decision": dict(decision.merge(more)), "samples": samples, "drops": drops}

    def drop_of(self, net: Net) -> float:
        """Return a network's drop on the validation data, in torch."""
        return float(self.evaluator.request.task.loss_of_quality(*self.evaluator.quick(net)))

    def finished_drop(self, net: Net, signature: str) -> float:
        """Return a network's drop with finishers, from its file; the files of a signature are kept to be timed."""
        e, folder = self.evaluator, self.out / "files" / signature
        forms = dict(zip(FORMS, (net, e.builder.finish(net, self.finishing).net), strict=True))
        paths = {how: e.request.target.save(form.eval(), folder / how) for how, form in forms.items()}
        opened = partial(e.request.target.open, Artifact(paths["finished"], e.baseline.artifact.settings))
        found = evaluate(opened, e.request.task.val, EVALUATION_BATCH, e.request.net)
        return float(e.drop(e.request.task.score(*found)))

    # -- times -----------------------------------------------------------------------------------------------------

    def time(self, seconds: float) -> None:
        """Time what was recorded and not yet timed, and what steps take, for about so many seconds."""
        until, known, costed = time.monotonic() + seconds, self.times.read(), self.costs.read()
        rows = self.curves.read()
        left = [key for key in rows if key not in costed]
        for key in left[:: max(len(left) // COSTED, 1)][: COSTED - len(costed)]:
            if time.monotonic() < until - seconds / 2:
                self.costs.append(key, self.cost(Decision.from_json(key)))
        for signature in dict.fromkeys(row["signature"] for row in rows.values()):
            if signature not in known and time.monotonic() < until:
                paths = {how: self.out / "files" / signature / how / "model.onnx" for how in FORMS}
                timing = self.evaluator.files.timing
                ratios = {how: timing({how: path}, TIMED_SECONDS).latency.ratio for how, path in paths.items()}
                sizes = {how: Artifact(path, {}).size_bytes for how, path in paths.items()}
                self.times.append(signature, {"ratios": ratios, "bytes": sizes})
        untimed = {row["signature"] for row in rows.values()} - set(self.times.read())
        print(f"{len(untimed)} signatures are not timed yet", file=sys.stderr)

    def cost(self, decision: Decision) -> dict[str, float]:
        """Return what steps on a decision's structure take, and its training per sample."""
        e, found = self.evaluator, dict[str, float]()
        e.builder._built = None

        def timed(kind: str, do: Callable[[], Any]) -> Any:
            began = time.monotonic()
            value = do()
            found[kind] = time.monotonic() - began
            return value

        cut = timed("cut", lambda: e.builder.cut(decision))
        net = timed("repair", lambda: e.builder.repaired(cut, e.request.net)).net
        timed("error", lambda: e.builder.output_error(net))
        finished = timed("finish", lambda: e.builder.finish(net, self.finishing)).net
        path = timed("save", lambda: e.request.target.save(finished.eval(), self.out / "cost"))
        e.scores._files.clear()
        timed("evaluate", lambda: e.scores.file(Artifact(path, e.baseline.artifact.settings), e.request.task.val))
        timed("quick", lambda: e.quick(net))
        timed("race", lambda: e.files.timing({"file": path}, FINISHED_SECONDS))
        report = e.run.fit(net, recipe=e.request.recipe, samples=SPEED_SAMPLES)
        return {**found, "train": 1 / report.samples_per_second, "operations": float(total_operations(net))}

    # -- the table -------------------------------------------------------------------------------------------------

    def table(self) -> Curves:
        """Return the table of what was trained and timed."""
        rows, times, costs = self.curves.read(), self.times.read(), self.costs.read()
        e, found = self.evaluator, list[Curve]()
        nothing = {"ratios": dict.fromkeys(FORMS, math.nan), "bytes": dict.fromkeys(FORMS, 0)}
        for key, row in rows.items():
            one = times.get(row["signature"], nothing)
            found.append(Curve(
                Decision.from_json(key), row["operations"], row["error"], tuple(row["samples"]), tuple(row["drops"]),
                tuple(row["finished"]), *(one["ratios"][how] for how in FORMS), *(one["bytes"][how] for how in FORMS),
            ))  # fmt: skip
        kinds, each = ("cut", "repair", "error", "finish", "save", "evaluate", "quick", "race"), list(costs.values())
        seconds = {kind: round(median(c[kind] for c in each), 4) for kind in kinds}
        slow = [c["cut"] for c in each if c["cut"] > FIRST * seconds["cut"]]  # importances come with a process's first
        first = {"cut": min(slow, default=seconds["cut"]) - seconds["cut"]}
        first["train"] = SPEED_SAMPLES * max(each[0]["train"] - median(c["train"] for c in each), 0.0)
        operations = Operations(e.request.net, Chain(e.request.passes), self.space, e.run)
        shares = {
            c.name: [[float(s) for s in operations.shares.get((c.name, v), [1.0] * len(operations.own))]
                     for v in c.values] for c in self.space
        }  # fmt: skip
        foretold, speeds = self.facts.foretold(), [(c["operations"], c["train"]) for c in costs.values()]
        return Curves(
            self.space, found, self.facts.obvious(), self.ways, foretold.damage, foretold.log_operations,
            operations.own.tolist(), shares, Costs(seconds, speeds, first), self.about(rows),
        )  # fmt: skip

    def about(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the table is of."""
        e = self.evaluator
        return {
            "network": e.request.net.name, "task": e.request.task.name, "metric": e.request.task.metric_name,
            "direction": e.request.task.direction, "reference": e.baseline.reference, "max_drop": e.request.max_drop,
            "drop": e.request.task.drop, "bar": e.baseline.bar, "epoch_samples": e.request.epoch_samples,
            "original_bytes": e.baseline.size_bytes, "finishing": dict(self.finishing),
            "val_samples": sum(rows_of(split(b)[0]) for b in e.request.task.val),
            "batch": rows_of(split(next(iter(e.request.task.training)))[0]),
            "extended": [row["extended"] for row in rows.values() if row.get("extended")],
            "device": fingerprint().to_dict(), "commit": commit(),
        }  # fmt: skip


def _target() -> closing[Guarded]:
    return closing(Guarded(targets.get("cpu")))


@contextmanager
def recorder(network: str, data: Path | None, out: Path, times: bool = False) -> Iterator[Recorder]:
    """Hold the recorder of a network's table; the uncompressed network is timed and scored if that is not done.

    What is timed has a study of its own, so that it may be while others are trained.
    """
    plan = PLANS[network]
    bundle = tasks.get(plan.task, data)
    module, example = bundle.trained(network)
    net, task = lift(module, example, name=network), bind(bundle.task, lift(module, example, name=network))
    early, late = by_phase(catalogue.default_passes(("speed",)))
    with closing(Folder(out / ("timed" if times else "trained"))) as folder, _target() as target:
        request = Request(
            net=net, task=task, target=target, passes=early, finishers=late, budget_seconds=NOMINAL_SECONDS,
            out=folder.path, limit=parse("1%"), recipe=bundle.recipe, identity=identity(net, bundle.task),
        )  # fmt: skip
        study = Study.in_folder(folder.path, {"network": network}, request.space())
        run = Run(task, target, net, 0, Budget(math.inf), folder.path, partial(fit, memory=TeacherMemory(net)))
        evaluator = Evaluator(request, study, run, folder)
        evaluator.prepare()
        yield Recorder(evaluator, plan, out)


def main(
    network: str,
    out: Annotated[Path, typer.Option(help="Where the unfinished table is kept.")],
    data: Annotated[Path | None, typer.Option(help="The folder of the task's data; default $WHET_DATA.")] = None,
    seconds: Annotated[float, typer.Option("--time", help="Time what was recorded, for so many seconds.")] = 0.0,
    table: Annotated[bool, typer.Option("--table", help="Write the table of what was recorded and timed.")] = False,
) -> None:
    """Record the learning curves of NETWORK, or time what was recorded, or write the table."""
    if network not in PLANS:
        raise typer.BadParameter(f"network must be one of {', '.join(PLANS)}; got '{network}'.")
    with recorder(network, data, out / network, seconds > 0) as made:
        if table:
            path = HERE / "tables" / "curves" / f"{network}.json.gz"
            found = made.table()
            found.save(path)
            print(f"{path}: {len(found.rows)} decisions, {path.stat().st_size:,} bytes")
        elif seconds:
            made.time(seconds)
        else:
            torch.set_num_threads(1)
            made.record()


if __name__ == "__main__":
    typer.run(main)
