"""Points of a layer's own: where they lie, what is rounded to them, and what files hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import whet
from whet.compress.quantize.points import put_on_points, quantization_points
from whet.compress.quantize.rounding import error
from whet.compress.quantize.static import NETWORK, StaticQuantization
from whet.core.checks import ValueRangeError
from whet.core.space import Decision
from whet.core.target import Artifact
from whet.graph.fake_quantize import IntegerWeight, quantize_weight
from whet.graph.grids import Grid
from whet.graph.zeros import hold
from whet.hardware import targets
from whet.hardware.executed import executed
from whet.testing.runs import AlignedTarget, planning_run


@pytest.mark.parametrize(("count", "distortion"), [(2, 0.3634), (4, 0.1175), (8, 0.03454), (16, 0.009497)])
def test_points_of_a_normal_distribution_are_those_of_lloyd_and_max(count: int, distortion: float) -> None:
    """The least mean squared error of so many values, as Max's table of 1960 has it."""
    values = 2000 * torch.special.ndtri((torch.arange(20001).double() + 0.5) / 20001)
    points = quantization_points(values, torch.ones_like(values), count)
    lost = (values.unsqueeze(1) - points).square().amin(1).mean() / 2000**2
    assert len(points) == count and torch.equal(points, points.round())
    assert float(lost) == pytest.approx(distortion, rel=0.03)


def test_points_go_where_errors_weigh_most_and_zero_is_one_where_it_is_asked_for() -> None:
    values = torch.cat([torch.linspace(-60, -20, 200), torch.linspace(20, 60, 200)])
    power = torch.where(values < 0, 1.0, 1000.0)
    points = quantization_points(values, power, 6)
    assert (points > 0).sum() > (quantization_points(values, torch.ones(400), 6) > 0).sum() == 3
    with_zero = quantization_points(values, torch.ones(400), 6, with_zero=True)
    assert (with_zero == 0).sum() == 1 and len(with_zero) == 6


def layer_of(points: int, groups: int = 1) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 12, 3, groups=groups)
    d = plain.weight[0].numel()
    x = torch.randn(groups, 400, d).double() @ torch.randn(groups, d, d).double()
    return quantize_weight(plain, Grid(8, points=points)).eval(), x.mT @ x / 400, plain.weight.detach().clone()


@pytest.mark.parametrize(("points", "groups"), [(15, 1), (7, 2), (2, 1)])
def test_a_layer_has_no_more_values_and_moments_lower_its_error(points: int, groups: int) -> None:
    lost = {}
    for way in ("nearest", "moments"):
        layer, moments, before = layer_of(points, groups)
        put_on_points(layer, moments if way == "moments" else None)
        assert isinstance(layer, IntegerWeight)
        found = layer.get_parameter("weight").detach()  # type: ignore[attr-defined]
        assert torch.allclose(layer.integer_weight(found), found, atol=1e-6)
        assert len(layer.grid.integers(found, layer.weight_scale).unique()) <= points
        rows = before.reshape(groups, -1, moments.shape[-1])
        lost[way] = float(error(rows, found.view_as(rows), moments).sum())
    assert lost["moments"] < 0.9 * lost["nearest"]


def test_points_lie_among_the_weights_whose_inputs_count() -> None:
    """Large weights that read next to nothing have none of their own."""
    torch.manual_seed(0)
    plain = nn.Linear(4, 64)
    plain.weight.data[:, :2] *= 0.4
    plain.weight.data[:, 2:] = torch.where(plain.weight.data[:, 2:] > 0, 1.0, -1.0)
    layer = quantize_weight(plain, Grid(8, points=5)).eval()
    put_on_points(layer, torch.diag(torch.tensor([1.0, 1.0, 1e-9, 1e-9], dtype=torch.float64))[None])
    found = layer.get_parameter("weight").detach()
    assert isinstance(layer, IntegerWeight)
    integers = layer.grid.integers(found, layer.weight_scale)
    assert len(integers[:, :2].unique()) == 5 and integers.abs().max() < 40


def test_zeros_that_are_held_stay_zero() -> None:
    layer, moments, _ = layer_of(5)
    weight = layer.get_parameter("weight")
    weight.data[:, ::3] = 0.0
    hold(layer)
    put_on_points(layer, moments)
    assert (weight[:, ::3] == 0).all() and (weight[:, 1::3] != 0).any()


def test_files_take_the_bytes_of_few_values_and_run_in_kernels_of_eight_bits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 48, 3), nn.ReLU(), nn.Conv2d(48, 8, 1)
    net = whet.lift(nn.Sequential(*layers).eval(), (torch.randn(4, 3, 12, 12),))
    target, decision = targets.get("cpu"), Decision({NETWORK: "all"})
    run = replace(planning_run(net), target=AlignedTarget(weight_bits=target.weight_bits))
    made = {n: StaticQuantization(points=n).apply(net, decision, run) for n in (0, 15, 7)}
    assert set(made[15].texts.values()) == {"int8, weights 15 points"}
    files = {n: target.save(result.net.eval(), tmp_path / str(n)) for n, result in made.items()}
    sizes = {n: sum(t.ByteSize() for t in onnx.load(path).graph.initializer) for n, path in files.items()}
    assert sizes[7] < 0.8 * sizes[15] < 0.8 * 0.65 * sizes[0]
    for runtime in ("openvino", "onnxruntime"):
        settings = {"runtime": runtime, "precision": "f32", "threads": 1}
        assert {e.precision for e in executed(files[15], settings, ["0", "2"]).values()} == {"int8"}
        found = target.open(Artifact(files[15], settings), 4)(*(x.numpy() for x in net.example))
        expected = made[15].net(*net.example).detach()
        assert np.abs(found - expected.numpy()).max() < 0.05 * float(expected.abs().max())


def test_counts_that_files_have_no_digits_for_are_refused() -> None:
    for options in ({"points": 16}, {"points": 1}, {"points": 7, "weight_bits": 4}, {"points": -3}):
        with pytest.raises(ValueRangeError, match="points must be from 2 to 15"):
            StaticQuantization(**options)
