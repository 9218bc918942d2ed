"""Recurrent operators step by step, against torch's own cells and with what those lack."""

import pytest
import torch
from rows import row
from torch import nn

from whet.onnx_reader.values import NotRead

torch.manual_seed(0)
X = torch.randn(5, 2, 3)


def weights(cell: nn.RNNBase, order: list[int]) -> tuple[torch.Tensor, ...]:
    """Return a torch layer's weights with its gates in ONNX's order: (1, gates x hidden, ...), biases side by side."""

    def sorted_(value: torch.Tensor) -> torch.Tensor:
        parts = value.detach().chunk(len(order))
        return torch.cat([parts[i] for i in order])

    w, r, wb, rb = (sorted_(p) for p in (cell.weight_ih_l0, cell.weight_hh_l0, cell.bias_ih_l0, cell.bias_hh_l0))
    return w[None], r[None], torch.cat([wb, rb])[None]


@pytest.mark.parametrize(
    ("op", "layer", "order", "more"),
    [
        ("LSTM", nn.LSTM, [0, 3, 1, 2], {}),
        ("GRU", nn.GRU, [1, 0, 2], {"linear_before_reset": 1}),
        ("RNN", nn.RNN, [0], {}),
    ],
)
def test_steps_are_those_of_torchs_cells(op: str, layer: type, order: list[int], more: dict[str, int]) -> None:
    cell = layer(3, 4)
    found = row(op, X, *weights(cell, order), outputs=2, **more)
    wanted, last = cell(X)
    torch.testing.assert_close(found[0][:, 0], wanted.detach())
    torch.testing.assert_close(found[1], (last[0] if op == "LSTM" else last).detach())


def test_a_sequence_ends_at_its_length() -> None:
    cell = nn.RNN(3, 4)
    out, last = row("RNN", X, *weights(cell, [0]), torch.tensor([5, 2]), outputs=2)
    assert (out[2:, 0, 1] == 0).all()
    torch.testing.assert_close(last[0, 1], out[1, 0, 1])


def test_backwards_is_forwards_on_the_reversed_sequence() -> None:
    w = weights(nn.RNN(3, 4), [0])
    back, _ = row("RNN", X, *w, outputs=2, direction="reverse")
    torch.testing.assert_close(back.flip(0), row("RNN", X.flip(0), *w, outputs=2)[0])
    laid, _ = row("RNN", X.transpose(0, 1), *w, outputs=2, direction="reverse", layout=1)
    torch.testing.assert_close(laid[:, :, 0], back[:, 0].transpose(0, 1))


def test_options_that_torch_lacks() -> None:
    w = weights(nn.RNN(3, 4), [0])
    plain, _ = row("RNN", X, *w, outputs=2, activations=["Affine"], activation_alpha=[1.0], activation_beta=[5.0])
    clipped, _ = row("RNN", X, *w, outputs=2, activations=["Affine"], activation_alpha=[1.0], clip=0.01)
    assert plain[0].mean() > 3 and clipped.abs().max() <= 0.01 + 1e-6
    v = weights(nn.LSTM(3, 4), [0, 3, 1, 2])
    peep = row("LSTM", X, *v, None, None, None, torch.zeros(1, 12), outputs=3)
    torch.testing.assert_close(peep[0], row("LSTM", X, *v, outputs=3)[0])
    looked = row("LSTM", X, *v, None, None, None, torch.ones(1, 12), outputs=3)
    assert not torch.allclose(looked[0], peep[0])


def test_activations_and_shapes_that_do_not_fit_are_named() -> None:
    w = weights(nn.RNN(3, 4), [0])
    with pytest.raises(NotRead, match=r"activation 'Sine'; sigmoid, tanh"):
        row("RNN", X, *w, activations=["Sine"])
    with pytest.raises(NotRead, match="2 activations for 1 directions"):
        row("RNN", X, *w, activations=["Tanh", "Tanh"])
    with pytest.raises(NotRead, match=r"for 2 directions"):
        row("RNN", X, *w, direction="bidirectional")
