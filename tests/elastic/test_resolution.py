"""Elastic resolution: what is convolutional up to a pooling takes smaller images, the rest says what needs its size."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from shared_nets import shared_net
from test_supernet import ARCHITECTURES, lifted
from torch import Tensor, nn
from torch.nn import functional

import whet
from whet.compress.depth import Depth
from whet.core.errors import DecisionError
from whet.core.passes import Chain
from whet.core.space import Decision
from whet.core.target import Artifact
from whet.elastic.resolution import CHOICE, INPUT, Resolution, obstacle
from whet.elastic.supernet import Supernet
from whet.flow.optimize import load
from whet.hardware import targets
from whet.hardware.onnx_export import export_onnx
from whet.networks.resnet import ResNet
from whet.testing.passes import check
from whet.testing.runs import AlignedTarget, planning_run

TARGET = AlignedTarget()


def shrunk(x: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)


def is_the_net_on_smaller_images(net: whet.Net) -> int:
    """Compare every offered decision with the net, unchanged, on images resized outside; return how many there are."""
    space, run, (x,) = Resolution().space(net, TARGET), planning_run(net), net.example
    values = [v for choice in space for v in choice.values if v != 1.0]
    with torch.no_grad():
        native = net(x)
        for value in values:
            result = Resolution().apply(net, Decision({CHOICE: value}), run)
            size = Resolution().size((x.shape[2], x.shape[3]), float(value))
            output = result.net(x)
            assert output.shape == native.shape and output.isfinite().all()
            torch.testing.assert_close(output, net(shrunk(x, size)), rtol=1e-5, atol=1e-6)
            assert f"{size[0]}x{size[1]}" in result.texts[INPUT] and not result.skipped
    return len(values)


def test_resnet20_is_itself_at_its_native_resolution_and_legal_at_others() -> None:
    net = lifted(ARCHITECTURES["resnet20"])
    (choice,) = Resolution().space(net, TARGET)
    assert (choice.values, choice.identity) == ((0.5, 0.625, 0.75, 0.875, 1.0), 1.0)
    run = planning_run(net)
    with torch.no_grad():
        native = net(*net.example)
        for decision in (Decision(), Decision({CHOICE: 1.0})):
            assert torch.equal(Resolution().apply(net, decision, run).net(*net.example), native)
        half = Resolution().apply(net, Decision({CHOICE: 0.5}), run)
        assert half.texts == {INPUT: "resized from 32x32 to 16x16"}
        assert not torch.allclose(half.net(*net.example), native, atol=1e-5)
    assert is_the_net_on_smaller_images(net) == 4


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_runtime_resizes_as_torch_does(runtime: str, tmp_path: Path) -> None:
    """Their own antialiased resizing is another: up to 0.06 in these logits."""
    net = lifted(ARCHITECTURES["resnet20"])
    half = Resolution().apply(net, Decision({CHOICE: 0.5}), planning_run(net)).net
    (x,) = net.example
    path = export_onnx(half, tmp_path / "half.onnx")
    artifact = Artifact(path, {"runtime": runtime, "precision": "f32", "threads": 1})
    found = targets.get("cpu").open(artifact, len(x))(x.numpy())
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), half(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name, offered", [("mobilenetv2", 4), ("digits_cnn", 1), ("hf_convnext", 4)])
def test_other_convolutional_networks_take_smaller_images(name: str, offered: int) -> None:
    net = lifted(ARCHITECTURES[name])
    assert obstacle(net) == ""
    assert is_the_net_on_smaller_images(net) == offered


@pytest.mark.parametrize(
    "name, reason",
    [
        ("hf_vit", r"'\w+' \((flatten|view|reshape)\) is no operation that works at any height and width"),
        ("encoder", r"exactly one input \(N, C, H, W\).*\(2, 12, 16\)"),
        ("decoder", r"exactly one input"),
    ],
)
def test_what_needs_its_size_is_skipped_with_the_reason(name: str, reason: str) -> None:
    net = lifted(ARCHITECTURES[name])
    assert not len(Resolution().space(net, TARGET))
    result = Resolution().apply(net, Decision({CHOICE: 0.5}), planning_run(net))
    assert not result.changed
    assert re.search(reason, result.skipped[INPUT]), result.skipped
    with torch.no_grad():
        assert torch.equal(result.net(*net.example), net(*net.example))


class Odd(nn.Module):
    """Convolutional but for one operation, which `kind` names."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.kind = nn.Conv2d(3, 6, 3, padding=1), kind
        self.place, self.scale = nn.Parameter(torch.randn(1, 6, 16, 16)), nn.Parameter(torch.randn(6, 1, 1))
        self.head = nn.Linear(6 * 16 if self.kind == "pooled by half" else 6, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x) * self.scale
        if self.kind == "positions":
            y = y + self.place
        if self.kind == "cropped":
            y = y[:, :, :12, 2:]
        if self.kind == "map":
            return y
        if self.kind == "pooled by half":
            return self.head(y.mean(3).flatten(1))
        if self.kind == "gated":
            y = y * y.mean((2, 3), keepdim=True).sigmoid()
        if self.kind == "channels last":
            return self.head(functional.gelu(y.permute(0, 2, 3, 1))).mean((1, 2))
        return self.head(functional.avg_pool2d(functional.pad(y, (1, 1)), 2)[:, :, ::2].mean((-1, -2)))


@pytest.mark.parametrize("kind", ["gated", "channels last", "plain"])
def test_operations_that_work_at_any_size_are_no_obstacle(kind: str) -> None:
    assert is_the_net_on_smaller_images(lifted(lambda: (Odd(kind), (torch.randn(2, 3, 16, 16),)))) == 2


@pytest.mark.parametrize(
    "kind, reason",
    [
        ("positions", r"fixed shape \(1, 6, 16, 16\)"),
        ("cropped", r"\(slice\) cuts the map"),
        ("map", "output is a map"),
        ("pooled by half", r"\(mean\) pools over height or width alone"),
    ],
)
def test_operations_that_fix_the_size_are_named(kind: str, reason: str) -> None:
    net = lifted(lambda: (Odd(kind), (torch.randn(2, 3, 16, 16),)))
    assert re.search(reason, obstacle(net)), obstacle(net)


class Brightness(nn.Module):
    """Nothing but a global pooling of squares, which shows the resized image itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().mean((2, 3))


def test_resizing_is_bilinear_with_the_kernel_stretched_by_the_ratio() -> None:
    net = lifted(lambda: (Brightness(), (torch.randn(2, 3, 48, 32),)))
    (x,) = net.example
    sides = []
    for side, small in ((48, 36), (32, 24)):
        ratio = side / small
        distance = torch.arange(side) + 0.5 - ratio * (torch.arange(small)[:, None] + 0.5)
        weights = (1 - distance.abs() / ratio).clamp_min(0)
        sides.append(weights / weights.sum(1, keepdim=True))
    expected = torch.einsum("ih,nchw,jw->ncij", sides[0], x, sides[1]).square().mean((2, 3))
    found = Resolution().apply(net, Decision({CHOICE: 0.75}), planning_run(net)).net(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_sizes_at_which_a_kernel_no_longer_fits_are_not_offered_and_say_so_when_asked_for() -> None:
    net = lifted(lambda: (nn.Sequential(nn.Conv2d(3, 4, 9), nn.ReLU(), Brightness()), (torch.randn(2, 3, 16, 16),)))
    (choice,) = Resolution().space(net, TARGET)
    assert choice.values == (0.75, 1.0)
    result = Resolution().apply(net, Decision({CHOICE: 0.5}), planning_run(net))
    assert "8x8" in result.skipped[INPUT] and "Kernel size" in result.skipped[INPUT] and not result.changed


def test_a_supernet_trains_at_the_resolutions_that_its_schedule_draws() -> None:
    net = lifted(lambda: (ResNet(1), (torch.randn(2, 3, 32, 32),)))
    supernet = Supernet(net, Chain((Resolution((0.5, 1.0)), Depth())), planning_run(net))
    assert {c.name for c in supernet.space} == {CHOICE, "layer1.0:keep", "layer2.0:keep", "layer3.0:keep"}
    half = Decision({CHOICE: 0.5})
    supernet.active = half
    (x,) = net.example
    with torch.no_grad():
        expected = net(shrunk(x, (16, 16)))
        torch.testing.assert_close(supernet.eval()(x), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(supernet.extract(half)(x), expected, rtol=1e-4, atol=1e-5)
    assert supernet.extract(half).parameter_count == net.parameter_count
    assert supernet.schedule(1).get(CHOICE) == 0.5
    optimizer = torch.optim.SGD(supernet.parameters(), 0.1)
    before = supernet.module.get_parameter("conv1.weight").detach().clone()
    supernet.train()
    supernet.schedule = lambda step: half
    functional.cross_entropy(supernet(x), torch.tensor([0, 1])).backward()
    optimizer.step()
    assert not torch.equal(supernet.module.get_parameter("conv1.weight"), before)


@pytest.mark.parametrize("name, choices", [("resnet20", 1), ("vision_transformer", 0), ("unet", 0)])
def test_conforms(name: str, choices: int) -> None:
    net = shared_net(name)
    assert len(check(Resolution((0.5, 1.0)), net, TARGET, planning_run(net), count=2)) == choices


def test_wrong_fractions_are_refused() -> None:
    with pytest.raises(DecisionError, match=r"include 1\.0"):
        Resolution((0.5,))
    with pytest.raises(DecisionError, match="must lie in"):
        Resolution((0.0, 1.0))
    with pytest.raises(DecisionError, match="got 0"):
        Resolution(round_to=0)


def test_sides_are_the_nearest_multiples() -> None:
    """Of 30 and 26, a half is 15 and 13: nearest to 16 and 12; a half of 28 lies between two and rounds up."""
    assert Resolution().size((30, 26), 0.5) == (16, 12)
    assert Resolution().size((28, 28), 0.5) == (16, 16)
    assert Resolution(round_to=1).size((33, 9), 0.75) == (25, 7)
    assert Resolution().size((6, 3), 0.5) == (4, 3), "never larger than the side"


def test_it_is_a_pass_that_can_be_named() -> None:
    """`whet optimize --passes depth,resolution` searches it."""
    assert load("resolution") == Resolution() == load(Resolution())
