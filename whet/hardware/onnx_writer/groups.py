"""Weights of few bits that files decode to integers of a scale a channel, or with a scale a group to floats."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from whet.graph.grids import Grid
from whet.graph.multiples import whole_multiples
from whet.hardware.onnx_writer.writer import Writer


def stored_name(site: str, grid: Grid) -> str:
    """Return what a weight's integers are called in a file."""
    return f"{site}.weight.int{grid.bits}"


def stored_bits(grid: Grid) -> int:
    """Return the bits of the type that integers are given in; fewer than four are packed at the end."""
    return grid.bits if grid.bits >= 4 else 8


def groups(w: Writer, site: str, layer: Any, integers: Tensor, scale: Tensor, turned: bool) -> str:
    """Write a weight whose groups lie along its rows, `(out, all the rest)`: blocks are of one axis."""
    grid = layer.grid
    parts = (integers.t(), scale.t()) if turned else (integers, scale)
    stored = w.constant(parts[0], stored_name(site, grid), bits=stored_bits(grid))
    wide = w.emit("DequantizeLinear", [stored, w.constant(parts[1])], axis=int(not turned), block_size=grid.group)
    return wide if turned or layer.weight.dim() == 2 else w.emit("Reshape", [wide, w.vector(layer.weight.shape)])


def multiplied_groups(w: Writer, site: str, layer: Any, integers: Tensor, scale: Tensor, turned: bool) -> str:
    """Write a weight whose groups' digits become integers of eight bits when the file is opened, of a scale a channel.

    Products of digits and multiples are looked up in a table: OpenVINO takes a multiplication behind integers for their
    scale, and computes in floats. Shapes: integers `(out, all the rest)`, scale `(out, groups)`.
    """
    grid = layer.grid
    multiples, one = whole_multiples(scale, grid.multiple)
    digits, rows = integers.view(*scale.shape, -1), multiples.to(torch.int8).unsqueeze(-1)
    if turned:
        digits, rows = digits.permute(1, 2, 0), rows.permute(1, 2, 0)
    each = torch.arange(grid.multiple + 1, dtype=torch.int32)
    products = each.view(-1, 1) * torch.arange(-grid.most, grid.most + 1)
    found = w.cast(w.constant(digits, stored_name(site, grid)), torch.int8, torch.int32)
    row = w.cast(w.constant(rows, f"{site}.multiples"), torch.int8, torch.int32)
    row = w.emit("Gather", [w.constant(each * (2 * grid.most + 1) + grid.most), row])
    found = w.emit("Gather", [w.constant(products.flatten().to(torch.int8)), w.emit("Add", [found, row])])
    found = w.emit("Reshape", [found, w.vector(layer.weight.t().shape if turned else layer.weight.shape)])
    zeros = w.constant(torch.zeros(len(one), dtype=torch.int8), f"{site}.zero_point")
    return w.emit("DequantizeLinear", [found, w.constant(one), zeros], axis=int(turned))


def of_points(w: Writer, site: str, integers: Tensor) -> str:
    """Write integers of few values as their places in a table of these; return the name of what gives them again.

    Any shape, which stays.
    """
    values, places = torch.unique(integers, return_inverse=True)
    middle = len(values) // 2
    stored = w.constant((places - middle).to(torch.int8), f"{site}.weight.places")
    index = w.emit(
        "Add", [w.cast(stored, torch.int8, torch.int32), w.constant(torch.tensor(middle, dtype=torch.int32))]
    )
    return w.emit("Gather", [w.constant(values, f"{site}.points"), index])
