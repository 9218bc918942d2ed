"""Convolutions: where padding goes, and identities between the forms."""

import pytest
import torch
from rows import known, row, t
from torch.nn import functional as F

from whet.core.errors import LiftError
from whet.onnx_reader.operators.convolution import flat_pads, padded, pads_of, transposed_pads
from whet.onnx_reader.values import NotRead

torch.manual_seed(0)


def test_the_odd_element_of_padding_comes_last_or_first() -> None:
    assert pads_of({"auto_pad": "SAME_UPPER", "strides": [2]}, [6], [3]) == [0, 1]
    assert pads_of({"auto_pad": "SAME_LOWER", "strides": [2]}, [6], [3]) == [1, 0]
    assert pads_of({"auto_pad": "VALID"}, [6, 6], [3, 3]) == [0, 0, 0, 0]
    with pytest.raises(NotRead, match=r"auto_pad 'SOME' is not read; NOTSET, SAME_UPPER"):
        pads_of({"auto_pad": "SOME"}, [6], [3])


def test_padding_is_that_of_torch_and_may_crop() -> None:
    assert flat_pads([1, 2, 3, 4]) == [2, 4, 1, 3]
    x = torch.randn(1, 1, 4, 5)
    assert torch.equal(padded(x, [1, -1, 0, -2]), F.pad(x, [-1, -2, 1, 0]))
    assert padded(x, [0, 0, 0, 0]) is x
    with pytest.raises(LiftError, match="at most"):
        padded(x, [1 << 20, 1 << 20, 0, 0])


def test_unequal_padding_is_put_in_front() -> None:
    x, w = torch.randn(2, 4, 7), torch.randn(6, 2, 3)
    found = row("Conv", x, w, pads=[2, 0], strides=[2], group=2)
    torch.testing.assert_close(found, F.conv1d(F.pad(x, [2, 0]), w, stride=2, groups=2))
    with pytest.raises(NotRead, match="a convolution over 4 dimensions"):
        row("Conv", torch.zeros(1, 1, 2, 2, 2, 2), torch.zeros(1, 1, 1, 1, 1, 1))


def test_a_transposed_convolution_is_the_adjoint_of_a_convolution() -> None:
    x, y, w = torch.randn(1, 2, 9), torch.randn(1, 3, 4), torch.randn(3, 2, 3)
    down = row("Conv", x, w, strides=[2])
    up = row("ConvTranspose", y, w, strides=[2])
    torch.testing.assert_close((down * y).sum(), (x * up).sum(), rtol=1e-4, atol=1e-4)


def test_a_transposed_convolution_is_cut_to_the_shape_that_is_stated() -> None:
    assert transposed_pads({"strides": [2], "output_shape": [8]}, [4], [3]) == [1, 0]
    x, w, b = torch.randn(1, 2, 4), torch.randn(2, 3, 3), torch.randn(3)
    found = row("ConvTranspose", x, w, b, strides=[2], output_shape=[8])
    torch.testing.assert_close(found, F.conv_transpose1d(x, w, b, stride=2)[..., 1:])


def test_a_causal_convolution_goes_on_from_its_state() -> None:
    x, w, b = torch.randn(1, 3, 8), torch.randn(3, 1, 4), torch.randn(3)
    whole, _ = row("CausalConvWithState", x, w, b, activation="silu")
    first, state = row("CausalConvWithState", x[..., :5], w, b, activation="silu")
    second, _ = row("CausalConvWithState", x[..., 5:], w, b, state, activation="silu")
    torch.testing.assert_close(torch.cat([first, second], 2), whole)


def test_columns_add_up_to_the_image() -> None:
    columns = torch.randn(2, 3 * 4, 9)
    found = row("Col2Im", columns, known(4, 4), known(2, 2))
    torch.testing.assert_close(found, F.fold(columns, (4, 4), (2, 2)))


def test_a_deformable_convolution_without_offsets_is_a_convolution() -> None:
    x, w = torch.randn(1, 2, 5, 5), torch.randn(3, 2, 3, 3)
    still = torch.zeros(1, 18, 5, 5)
    torch.testing.assert_close(row("DeformConv", x, w, still, pads=[1, 1, 1, 1]), F.conv2d(x, w, padding=1))
    moved = still.clone()
    moved[:, 0::2] = 1.0
    lower = row("DeformConv", x, w, moved, pads=[1, 1, 1, 1])
    torch.testing.assert_close(lower[:, :, :3], F.conv2d(x, w, padding=1)[:, :, 1:4])
    assert row("DeformConv", x, w, still, None, t([[0.0]]).expand(1, 9, 5, 5), pads=[1, 1, 1, 1]).abs().max() == 0
