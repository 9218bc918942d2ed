"""Poolings: where windows end, what padding counts, and where each maximum lay."""

import pytest
import torch
from rows import known, row, t
from torch.nn import functional as F

from whet.onnx_reader.values import NotRead

torch.manual_seed(0)
X = torch.randn(2, 3, 5, 5)


def test_padding_is_never_a_maximum() -> None:
    found = row("MaxPool", -X.abs() - 1, kernel_shape=[3, 3], pads=[0, 2, 2, 0], strides=[2, 2])
    assert (found <= -1).all()


def test_places_count_in_the_whole_input_and_unpooling_goes_back() -> None:
    found, places = row("MaxPool", X[..., :4, :4], outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    assert torch.equal(X[..., :4, :4].flatten()[places], found)
    back = row("MaxUnpool", found, places, kernel_shape=[2, 2], strides=[2, 2])
    assert torch.equal(back.flatten()[places.flatten()], found.flatten()) and (back != 0).sum() == found.numel()
    larger = row("MaxUnpool", found, places, known(2, 3, 5, 6), kernel_shape=[2, 2], strides=[2, 2])
    assert larger.shape == (2, 3, 5, 6)


def test_columns_may_count_first() -> None:
    _, rows = row("MaxPool", X, outputs=2, kernel_shape=[5, 5])
    _, columns = row("MaxPool", X, outputs=2, kernel_shape=[5, 5], storage_order=1)
    inside, turned = rows.flatten() % 25, columns.flatten() % 25
    assert torch.equal(inside // 5 + inside % 5 * 5, turned)


@pytest.mark.parametrize("include", [0, 1])
def test_padding_counts_or_not_and_what_is_rounded_up_never_does(include: int) -> None:
    x = torch.ones(1, 1, 5)
    found = row(
        "AveragePool", x, kernel_shape=[3], strides=[2], pads=[1, 0], ceil_mode=1, count_include_pad=include
    )  # fmt: skip
    assert found.flatten().tolist() == ([pytest.approx(2 / 3), 1, 1] if include else [1, 1, 1])


def test_even_windows_agree_with_torch() -> None:
    options = {"kernel_shape": [2, 3], "strides": [2, 1]}
    torch.testing.assert_close(row("AveragePool", X, **options), F.avg_pool2d(X, (2, 3), (2, 1)))
    torch.testing.assert_close(row("LpPool", X, p=2, **options), F.lp_pool2d(X.abs(), 2.0, (2, 3), (2, 1)))


def test_over_everything_there_may_be_nothing_to_pool() -> None:
    torch.testing.assert_close(row("GlobalAveragePool", X), X.mean((2, 3), keepdim=True))
    torch.testing.assert_close(row("GlobalLpPool", X, p=3), (X.abs() ** 3).sum((2, 3), keepdim=True) ** (1 / 3))
    flat = torch.randn(2, 3)
    assert torch.equal(row("GlobalMaxPool", flat), flat)


def test_regions_are_cut_into_cells() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    found = row("MaxRoiPool", x, t([[0.0, 0.0, 0.0, 3.0, 3.0]]).numpy(), pooled_shape=[2, 2])
    assert found.flatten().tolist() == [5.0, 7.0, 13.0, 15.0]


def test_windows_over_other_dimensions_are_refused() -> None:
    with pytest.raises(NotRead, match="a pooling over 1 of 4 dimensions"):
        row("MaxPool", X, kernel_shape=[2])
