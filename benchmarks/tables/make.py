"""Measure every decision of an elastic network: `python benchmarks/tables/make.py digits_cnn --out FOLDER`.

A supernet is trained once. Then each structure of the space is extracted, its batch norms re-estimated, quantized or
not, written, and scored on the full validation data in OpenVINO in each precision, by several processes. When they
are done, structures of equal cost are timed once, on one thread, interleaved with the uncompressed network in bf16.
Killed, the same command goes on. The table is written beside this script.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from whet import tasks
from whet.bench.lines import Lines
from whet.bench.tabular import Table
from whet.compress.depth import Depth
from whet.compress.quantize.static import NETWORK, StaticQuantization
from whet.compress.width import Width
from whet.core.passes import Chain
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Artifact
from whet.data.memory import TeacherMemory
from whet.decisions.enumerate import point, size
from whet.elastic.supernet import Supernet
from whet.flow.supernets import frozen
from whet.flow.timing import cost_signature
from whet.graph.lift import lift
from whet.graph.operations import total_operations
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.measure import measure
from whet.hardware.workers import workers
from whet.train.fit import fit
from whet.train.recalibrate import recalibrate
from whet.train.state import load_state, save_state
from whet.verify.equivalence import evaluate

PRECISIONS = ("f32", "bf16")
INT8 = Choice(NETWORK, ("off", "all"), "off")
PRECISION = Choice("runtime:precision", PRECISIONS, "f32")


@dataclass(frozen=True)
class Plan:
    """What is enumerated: which blocks may go, how narrow layers may be, how long the supernet trains.

    With `streams`, what the blocks of a stage read and write is narrowed too. Digits are so easy that without it, or
    after long training, every decision is as good as the original: a table of noise.
    """

    task: str
    blocks: tuple[str, ...]
    fractions: tuple[float, ...]
    epochs: float
    streams: bool


PLANS = {
    "digits_cnn": Plan("digits", ("stage1.1", "stage2.1", "stage2.2"), (0.125, 0.5, 1.0), 6, streams=True),
    "resnet20": Plan(
        "cifar10", tuple(f"layer{s}.{b}" for s in (1, 2, 3) for b in (1, 2)), (0.5, 1.0), 12, streams=False
    ),
}
TIMED_SECONDS = 1.0
"""How long the forms of one signature are timed, beside the bar."""


class Maker:
    """One table in the making; what is finished lies in `out`."""

    def __init__(self, network: str, data: Path | None, out: Path) -> None:
        self.plan, self.data, self.out = PLANS[network], data, out
        out.mkdir(parents=True, exist_ok=True)
        bundle = tasks.get(self.plan.task, data)
        module, example = bundle.trained(network)
        self.net, self.task, self.recipe = lift(module, example, name=network), bundle.task, bundle.recipe
        self.target = targets.get("openvino-cpu")
        trainer = partial(fit, memory=TeacherMemory(self.net))
        self.run = Run(self.task, self.target, self.net, trainer=trainer, progress=tell)
        passes = (Depth(), Width(fractions=self.plan.fractions, streams=self.plan.streams))
        self.passes = Chain(frozen(passes, self.net, self.run))
        kept = {f"{block}:keep" for block in self.plan.blocks}
        whole = self.passes.space(self.net, self.target)
        self.structures = Space([c for c in whole if c.name in kept or c.name.endswith(":width")])
        self.space = self.structures + Space([INT8, PRECISION])

    @cached_property
    def supernet(self) -> Supernet:
        """The trained supernet; it is trained if that is not done."""
        supernet = Supernet(self.net, self.passes, self.run, space=self.structures)
        finished = self.out / "supernet.safetensors"
        if finished.exists():
            load_state(finished, supernet)
            return supernet
        recipe = replace(self.recipe, hints=())
        self.run.fit(supernet, recipe=recipe, epochs=self.plan.epochs, checkpoint=self.out / "supernet.part")
        save_state(supernet, finished)
        return supernet

    def table(self, processes: int) -> Table:
        """Return the table, after measuring what is not yet measured."""
        self.target.save(self.net, self.out / "original")
        _ = self.supernet  # trained before processes ask for it
        structures = [point(self.structures, rank) for rank in range(size(self.structures))]
        drops = self.scored(structures, processes)
        times = self.timed({one["signature"] for one in drops.values()})
        reference = self.score(self.out / "original" / "model.onnx", "f32")
        figures: dict[Decision, tuple[float, float]] = {}
        operations: dict[Decision, float] = {}
        for decision in structures:
            one = drops[decision.to_json()]
            left = total_operations(self.passes.apply(self.net, decision, self.run).net)
            for int8, precision in ((i, p) for i in INT8.values for p in PRECISIONS):
                own = self.space.canonical(decision.merge({INT8.name: int8, PRECISION.name: precision}))
                drop = self.task.loss_of_quality(one[f"{int8} {precision}"], reference)
                operations[own] = float(left)
                figures[own] = times[one["signature"]][f"{int8} {precision}"], drop
        about = {
            "network": self.net.name, "task": self.task.name, "metric": self.task.metric_name, "reference": reference,
            "bar": "openvino/bf16/1", "epochs": self.plan.epochs, "device": fingerprint().to_dict(),
            "protocol": "accuracy of the saved file in OpenVINO; latency interleaved, one thread, batch 1",
        }  # fmt: skip
        return Table(self.space, figures, about, operations)

    def scored(self, structures: Sequence[Decision], processes: int) -> dict[str, Any]:
        """Return each structure's cost signature and its quality in each form, by its decision's text."""
        lines = Lines(self.out / "drops.jsonl")
        known = lines.read()
        left = [d for d in structures if d.to_json() not in known]
        with workers(processes, begin, self.net.name, self.data, self.out) as pool:
            for decision, one in zip(left, pool.map(one_structure, left), strict=True):
                known[decision.to_json()] = one
                lines.append(decision.to_json(), one)
                tell({"stage": f"scored {len(known)} of {len(structures)} structures"})
        return known

    def of_structure(self, decision: Decision) -> dict[str, Any]:
        """Return a structure's cost signature and quality in each form; keep files of that signature to time."""
        net = self.supernet.extract(decision)
        recalibrate(net, self.task.train, samples=512)
        forms = {"off": net, "all": StaticQuantization().apply(net, Decision({NETWORK: "all"}), self.run).net}
        signature = cost_signature(net)
        kept, own = self.out / "files" / signature, self.out / f"process-{os.getpid()}"
        qualities: dict[str, float] = {}
        for how, form in forms.items():
            path = self.target.save(form.eval(), own / how)
            qualities |= {f"{how} {precision}": self.score(path, precision) for precision in PRECISIONS}
            (kept / how).mkdir(parents=True, exist_ok=True)
            path.replace(kept / how / path.name)
        return {"signature": signature, **qualities}

    def timed(self, signatures: Collection[str]) -> dict[str, Any]:
        """Return the speed-ups of each form of what has each cost signature."""
        lines = Lines(self.out / "times.jsonl")
        known = lines.read()
        for signature in sorted(set(signatures) - set(known)):
            known[signature] = self.speeds(self.out / "files" / signature)
            lines.append(signature, known[signature])
            tell({"stage": f"timed {len(known)} of {len(signatures)} signatures"})
        return known

    def score(self, path: Path, precision: str) -> float:
        artifact = Artifact(path, self.single_thread(precision))
        return self.task.score(*evaluate(lambda n: self.target.open(artifact, n), self.task.val, batch=64))

    def speeds(self, folder: Path) -> dict[str, float]:
        """Return each form's speed-up over the uncompressed network in bf16, all on one thread, batch 1."""
        inputs = targets.inputs_of(self.net)
        original = self.out / "original" / "model.onnx"
        artifacts = {"bar": Artifact(original, self.single_thread("bf16"))} | {
            f"{how} {p}": Artifact(folder / how / "model.onnx", self.single_thread(p))
            for how in INT8.values
            for p in PRECISIONS
        }
        sessions = {name: partial(self.target.open(a, 1), *inputs) for name, a in artifacts.items()}
        found = measure(sessions, "bar", seconds=TIMED_SECONDS)
        return {name: latency.ratio for name, latency in found.items() if name != "bar"}

    def single_thread(self, precision: str) -> dict[str, Any]:
        return next(s for s in self.target.all_settings() if (s["precision"], s["threads"]) == (precision, 1))


_maker: list[Maker] = []


def begin(network: str, data: Path | None, out: Path) -> None:
    """Make a process ready to score structures, on one thread."""
    torch.set_num_threads(1)
    _maker.append(Maker(network, data, out))


def one_structure(decision: Decision) -> dict[str, Any]:
    return _maker[0].of_structure(decision)


_told = [0.0]


def tell(event: dict[str, Any]) -> None:
    """Print one line of progress now and then."""
    if time.monotonic() - _told[0] > 5:
        _told[0] = time.monotonic()
        left = event.get("training_seconds_left")
        print(event["stage"], "" if left is None else f"{left:.0f} s left", file=sys.stderr, flush=True)


def main(
    network: str,
    out: Annotated[Path, typer.Option(help="Where the unfinished table is kept.")],
    data: Annotated[Path | None, typer.Option(help="The folder of the task's data; default $WHET_DATA.")] = None,
    processes: Annotated[int, typer.Option(help="How many score structures side by side.")] = 2,
) -> None:
    """Measure every decision of NETWORK's elastic space into a table."""
    if network not in PLANS:
        raise typer.BadParameter(f"network must be one of {', '.join(PLANS)}; got '{network}'.")
    table = Maker(network, data, out / network).table(processes)
    path = Path(__file__).parent / f"{network}.json.gz"
    table.save(path)
    print(f"{path}: {len(table.figures)} decisions, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    typer.run(main)
