"""Ways of coding weights side by side: the bytes of files, packed and by general compressors, and their quality."""

from __future__ import annotations

import lzma
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whet.bench.results import origin
from whet.bench.scored import Scored
from whet.compress.prune.magnitude import NETWORK as ALL_WEIGHTS
from whet.compress.prune.magnitude import Magnitude
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.compress.repair import Repair
from whet.core.net import Net
from whet.core.run import Progress
from whet.core.space import Decision
from whet.core.task import Task
from whet.pack.files import packed, unpacked
from whet.pack.rate import prices

FLOAT = "float"
GRIDS = (FLOAT, "int8", "int4", "5 levels")
ZEROS = (0.0, 0.8)
"""The shares of weights that are zero."""
PRICES = (0.0, 0.1, 0.3)
"""Of a bit, as `whet pack --distortion` takes them; at 0 nothing is traded."""
RUNS = 3


@dataclass(frozen=True)
class Way:
    """A row: weights on a grid, with so many zeros, and integers chosen at a price of a bit."""

    grid: str
    zeros: float = 0.0
    price: float = 0.0

    @property
    def key(self) -> str:
        """How rows are told apart."""
        return f"{self.grid}, {self.zeros:g} zeros, price {self.price:g}"


def ways() -> list[Way]:
    """Return the rows: each grid dense and with zeros, and dense integers of few bits at each price."""
    found = [Way(grid, zeros) for zeros in ZEROS for grid in GRIDS]
    return found + [Way(grid, 0.0, price) for grid in ("int4", "5 levels") for price in PRICES if price]


def run(
    net: Net, task: Task, target: str, out: Path, results: Path, progress: Progress, validation: int = 2000
) -> dict[str, Any]:
    """Write a network's file in every way, pack it, score what it unpacks to; write the table. Nothing is trained."""
    work = Scored.of("code", net, task, target, out, validation)
    every = {way.key: way for way in ways()}
    return work.write(results, work.rows(every, lambda key: row(work, every[key]), progress), markdown)


def made(work: Scored, way: Way) -> Net:
    """Return the network that a way makes: pruned and solved, rounded, its integers chosen by their price."""
    net, run = work.net, work.run
    if way.zeros:
        pruned = Magnitude(levels=(0.0, way.zeros)).apply(net, Decision({f"{ALL_WEIGHTS}:zeros": way.zeros}), run)
        net = Repair().apply(pruned.net, Decision(), replace(run, teacher=work.net)).net
    if way.grid != FLOAT:
        net = WeightOnly().apply(net, Decision({NETWORK: way.grid}), run).net
    return prices(net, run).at(way.price).net if way.price else net


def row(work: Scored, way: Way) -> dict[str, Any]:
    """Return one row; the file is scored after it was packed and unpacked."""
    path = work.save(made(work, way), way.key)
    found = coded(path.read_bytes())
    path.write_bytes(unpacked(found.pop("data")))
    quality, _ = work.score(path)
    return {"grid": way.grid, "zeros": way.zeros, "price": way.price, "quality": quality, **found}


def coded(data: bytes) -> dict[str, Any]:
    """Pack a file's bytes and unpack them several times; return its figures, and the packed bytes as `data`.

    `entropy` is the empirical entropy of the contexts with everything else as it is stored, `by_lzma` the packed bytes
    that LZMA made; zstd's are None where it is not installed.
    """
    found, seconds = packed(data), list[float]()
    for _ in range(RUNS):
        start = time.perf_counter()
        if unpacked(found.data) != data:
            raise AssertionError("a packed file did not come back as it was.")
        seconds.append(time.perf_counter() - start)
    return {
        "bytes": len(data), "zstd": _zstd(data), "lzma": len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)),
        "packed": len(found.data), "entropy": round(sum(r.entropy_bytes for r in found.rows) + found.other_bytes),
        "by_lzma": sum(r.after_bytes for r in found.rows if r.way != "contexts"),
        "mb_per_second": round(len(data) / min(seconds) / 1e6, 1), "data": found.data,
    }  # fmt: skip


def _zstd(data: bytes) -> int | None:
    try:
        import zstandard
    except ImportError:
        return None
    return len(zstandard.compress(data, 19))


def markdown(table: Mapping[str, Any]) -> str:
    """Return the table for people."""
    lines = [
        f"### {table['network']} on {table['task']}: coded, nothing trained",
        "",
        f"{table['metric'].capitalize()}: of the file that was packed and unpacked, in `{table['setting']}`, on "
        f"{table['validation_samples']:,} validation samples. Zeros: of least magnitude, the others solved. Price: of "
        "a bit, by which integers are chosen. Bytes of the whole file; limit: the empirical entropy of the contexts, "
        "tables not counted, with everything else as it is stored. Times smaller: packed, below the first row's ONNX. "
        "MB/s: of the ONNX file, decoded on one core.",
        "",
        f"| weights | zeros | price | {table['metric']} | ONNX | zstd -19 | LZMA | packed | limit | times smaller "
        "| MB/s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    first = table["rows"][0]["bytes"]
    for r in table["rows"]:
        zstd = f"{r['zstd']:,}" if r["zstd"] is not None else "not installed"
        lines.append(
            f"| {r['grid']} | {r['zeros']:.0%} | {r['price'] or ''} | {r['quality']:.4f} | {r['bytes']:,} | {zstd} "
            f"| {r['lzma']:,} | {r['packed']:,} | {r['entropy']:,} | {first / r['packed']:.1f} | {r['mb_per_second']} |"
        )
    return "\n".join([*lines, "", origin(table), ""])
