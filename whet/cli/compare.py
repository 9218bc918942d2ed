"""`whet measure A B`: two files in one race."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from rich.console import Console
from rich.table import Column, Table


def compare(
    first: str, second: str, target: Any, shapes: Mapping[str, tuple[int, ...]], fixed: Mapping[str, float], batch: int,
    seconds: float, as_json: bool,
) -> None:  # fmt: skip
    """Time two files, each in all its settings, interleaved in one run; print the fastest setting of each.

    A file of a front is timed in the setting of its settings.json. Ratios above 1 are of the faster file, over the
    first.
    """
    from whet.hardware.elsewhere import device_of
    from whet.hardware.guard import Guarded
    from whet.hardware.targets import setting_name
    from whet.verdict.located import located, raced

    files = {"first": located(first, target), "second": located(second, target)}
    inputs = {name: file.inputs(batch, shapes, fixed) for name, file in files.items()}
    with closing(Guarded(target)) as guarded:
        found = raced(files, guarded, inputs, "first", seconds)
    rows = [
        {
            "file": str(files[name].path), "setting": setting_name(found.settings[name]), **vars(latency),
            "size_bytes": files[name].size_bytes,
        }
        for name, latency in found.latencies.items()
    ]  # fmt: skip
    if as_json:
        print(json.dumps({"device": device_of(target).to_dict(), "files": rows, "unfit": found.errors}))
        return
    figures = [Column(name, no_wrap=True) for name in ("median ms", "ratio", "quartiles", "bytes", "setting")]
    title = f"{device_of(target).describe()}; ratios to the first"
    table = Table(Column("file", overflow="fold"), *figures, title=title, box=None, header_style="underline")
    for row in rows:
        spread = f"{row['ratio_low']:.2f}-{row['ratio_high']:.2f}"
        ratio = f"x{row['ratio']:.2f}"
        size = f"{row['size_bytes']:,}"
        table.add_row(row["file"], f"{row['latency_ms']:.4f}", ratio, spread, size, row["setting"])
    Console().print(table)
    for name, why in found.errors.items():
        print(f"{files[name].path} is not timed in every setting: {why}")
