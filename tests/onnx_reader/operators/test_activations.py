"""Activations by their formulas, with the parameters that torch's own lack."""

import numpy as np
import pytest
import torch
from rows import row, t

from whet.onnx_reader.values import NotRead

X = t([-2.0, -0.25, 0.0, 0.25, 2.0])


def test_selu_with_other_constants_is_not_torchs() -> None:
    found = row("Selu", X, alpha=2.0, gamma=3.0)
    torch.testing.assert_close(found, 3 * torch.where(X > 0, X, 2 * (X.exp() - 1)))
    torch.testing.assert_close(row("Selu", X), torch.nn.functional.selu(X))


def test_shrink_moves_towards_zero_outside_of_lambda_and_is_zero_inside() -> None:
    assert row("Shrink", X, bias=1.5, lambd=0.5).tolist() == [-0.5, 0.0, 0.0, 0.0, 0.5]


def test_swish_has_a_slope_and_swiglu_multiplies() -> None:
    torch.testing.assert_close(row("Swish", X, alpha=2.0), X * torch.sigmoid(2 * X))
    torch.testing.assert_close(row("SwiGLU", X, X + 1), torch.nn.functional.silu(X) * (X + 1))


def test_a_softmax_of_old_runs_over_all_dimensions_from_its_axis_on() -> None:
    x = torch.randn(2, 3, 4)
    assert row("Softmax", x, opset=11, axis=1).flatten(1).sum(1).tolist() == pytest.approx([1, 1])
    torch.testing.assert_close(row("Softmax", x, opset=13, axis=1), torch.softmax(x, 1))


def test_slopes_by_channel_and_by_element() -> None:
    x, slope = -torch.ones(2, 3, 2), torch.tensor([[1.0], [2.0], [3.0]])
    assert row("PRelu", x, slope)[0, :, 0].tolist() == [-1.0, -2.0, -3.0]
    assert row("PRelu", x, torch.tensor([4.0, 5.0]))[0, 0].tolist() == [-4.0, -5.0]


def test_hardmax_marks_the_first_of_equals() -> None:
    assert row("Hardmax", t([1.0, 3.0, 3.0], [2.0, 0.0, 1.0])).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_dropout_does_nothing_and_training_is_refused() -> None:
    assert row("Dropout", X) is X
    value, mask = row("Dropout", X, outputs=2)
    assert value is X and mask.all()
    with pytest.raises(NotRead, match="training mode, which is random"):
        row("Dropout", X, np.array(0.5), np.array(True))
