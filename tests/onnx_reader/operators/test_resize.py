"""Resizing an axis: torch's own where it is the same, the standard's matrix elsewhere."""

import numpy as np
import pytest
import torch
from rows import known, row, t
from torch.nn import functional as F

from whet.onnx_reader.values import NotRead

torch.manual_seed(0)
X = torch.randn(1, 2, 4, 6)
DOUBLE = np.array([1, 1, 2, 2], np.float32)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_torchs_own_is_the_same_as_the_matrix(mode: str) -> None:
    own = row("Resize", X, None, DOUBLE, mode=mode)
    along = row("Resize", X.to(torch.float64), None, DOUBLE, mode=mode, cubic_coeff_a=-0.75 + 1e-12)
    torch.testing.assert_close(own.double(), along, rtol=1e-4, atol=1e-5)


def test_the_nearest_element_is_that_of_its_rounding() -> None:
    x = t([[[0.0, 1.0, 2.0]]])
    sizes = known(1, 1, 2)
    found = {
        how: row("Resize", x, None, None, sizes, nearest_mode=how, coordinate_transformation_mode="align_corners")
        for how in ("floor", "ceil")
    }
    assert found["floor"].flatten().tolist() == found["ceil"].flatten().tolist() == [0, 2]
    half = {how: row("Resize", x, None, None, sizes, nearest_mode=how).flatten().tolist() for how in ("floor", "ceil")}
    assert half == {"floor": [0, 1], "ceil": [1, 2]}


def test_the_aspect_ratio_is_kept_by_the_smaller_or_the_larger_scale() -> None:
    sizes, axes = known(8, 6), {"axes": [2, 3]}
    assert row("Resize", X, None, None, sizes, keep_aspect_ratio_policy="not_larger", **axes).shape[2:] == (4, 6)
    assert row("Resize", X, None, None, sizes, keep_aspect_ratio_policy="not_smaller", **axes).shape[2:] == (8, 12)


def test_a_crop_takes_its_value_from_outside() -> None:
    region = np.array([0.0, 1.5], np.float32)
    x = t([[[1.0, 2.0, 3.0]]])
    found = row(
        "Resize", x, np.concatenate([[0, 0], region[:1], [1, 1], region[1:]]), None, known(1, 1, 4), mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=9.0,
    )  # fmt: skip
    assert found.flatten().tolist() == [1.0, 2.0, 3.0, 9.0]


def test_antialiasing_averages_over_all_that_is_left_out() -> None:
    x = torch.tensor([[[0.0, 8.0] * 8]])
    sharp = row("Resize", x, None, None, known(1, 1, 4), mode="linear")
    smooth = row("Resize", x, None, None, known(1, 1, 4), mode="linear", antialias=1)
    assert (smooth - 4.0).abs().max() < 1.5 and smooth.shape == sharp.shape
    assert (
        row("Resize", torch.ones(1, 1, 7), None, None, known(1, 1, 3), mode="cubic", antialias=1).flatten().tolist()
        == [pytest.approx(1.0)] * 3
    )


def test_upsample_of_old_picks_and_whole_numbers_are_rounded() -> None:
    x = t([[[1, 2]]], dtype=torch.uint8)
    assert row("Upsample", x, np.array([1, 1, 2], np.float32), opset=9).flatten().tolist() == [1, 1, 2, 2]
    assert row("Resize", x, None, None, known(1, 1, 3), mode="linear").dtype == torch.uint8
    floor = row("Resize", X, None, DOUBLE, nearest_mode="floor", coordinate_transformation_mode="asymmetric")
    torch.testing.assert_close(floor, F.interpolate(X, scale_factor=2))


def test_modes_and_numbers_that_do_not_fit_are_named() -> None:
    with pytest.raises(NotRead, match=r"mode 'area' is not read; nearest, linear, cubic"):
        row("Resize", X, None, DOUBLE, mode="area")
    with pytest.raises(NotRead, match="2 scales and 0 sizes for 4 axes"):
        row("Resize", X, None, DOUBLE[:2])
