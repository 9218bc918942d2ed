"""What computes each layer is what the runtime says, and integers that are computed in floats are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.compress.quantize.dynamic import DynamicQuantization
from whet.compress.quantize.static import StaticQuantization
from whet.compress.quantize.weight_only import WeightOnly
from whet.core.errors import TargetError
from whet.core.run import Run
from whet.core.space import Decision
from whet.core.task import Task
from whet.hardware import targets
from whet.hardware.executed import account, executed, meant_as_integers

OPENVINO = {"runtime": "openvino", "precision": "f32", "threads": 1}
ONNXRUNTIME = {"runtime": "onnxruntime", "precision": "f32", "threads": 1}
LAYERS = ["stem", "depthwise", "first", "last"]


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3, groups=32)
        self.first, self.last = nn.Linear(32, 64), nn.Linear(64, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.depthwise(torch.relu(self.stem(x)))).mean((2, 3))
        return self.last(torch.relu(self.first(x)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: Any) -> dict[str, Path]:
    torch.manual_seed(0)
    x = torch.randn(16, 3, 16, 16)
    net = whet.lift(Small().eval(), x)
    batches = [(x, torch.zeros(16, dtype=torch.long))]
    target = targets.get("cpu")
    run = Run(Task("t", batches, batches, nn.functional.cross_entropy, whet.accuracy), target, net)
    ways: dict[str, tuple[Any, str, str]] = {
        "int8": (StaticQuantization(), "network:int8", "all"),
        "dynamic": (DynamicQuantization(), "network:dynamic", "int8"),
        "weights": (WeightOnly(), "network:weights", "int4"),
    }
    nets = {name: item.apply(net, Decision({choice: value}), run).net for name, (item, choice, value) in ways.items()}
    return {name: target.save(n, tmp_path_factory.mktemp(name)) for name, n in {"float": net, **nets}.items()}


def precisions(path: Path, settings: dict[str, Any]) -> dict[str, str]:
    return {site: one.precision for site, one in executed(path, settings, LAYERS).items()}


@pytest.mark.parametrize("settings", [OPENVINO, ONNXRUNTIME])
def test_floats_are_computed_in_floats_whatever_weights_are_stored_as(
    files: dict[str, Path], settings: dict[str, Any]
) -> None:
    assert precisions(files["float"], settings) == dict.fromkeys(LAYERS, "f32")
    assert set(precisions(files["weights"], settings).values()) == {"f32"}
    assert not meant_as_integers(files["float"], LAYERS) and not meant_as_integers(files["weights"], LAYERS)


def test_integers_are_told_by_kernel(files: dict[str, Path]) -> None:
    assert meant_as_integers(files["int8"], LAYERS) == set(LAYERS)
    assert precisions(files["int8"], OPENVINO) == dict.fromkeys(LAYERS, "int8")
    assert all("I8" in one.kernel for one in executed(files["int8"], OPENVINO, LAYERS).values())
    found = executed(files["int8"], ONNXRUNTIME, LAYERS)
    assert [found[site].kernel for site in LAYERS[:3]] == ["QLinearConv", "QLinearConv", "QGemm"]


def test_a_fall_back_to_floats_is_found(files: dict[str, Path]) -> None:
    """ONNX Runtime 1.23 has no kernel for integers whose result is not put on a grid, as that of the last layer."""
    found = precisions(files["int8"], ONNXRUNTIME)
    assert {site for site in LAYERS if found[site] != "int8"} == {"last"}
    assert account(files["int8"], ONNXRUNTIME, LAYERS) == ({"int8": 3, "f32": 1}, ["last"])
    assert account(files["int8"], OPENVINO, LAYERS) == ({"int8": 4}, [])
    assert meant_as_integers(files["dynamic"], LAYERS) == {"first", "last"}
    assert precisions(files["dynamic"], ONNXRUNTIME)["first"] == "int8"
    assert precisions(files["dynamic"], OPENVINO)["first"] == "f32"


def test_of_other_runtimes_nothing_is_known_and_what_cannot_run_is_an_error(files: dict[str, Path]) -> None:
    assert executed(files["float"], {"runtime": "inductor", "precision": "f32", "threads": 1}, LAYERS) == {}
    with pytest.raises(TargetError, match="f32 only"):
        executed(files["float"], {**ONNXRUNTIME, "precision": "bf16"}, LAYERS)
