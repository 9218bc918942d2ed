"""Ways of training on integers side by side: what a network keeps before and after, and what of it runs anywhere."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from whet import catalogue
from whet.bench.lines import Lines
from whet.bench.results import commit, made_by, write_result
from whet.bench.scored import samples as first_samples
from whet.compress.quantize import few_bit_inputs, weight_only
from whet.core.net import Net
from whet.core.run import Progress, Run
from whet.core.space import Decision
from whet.core.target import Artifact, Target
from whet.core.task import floats, rows_of
from whet.data.bind import bind
from whet.graph.fake_quantize import ActivationQuantizer
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.targets import setting_name
from whet.support import structure
from whet.train.fit import fit
from whet.verdict.file_net import BATCH
from whet.verify.equivalence import evaluate

if TYPE_CHECKING:
    from whet.tasks.bundle import Bundle

ORIGINAL = "float"


@dataclass(frozen=True)
class Training:
    """A row: a format, what makes it, as words of the catalogue with a decision, and the techniques that train it."""

    format: str
    how: str
    words: str
    decision: Decision
    techniques: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """How rows are told apart."""
        return f"{self.format}, {self.how}"


def _inputs(bits: int, ends: int = 8) -> Training:
    words = f"few-bit-inputs(weight_bits={bits}, input_bits={bits}, ends_bits={ends})"
    name = f"w{bits}a{bits}" + " throughout" * (ends == bits)
    return Training(name, "learned steps", words, Decision({few_bit_inputs.NETWORK: few_bit_inputs.SIMULATED}))


def _weights(form: str, how: str, *techniques: str) -> Training:
    return Training(form, how, "weight-only", Decision({weight_only.NETWORK: form}), techniques)


TRAININGS = (
    Training(ORIGINAL, "trained on", "weight-only", Decision()),
    _inputs(4), _inputs(4, ends=4), _inputs(3), _inputs(2),
    _weights("int4", "learned steps"), _weights("int4", "powers of two", "powers-of-two()"),
    _weights("int2", "learned steps"), _weights("int2", "bits mixed", "bit-attention()"),
    _weights("int2", "binary", "square-wave(frequency=5)"),
)  # fmt: skip
"""The rows of the table; the first is the original, trained on as long by itself as teacher."""


def run(
    net: Net, bundle: Bundle, target: str, out: Path, results: Path, progress: Progress, samples: int,
    validation: int = 2000, rows: Iterable[Training] = TRAININGS, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Train each row on so many samples, score what comes of it, write JSON and Markdown.

    What runs is scored from its file in its runtime; what no runtime computes is scored in torch and marked simulated.
    Rows that the same code made before are not made again.
    """
    task, chosen, made = bind(bundle.task, net), targets.get(target), commit()
    lines, known = Lines(out / f"trained-{task.name}-{net.name}.jsonl"), dict[str, Any]()
    work = _Work(net, replace(bundle, task=task), chosen, first_samples(task.val, validation), samples, seed)
    known, found = lines.read(), []
    for row in rows:
        key = f"{made}: {row.key}, {validation}, {samples}, {seed}"
        if key not in known:
            known[key] = work.row(row, progress)
            lines.append(key, known[key])
        found.append(known[key])
    table = {
        "task": task.name, "network": net.name, "metric": task.metric_name, "setting": setting_name(work.setting),
        "validation_samples": sum(rows_of(x) for x, _ in work.val), "samples": samples, "seed": seed, "rows": found,
        "learning_rate": bundle.recipe.learning_rate, "device": fingerprint().to_dict(), "commit": made,
    }  # fmt: skip
    write_result(results / f"trained-{task.name}-{net.name}", table, markdown(table))
    return table


@dataclass(frozen=True)
class _Work:
    """A network, its task and target; samples to judge on and to train on."""

    net: Net
    bundle: Bundle
    target: Target
    val: list[Any]
    samples: int
    seed: int

    @property
    def setting(self) -> dict[str, Any]:
        return next(s for s in self.target.all_settings() if s["precision"] == "f32")

    def row(self, row: Training, progress: Progress) -> dict[str, Any]:
        """Return a row's figures."""
        item, task = catalogue.make(row.words, "pass"), self.bundle.task
        result = item.apply(self.net, row.decision, Run(task, self.target, self.net, seed=self.seed))
        before = self.score(result.net)[0]
        techniques = tuple(catalogue.make(words, "training") for words in row.techniques)
        began = time.process_time()
        report = fit(
            result.net, task, teacher=self.net, recipe=self.bundle.recipe, samples=self.samples, seed=self.seed,
            techniques=techniques, progress=lambda event: progress({**event, "row": row.key}),
        )  # fmt: skip
        seconds = time.process_time() - began
        after, size, is_simulated = self.score(result.net)
        return {
            "format": row.format, "how": row.how, "before": before, "after": after, "size_bytes": size,
            "simulated": is_simulated, "seconds": round(seconds, 1), "samples": report.samples,
            "techniques": list(row.techniques), "skipped": {**result.skipped, **report.skipped},
        }  # fmt: skip

    def score(self, net: Net) -> tuple[float, int, bool]:
        """Return the metric of a net, the bytes of its file, and whether it is simulated.

        Where it is, no runtime's file has its inputs' grids: the bytes are those of a file of its weights.
        """
        stored, task = without_simulated(net), self.bundle.task
        with tempfile.TemporaryDirectory() as folder:
            artifact = Artifact(self.target.save(stored.eval(), Path(folder)), dict(self.setting))
            size = artifact.size_bytes
            if stored is net:
                outputs, wanted = evaluate(partial(self.target.open, artifact), self.val, BATCH, net)
                return task.score(outputs, wanted), size, False
        with net.evaluating(), torch.no_grad():
            outputs = structure.joined([floats(net(*inputs)) for inputs, _ in self.val])
        return task.score(outputs, structure.joined([wanted for _, wanted in self.val])), size, True


def without_simulated(net: Net) -> Net:
    """Return the net, or where inputs are on simulated grids a copy without these."""
    names = {n for n, m in net.layers().items() if isinstance(m, ActivationQuantizer) and m.grid.is_simulated}
    if not names:
        return net
    copied = net.copy()
    for node in list(copied.graph.nodes):
        if node.op == "call_module" and str(node.target) in names:
            node.replace_all_uses_with(node.args[0])
            copied.graph.erase_node(node)
    return copied.settle()


def markdown(table: dict[str, Any]) -> str:
    """Return the table for people."""
    lines = [
        f"### {table['network']} on {table['task']}: trained on {table['samples']:,} samples in each format",
        "",
        f"{table['metric'].capitalize()} on {table['validation_samples']:,} validation samples, before and after the "
        f"training. Of what runs it is that of the saved file in `{table['setting']}`. *Simulated*: computed in torch, "
        "as no runtime here multiplies such integers; nothing of the kind is delivered, it has no speed, and its bytes "
        "are those of a file of the weights alone. `w4a4`: weights and inputs of four bits, of eight in the first and "
        "the last layer; *throughout*: there, too. Teacher: the original. Seconds are of processor time.",
        "",
        f"| format | how | {table['metric']} before | after | bytes | runs | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in table["rows"]:
        runs = "*simulated*" if r["simulated"] else "yes"
        lines.append(
            f"| {r['format']} | {r['how']} | {r['before']:.4f} | {r['after']:.4f} | {r['size_bytes']:,} | {runs} "
            f"| {r['seconds']:.0f} |"
        )
    device = table["device"]
    return "\n".join([*lines, "", f"Device: {device.get('cpu', device)}. {made_by(table)}", ""])
