"""The rule of recurrent layers: one hidden unit is a row of every gate; cutting it leaves a smaller layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ruled import Ruled
from torch import nn

aten = torch.ops.aten
KINDS: dict[str, tuple[type[nn.RNNBase], Any]] = {
    "lstm": (nn.LSTM, aten.lstm.input), "gru": (nn.GRU, aten.gru.input), "rnn": (nn.RNN, aten.rnn_tanh.input),
}  # fmt: skip


def ruled(kind: str, **options: Any) -> Ruled:
    layer_type, target = KINDS[kind]
    torch.manual_seed(0)
    layer = layer_type(3, 4, **options)
    directions = 2 if layer.bidirectional else 1
    projected = getattr(layer, "proj_size", 0)
    h = torch.zeros(layer.num_layers * directions, 2, projected or 4)
    state: Any = [h, torch.zeros(layer.num_layers * directions, 2, 4)] if kind == "lstm" else h
    params = [p.detach() for p in layer._flat_weights]
    return Ruled(
        target, torch.randn(5, 2, 3), state, params, True, layer.num_layers, 0.0, False, layer.bidirectional, False
    )


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["one", "two, both ways"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_of_a_unit_leaves_a_smaller_layer_that_runs(kind: str, options: dict[str, Any]) -> None:
    made = ruled(kind, **options)
    found, _ = made.cut(made.out[0][2][:0])
    assert torch.equal(found[0], made.tensor[0]), "nothing is cut"
    smaller, wanted = made.cut(made.out[0][2][[1]])
    directions = 1 + options.get("bidirectional", False)  # one tensor of states: a unit goes in both
    assert smaller[0].shape == wanted[0].shape and smaller[0].shape[2] == made.tensor[0].shape[2] - directions


def test_gates_hold_the_same_units_and_the_output_is_the_state() -> None:
    made = ruled("lstm")
    _, h, c, w_ih, w_hh, bias, _ = made.inputs
    for gate in range(4):
        part = slice(4 * gate, 4 * gate + 4)
        assert made.same(w_ih[0][part], w_hh[1]) and made.same(bias[0][part], w_hh[1])
    assert made.same(made.out[0][2], h[2]) and made.same(h[2], c[2])
    assert made.labels.frozen(made.inputs[0][0]) and made.same(made.inputs[0][2], w_ih[1])


def test_a_projection_is_shorter_than_the_cell() -> None:
    made = ruled("lstm", proj_size=2)
    _, h, c, *_, w_hr = made.inputs
    assert made.same(made.out[0][2], w_hr[0]) and made.same(h[2], w_hr[0]) and made.same(c[2], w_hr[1])
    assert not made.labels.frozen(w_hr[0])


def test_packed_sequences_are_reported() -> None:
    layer = nn.GRU(3, 4)
    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 3), torch.randn(2, 3)])
    params = [p.detach() for p in layer._flat_weights]
    made = Ruled(
        aten.gru.data, packed.data, packed.batch_sizes, torch.zeros(1, 2, 4), params, True, 1, 0.0, False, False
    )
    assert "sequences as long as each other" in next(iter(made.call.skipped.values()))
