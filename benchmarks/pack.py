"""What packing leaves of a file, beside zstd and LZMA, and how fast it comes back; and what a price of bits does.

    python benchmarks/pack.py --data DATA --out benchmarks/results

One row a file: bytes of the ONNX file, of zstd -19, of LZMA, packed, and of the contexts' empirical entropy with
everything else as it is stored; megabytes of the ONNX file that are decoded a second on one core, the best of three.
Then ResNet-20 at several prices of a bit: bytes and accuracy, nothing trained. Files that other studies left can be
given as arguments.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import whet
from whet import tasks
from whet.bench.code import coded
from whet.bench.results import commit, origin, write_result
from whet.compress.prune.magnitude import Magnitude
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.task import predict
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.pack.files import packed
from whet.pack.rate import prices

WORKS = (
    ("cifar10", "resnet20", ("float", "int8", "int4", "int4 in groups of 32", "int3", "5 levels", "int2"), 0.0),
    ("cifar10", "resnet20", ("int8", "5 levels"), 0.8),
    ("cifar10", "resnet44", ("float", "int8", "5 levels"), 0.0),
    ("shakespeare", "decoder", ("float", "int8", "int4"), 0.0),
)
"""Task, network, weights, and the share of zeros."""
PRICES = (0.0, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0)


def files(data: Path | None, given: list[Path]) -> list[tuple[str, bytes]]:
    """Return files by what they are."""
    target, found = targets.get("cpu"), [(str(path), path.read_bytes()) for path in given]
    for task, name, grids, zeros in WORKS:
        bundle = tasks.get(task, data)
        net = whet.lift(*bundle.trained(name), name=name).eval()
        run = Run(bundle.task, target, net)
        if zeros:
            net = Magnitude().apply(net, Decision({"network:zeros": zeros}), run).net
        for grid in grids:
            small = WeightOnly().apply(net, Decision({NETWORK: grid}), run).net
            label = f"{name}, {grid}" + (f", {zeros:.0%} zeros" if zeros else "")
            found.append((label, saved(small)))
    return found


def saved(net: Any) -> bytes:
    """Return the bytes of a network's file."""
    with tempfile.TemporaryDirectory() as folder:
        return targets.get("cpu").save(net.eval(), Path(folder) / "model").read_bytes()


def row(label: str, data: bytes) -> dict[str, Any]:
    """Pack one file and unpack it several times."""
    found = coded(data)
    found.pop("data")
    return {"file": label, **found}


def traded(data: Path | None, name: str = "resnet20") -> list[dict[str, Any]]:
    """Return bytes and accuracy of a network at several prices of a bit."""
    bundle = tasks.get("cifar10", data)
    net = whet.lift(*bundle.trained(name), name=name).eval()
    run, found = Run(bundle.task, targets.get("cpu"), net), []
    for grid in ("int4", "int3", "5 levels"):
        small = WeightOnly().apply(net, Decision({NETWORK: grid}), run).net
        choices = prices(small, run)
        for price in PRICES:
            chosen = choices.at(price).net
            quality = bundle.task.score(*predict(chosen, bundle.task.val))
            data_of = saved(chosen)
            found.append({
                "weights": grid, "price": price, "bytes": len(data_of), "packed": len(packed(data_of).data),
                "accuracy": quality,
            })  # fmt: skip
    return found


def markdown(table: dict[str, Any]) -> str:
    """Return the tables for people."""
    lines = [
        "### Packed files", "",
        "Bytes of the whole file. Limit: the empirical entropy of the contexts, tables not counted, with everything "
        "else as it is stored. MB/s: of the ONNX file, decoded on one core, the best of three.", "",
        "| file | ONNX | zstd -19 | LZMA | packed | limit | of it by LZMA | MB/s |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in table.get("files", []):
        numbers = " | ".join(f"{r[k]:,}" for k in ("bytes", "zstd", "lzma", "packed", "entropy", "by_lzma"))
        lines.append(f"| {r['file']} | {numbers} | {r['mb_per_second']} |")
    lines += [
        "", "### Integers by their price: resnet20 on cifar10, nothing trained", "",
        "| weights | price of a bit | ONNX | packed | accuracy on validation data |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for r in table.get("prices", []):
        lines.append(f"| {r['weights']} | {r['price']} | {r['bytes']:,} | {r['packed']:,} | {r['accuracy']:.4f} |")
    return "\n".join([*lines, "", origin(table), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--only", choices=("files", "prices"), help="The other table stays as it is in the results.")
    given = parser.parse_args()
    place = given.out / "pack.json"
    table = json.loads(place.read_text(encoding="utf-8")) if given.only and place.exists() else {}
    if given.only != "prices":
        table["files"] = [row(*each) for each in files(given.data, given.files)]
    if given.only != "files":
        table["prices"] = traded(given.data)
    table |= {"device": fingerprint().to_dict(), "commit": commit()}
    write_result(given.out / "pack", table, markdown(table))


if __name__ == "__main__":
    main()
