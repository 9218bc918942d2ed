"""Residual sums and averages on integers: where they are found, and that no runtime leaves integers for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from shared_nets import shared_net
from torch import nn
from torch.nn import functional

import whet
from whet.compress.quantize.static import NETWORK, StaticQuantization
from whet.compress.quantize.streams import streams
from whet.core.target import Artifact
from whet.graph.fake_quantize import ActivationQuantizer
from whet.graph.fold import fold_batch_norms
from whet.hardware import targets
from whet.testing.runs import planning_run

ALL = whet.Decision({NETWORK: "all"})


@pytest.fixture(scope="module")
def resnet() -> tuple[whet.Net, dict[str, whet.Net]]:
    net = shared_net("resnet20")
    run = planning_run(net)
    return net, {
        name: StaticQuantization(sums=name == "sums").apply(net, ALL, run).net.eval() for name in ("floats", "sums")
    }


def of(module: nn.Module, x: torch.Tensor) -> list[str]:
    net = fold_batch_norms(whet.lift(module.eval(), (x,)))
    return [stream.node for stream in streams(net, set(net.layers()))]


def test_sums_behind_convolutions_and_the_last_average_are_found() -> None:
    net = fold_batch_norms(shared_net("resnet20"))
    found = streams(net, set(net.layers()))
    assert [s.node for s in found].count("mean_dim") == 1 and len(found) == 9 + 1
    # A shortcut of slices and zeros is on the grid of what it slices.
    strided = next(s for s in found if s.node == "add_tensor_3")
    assert strided.edges == (("relu_default_6", "slice_tensor"), ("layer2_0_conv2", "add_tensor_3"))
    assert not streams(net, set()), "layers in floats leave their sums there"


class Gated(nn.Module):
    """Other sums: of shapes that differ, of a tensor with itself, with a constant, of linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(3, 3, 1), nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        y = y + y.mean((2, 3), keepdim=True)
        y = functional.relu(y + y) + 1
        y = functional.pad(y, (1, 1), value=2.0).amax((2, 3))
        return self.one(y) + self.two(y)


def test_other_sums_stay_in_floats() -> None:
    assert of(Gated(), torch.randn(2, 3, 4, 4)) == []
    net = shared_net("encoder")
    assert not streams(net, set(net.layers())), "sums behind linear layers are not joined by a runtime"


def test_every_term_is_on_a_grid_and_the_outputs_stay(resnet: tuple[whet.Net, dict[str, whet.Net]]) -> None:
    net, small = resnet

    def quantizers(of: whet.Net) -> int:
        return sum(isinstance(layer, ActivationQuantizer) for layer in of.layers().values())

    # Of nine branches and the last stream; shortcuts share the grid of the convolution beside them.
    assert quantizers(small["sums"]) == quantizers(small["floats"]) + 9 + 1
    x = torch.randn(32, *net.example[0].shape[1:], generator=torch.Generator().manual_seed(1))
    expected = net(x)
    errors = {
        name: float((s(x) - expected).detach().square().mean() / expected.detach().var()) for name, s in small.items()
    }
    assert errors["floats"] < errors["sums"] < 2 * errors["floats"], "every branch is rounded once more, no more"


def test_openvino_does_not_leave_the_integers(resnet: tuple[whet.Net, dict[str, whet.Net]], tmp_path: Path) -> None:
    """Convolution, sum, ReLU and rounding are one operation: between the first rounding and the head all is 8-bit."""
    import openvino as ov

    path = targets.get("cpu").save(resnet[1]["sums"], tmp_path)
    core = ov.Core()
    model = core.read_model(str(path))
    model.reshape([1, *resnet[0].example[0].shape[1:]])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    infos = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
    kinds = [(i["layerType"].astype(str), i["outputPrecisions"].astype(str)) for i in infos]
    assert kinds.count(("Convolution", "u8")) == 19 and ("Reduce", "u8") in kinds
    assert [k for k, _ in kinds if k in ("Subgraph", "Eltwise", "FakeQuantize")] == ["Subgraph"], "the image's rounding"


def test_onnxruntime_gives_what_was_simulated(resnet: tuple[whet.Net, dict[str, whet.Net]], tmp_path: Path) -> None:
    net, small = resnet[0], resnet[1]["sums"]
    path = targets.get("cpu").save(small, tmp_path)
    session = targets.get("cpu").open(Artifact(path, {"runtime": "onnxruntime", "precision": "f32", "threads": 1}), 2)
    found, expected = session(net.example[0].numpy()), small(*net.example).detach().numpy()
    assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)
