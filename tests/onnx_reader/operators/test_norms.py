"""Normalisations by their formulas, and the outputs that only some of them have."""

import pytest
import torch
from rows import row, t
from torch.nn import functional as F

from whet.onnx_reader.values import NotRead

torch.manual_seed(0)
X = torch.randn(2, 4, 3)
SCALE, SHIFT = torch.rand(4) + 0.5, torch.randn(4)


def test_training_moves_the_statistics_by_one_minus_momentum() -> None:
    mean, variance = torch.zeros(4), torch.ones(4)
    out, new_mean, new_variance = row(
        "BatchNormalization", X, SCALE, SHIFT, mean, variance, outputs=3, training_mode=1, momentum=0.9
    )  # fmt: skip
    torch.testing.assert_close(new_mean, 0.1 * X.mean((0, 2)))
    torch.testing.assert_close(new_variance, 0.9 + 0.1 * X.var((0, 2), unbiased=False))
    torch.testing.assert_close(out, F.batch_norm(X, None, None, SCALE, SHIFT, True, 0.0, 1e-5))
    torch.testing.assert_close(
        row("BatchNormalization", X, SCALE, SHIFT, mean, variance, epsilon=0.0), X * SCALE[:, None] + SHIFT[:, None]
    )


def test_a_layer_norm_gives_its_mean_and_the_inverse_of_its_deviation() -> None:
    out, mean, inverse = row("LayerNormalization", X, torch.ones(4, 3), outputs=3, axis=1)
    assert mean.shape == inverse.shape == (2, 1, 1)
    torch.testing.assert_close(out, (X - mean) * inverse)
    torch.testing.assert_close(out, F.layer_norm(X, [4, 3]))


def test_an_rms_norm_does_not_take_the_mean_off() -> None:
    scale = torch.rand(3)
    torch.testing.assert_close(
        row("RMSNormalization", X, scale, epsilon=0.0), X / X.square().mean(-1, keepdim=True).sqrt() * scale
    )
    wide = row("RMSNormalization", X, t([2.0]), epsilon=0.0)
    torch.testing.assert_close(wide.square().mean(-1), torch.full((2, 4), 4.0))


def test_what_is_skipped_is_added_first_and_comes_out() -> None:
    skip, scale, bias = torch.randn(2, 4, 3), torch.ones(3), torch.randn(3)
    out, _, _, summed = row(
        "com.microsoft.SkipSimplifiedLayerNormalization", X, skip, scale, bias, outputs=1, epsilon=0.0
    )  # fmt: skip
    torch.testing.assert_close(summed, X + skip + bias)
    torch.testing.assert_close(out.square().mean(-1), torch.ones(2, 4))
    with pytest.raises(NotRead, match="its mean or deviation as an output"):
        row("com.microsoft.SkipLayerNormalization", X, skip, scale, outputs=2)


def test_a_group_norm_of_old_has_one_scale_a_group() -> None:
    scale, shift = t([2.0, 3.0]), t([0.0, 1.0])
    each = scale.repeat_interleave(2), shift.repeat_interleave(2)
    torch.testing.assert_close(
        row("GroupNormalization", X, scale, shift, opset=18, num_groups=2),
        row("GroupNormalization", X, *each, opset=21, num_groups=2),
    )


def test_zeros_have_no_direction_and_stay_zeros() -> None:
    found = row("LpNormalization", t([3.0, 4.0], [0.0, 0.0]), p=2, axis=1)
    assert found.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]


def test_a_response_is_divided_by_its_neighbours_of_which_an_even_window_has_more_above() -> None:
    x = torch.zeros(1, 5, 1, 1)
    x[0, 2] = 1.0
    found = row("LRN", torch.ones(1, 5, 1, 1) + 0 * x, size=4, alpha=4.0, beta=1.0, bias=0.0)
    assert found.flatten().tolist() == [pytest.approx(1 / n) for n in (3, 4, 4, 3, 2)]
    torch.testing.assert_close(row("LRN", X[..., None], size=3), F.local_response_norm(X[..., None], 3))


def test_mean_and_variance_are_those_over_the_axes() -> None:
    found = row("MeanVarianceNormalization", X[..., None])
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.square().mean((0, 2, 3)), torch.ones(4))
