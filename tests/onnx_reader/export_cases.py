"""Networks that others wrote: `python tests/onnx_reader/export_cases.py` writes their table to docs/onnx.md."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

import whet
from whet.graph.axes import analyze

sys.path.insert(0, str(Path(__file__).parents[1]))
import onnx_page as page
from architectures import ARCHITECTURES, OF_EACH_KIND, lifted

Write = Callable[..., Path]


def quiet(run: Any, *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return run(*args, **options)


BATCH = {0: "batch"}


def by_graph(module: nn.Module, example: tuple[Tensor, ...], path: Path, axes: dict[int, str] | None = None) -> Path:
    """Write with torch's exporter of today; `axes` of each input are free, by default the batch."""
    free = {axis: Dim(name, min=1, max=4096) for axis, name in (BATCH if axes is None else axes).items()}
    shapes = tuple(free for _ in example)
    quiet(torch.onnx.export, module, example, path, dynamo=True, dynamic_shapes=shapes, verbose=False)
    return path


def by_trace(module: nn.Module, example: tuple[Tensor, ...], path: Path, axes: dict[int, str] | None = None) -> Path:
    """Write with torch's exporter of old, by tracing; `axes` of each input are free, by default the batch."""
    names = [f"input_{i}" for i in range(len(example))]
    free = dict.fromkeys(names, BATCH if axes is None else axes)
    options = {"input_names": names, "dynamic_axes": free, "opset_version": 17, "dynamo": False}
    quiet(torch.onnx.export, module, example, str(path), **options)
    return path


NOT_WRITTEN: dict[tuple[Write, str], str] = {
    (by_graph, "hf_swin"): "a view of a tensor that is not contiguous",
    (by_graph, "hf_t5_encoder"): "a view of a tensor that is not contiguous",
    (by_trace, "hf_gpt2"): "aten::diff has no counterpart",
    (by_trace, "hf_llama"): "aten::diff has no counterpart",
}
"""What torch itself cannot write, and why; the other exporter writes it."""


@cache
def source(name: str) -> tuple[nn.Module, tuple[Tensor, ...], float]:
    """Return a network, its example, and the share of its parameters that can be cut as it is lifted from its code."""
    module, example, net = lifted(name)
    return module, example, analyze(net).cuttable_share


@cache
def read(write: Write, name: str) -> whet.Net:
    """Return the net of a network's file as one of torch's exporters writes it; nothing is checked."""
    module, example, _ = lifted(name)
    with tempfile.TemporaryDirectory() as folder:
        return whet.lift(write(module, example, Path(folder) / "model.onnx"), example, check=False)


WITH_FREE_LENGTH = ("hf_bert", "hf_llama")
"""Networks that today's exporter writes for a test with their lengths left open, which holds more."""
OTHERWISE = {"mobilenetv2": "ds_cnn", "decoder": "hf_gpt2"}
"""Networks of which today's exporter, which takes seconds, writes another of the same operations in a test."""
WRITTEN = [
    *((by_graph, name) for name in OF_EACH_KIND if name not in (*WITH_FREE_LENGTH, *OTHERWISE)),
    *((by_trace, name) for name in OF_EACH_KIND),
]
"""What is tested of the table; `python tests/onnx_reader/export_cases.py` writes and reads all of it."""


def difference(net: Any, module: nn.Module, example: tuple[Tensor, ...]) -> float:
    """Return the largest difference of the outputs, relative to the largest of them, at batches of 1, 2 and 3."""
    worst = 0.0
    for batch in (1, 2, 3):
        given = tuple(torch.cat([x, x])[:batch] for x in example)
        with torch.no_grad():
            wanted, found = module(*given), net(*given)
        if found.shape != wanted.shape:
            return float("inf")
        worst = max(worst, float((found - wanted).abs().max()) / float(wanted.abs().max()))
    return worst


def cell(write: Write, name: str) -> str:
    """Return what became of a network that was written one way."""
    if (write, name) in NOT_WRITTEN:
        return f"not written: {NOT_WRITTEN[write, name]}"
    module, example, net = *lifted(name)[:2], read(write, name)
    error = difference(net, module, example)
    same = "same outputs" if error <= 1e-5 else f"**differs by {error:.0e}**"
    return f"{same}, {analyze(net).cuttable_share:.0%} cuttable"


def table() -> str:
    lines = [
        "| network | `dynamo=True` | `dynamo=False` | cuttable as lifted from its code |",
        "|---|---|---|---|",
    ]
    for name in ARCHITECTURES:
        cells = [cell(write, name) for write in (by_graph, by_trace)]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {source(name)[2]:.0%} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    page.write("exports", table())
