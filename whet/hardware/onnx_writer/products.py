"""Rows of matrix products, attention and recurrent layers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx

from whet.graph.layers import Args
from whet.hardware.onnx_writer.elementwise import Rule
from whet.hardware.onnx_writer.writer import Names, Unwritten, Writer


def linear(w: Writer, n: fx.Node, x: str, weight: str, turned: str | None, bias: Tensor | None) -> Names:
    """Write `x W^T + b`, W `(out, in)`; `turned` is W^T's name where there is one, for inputs that are no matrices.

    A bias that is added to a product of quantized numbers has the product's rank: ONNX Runtime makes one operation of a
    product and a vector, and computes that one in floats.
    """
    if w.rank(n) == 2:
        return w.emit("Gemm", [x, weight, *([w.constant(bias)] if bias is not None else [])], n.name, transB=1)
    assert turned is not None
    product = w.emit("MatMul", [x, turned], n.name)
    return product if bias is None else w.emit("Add", [product, w.constant(bias)], n.name)


def _linear(w: Writer, n: fx.Node, a: Args) -> Names:
    bias = None if a["bias"] is None else w.fixed(a["bias"])
    if w.rank(n) == 2:
        return linear(w, n, w.name(a["input"]), w.name(a["weight"]), None, bias)
    if a["weight"] in w.trace.constants:
        turned = w.constant(w.fixed(a["weight"]).detach().t())
    else:
        turned = w.emit("Transpose", [w.name(a["weight"])], perm=[1, 0])
    return linear(w, n, w.name(a["input"]), "", turned, bias)


def _product(left: str, right: str) -> Rule:
    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        return w.emit("MatMul", [w.name(a[k], w.dtype(n)) for k in (left, right)], n.name)

    return rule


def _added(left: str, right: str) -> Rule:
    """Return the rule of `beta self + alpha left right`."""

    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        names = [w.name(a[k]) for k in (left, right)]
        if w.rank(n) == 2:
            factors = {"alpha": float(a["alpha"]), "beta": float(a["beta"])}
            return w.emit("Gemm", [*names, w.name(a["self"])], n.name, **factors)
        if a["alpha"] != 1 or a["beta"] != 1:
            raise Unwritten("a product with factors")
        return w.emit("Add", [w.emit("MatMul", names), w.name(a["self"])], n.name)

    return rule


def _einsum(w: Writer, n: fx.Node, a: Args) -> Names:
    return w.emit("Einsum", [w.name(t) for t in a["tensors"]], n.name, equation=a["equation"])


def _attention(w: Writer, n: fx.Node, a: Args) -> Names:
    """Write `softmax(q k^T / sqrt(d) + mask) v`."""
    query, key, value = a["query"], a["key"], a["value"]
    heads = [w.dims(x)[:-2] for x in (query, key)]
    if a.get("enable_gqa") and heads[0] != heads[1]:
        raise Unwritten("attention whose heads share keys")
    rank, width = w.rank(key), w.dims(query)[-1]
    assert width is not None
    scale = a["scale"] if a["scale"] is not None else 1 / math.sqrt(width)
    turned = w.emit("Transpose", [w.name(key)], perm=[*range(rank - 2), rank - 1, rank - 2])
    scaled = w.emit("Mul", [w.name(query), w.name(float(scale), torch.float32)])
    scores = w.emit("MatMul", [scaled, turned])
    mask = _mask(w, a, w.dims(query)[-2], w.dims(key)[-2])
    scores = scores if mask is None else w.emit("Add", [scores, mask])
    return w.emit("MatMul", [w.emit("Softmax", [scores], axis=-1), w.name(value)], n.name)


def _mask(w: Writer, a: Args, rows: int | None, columns: int | None) -> str | None:
    """Return what is added to the scores: 0 where a row may look, minus infinity elsewhere."""
    if a["is_causal"]:
        if rows is None or columns is None:
            raise Unwritten("causal attention over a free length")
        blocked = torch.ones(rows, columns).tril() == 0
        return w.constant(torch.zeros(rows, columns).masked_fill(blocked, -math.inf))
    if a["attn_mask"] is None:
        return None
    if w.dtype(a["attn_mask"]) != torch.bool:
        return w.name(a["attn_mask"])
    ends = [w.name(v, torch.float32) for v in (0.0, -math.inf)]
    return w.emit("Where", [w.name(a["attn_mask"]), *ends])


GATES = {"LSTM": (4, (0, 3, 1, 2)), "GRU": (3, (1, 0, 2)), "RNN": (1, (0,))}
"""How many gates a cell has, and where torch keeps each in the order that ONNX lists them."""


def _recurrent(op: str, **attributes: Any) -> Rule:
    """Return the rule of a recurrent network of several layers and directions."""

    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        states = a["hx"] if isinstance(a["hx"], list | tuple) else [a["hx"]]
        params: list[Tensor] = [w.fixed(p).detach() for p in a["params"]]
        directions = 2 if a["bidirectional"] else 1
        each = 4 if a["has_biases"] else 2
        hidden = params[1].shape[1]
        if len(params) != each * directions * a["num_layers"]:
            raise Unwritten("a recurrent layer with projections")
        x = w.name(a["input"])
        x = w.emit("Transpose", [x], perm=[1, 0, 2]) if a["batch_first"] else x
        way = "bidirectional" if directions == 2 else "forward"
        ends: list[list[str]] = [[] for _ in states]
        for layer in range(a["num_layers"]):
            own = params[each * directions * layer :][: each * directions]
            weights = [w.constant(t) for t in _cells(op, own, each, hidden)]
            first = [_state(w, s, directions * layer, directions * a["num_layers"], directions) for s in states]
            wanted = ["y", "h", "c"][: 1 + len(states)]
            cell = {"hidden_size": hidden, "direction": way, **attributes}
            if op == "RNN":
                cell["activations"] = [attributes["activations"][0]] * directions
            y, *last = w.emit_several(op, [x, *weights, "", *first], wanted, **cell)
            for kept, one in zip(ends, last, strict=True):
                kept.append(one)
            x = _steps(w, y, directions)
        y = w.emit("Transpose", [x], n.name, perm=[1, 0, 2]) if a["batch_first"] else x
        return y, *(kept[0] if len(kept) == 1 else w.emit("Concat", kept, axis=0) for kept in ends)

    return rule


def _cells(op: str, params: list[Tensor], each: int, hidden: int) -> list[Tensor]:
    """Return input weights, recurrent weights and biases, one row a direction, their gates in ONNX's order."""
    gates, order = GATES[op]

    def turned(t: Tensor) -> Tensor:
        return torch.cat([t.reshape(gates, hidden, -1)[i] for i in order])

    found = []
    for start in range(0, len(params), each):
        inputs, states = (turned(t) for t in params[start : start + 2])
        given = params[start + 2 : start + each] or [torch.zeros(gates * hidden)] * 2
        found.append((inputs, states, torch.cat([turned(b).flatten() for b in given])))
    return [torch.stack(part) for part in zip(*found, strict=True)]


def _state(w: Writer, state: fx.Node, start: int, count: int, directions: int) -> str:
    """Return the first state of a layer, all zeros where it is left out."""
    known = w.trace.values[state][0]
    if str(state.target) in ("aten.zeros.default", "aten.new_zeros.default") and not known.any():
        return ""
    if count == directions:
        return w.name(state)
    return w.emit("Slice", [w.name(state), *map(w.vector, ([start], [start + directions], [0]))])


def _steps(w: Writer, y: str, directions: int) -> str:
    """Return (steps, batch, features) of ONNX's (steps, directions, batch, features)."""
    if directions == 1:
        return w.emit("Squeeze", [y, w.vector([1])])
    return w.emit("Reshape", [w.emit("Transpose", [y], perm=[0, 2, 1, 3]), w.vector([0, 0, -1])])


ROWS: dict[str, Rule] = {
    "linear": _linear,
    "matmul": _product("self", "other"),
    "mm": _product("self", "mat2"),
    "bmm": _product("self", "mat2"),
    "addmm": _added("mat1", "mat2"),
    "baddbmm": _added("batch1", "batch2"),
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    "lstm": _recurrent("LSTM"),
    "gru": _recurrent("GRU", linear_before_reset=1),
    "rnn_tanh": _recurrent("RNN", activations=["Tanh"]),
    "rnn_relu": _recurrent("RNN", activations=["Relu"]),
}
