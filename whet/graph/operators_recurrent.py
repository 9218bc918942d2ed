"""Rows of the recurrent layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from whet.graph.labels import Dim
from whet.graph.rows import Call, Dims, Row, Value


def recurrent(gates: int) -> Callable[[Call], Value]:
    """LSTM, GRU, plain RNN: gates x hidden rows of each weight, whose gates are frozen, as are the time steps.

    With a projection (`proj_size` of an LSTM) the hidden state is `w_hr h`, shorter than the cell's.
    """

    def rule(call: Call) -> Value:
        labels, x = call.labels, call.maybe("input")
        if x is None or len(x) != 3:
            return call.unknown("only batches of sequences as long as each other have a rule")
        state = call.list_dims("hx") if gates == 4 else [call.dims("hx")]
        directions = 2 if call["bidirectional"] else 1
        projected = gates == 4 and len(state[0][-1]) != len(state[1][-1])
        labels.freeze(*x[:-1])
        entry, outputs = x[-1], list[Dim]()
        for number, cell in enumerate(_cells(call, projected)):
            if number and number % directions == 0:
                entry, outputs = np.concatenate(outputs), []
            outputs.append(_cell(call, gates, entry, cell, projected))
            labels.unify(outputs[-1], state[0][-1])
            if gates == 4:
                labels.unify(cell[-1][1] if projected else outputs[-1], state[1][-1])
        return ([*x[:-1], np.concatenate(outputs)], *state)

    return rule


def _cells(call: Call, projected: bool) -> list[list[Dims]]:
    """Return the parameters of each cell: layer by layer, direction by direction."""
    each = (4 if call["has_biases"] else 2) + projected
    params = call.list_dims("params")
    return [params[i : i + each] for i in range(0, len(params), each)]


def _cell(call: Call, gates: int, entry: Dim, cell: list[Dims], projected: bool) -> Dim:
    """Tie the parameters of one cell and return the labels of its output."""
    labels, (w_ih, w_hh, *rest) = call.labels, cell
    out, hidden = w_hh[1], w_hh[1]
    if projected:
        w_hr = rest.pop()
        labels.unify(out, w_hr[0])
        hidden = w_hr[1]
        labels.freeze(hidden[: len(out) + 1])  # torch takes a projection to as many as there are for none
    labels.unify(w_ih[1], entry)
    labels.unify(np.concatenate([hidden] * gates), w_ih[0], w_hh[0], *[bias[0] for bias in rest])
    return out


RECURRENT_ROWS: dict[str, Row] = {
    "lstm": Row(recurrent(4)),
    "gru": Row(recurrent(3)),
    "rnn_tanh": Row(recurrent(1)),
    "rnn_relu": Row(recurrent(1)),
}
