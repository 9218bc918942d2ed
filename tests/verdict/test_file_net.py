"""A file stands for a network: it gives what the network gives, wherever the samples lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from files import SETTINGS, network, saved
from torch import nn

from whet.core.errors import TargetError
from whet.core.net import Port
from whet.core.target import Artifact
from whet.hardware.targets import get
from whet.verdict.file_net import _output, _results, batch_of, file_net


class Two(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        return x + y, (x * y).sum(1)


def test_a_file_of_several_inputs_and_outputs_gives_what_the_network_gives(tmp_path: Path) -> None:
    module, example = Two(), (torch.zeros(2, 8), torch.zeros(2, 8))
    net = file_net(Artifact(saved(tmp_path, module, example), SETTINGS), get("onnxruntime-cpu"))
    given = torch.randn(70, 8), torch.randn(70, 8)
    for found, wanted in zip(net(*given), module(*given), strict=True):
        torch.testing.assert_close(found, wanted)
    assert len(net.inputs) == 2 and [port.batch_axis for port in net.outputs] == [0, 0]


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_more_samples_than_are_run_at_a_time_all_come_back(tmp_path: Path, runtime: str) -> None:
    module, x = network(), torch.randn(150, 8)
    net = file_net(Artifact(saved(tmp_path, module), SETTINGS | {"runtime": runtime}), get("cpu"))
    with torch.no_grad():
        torch.testing.assert_close(net(x), module(x), rtol=1e-4, atol=1e-5)


def test_a_file_of_a_fixed_batch_is_run_by_so_many(tmp_path: Path) -> None:
    module, path = network(), saved(tmp_path, network())
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, path)
    assert batch_of(path) == 4
    net, x = file_net(Artifact(path, SETTINGS), get("onnxruntime-cpu")), torch.randn(10, 8)
    with torch.no_grad():
        torch.testing.assert_close(net(x), module(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("two", "three", "port"),
    [
        ((2, 5), (3, 5), Port("y", 0)),
        ((7, 2, 5), (7, 3, 5), Port("y", 1)),
        ((14, 5), (21, 5), Port("y", folded=True)),
        ((5,), (5,), Port("y", None)),
        ((), (), Port("y", None)),
    ],
)
def test_where_samples_lie_is_told_from_two_batches(two: tuple[int, ...], three: tuple[int, ...], port: Port) -> None:
    assert _output("y", {2: two, 3: three}) == port


def test_what_is_no_tensor_is_refused() -> None:
    with pytest.raises(TargetError, match="something else than tensors"):
        _results([{1: 0.5}])
