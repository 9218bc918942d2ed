"""Reading between elements: grids that change nothing, and regions by their mean."""

import numpy as np
import pytest
import torch
from rows import known, row, t

from whet.onnx_reader.values import NotRead

torch.manual_seed(0)
X = torch.randn(1, 2, 4, 4)


@pytest.mark.parametrize("aligned", [0, 1])
def test_the_grid_of_the_identity_reads_the_image_itself(aligned: int) -> None:
    grid = row("AffineGrid", t([[[1.0, 0, 0], [0, 1.0, 0]]]), known(1, 2, 4, 4), align_corners=aligned)
    for mode in ("linear", "cubic", "nearest"):
        found = row("GridSample", X, grid, mode=mode, align_corners=aligned)
        torch.testing.assert_close(found, X, rtol=1e-4, atol=1e-4)


def test_outside_of_the_image_are_zeros_or_its_border() -> None:
    far = torch.full((1, 1, 1, 2), 5.0)
    assert row("GridSample", X, far).abs().max() == 0
    assert torch.equal(row("GridSample", X, far, padding_mode="border").flatten(), X[0, :, -1, -1])
    with pytest.raises(NotRead, match=r"padding_mode 'wrap' is not read; zeros, border, reflection"):
        row("GridSample", X, far, padding_mode="wrap")


def test_a_region_of_a_ramp_has_the_mean_of_its_cell() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    regions, images = np.array([[0.0, 0.0, 4.0, 4.0], [2.0, 2.0, 6.0, 6.0]], np.float32), known(0, 0)
    found = row("RoiAlign", ramp, regions, images, output_height=1, output_width=2, sampling_ratio=2)
    assert found[:, 0, 0].tolist() == [
        [pytest.approx(0.5), pytest.approx(2.5)],
        [pytest.approx(2.5), pytest.approx(4.5)],
    ]
    free = row("RoiAlign", ramp, regions, images, output_height=1, output_width=2)
    torch.testing.assert_close(free, found)
    most = row("RoiAlign", ramp, regions, images, output_height=1, output_width=2, sampling_ratio=2, mode="max")
    assert most.shape == found.shape


def test_as_many_samples_as_regions_need_must_be_known() -> None:
    with pytest.raises(NotRead, match="a sampling ratio that depends on data"):
        row("RoiAlign", X, torch.zeros(1, 4), known(0))
