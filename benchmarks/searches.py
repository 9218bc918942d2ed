"""The same search several times: what a user gets in so many minutes, and how much that is luck.

    python benchmarks/searches.py --budget 3min --runs 3 --data DATA
    python benchmarks/searches.py --budget 60s --no-training --data DATA
    python benchmarks/searches.py --budget 5min --optimize size --work cifar10/resnet20 --data DATA

Every run is one `whet optimize` in a process of its own, one after the other, with a seed of its own. Speed-ups are
over the uncompressed network in its fastest setting, measured in the run's own last race. A table is written after each
run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from whet.bench.results import commit, origin, write_result
from whet.hardware.device import fingerprint

WORKS = ("cifar10/resnet44", "cifar10/resnet20", "protein/mlp", "shakespeare/decoder")


@dataclass(frozen=True)
class Row:
    """One run's fastest file; `speedup_low` and `speedup_high` are the quartiles of its last race."""

    work: str
    run: int
    speedup: float
    speedup_low: float
    speedup_high: float
    val: float
    test: float
    reference_val: float
    reference_test: float
    size_bytes: int
    seconds: float
    decision: dict[str, Any]


def row(work: str, run: int, asked: argparse.Namespace, out: Path) -> Row:
    """Run one search and return what it delivered."""
    task, _, network = work.partition("/")
    words = ["optimize", network, "--task", task, "--data", str(asked.data), "--budget", asked.budget, "--restart"]
    words += ["--max-drop", asked.max_drop, "--seed", str(run), "--out", str(out), "--json"]
    words += ["--optimize", asked.optimize, *([] if asked.training else ["--no-training"])]
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "whet", *words], stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"whet {' '.join(words)} ended with {done.returncode}.")
    front = json.loads(done.stdout)
    best, reference = front["front"][0], front["reference"]
    figures = {key: best[key] for key in ("speedup", "speedup_low", "speedup_high", "val", "test", "size_bytes")}
    seconds = round(time.monotonic() - began, 1)
    return Row(
        work, run, **figures, reference_val=reference["val"], reference_test=reference["test"], seconds=seconds,
        decision=best["decision"],
    )  # fmt: skip


def markdown(table: dict[str, Any]) -> str:
    """Return the table for people, with the median of each network's runs."""
    rows = [Row(**r) for r in table["rows"]]
    trained = "" if table["training"] else ", nothing trained"
    trained += "" if table["optimize"] == "speed" else f", for {table['optimize']}"
    lines = [
        f"### {table['budget']} a search, at most {table['max_drop']} worse{trained}",
        "",
        "| network | run | speed-up (quartiles) | quality val (original) | quality test (original) | bytes | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        spread = f"x{r.speedup:.2f} ({r.speedup_low:.2f}-{r.speedup_high:.2f})"
        quality = f"{r.val:.4f} ({r.reference_val:.4f}) | {r.test:.4f} ({r.reference_test:.4f})"
        lines.append(f"| {r.work} | {r.run} | {spread} | {quality} | {r.size_bytes:,} | {r.seconds:.0f} |")
    each = (f"{work} x{_median(rows, work, 'speedup'):.2f}, {_median(rows, work, 'size_bytes'):,.0f} bytes"
            for work in _works(rows))  # fmt: skip
    lines += ["", f"Medians: {'; '.join(each)}."]
    return "\n".join([*lines, "", origin({**table, "commit": commit()}), ""])


def _works(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(r.work for r in rows))


def _median(rows: Sequence[Row], work: str, figure: str) -> float:
    return float(median(getattr(r, figure) for r in rows if r.work == work))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", action="append", choices=WORKS, help="task/network; all by default")
    parser.add_argument("--budget", default="3min")
    parser.add_argument("--max-drop", default="1%")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--optimize", default="speed", help="speed, size, or both: speed,size")
    parser.add_argument("--training", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--runs-out", type=Path, default=Path("runs/searches"), help="where the studies go")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    name = f"searches-{asked.budget}{'' if asked.training else '-no-training'}"
    name += "" if asked.optimize == "speed" else f"-{asked.optimize.replace(',', '-')}"
    found: list[dict[str, Any]] = []
    for run in range(asked.runs):
        for work in asked.work or WORKS:
            found.append(asdict(row(work, run, asked, asked.runs_out / name / f"{work.replace('/', '-')}-{run}")))
            print(found[-1], flush=True)
            ordered = sorted(found, key=lambda r: (WORKS.index(r["work"]), r["run"]))
            table = {
                "rows": ordered, "budget": asked.budget, "max_drop": asked.max_drop, "training": asked.training,
                "optimize": asked.optimize, "device": fingerprint().to_dict(),
            }  # fmt: skip
            write_result(asked.out / name, table, markdown(table))


if __name__ == "__main__":
    main()
