from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, fx, nn

import whet
from whet.core.target import Artifact
from whet.hardware import targets
from whet.hardware.onnx_export import export_onnx
from whet.hardware.onnx_writer.trace import trace


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.table.abs().view(1, -1) + torch.arange(3)


def test_what_no_input_changes_is_constant_and_free_lengths_have_none() -> None:
    module = fx.symbolic_trace(Table())
    seen = trace(module, [torch.ones(2, 3)], [torch.ones(3, 3)])
    constant = {str(n.target) for n in seen.constants}
    assert {"table", "abs", "view"} <= constant and "x" not in constant
    result = next(n for n in module.graph.nodes if n.op == "output").args[0]
    assert seen.dims(result) == [None, 3]


class Scaled(nn.Module):
    """A number is read out of an input without a batch."""

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return x * scale.item()


def test_a_number_read_out_of_an_input_is_not_kept_as_a_constant(tmp_path: Path) -> None:
    net = whet.lift(Scaled(), (torch.randn(2, 3), torch.tensor(2.0)), batch_axis=(0, None))
    path = export_onnx(net, tmp_path / "model.onnx")
    session = targets.get("cpu").open(Artifact(path, {"runtime": "onnxruntime", "precision": "f32", "threads": 1}), 2)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(session(x, np.float32(5)), 5 * x)
