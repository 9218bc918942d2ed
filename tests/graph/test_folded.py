"""Outputs with several entries a row in dimension 0: flattened tokens, the targets of a regression, boxes of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import whet
from whet.core.errors import LiftError
from whet.core.target import Artifact
from whet.core.task import predict
from whet.data.bind import bind
from whet.hardware import targets
from whet.hardware.onnx_export import export_onnx


class Folded(nn.Module):
    def __init__(self, fold: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.head, self.fold = nn.Linear(4, 8), nn.Linear(8, 3), fold

    def forward(self, x: Tensor) -> Tensor:
        return self.fold(self.head(self.layer(x).relu()))


FOLDS = {
    "flattened tokens": lambda y: y.flatten(0, 1),
    "all numbers": lambda y: y.reshape(-1, 1),
    "one dimension": lambda y: y.flatten(),
    "pairs of steps": lambda y: y.view(-1, 2, 3),
}


@pytest.mark.parametrize("name", FOLDS)
def test_the_rows_come_apart_inside_and_together_in_the_file(name: str, tmp_path: Path) -> None:
    module = Folded(FOLDS[name]).eval()
    net = whet.lift(module, torch.randn(2, 6, 4))
    port = net.outputs[0]
    assert port.folded and port.moved
    x = torch.randn(5, 6, 4)
    wanted = module(x)
    assert net(x).shape[0] == 5
    torch.testing.assert_close(port.outside(net(x)), wanted)
    torch.testing.assert_close(port.inside(wanted, 5), net(x))
    path = export_onnx(net, tmp_path / "model.onnx")
    for runtime in ("openvino", "onnxruntime"):
        session = targets.get("cpu").open(Artifact(path, {"runtime": runtime, "precision": "f32", "threads": 1}), 5)
        np.testing.assert_allclose(session(x.numpy()), wanted.detach().numpy(), atol=1e-5)


def test_loss_and_metric_get_what_the_source_gives() -> None:
    module = Folded(FOLDS["flattened tokens"]).eval()
    net = whet.lift(module, torch.randn(2, 6, 4))
    x, y = torch.randn(8, 6, 4), torch.randint(0, 3, (8, 6))
    batches = [(x[:4], y[:4].flatten()), (x[4:], y[4:].flatten())]
    task = bind(whet.Task("t", train=batches, val=batches, loss=functional.cross_entropy, metric=whet.accuracy), net)
    inputs, labels = next(iter(task.train))
    expected = functional.cross_entropy(module(x[:4]), y[:4].flatten())
    torch.testing.assert_close(task.loss(net(*inputs), labels), expected)
    assert task.score(*predict(net, task.val)) == pytest.approx(whet.accuracy(module(x), y.flatten()))


def test_rows_that_are_mixed_are_still_refused() -> None:
    with pytest.raises(LiftError, match="batch"):
        whet.lift(Folded(lambda y: y.transpose(0, 1).flatten(0, 1)), torch.randn(2, 6, 4))
