"""What `torch.export` is given to write a network as a file: an example in the file's layout, and its free axes."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.export import Dim

from whet.core.net import Net, Port
from whet.graph.file_inputs import BATCH

MOST_ROWS = 65536


def free_axes(net: Net) -> tuple[dict[int, Any], ...]:
    """Return what `torch.export` is to leave free of each input: the batch, and what the ports name.

    Of the latter those become fixed that an operator fixes.
    """
    batch = Dim(BATCH, min=1, max=MOST_ROWS)
    found = []
    for port in net.inputs:
        axes: dict[int, Any] = {axis: Dim.AUTO for axis, _ in port.free}
        found.append(axes if port.batch_axis is None else axes | {port.batch_axis: batch})
    return tuple(found)


def outside_example(net: Net) -> tuple[Tensor, ...]:
    """Return the net's example in the layout of its file. Each of the shape that the file takes."""
    return tuple(port.outside(x).contiguous() for port, x in zip(net.inputs, net.example, strict=True))


def example_sizes(port: Port, x: Tensor) -> list[int | str]:
    """Return the shape of an example as the file has it, with `batch` in the place of the batch."""
    sizes: list[int | str] = list(port.outside(x).shape)
    if port.batch_axis is not None:
        sizes[port.batch_axis] = BATCH
    return sizes
