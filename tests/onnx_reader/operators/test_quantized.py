"""Quantised operators on integers: rounding, saturation, one scale for all, a slice or a block."""

import numpy as np
import pytest
import torch
from onnx import TensorProto
from rows import row, t

from whet.onnx_reader.operators.quantized import limits, requantized, spread

torch.manual_seed(0)
SCALE = np.array(0.5, np.float32)


def test_halves_round_to_even_and_values_beyond_the_type_saturate() -> None:
    x = np.array([0.25, 0.75, 1000.0, -1000.0], np.float32)
    point = np.array(3, np.int8)
    wanted = [3, 5, 127, -128]
    assert row("QuantizeLinear", x, SCALE, point).tolist() == wanted
    assert row("QuantizeLinear", torch.from_numpy(x), SCALE, point).tolist() == wanted


def test_back_and_forth_is_off_by_half_a_step_at_most() -> None:
    x, scale, point = torch.rand(3, 4) * 4 - 2, t([0.02, 0.05, 0.1]), torch.tensor([128, 100, 50], dtype=torch.uint8)
    whole = row("QuantizeLinear", x, scale, point, axis=0)
    back = row("DequantizeLinear", whole, scale, point, axis=0)
    assert ((back - x).abs() <= scale[:, None] / 2 + 1e-6).all()


def test_scales_are_spread_over_slices_and_blocks_on_both_sides() -> None:
    scales = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    wanted = [[1, 1, 2], [3, 3, 4]]
    assert spread(scales, (2, 3), 1, 2).tolist() == wanted
    assert spread(torch.from_numpy(scales), (2, 3), 1, 2).tolist() == wanted
    assert spread(np.array([1.0, 2.0]), (2, 3), 0, 0).shape == (2, 1)
    assert spread(np.array([5.0]), (2, 3), 1, 0).shape == ()


def test_types_of_few_bits_have_their_limits() -> None:
    four = row("QuantizeLinear", np.array([9.0, -9.0], np.float32), SCALE, output_dtype=TensorProto.INT4)
    assert four.dtype.name == "int4" and four.astype(int).tolist() == [7, -8]
    assert limits(four.dtype) == (-8, 7) and limits(np.dtype(np.int16)) == (-32768, 32767)


def test_a_dynamic_scale_just_covers_the_values_and_zero() -> None:
    whole, scale, point = row("DynamicQuantizeLinear", t([1.0, 3.0]), outputs=3)
    assert scale.item() == pytest.approx(3 / 255) and point.item() == 0 and whole.tolist() == [85, 255]
    _, _, middle = row("DynamicQuantizeLinear", t([-1.0, 1.0]), outputs=3)
    assert middle.item() in (127, 128)


def test_integer_products_take_off_their_zero_points() -> None:
    a, b = torch.randint(0, 255, (2, 3), dtype=torch.uint8), torch.randint(-128, 127, (3, 4), dtype=torch.int8)
    points = torch.tensor(7, dtype=torch.uint8), torch.tensor(-3, dtype=torch.int8)
    found = row("MatMulInteger", a, b, *points)
    wanted = (a.long() - 7) @ (b.long() + 3)
    assert found.dtype == torch.int32 and found.long().tolist() == wanted.tolist()
    x, w = a.reshape(1, 2, 3), b[:, :2].reshape(3, 2, 1)
    conv = row("ConvInteger", x, w, points[0])
    assert conv[0].long().tolist() == (w[:, :, 0].long() @ (x[0].long() - 7)).tolist()


def test_a_quantised_product_is_the_rounded_float_one() -> None:
    a, b = torch.randint(0, 255, (2, 3), dtype=torch.uint8), torch.randint(0, 255, (3, 4), dtype=torch.uint8)
    s, z = t([0.1])[0], torch.tensor(100, dtype=torch.uint8)
    found = row("QLinearMatMul", a, s, z, b, s, z, t([2.0])[0], z)
    exact = (0.1 * (a.double() - 100)) @ (0.1 * (b.double() - 100))
    assert found.tolist() == (torch.round(exact / 2.0) + 100).clamp(0, 255).tolist()
    assert requantized(t([1e6]), t([1.0]), None, torch.zeros(1, dtype=torch.int8)).tolist() == [127]
