"""`whet.optimize` on the files that packages ship: fills the last column of their table in `docs/onnx.md`.

    python tests/onnx_reader/packages_optimized.py --seconds 60

The data are random inputs without labels, so quality is agreement with the original; at most 5 % worse. It shows that
what a file delivers runs, not what a real task would gain.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import onnx_page as page
import torch
from test_onnx_packages import FILES, FOLDER, Shipped
from torch import Tensor

import whet
from whet.onnx_reader import read

COUNTS = {"train": 512, "val": 128, "calibration": 64}
MOST_BYTES = 2**28
"""Of all inputs of a collection; of large inputs there are fewer."""


def drawn(example: tuple[Tensor, ...], count: int, seed: int) -> list[tuple[Tensor, ...]]:
    """Return batches of 16 random inputs of an example's shapes; whole numbers are shuffled from those it has."""
    generator = torch.Generator().manual_seed(seed)
    size = sum(x[:1].nbytes for x in example)
    count = max(16, min(count, MOST_BYTES // size) // 16 * 16)

    def one(x: Tensor) -> Tensor:
        shape = (16, *x.shape[1:])
        if x.is_floating_point():
            return torch.randn(shape, generator=generator)
        return torch.randint(int(x.min()), int(x.max()) + 1, shape, generator=generator, dtype=x.dtype)

    return [tuple(one(x) for x in example) for _ in range(count // 16)]


def said(shipped: Shipped, seconds: float) -> str:
    """Optimize one file and say what came of it."""
    net = whet.lift(*read(FOLDER / shipped.place, shapes=shipped.shapes, fixed=shipped.fixed))
    data = {name: drawn(net.example, count, seed) for seed, (name, count) in enumerate(COUNTS.items())}
    outside = {n: [tuple(p.outside(x) for p, x in zip(net.inputs, b)) for b in batches] for n, batches in data.items()}
    task = whet.Task(shipped.name, **outside)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as out:
        front = whet.optimize(net, task, max_drop="5%", budget=f"{seconds:g}s", out=Path(out) / "run")
        best = front.fastest()
    assert best is not None
    if not front.met:
        return f"{seconds:g} s end with the original, in {best.setting}"
    quality = f"{front.metric} {best.val:.3f}"
    return f"x{best.speedup:.2f} ({best.speedup_low:.2f}-{best.speedup_high:.2f}) in {seconds:g} s, {quality}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", help="a part of the name of a file")
    asked = parser.parse_args()
    for shipped in FILES:
        if shipped.refused or (asked.only and asked.only not in shipped.name):
            continue
        try:
            cell = said(shipped, asked.seconds)
        except Exception as error:  # the table says what went wrong with each file
            cell = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        print(f"{shipped.name}: {cell}", flush=True)
        rows = [row.split("|") for row in page.written("packages").splitlines()]
        for row in rows:
            if row[1].strip() == shipped.name:
                row[-2] = f" {cell} "
        page.write("packages", "\n".join("|".join(row) for row in rows) + "\n")


if __name__ == "__main__":
    main()
