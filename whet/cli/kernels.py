"""`whet measure --kernels`: which formats really run on this device, in which kernels, and what they gain."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from whet.core.target import Target


def show_kernels(target: Target, network: str | None, as_json: bool) -> None:
    """Print the table of one layer of each kind in each format, measured once for a device and then kept."""
    from whet.bench.kernels import known, said
    from whet.graph.grids import EXACT_BITS
    from whet.hardware.elsewhere import device_of
    from whet.tasks.bundle import cache_folder

    if network is not None:
        said_of = f"is about the device, not about '{network}': leave the network out"
        raise typer.BadParameter(said_of, param_hint="--kernels")
    rows = known(target, cache_folder())
    if as_json:
        about = {"device": device_of(target).to_dict(), "weight_bits": target.weight_bits}
        print(json.dumps({**about, "kernels": [asdict(row) for row in rows]}))
        return
    for layer in dict.fromkeys(row.layer for row in rows):
        own = [row for row in rows if row.layer == layer]
        settings = list(dict.fromkeys(row.setting for row in own))
        table = Table("format", *settings, title=layer, title_justify="left")
        for form in dict.fromkeys(row.format for row in own):
            cells = {row.setting: said(row).replace("`", "") for row in own if row.format == form}
            table.add_row(form, *(cells.get(name, "") for name in settings))
        Console().print(table)
    print(device_of(target).describe())
    if target.weight_bits < EXACT_BITS:
        print(f"It adds products of bytes in 16 bits, so weights have {target.weight_bits} bits in place of 8.")
    print("x: times as fast as the layer in floats in the same setting, quartiles in brackets.")
