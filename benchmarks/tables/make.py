"""Measure every decision of an elastic network: `python benchmarks/tables/make.py digits_cnn --out FOLDER`.

A supernet is trained once. Then each structure of the space is extracted, its batch norms re-estimated, quantized or
not, written, and scored on the full validation data in OpenVINO in each precision; structures of equal cost are timed
once, on one thread, interleaved with the uncompressed network in bf16. Killed, the same command goes on. The table is
written beside this script.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from whet import tasks
from whet.compress.depth import Depth
from whet.compress.quantize.static import NETWORK, StaticQuantization
from whet.compress.width import Width
from whet.core.net import Net
from whet.core.passes import Chain
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import point, size
from whet.core.target import Artifact
from whet.elastic.supernet import Supernet
from whet.flow.elastic import frozen
from whet.flow.timing import cost_signature
from whet.graph.lift import lift
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.measure import measure
from whet.search.tabular import Table
from whet.train.fit import fit
from whet.train.memory import TeacherMemory
from whet.train.recalibrate import recalibrate
from whet.train.state import load_state, save_state
from whet.verify.equivalence import evaluate

PRECISIONS = ("f32", "bf16")
INT8 = Choice(NETWORK, ("off", "all"), "off")
PRECISION = Choice("runtime:precision", PRECISIONS, "f32")


@dataclass(frozen=True)
class Plan:
    """What is enumerated: which blocks may go, how narrow the inside of blocks may be, how long the supernet trains."""

    task: str
    blocks: tuple[str, ...]
    fractions: tuple[float, ...]
    epochs: float


PLANS = {
    "digits_cnn": Plan("digits", tuple(f"stage{s}.{b}" for s in (1, 2) for b in (0, 1, 2)), (0.25, 0.5, 1.0), 120),
    "resnet20": Plan("cifar10", tuple(f"layer{s}.{b}" for s in (1, 2, 3) for b in (1, 2)), (0.5, 1.0), 12),
}


class Maker:
    """One table in the making; what is finished lies in `out`."""

    def __init__(self, network: str, data: Path | None, out: Path) -> None:
        self.plan, self.out = PLANS[network], out
        out.mkdir(parents=True, exist_ok=True)
        bundle = tasks.get(self.plan.task, data)
        module, example = bundle.trained(network)
        self.net, self.task, self.recipe = lift(module, example, name=network), bundle.task, bundle.recipe
        self.target = targets.get("openvino-cpu")
        trainer = partial(fit, memory=TeacherMemory(self.net))
        self.run = Run(self.task, self.target, self.net, trainer=trainer, progress=tell)
        passes = (Depth(), Width(fractions=self.plan.fractions, streams=False))
        self.passes = Chain(frozen(passes, self.net, self.run))
        kept = {f"{block}:keep" for block in self.plan.blocks}
        whole = self.passes.space(self.net, self.target)
        self.structures = Space([c for c in whole if c.name in kept or c.name.endswith(":width")])
        self.space = self.structures + Space([INT8, PRECISION])

    def supernet(self) -> Supernet:
        supernet = Supernet(self.net, self.passes, self.run, space=self.structures)
        finished = self.out / "supernet.safetensors"
        if finished.exists():
            load_state(finished, supernet)
            return supernet
        recipe = replace(self.recipe, hints=())
        self.run.fit(supernet, recipe=recipe, epochs=self.plan.epochs, checkpoint=self.out / "supernet.part")
        save_state(supernet, finished)
        return supernet

    def table(self) -> Table:
        """Return the table, after measuring what is not yet measured."""
        reference = self.score(self.target.save(self.net, self.out / "original"), "f32")
        supernet, drops, times = self.supernet(), self.log("drops.jsonl"), self.log("times.jsonl")
        structures = [point(self.structures, rank) for rank in range(size(self.structures))]
        figures: dict[Decision, tuple[float, float]] = {}
        for index, decision in enumerate(structures):
            key = decision.to_json()
            if key not in drops:
                tell({"stage": f"structure {index + 1} of {len(structures)}"})
                drops[key] = self.measured(supernet.extract(decision), times)
                self.append("drops.jsonl", key, drops[key])
            speeds = times[drops[key]["signature"]]
            for int8, precision in ((i, p) for i in INT8.values for p in PRECISIONS):
                own = self.space.canonical(decision.merge({INT8.name: int8, PRECISION.name: precision}))
                quality = drops[key][f"{int8} {precision}"]
                figures[own] = speeds[f"{int8} {precision}"], self.task.loss_of_quality(quality, reference)
        about = {
            "network": self.net.name, "task": self.task.name, "metric": self.task.metric_name, "reference": reference,
            "bar": "openvino/bf16/1", "epochs": self.plan.epochs, "device": fingerprint().to_dict(),
            "protocol": "accuracy of the saved file in OpenVINO; latency interleaved, one thread, batch 1",
        }  # fmt: skip
        return Table(self.space, figures, about)

    def measured(self, net: Net, times: dict[str, Any]) -> dict[str, Any]:
        """Return a structure's quality in each form, and its cost signature; time it if its cost is new."""
        recalibrate(net, self.task.train, samples=512)
        files = {"off": net, "all": StaticQuantization().apply(net, Decision({NETWORK: "all"}), self.run).net}
        paths = {how: self.target.save(own.eval(), self.out / how) for how, own in files.items()}
        signature = cost_signature(net)
        if signature not in times:
            times[signature] = self.speeds(paths)
            self.append("times.jsonl", signature, times[signature])
        qualities = {f"{how} {p}": self.score(path, p) for how, path in paths.items() for p in PRECISIONS}
        return {"signature": signature, **qualities}

    def score(self, path: Path, precision: str) -> float:
        artifact = Artifact(path, max(self.settings(precision), key=lambda s: s["threads"]))
        return self.task.score(*evaluate(lambda n: self.target.open(artifact, n), self.task.val, batch=64))

    def speeds(self, paths: dict[str, Path]) -> dict[str, float]:
        """Return each form's speed-up over the uncompressed network in bf16, all on one thread, batch 1."""
        inputs = targets.inputs_of(self.net)
        original = self.out / "original" / "model.onnx"
        single = {p: next(s for s in self.settings(p) if s["threads"] == 1) for p in PRECISIONS}
        artifacts = {"bar": Artifact(original, single["bf16"])} | {
            f"{how} {p}": Artifact(path, single[p]) for how, path in paths.items() for p in PRECISIONS
        }
        sessions = {name: partial(self.target.open(a, 1), *inputs) for name, a in artifacts.items()}
        found = measure(sessions, "bar", seconds=2.5)
        return {name: latency.ratio for name, latency in found.items() if name != "bar"}

    def settings(self, precision: str) -> list[dict[str, Any]]:
        return [s for s in self.target.all_settings() if s["precision"] == precision]

    def log(self, name: str) -> dict[str, Any]:
        path = self.out / name
        if path.exists() and not path.read_text().endswith("\n"):
            self.append(name, "", None)
        return dict(self._lines(path))

    @staticmethod
    def _lines(path: Path) -> Iterator[tuple[str, Any]]:
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                key, value = json.loads(line)
            except ValueError:  # what a killed run was writing
                continue
            yield key, value

    def append(self, name: str, key: str, value: Any) -> None:
        with (self.out / name).open("a") as file:
            file.write("\n" * (not key) + json.dumps([key, value]) + "\n")


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
) -> None:
    """Measure every decision of NETWORK's elastic space into a table."""
    if network not in PLANS:
        raise typer.BadParameter(f"network must be one of {', '.join(PLANS)}; got '{network}'.")
    table = Maker(network, data, out / network).table()
    path = Path(__file__).parent / f"{network}.json.gz"
    table.save(path)
    print(f"{path}: {len(table.figures)} decisions, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    typer.run(main)
