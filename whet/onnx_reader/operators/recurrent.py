"""Rows of the recurrent operators.

With constant weights and the standard's usual activations they are `nn.LSTM`, `nn.GRU` and `nn.RNN` (see `layers`).
Anything else runs step by step, so the number of steps is fixed when the network is traced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from whet.onnx_reader.table import Attributes, Call, Row, Rows, choice
from whet.onnx_reader.values import Value, optional_tensor, tensor

MOST_STEPS = 4096
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Callable[[float | None, float | None], Activation]] = {
    "sigmoid": lambda a, b: torch.sigmoid,
    "tanh": lambda a, b: torch.tanh,
    "relu": lambda a, b: torch.relu,
    "softsign": lambda a, b: F.softsign,
    "softplus": lambda a, b: F.softplus,
    "affine": lambda a, b: lambda v: v * _or(a, 1.0) + _or(b, 0.0),
    "leakyrelu": lambda a, b: lambda v: F.leaky_relu(v, _or(a, 0.01)),
    "thresholdedrelu": lambda a, b: lambda v: torch.where(v > _or(a, 1.0), v, 0.0),
    "scaledtanh": lambda a, b: lambda v: _or(a, 1.0) * torch.tanh(_or(b, 1.0) * v),
    "hardsigmoid": lambda a, b: lambda v: (_or(a, 0.2) * v + _or(b, 0.5)).clamp(0, 1),
    "elu": lambda a, b: lambda v: F.elu(v, _or(a, 1.0)),
}
"""Activations by their names in lower case, made from alpha and beta."""


def _or(given: float | None, usual: float) -> float:
    return usual if given is None else given


@dataclass
class Cell:
    """One direction: weights (gates x hidden, ...), biases of input and state, activations, and the gates' options."""

    kind: str
    w: Tensor
    r: Tensor
    wb: Tensor
    rb: Tensor
    acts: list[Activation]
    peepholes: Tensor | None
    options: Attributes

    def bound(self, value: Tensor) -> Tensor:
        """Return a gate's input (N, hidden) between -clip and clip, as it is without a clip."""
        clip = self.options.get("clip")
        return value.clamp(-clip, clip) if clip else value

    def step(self, v: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return state and cell after an input."""
        return STEPS[self.kind](self, v, h, c)


def _plain_step(cell: Cell, v: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return cell.acts[0](cell.bound(F.linear(v, cell.w, cell.wb) + F.linear(h, cell.r, cell.rb))), c


def _gru_step(cell: Cell, v: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """z, r = s(...); h~ = t(W x + R (r h)), or t(W x + r (R h)) with `linear_before_reset`; h' = (1 - z) h~ + z h."""
    zx, rx, hx = F.linear(v, cell.w, cell.wb).chunk(3, -1)
    zh, rh, hh = F.linear(h, cell.r, cell.rb).chunk(3, -1)
    z, reset = cell.acts[0](cell.bound(zx + zh)), cell.acts[0](cell.bound(rx + rh))
    if not cell.options.get("linear_before_reset"):
        n = h.shape[-1]
        hh = F.linear(reset * h, cell.r[2 * n :], cell.rb[2 * n :])
    else:
        hh = reset * hh
    new = cell.acts[1](cell.bound(hx + hh))
    return (1 - z) * new + z * h, c


def _lstm_step(cell: Cell, v: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Gates in the order i, o, f, c; peepholes let i, f see the old cell and o the new one."""
    i, o, f, g = (F.linear(v, cell.w, cell.wb) + F.linear(h, cell.r, cell.rb)).chunk(4, -1)
    pi, po, pf = cell.peepholes.chunk(3, -1) if cell.peepholes is not None else (None, None, None)
    i, f = _peeked(i, pi, c), _peeked(f, pf, c)
    i, g = cell.acts[0](cell.bound(i)), cell.acts[1](cell.bound(g))
    f = 1 - i if cell.options.get("input_forget") else cell.acts[0](cell.bound(f))
    new = f * c + i * g
    o = cell.acts[0](cell.bound(_peeked(o, po, new)))
    return o * cell.acts[2](new), new


def _peeked(gate: Tensor, peephole: Tensor | None, cell: Tensor) -> Tensor:
    return gate if peephole is None else gate + peephole * cell


STEPS: dict[str, Callable[[Cell, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "LSTM": _lstm_step,
    "GRU": _gru_step,
    "RNN": _plain_step,
}


def recurrent(call: Call, x: list[Value], a: Attributes) -> Value:
    """Inputs x (T, N, I), or (N, T, I) with `layout`; outputs y (T, D, N, H), last states (D, N, H), last cells."""
    choice(a, "direction", "forward", "reverse", "bidirectional")
    value, turned = tensor(x[0]), bool(a.get("layout"))
    value = value.transpose(0, 1) if turned else value
    states = [_state(optional_tensor(x, i), turned, value) for i in (5, 6)]
    if call.layer is not None:
        results = _by_layer(call, value, states[0], states[1])
    else:
        results = _step_by_step(call, value, optional_tensor(x, 4), states, x, a)
    if turned:
        results = [results[0].permute(2, 0, 1, 3), *(r.transpose(0, 1) for r in results[1:])]
    return tuple(results) if call.op == "LSTM" else tuple(results[:2])


def _state(state: Tensor | None, turned: bool, value: Tensor) -> Tensor | None:
    """Return an initial state (D, N, H); one that a file wrote for one example serves each of the batch."""
    if state is None:
        return None
    state = state.transpose(0, 1) if turned else state
    one = isinstance(state.shape[1], int) and state.shape[1] == 1
    return state.expand(state.shape[0], value.shape[1], state.shape[2]) if one else state


def _by_layer(call: Call, value: Tensor, h: Tensor | None, c: Tensor | None) -> list[Tensor]:
    """Run torch's layer; a layer that reads backwards is given the sequence turned around."""
    layer, backwards = call.layer, call.step.attributes.get("direction") == "reverse"
    value = value.flip(0) if backwards else value
    directions, batch, hidden = 1 + int(layer.bidirectional), value.shape[1], layer.hidden_size
    zeros = value.new_zeros(directions, batch, hidden)
    first = zeros if h is None else h
    if call.op == "LSTM":
        out, (last, cell) = layer(value, (first, zeros if c is None else c))
    else:
        out, last = layer(value, first)
        cell = last
    out = out.reshape(value.shape[0], batch, directions, hidden).transpose(1, 2)
    return [out.flip(0) if backwards else out, last, cell]


def _step_by_step(
    call: Call, value: Tensor, lengths: Tensor | None, states: list[Tensor | None], x: list[Value], a: Attributes
) -> list[Tensor]:
    if int(value.shape[0]) > MOST_STEPS:
        raise call.not_read(f"a sequence of more than {MOST_STEPS} steps, one by one,")
    outputs, finals, cells = [], [], []
    for d, cell in enumerate(_cells(call, x, a)):
        hidden = cell.r.shape[-1]
        zeros = torch.zeros(value.shape[1], hidden, dtype=value.dtype)
        h, c = (zeros if s is None else s[d] for s in states)
        backwards = d == 1 or a.get("direction", "forward") == "reverse"
        seen, h, c = _run(cell, value, lengths, h, c, backwards)
        outputs.append(seen)
        finals.append(h)
        cells.append(c)
    return [torch.stack(outputs, 1), torch.stack(finals), torch.stack(cells)]


def _run(
    cell: Cell, value: Tensor, lengths: Tensor | None, h: Tensor, c: Tensor, backwards: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the states after each step, the last state, the last cell; steps beyond a sequence's length are zero."""
    seen: list[Tensor] = []
    count = int(value.shape[0])
    for t in range(count - 1, -1, -1) if backwards else range(count):
        new, cell_state = cell.step(value[t], h, c)
        if lengths is None:
            h, c = new, cell_state
            seen.append(new)
            continue
        alive = (lengths.to(torch.int64) > t)[:, None]
        seen.append(torch.where(alive, new, torch.zeros_like(new)))
        h, c = torch.where(alive, new, h), torch.where(alive, cell_state, c)
    return torch.stack(list(reversed(seen)) if backwards else seen), h, c


def _cells(call: Call, x: list[Value], a: Attributes) -> list[Cell]:
    """Return the cell of each direction."""
    w, r, bias, peepholes = tensor(x[1]), tensor(x[2]), optional_tensor(x, 3), optional_tensor(x, 7)
    directions, rows = w.shape[0], w.shape[1]
    expected = 2 if a.get("direction") == "bidirectional" else 1
    if directions != expected or rows != GATES[call.op] * r.shape[-1]:
        raise call.not_read(f"weights of shapes {list(w.shape)} and {list(r.shape)} for {expected} directions")
    acts = _activations(call, a, directions)
    per = len(acts) // directions
    cells = []
    for d in range(directions):
        zeros = torch.zeros(rows, dtype=w.dtype)
        wb, rb = (zeros, zeros) if bias is None else torch.split(bias[d], rows)
        peephole = None if peepholes is None else peepholes[d]
        cells.append(Cell(call.op, w[d], r[d], wb, rb, acts[d * per : (d + 1) * per], peephole, a))
    return cells


def _activations(call: Call, a: Attributes, directions: int) -> list[Activation]:
    names: Sequence[str] = a.get("activations") or USUAL[call.op] * directions
    alphas, betas = list(a.get("activation_alpha") or []), list(a.get("activation_beta") or [])
    found = []
    for name in names:
        if name.lower() not in ACTIVATIONS:
            raise call.not_read(f"activation '{name}'; {', '.join(ACTIVATIONS)} are allowed; it")
        alpha = alphas.pop(0) if alphas and name.lower() in TAKES_ALPHA else None
        beta = betas.pop(0) if betas and name.lower() in TAKES_BETA else None
        found.append(ACTIVATIONS[name.lower()](alpha, beta))
    if len(found) != len(USUAL[call.op]) * directions:
        raise call.not_read(f"{len(found)} activations for {directions} directions")
    return found


TAKES_ALPHA = ("affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu")
TAKES_BETA = ("affine", "scaledtanh", "hardsigmoid")

ROWS: Rows = {"LSTM": Row(recurrent), "GRU": Row(recurrent), "RNN": Row(recurrent)}
