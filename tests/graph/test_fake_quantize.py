from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from whet.graph.fake_quantize import (
    QUANTIZED,
    ActivationQuantizer,
    fake_quantize,
    quantize_embedding,
    quantize_weight,
)  # fmt: skip
from whet.graph.grids import INT8


@settings(deadline=None)  # the first call of the operation takes as long as torch needs to begin
@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=20), st.floats(0.01, 2.0), st.integers(0, 255))
def test_values_lie_on_the_grid_and_are_the_nearest(values: list[float], scale: float, zero: int) -> None:
    x = torch.tensor(values)
    step = torch.tensor(scale)
    y = fake_quantize(x, step, torch.tensor(zero), -1, 0, 255)
    integers = y / step + zero
    assert torch.allclose(integers, integers.round(), atol=1e-2)
    assert integers.min() > -0.01 and integers.max() < 255.01
    low, high = (0 - zero) * step, (255 - zero) * step
    assert ((y - x.clamp(low, high)).abs() <= step / 2 * 1.01 + 1e-5).all()


def test_gradient_passes_inside_the_range_only() -> None:
    x = torch.tensor([-3.0, 0.2, 1.0, 500.0], requires_grad=True)
    fake_quantize(x, torch.tensor(1.0), torch.tensor(2), -1, 0, 255).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_scales_run_along_the_axis() -> None:
    x = torch.tensor([[0.9, 2.2], [0.9, 2.2]])
    y = fake_quantize(x, torch.tensor([1.0, 0.5]), torch.zeros(2, dtype=torch.int64), 0, -127, 127)
    torch.testing.assert_close(y, torch.tensor([[1.0, 2.0], [1.0, 2.0]]))


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 5, 3), nn.Conv1d(3, 5, 3), nn.Linear(6, 5)])
def test_quantized_layer_rounds_each_output_channel_and_still_trains(layer: nn.Module) -> None:
    shape = {nn.Conv2d: (2, 3, 7, 7), nn.Conv1d: (2, 3, 7), nn.Linear: (2, 6)}[type(layer)]
    quantized = quantize_weight(layer)
    assert isinstance(quantized, QUANTIZED[type(layer)]) and isinstance(quantized, type(layer))
    assert quantized.weight is layer.weight
    x = torch.randn(shape)
    out = quantized.eval()(x)
    assert 0 < float((out - layer(x)).abs().max()) < 0.05
    assert torch.equal(quantized.weight_scale, INT8.scale(layer.weight))
    quantized.train()
    with torch.no_grad():
        quantized.weight.mul_(2)
    quantized(x).sum().backward()
    assert torch.allclose(quantized.weight_scale, INT8.scale(layer.weight)), "in training the scale follows"
    assert quantized.weight.grad is not None and quantized.weight.grad.abs().sum() > 0


def test_under_autocast_the_dtype_stays() -> None:
    x = torch.randn(4, 4).bfloat16()
    assert ActivationQuantizer(0.1, 128)(x).dtype == torch.bfloat16


def test_rows_of_an_embedding_are_rounded_each_by_its_own_largest_value_and_still_train() -> None:
    table = nn.Embedding(10, 6)
    with torch.no_grad():
        table.weight[3] *= 1000
    quantized = quantize_embedding(table)
    index = torch.tensor([[1, 3], [3, 9]])
    out = quantized(index)
    wanted = table.weight[index]
    step = wanted.abs().amax(-1, keepdim=True) / 127
    assert 0 < float(((out - wanted).abs() / step).max()) <= 0.51
    out.sum().backward()
    assert quantized.weight.grad is not None and quantized.weight.grad[3].tolist() == [2.0] * 6


def test_a_factor_multiplies_before_rounding() -> None:
    x = torch.tensor([[1.0, 100.0]])
    torch.testing.assert_close(ActivationQuantizer(0.5, 0, torch.tensor([2.0, 0.1]))(x), torch.tensor([[2.0, 10.0]]))
