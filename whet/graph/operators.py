"""The operator table: how the labels of an operator's output follow from those of its inputs.

One row an operator. A rule is `rule(call) -> labels of the output`; it unifies and freezes as it needs. A row
may add a rewrite, which adapts the node's literal arguments after a cut. Rows of operators that move, pick or write
elements, and of those that transform signals, are in `operators_shape.py`, `operators_index.py`, `operators_write.py`
and `operators_signal.py`; recurrent layers are in `operators_recurrent.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from whet.graph.labels import Dim
from whet.graph.operators_index import INDEX_ROWS
from whet.graph.operators_recurrent import RECURRENT_ROWS
from whet.graph.operators_shape import SHAPE_ROWS
from whet.graph.operators_signal import SIGNAL_ROWS
from whet.graph.operators_write import WRITE_ROWS
from whet.graph.rows import Call, Dims, Edit, Row, Value, operator_name


def pointwise(call: Call) -> Value:
    """Elementwise with broadcasting: dimensions of equal size unify, those of size one tie nothing."""
    return call.broadcast(list(call.tensors()))


def convolve(call: Call, transposed: bool) -> Dims:
    """in = groups x inner, out = groups x outer; a transposed weight is (in, out / groups, ...)."""
    labels, groups = call.labels, call["groups"]
    x, w, bias = call.dims("input"), call.dims("weight"), call.maybe("bias")
    labels.freeze(*x[2:], *w[2:])
    if groups == 1:
        labels.unify(w[0 if transposed else 1], x[1])
        out = w[1 if transposed else 0]
    elif transposed:
        labels.unify(w[0], x[1])
        group, _ = labels.reshape([x[1]], (groups, len(x[1]) // groups))
        [out] = labels.reshape([group, w[1]], (groups * len(w[1]),))
    else:
        group, inner = labels.reshape([x[1]], (groups, len(x[1]) // groups))
        labels.unify(w[1], inner)
        labels.unify(labels.reshape([w[0]], (groups, len(w[0]) // groups))[0], group)
        out = w[0]
    if 1 < groups < len(x[1]):
        call.mark("groups", labels.reshape([x[1]], (groups, len(x[1]) // groups))[0])
    if bias is not None:
        labels.unify(out, bias[0])
    return [x[0], out, *call.opaque(2)]


def linear(call: Call) -> Value:
    """x W^T + b: inputs tie the weight's columns, outputs are its rows."""
    x, weight, bias = call.dims("input"), call.dims("weight"), call.maybe("bias")
    call.labels.unify(weight[1], x[-1])
    if bias is not None:
        call.labels.unify(weight[0], bias[0])
    return [*x[:-1], weight[0]]


def contract(call: Call, operands: Sequence[tuple[str, Dims]], out: str) -> Dims:
    """Einstein summation: a letter's dimensions unify, the output takes its letters' labels."""
    for dims in call.parameters():
        if len(dims) == 3:
            call.mark("experts", dims[0])
    seen: dict[str, Dim] = {}
    for letters, dims in operands:
        for letter, dim in zip(letters, dims, strict=True):
            if letter not in seen or len(seen[letter]) == 1:
                seen[letter] = dim
            elif len(dim) > 1:
                call.labels.unify(seen[letter], dim)
    return [seen[letter] for letter in out]


BATCH = "abcdefghij"


def multiply(call: Call, x: Dims, y: Dims) -> Dims:
    """`torch.matmul`: (..., m, k) with (..., k, n); vectors lose their dimension."""
    left = BATCH[-(len(x) - 2) :] + "MK" if len(x) > 2 else "MK"[-len(x) :]
    right = BATCH[-(len(y) - 2) :] + "KN" if len(y) > 2 else "KN"[: len(y)]
    batch = max(left[:-2], right[:-2], key=len)
    batched = len(x) > 2 and len(y) > 2 and not list(call.parameters())
    if batched and (len(x) > 3 or not call.labels.frozen(x[0])):
        call.mark("heads", *x[:-2], *y[:-2])
        call.mark("head_dim", x[-1], y[-1])
    out = batch + ("M" if "M" in left else "") + ("N" if "N" in right else "")
    return contract(call, [(left, x), (right, y)], out)


def matmul(first: str, second: str, bias: str | None = None) -> Callable[[Call], Value]:
    """Return the rule of a matrix product of two named arguments, plus a bias that broadcasts."""

    def rule(call: Call) -> Value:
        out = multiply(call, call.dims(first), call.dims(second))
        return out if bias is None else call.broadcast([out, call.dims(bias)])

    return rule


def einsum(call: Call) -> Value:
    """An equation with an arrow and without an ellipsis: equal letters stand and fall together."""
    equation = str(call["equation"]).replace(" ", "")
    operands = call.list_dims("tensors")
    if "." in equation or "->" not in equation:
        return call.unknown("an equation without '->' or with '...' has no rule")
    left, out = equation.split("->")
    return contract(call, list(zip(left.split(","), operands, strict=True)), out)


def attention(call: Call) -> Value:
    """Scaled dot-product attention: softmax freezes the keys' positions, heads and features stay free."""
    labels = call.labels
    q, k, v, mask = call.dims("query"), call.dims("key"), call.dims("value"), call.maybe("attn_mask")
    labels.freeze(k[-2], v[-2])
    if call["is_causal"]:
        labels.freeze(q[-2])
    if call["enable_gqa"] and len(q[-3]) != len(k[-3]):
        shared, _ = labels.reshape([q[-3]], (len(k[-3]), len(q[-3]) // len(k[-3])))
        labels.unify(shared, k[-3], v[-3])
        k, v = [*k[:-3], q[-3], *k[-2:]], [*v[:-3], q[-3], *v[-2:]]
    batch = BATCH[-(len(q) - 2) :]
    operands = [(batch + "LE", q), (batch + "SE", k), (batch + "SV", v)]
    if mask is not None:
        operands.append(((batch + "LS")[-len(mask) :], mask))
    out = contract(call, operands, batch + "LV")
    call.mark("heads", *out[:-2])
    call.mark("head_dim", q[-1], out[-1])
    return out


def keep_attention_scale(edit: Edit) -> None:
    """Write the implicit scale 1/sqrt(features) down, so that it does not change with the features."""
    if edit["scale"] is None and edit.changed(edit.dims("query")[-1]):
        edit.set("scale", len(edit.dims("query")[-1]) ** -0.5)


def normalize_last(call: Call) -> Value:
    """Statistics over the trailing dimensions, taken over what is kept of them."""
    x = call.dims("input")
    for name in ("weight", "bias"):
        affine = call.maybe(name) or []
        for mine, theirs in zip(x[len(x) - len(affine) :], affine, strict=True):
            call.labels.unify(mine, theirs)
    return x


def normalize_groups(call: Call) -> Value:
    """Group norm: channels fall in whole groups, and scale and shift with them."""
    x, groups = call.dims("input"), call["num_groups"]
    group, _ = call.labels.reshape([x[1]], (groups, len(x[1]) // groups))
    if groups > 1:
        call.mark("groups", group)
    return per_channel(call)


def per_channel(call: Call) -> Value:
    """Statistics and affine parameters of one number a channel, channels in dimension 1."""
    x = call.dims("input")
    for name in ("weight", "bias", "running_mean", "running_var"):
        affine = call.maybe(name)
        if affine is not None and len(affine[0]) > 1:
            call.labels.unify(x[1], affine[0])
    return x


def spatial(call: Call) -> Value:
    """Pooling and resampling: the trailing dimensions that change size are positions, the rest passes."""
    x = call.first
    rank = int(next(c for c in call.name if c.isdigit()))
    call.labels.freeze(*x[-rank:])
    return call.each_output(lambda shape: [*x[: len(shape) - rank], *call.opaque(len(shape) - rank, shape)])


def chosen(given: Any, rank: int) -> list[int]:
    """Return the dimensions that an argument names: one, several, or by None or an empty list all."""
    if isinstance(given, int):
        return [given] if rank else []
    return list(given or range(rank))


def reduce(freezes: bool) -> Callable[[Call], Value]:
    """Reductions over `dim`: averages and sums run over the kept elements, extrema freeze what they read."""

    def rule(call: Call) -> Value:
        x, rank = call.first, len(call.first)
        over = {d % rank for d in chosen(call.get("dim"), rank)}
        if freezes:
            call.labels.freeze(*[x[d] for d in over])
        gone = [d if i not in over else None for i, d in enumerate(x)]

        def place(shape: torch.Size) -> Dims:
            if len(shape) == rank:
                return [call.zeros(1) if d is None else d for d in gone]
            return [d for d in gone if d is not None]

        return call.each_output(place)

    return rule


def vector_norm(call: Call) -> Value:
    """A sum of powers, in which zeros count for nothing; other orders freeze what they read."""
    order = call.get("ord", call.get("p"))
    order = 2 if order is None else order
    return reduce(not (isinstance(order, (int, float)) and 0 < order < float("inf")))(call)


def weight_norm(call: Call) -> Value:
    """w = g v / |v|, the norm over all dimensions but `dim`."""
    v, g, axis = call.dims("v"), call.dims("g"), call["dim"]
    call.labels.unify(v[axis], g[axis])
    return v


def gated(call: Call) -> Value:
    """The first half of a dimension, gated by the second."""
    out, axis = list(call.first), call["dim"]
    half = len(out[axis]) // 2
    out[axis] = call.labels.unify(out[axis][:half], out[axis][half:])
    return out


def grouped_matmul(call: Call) -> Value:
    """Rows (tokens) sorted by expert times the weight (experts, in, out) of each: experts and rows are frozen."""
    x, weight, *rest = call.tensors()
    if len(x) != 2 or len(weight) != 3:
        return call.unknown("only (tokens, in) by (experts, in, out) has a rule")
    call.labels.freeze(x[0], weight[0], *[dim for dims in rest for dim in dims])
    call.labels.unify(weight[1], x[1])
    return [x[0], weight[2]]


def along(call: Call) -> Value:
    """Operators in which all elements along `dim` meet: those are frozen, the others pass."""
    x = call.first
    call.labels.freeze(*[x[d] for d in chosen(call.get("dim", call.get("dims", -1)), len(x))])

    def place(shape: torch.Size) -> Dims:
        return [d if len(d) == n else call.zeros(n) for d, n in zip(x, shape, strict=True)]

    return call.each_output(place)


def embedding(call: Call) -> Value:
    """Rows of a table: which row is data, so that rows are frozen; columns pass."""
    weight = call.dims("weight")
    call.labels.freeze(weight[0], *(call.maybe("indices") or call.maybe("input") or []))
    return [*call.opaque(0, call.shape[:-1]), weight[1]]


def prelu(call: Call) -> Value:
    """One slope for all, or one a channel, which goes with its channel."""
    x, weight = call.dims("self"), call.dims("weight")
    if len(weight[0]) > 1:
        call.labels.unify(x[1], weight[0])
    return x


def same(call: Call) -> Value:
    """The labels of the first tensor; a softmax, like an average, runs over the elements that are left."""
    return call.first


def nothing(call: Call) -> Value:
    """Return no labels: what the operator gives is no tensor."""
    return None


def read_size(call: Call) -> Value:
    """A size that the graph computes with is taken as it is: its dimension stays."""
    x = call.first
    call.labels.freeze(x[call["dim"]])
    return None


def by_value(call: Call) -> Value:
    """The result depends on the values of all elements: everything is frozen, and that is no omission."""
    return call.freeze_all()


def _rows(rule: Callable[[Call], Value], names: str, rewrite: Callable[[Edit], None] | None = None) -> dict[str, Row]:
    return {name: Row(rule, rewrite) for name in names.split()}


def set_groups(edit: Edit) -> None:
    """Give a grouped convolution called as a function the number of groups that are left."""
    x, groups = edit.dims("input"), edit["groups"]
    if groups > 1:
        edit.set("groups", edit.kept_groups(x[1], groups))


def set_num_groups(edit: Edit) -> None:
    """Write how many groups are left."""
    edit.set("num_groups", edit.kept_groups(edit.dims("input")[1], edit["num_groups"]))


def set_normalized_shape(edit: Edit) -> None:
    """Write the sizes that are left of the normalised dimensions."""
    count = len(edit["normalized_shape"])
    edit.set("normalized_shape", [edit.kept(dim) for dim in edit.dims("input")[-count:]])


ROWS: dict[str, Row] = {
    **_rows(lambda call: convolve(call, False), "conv1d conv2d conv3d", set_groups),
    **_rows(lambda call: convolve(call, True), " ".join(f"conv_transpose{n}d" for n in (1, 2, 3)), set_groups),
    **_rows(linear, "linear"),
    **_rows(matmul("self", "other"), "matmul"),
    **_rows(matmul("self", "mat2"), "bmm mm"),
    **_rows(matmul("mat1", "mat2", "self"), "addmm"),
    **_rows(matmul("batch1", "batch2", "self"), "baddbmm"),
    **_rows(einsum, "einsum"),
    **_rows(attention, "scaled_dot_product_attention", keep_attention_scale),
    **_rows(normalize_last, "layer_norm rms_norm", set_normalized_shape),
    **_rows(normalize_groups, "group_norm", set_num_groups),
    **_rows(per_channel, "batch_norm instance_norm"),
    **_rows(
        spatial,
        "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool2d_with_indices"
        " adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d"
        " adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"
        " upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d upsample_bicubic2d"
        " _upsample_nearest_exact2d reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d",
    ),
    **_rows(reduce(False), "mean sum var std var_mean std_mean"),
    **_rows(vector_norm, "linalg_vector_norm norm"),
    **_rows(weight_norm, "_weight_norm"),
    **_rows(gated, "glu"),
    **_rows(grouped_matmul, "_grouped_mm grouped_mm grouped_mm_fallback"),
    **_rows(pointwise, "where copy expand_as min.other max.other __and__ __or__ __xor__ floor_divide masked_fill"),
    **_rows(reduce(True), "amax amin max min argmax argmin prod logsumexp any all median"),
    **_rows(along, "cumsum cumprod logcumsumexp sort argsort topk roll diff"),
    **_rows(embedding, "embedding"),
    **_rows(prelu, "prelu"),
    **_rows(
        same,
        " softmax _softmax log_softmax _log_softmax"
        " clone contiguous detach alias dropout feature_dropout alpha_dropout to _to_copy lift_fresh_copy"
        " lift_fresh type_as hardswish hardsigmoid relu6 selu softplus log_sigmoid logsigmoid mish"
        " fill zero real imag conj _conj resolve_conj resolve_neg conj_physical"
        " zeros_like ones_like full_like rand_like randn_like empty_like bernoulli",
    ),
    **_rows(nothing, "_assert_tensor_metadata _assert_scalar _assert_async sym_constrain_range_for_size"),
    **_rows(read_size, "sym_size size"),
    **_rows(by_value, "arange linspace eye scalar_tensor nonzero item _local_scalar_dense one_hot"),
    **SHAPE_ROWS,
    **INDEX_ROWS,
    **WRITE_ROWS,
    **SIGNAL_ROWS,
    **RECURRENT_ROWS,
}


def row_of(target: Any) -> Row | None:
    """Return the row for a graph target; every operator that torch tags as pointwise has one."""
    name = operator_name(target)
    overload = getattr(target, "_overloadname", "")
    row = ROWS.get(f"{name}.{overload}") or ROWS.get(name) or ROWS.get(name.rstrip("_"))
    if row is None and isinstance(target, torch._ops.OpOverload) and torch.Tag.pointwise in target.tags:
        return Row(pointwise)
    return row
