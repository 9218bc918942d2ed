"""`whet pack FILE` and `whet unpack FILE`: the smallest file that still gives the same network."""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from whet.cli.own import takes_data
from whet.cli.shared import Data, Json, Task, network_of
from whet.core.errors import ArtifactError

if TYPE_CHECKING:
    from whet.pack.files import Packed

ZSTD_LEVEL = 19


@takes_data
def pack(
    network: Annotated[str, typer.Argument(help="An ONNX file; with --distortion any network.")],
    out: Annotated[Path | None, typer.Option(help="Where the packed file goes; default beside it.")] = None,
    distortion: Annotated[
        float | None, typer.Option(help="What a bit a weight is worth in shares of the outputs' power, e.g. 0.01.")
    ] = None,
    weights: Annotated[str, typer.Option(help="With --distortion: the integers of its weights.")] = "int4",
    task: Task = None,
    data: Data = None,
    as_json: Json = False,
    own: Any = None,
) -> None:
    """Pack an ONNX file without loss: weights by arithmetic coding, everything else by LZMA.

    The table says for each tensor what it takes before and after, what its contexts allow at best, and what LZMA makes
    of it. With --distortion a network is quantized first, and its integers are chosen by what they cost in error and in
    bits, without training: whet eval says what that loses.
    """
    from whet.pack.files import SUFFIX
    from whet.pack.files import pack as packing

    with tempfile.TemporaryDirectory() as folder:
        if distortion is None:
            file, place = Path(network), out
        else:
            file = _cheaper(network, task, data, own, weights, distortion, Path(folder))
            place = out or Path(Path(network).stem + SUFFIX)
        if distortion is None and file.suffix != ".onnx":
            raise ArtifactError(f"'{network}' is no ONNX file: give FILE.onnx, or --distortion for other networks.")
        place, packed = packing(file, place)
        by_zstd = _zstd_bytes(file.read_bytes())
    if as_json:
        print(json.dumps(_described(place, packed, by_zstd)))
        return
    figures = [Column(n, justify="right", no_wrap=True) for n in ("weights", "bytes", "packed", "limit", "LZMA")]
    table = Table(Column("tensor", overflow="fold"), *figures, "stored", box=None, header_style="underline")
    for row in packed.rows:
        numbers = row.weights, row.before_bytes, row.after_bytes, round(row.entropy_bytes), row.lzma_bytes
        table.add_row(row.name, *(f"{number:,}" for number in numbers), row.way)
    table.add_row("everything else", "", f"{_rest(packed):,}", f"{packed.other_bytes:,}", "", "", "lzma, header")
    beside = f"; zstd -{ZSTD_LEVEL} of the file: {by_zstd:,}" if by_zstd is not None else ""
    Console().print(table)
    print(f"{place}: {packed.before_bytes:,} bytes packed to {len(packed.data):,}{beside}")


def unpack(
    file: Annotated[Path, typer.Argument(help="A packed file, FILE.whet.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the ONNX file; default beside it.")] = None,
    as_json: Json = False,
) -> None:
    """Write the very ONNX file that was packed."""
    from whet.pack.files import unpack as unpacking

    place = unpacking(file, out)
    print(json.dumps({"file": str(place), "bytes": place.stat().st_size}) if as_json else place)


def _cheaper(
    network: str, task: str | None, data: Path | None, own: Any, weights: str, distortion: float, folder: Path
) -> Path:
    """Write a quantized network whose integers are chosen by error and bits; return the file."""
    from whet.compress.quantize.weight_only import NETWORK, WeightOnly
    from whet.core.errors import unknown
    from whet.core.run import Run
    from whet.core.space import Decision
    from whet.hardware import targets
    from whet.pack.rate import cheaper

    if weights not in WeightOnly().grids():
        raise unknown("weights", weights, WeightOnly().grids())
    net, bundle = network_of(task, network, data, lambda event: None, None, None, own)
    target = targets.get("cpu")
    run = Run(bundle.task, target, net)
    small = cheaper(WeightOnly().apply(net.eval(), Decision({NETWORK: weights}), run).net, run, distortion)
    for name, why in small.skipped.items():
        print(f"{name} is left as it is: {why}", file=sys.stderr)
    return target.save(small.net.eval(), folder / "model")


def _rest(packed: Packed) -> int:
    return packed.before_bytes - sum(row.before_bytes for row in packed.rows)


def _described(place: Path, packed: Packed, by_zstd: int | None) -> dict[str, Any]:
    return {
        "file": str(place), "bytes_before": packed.before_bytes, "bytes_after": len(packed.data),
        "other_bytes": packed.other_bytes, "zstd_bytes": by_zstd, "tensors": [vars(row) for row in packed.rows],
    }  # fmt: skip


def _zstd_bytes(data: bytes) -> int | None:
    """Return what zstd makes of a file, None where it is not installed."""
    if find_spec("zstandard") is None:
        return None
    import zstandard

    return len(zstandard.compress(data, ZSTD_LEVEL))
