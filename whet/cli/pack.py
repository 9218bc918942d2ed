"""`whet pack FILE` and `whet unpack FILE`: the smallest file that still gives the same network."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from whet.cli.shared import Json

if TYPE_CHECKING:
    from whet.pack.files import Packed

ZSTD_LEVEL = 19


def pack(
    file: Annotated[Path, typer.Argument(help="An ONNX file.")],
    out: Annotated[Path | None, typer.Option(help="Where the packed file goes; default beside it.")] = None,
    as_json: Json = False,
) -> None:
    """Pack an ONNX file without loss: weights by arithmetic coding, everything else by LZMA.

    The table says for each tensor what it takes before and after, what its contexts allow at best, and what LZMA makes
    of it.
    """
    from whet.pack.files import pack as packing

    place, packed = packing(file, out)
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
