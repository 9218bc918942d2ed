"""Ways of training on integers side by side: what a network keeps before and after, and what of it runs anywhere."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from whet import catalogue
from whet.bench.results import origin
from whet.bench.scored import Scored
from whet.compress.quantize import few_bit_inputs, static, weight_only
from whet.core.net import Net
from whet.core.run import Progress
from whet.core.space import Decision
from whet.core.task import floats
from whet.graph.fake_quantize import ActivationQuantizer
from whet.support import structure
from whet.train.fit import fit

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


def _points(count: int) -> Training:
    decision = Decision({static.NETWORK: "all"})
    return Training(f"{count} points, a8", "learned points", f"quantize(points={count})", decision)


TRAININGS = (
    Training(ORIGINAL, "trained on", "weight-only", Decision()),
    _inputs(4), _inputs(4, ends=4), _inputs(3), _inputs(2),
    _weights("int4", "learned steps"), _weights("int4", "powers of two", "powers-of-two()"),
    _weights("int3", "learned steps"), _weights("int3", "bits moved", "reallocated-bits()"),
    _weights("int4", "factors of low rank, merged", "low-rank-merges()"),
    _weights("int4", "features of a rounded teacher", "quantized-features()"),
    _weights("int2", "learned steps"), _weights("int2", "coarse gradient", "coarse-gradient()"),
    _weights("int2", "bits mixed", "bit-attention()"),
    _weights("int2", "binary", "square-wave(frequency=5)"), _points(15), _points(7),
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
    work = Scored.of("trained", net, bundle.task, target, out, validation)
    every = {f"{row.key}, {samples}, {seed}": row for row in rows}
    budget = {"recipe": bundle.recipe, "samples": samples, "seed": seed}
    found = work.rows(every, lambda key: _row(work, every[key], budget, progress), progress)
    learning_rate = bundle.recipe.learning_rate
    return work.write(results, found, markdown, samples=samples, seed=seed, learning_rate=learning_rate)


def _row(work: Scored, row: Training, budget: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return a row's figures."""
    item = catalogue.make(row.words, "pass")
    result = item.apply(work.net, row.decision, replace(work.run, seed=budget["seed"]))
    before = _score(work, result.net, row.key)[0]
    techniques = tuple(catalogue.make(words, "training") for words in row.techniques)
    began = time.process_time()
    report = fit(
        result.net, work.task, teacher=work.net, techniques=techniques,
        progress=lambda event: progress({**event, "row": row.key}), **budget,
    )  # fmt: skip
    seconds = time.process_time() - began
    after, size, is_simulated = _score(work, result.net, row.key)
    return {
        "format": row.format, "how": row.how, "before": before, "after": after, "size_bytes": size,
        "simulated": is_simulated, "seconds": round(seconds, 1), "samples": report.samples,
        "techniques": list(row.techniques), "skipped": {**result.skipped, **report.skipped},
    }  # fmt: skip


def _score(work: Scored, net: Net, key: str) -> tuple[float, int, bool]:
    """Return the metric of a net, the bytes of its file, and whether it is simulated.

    Where it is, no runtime's file has its inputs' grids: the bytes are those of a file of its weights.
    """
    stored = without_simulated(net)
    quality, size = work.score(work.save(stored, key))
    if stored is net:
        return quality, size, False
    with net.evaluating(), torch.no_grad():
        outputs = structure.joined([floats(net(*inputs)) for inputs, _ in work.val])
    return work.task.score(outputs, structure.joined([wanted for _, wanted in work.val])), size, True


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
    return "\n".join([*lines, "", origin(table), ""])
