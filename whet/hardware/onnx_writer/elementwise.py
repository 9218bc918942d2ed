"""Rows of operators that work element by element, and of reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from whet.graph.layers import Args
from whet.hardware.onnx_writer.writer import DTYPES, Names, Unwritten, Writer

Rule = Callable[[Writer, fx.Node, Args], Names]


def unary(op: str, **attributes: Any) -> Rule:
    """Return a rule for one operator of the first argument alone, cast to the type of the result."""

    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        (given,) = (v for v in list(a.values())[:1])
        return w.emit(op, [w.name(given, w.dtype(n))], n.name, **attributes)

    return rule


def _chain(*steps: str) -> Rule:
    """Return the rule of several nodes in a row, without attributes."""

    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        name = w.name(a["self"], w.dtype(n))
        for op in steps:
            name = w.emit(op, [name], n.name)
        return name

    return rule


def binary(op: str, left: str = "self", right: str = "other") -> Rule:
    """Return a rule for one operator of two arguments; where torch has `alpha`, the second is first multiplied."""

    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        other, kind = a[right], w.dtype(n)
        second = w.name(other, kind)
        if a.get("alpha", 1) != 1:
            second = w.emit("Mul", [second, w.name(a["alpha"], kind)])
        return w.emit(op, [w.name(a[left], kind), second], n.name)

    return rule


def _divided(w: Writer, n: fx.Node, a: Args) -> Names:
    if a.get("rounding_mode") is not None:
        raise Unwritten("a division that rounds")
    return binary("Div")(w, n, a)


def compare(op: str, turned: bool = False) -> Rule:
    """Return a rule for a comparison in the type that both arguments promote to; `turned` negates it."""

    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        kind = _promoted(w, a["self"], a["other"])
        made = w.emit(op, [w.name(a["self"], kind), w.name(a["other"], kind)], n.name)
        return w.emit("Not", [made], n.name) if turned else made

    return rule


def _promoted(w: Writer, *values: Any) -> torch.dtype:
    """Return the type in which torch compares values: a number takes that of a tensor of its kind."""
    known = [w.trace.values[v][0] if isinstance(v, fx.Node) else v for v in values]
    return torch.result_type(*known)


def logical(op: str) -> Rule:
    """Return a rule for an operator of truth values; bits of whole numbers, which torch calls the same, are refused."""

    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        if w.dtype(n) != torch.bool:
            raise Unwritten("bits of whole numbers")
        return w.emit(op, [w.name(v, torch.bool) for v in (a["self"], a["other"])], n.name)

    return rule


def _inverted(w: Writer, n: fx.Node, a: Args) -> Names:
    return w.emit("Not", [w.name(a["self"], torch.bool)], n.name)


def _gelu(w: Writer, n: fx.Node, a: Args) -> Names:
    return w.emit("Gelu", [w.name(a["self"])], n.name, approximate=a["approximate"])


def _silu(w: Writer, n: fx.Node, a: Args) -> Names:
    x = w.name(a["self"])
    return w.emit("Mul", [x, w.emit("Sigmoid", [x])], n.name)


def _clipped(low: Any, high: Any) -> Rule:
    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        return _clip(w, n, a["self"], low(a), high(a))

    return rule


def _clip(w: Writer, n: fx.Node, x: Any, low: Any, high: Any) -> Names:
    kind = w.dtype(n)
    ends = ["" if v is None else w.name(v, kind) for v in (low, high)]
    return w.emit("Clip", [w.name(x, kind), *(ends if ends[1] else ends[:1])], n.name)


def _clamp(w: Writer, n: fx.Node, a: Args) -> Names:
    if any(isinstance(a[key], fx.Node) for key in ("min", "max")):
        raise Unwritten("bounds that are tensors")
    return _clip(w, n, a["self"], a["min"], a["max"])


def _leaky(w: Writer, n: fx.Node, a: Args) -> Names:
    return w.emit("LeakyRelu", [w.name(a["self"])], n.name, alpha=float(a["negative_slope"]))


def _elu(w: Writer, n: fx.Node, a: Args) -> Names:
    if a["scale"] != 1 or a["input_scale"] != 1:
        raise Unwritten("a scaled exponential unit with other constants")
    return w.emit("Elu", [w.name(a["self"])], n.name, alpha=float(a["alpha"]))


def _softplus(w: Writer, n: fx.Node, a: Args) -> Names:
    if a["beta"] != 1:
        raise Unwritten("softplus with another beta")
    return w.emit("Softplus", [w.name(a["self"])], n.name)


def _prelu(w: Writer, n: fx.Node, a: Args) -> Names:
    slope: Tensor = w.fixed(a["weight"])
    wide = slope.detach().reshape(-1, *[1] * max(w.rank(n) - 2, 0)) if slope.numel() > 1 else slope
    return w.emit("PRelu", [w.name(a["self"]), w.constant(wide)], n.name)


def _power(w: Writer, n: fx.Node, a: Args) -> Names:
    kind, exponent = w.dtype(n), a["exponent"]
    x = w.name(a["self"], kind)
    if not isinstance(exponent, fx.Node) and exponent == 2:
        return w.emit("Mul", [x, x], n.name)
    if not isinstance(exponent, fx.Node) and exponent == 0.5:
        return w.emit("Sqrt", [x], n.name)
    return w.emit("Pow", [x, w.name(exponent, kind)], n.name)


def _square(w: Writer, n: fx.Node, a: Args) -> Names:
    x = w.name(a["self"])
    return w.emit("Mul", [x, x], n.name)


def _from(w: Writer, n: fx.Node, a: Args) -> Names:
    """Write `other - self`, with its factor."""
    kind = w.dtype(n)
    x = w.name(a["self"], kind)
    if a["alpha"] != 1:
        x = w.emit("Mul", [x, w.name(a["alpha"], kind)])
    return w.emit("Sub", [w.name(a["other"], kind), x], n.name)


def _where(w: Writer, n: fx.Node, a: Args) -> Names:
    kind = w.dtype(n)
    return w.emit("Where", [w.name(a["condition"]), *(w.name(a[k], kind) for k in ("self", "other"))], n.name)


def _filled(w: Writer, n: fx.Node, a: Args) -> Names:
    kind = w.dtype(n)
    return w.emit("Where", [w.name(a["mask"]), w.name(a["value"], kind), w.name(a["self"], kind)], n.name)


def _cast(w: Writer, n: fx.Node, a: Args) -> Names:
    if w.dtype(n) not in DTYPES:
        raise Unwritten(f"a tensor of {w.dtype(n)}")
    return w.name(a["self"], w.dtype(n))


def same(w: Writer, n: fx.Node, a: Args) -> Names:
    """Write nothing: the output is the first argument."""
    return w.name(next(iter(a.values())))


def _glu(w: Writer, n: fx.Node, a: Args) -> Names:
    left, right = w.emit_several("Split", [w.name(a["self"])], ["left", "right"], axis=a["dim"], num_outputs=2)
    return w.emit("Mul", [left, w.emit("Sigmoid", [right])], n.name)


# -- reductions ----------------------------------------------------------------------------------------------------


def axes_of(w: Writer, source: fx.Node, dim: Any) -> list[int]:
    """Return the dimensions that a reduction runs over, all of them where none is named."""
    rank = w.rank(source)
    named = range(rank) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    return [int(d) % rank for d in named]


def reduced(op: str) -> Rule:
    """Return a rule for an operator that reduces axes: those of `dim`, or all where it is not given."""

    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        axes = w.vector(axes_of(w, a["self"], a.get("dim")))
        return w.emit(op, [w.name(a["self"], w.dtype(n)), axes], n.name, keepdims=int(a.get("keepdim", False)))

    return rule


def _norm(w: Writer, n: fx.Node, a: Args) -> Names:
    order = a.get("ord", a.get("p", 2))
    if order not in (1, 2, None):
        raise Unwritten(f"a norm of order {order}")
    return reduced("ReduceL1" if order == 1 else "ReduceL2")(w, n, a)


def _variance(w: Writer, n: fx.Node, a: Args) -> Names:
    x, axes = w.name(a["self"]), axes_of(w, a["self"], a.get("dim"))
    lengths = [w.dims(a["self"])[i] for i in axes]
    correction = a.get("correction", 1 if a.get("unbiased", True) else 0)
    correction = 1 if correction is None else correction
    if None in lengths:
        raise Unwritten("a variance over a free length")
    count = float(torch.tensor(lengths).prod())
    centred = w.emit("Sub", [x, w.emit("ReduceMean", [x, w.vector(axes)], keepdims=1)])
    keep = int(a.get("keepdim", False))
    mean = w.emit("ReduceMean", [w.emit("Mul", [centred, centred]), w.vector(axes)], n.name, keepdims=keep)
    return w.emit("Mul", [mean, w.name(count / (count - correction), w.dtype(n))], n.name) if correction else mean


def _largest(op: str, arg: str) -> Rule:
    """Return the rule of a largest or smallest value along a dimension, with its place."""

    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        x, keep = w.name(a["self"]), int(a["keepdim"])
        value = w.emit(op, [x, w.vector(axes_of(w, a["self"], a["dim"]))], n.name, keepdims=keep)
        read = {u.args[1] for u in n.users}
        return value, w.emit(arg, [x], f"{n.name}_at", axis=a["dim"], keepdims=keep) if 1 in read else ""

    return rule


def _position(op: str) -> Rule:
    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        if a["dim"] is None:
            raise Unwritten("the place of the largest of all")
        return w.emit(op, [w.name(a["self"])], n.name, axis=a["dim"], keepdims=int(a["keepdim"]))

    return rule


def _softmax(op: str) -> Rule:
    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        return w.emit(op, [w.name(a["self"], w.dtype(n))], n.name, axis=a["dim"])

    return rule


def _running_sum(w: Writer, n: fx.Node, a: Args) -> Names:
    axis = w.constant(torch.tensor(int(a["dim"])))
    return w.emit("CumSum", [w.name(a["self"], w.dtype(n)), axis], n.name)


PLAIN = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "neg": "Neg",
    "abs": "Abs", "sin": "Sin", "cos": "Cos", "erf": "Erf", "floor": "Floor", "ceil": "Ceil", "round": "Round",
    "hardswish": "HardSwish", "reciprocal": "Reciprocal", "sign": "Sign", "mish": "Mish", "atan": "Atan",
}  # fmt: skip
ROWS: dict[str, Rule] = {
    **{name: unary(op) for name, op in PLAIN.items()},
    **{name: binary(op) for name, op in (("add", "Add"), ("sub", "Sub"), ("mul", "Mul"))},
    **{name: compare(op) for name, op in (("eq", "Equal"), ("lt", "Less"), ("gt", "Greater"))},
    **{name: compare(op) for name, op in (("le", "LessOrEqual"), ("ge", "GreaterOrEqual"))},
    **{name: logical(op) for name, op in (("logical_and", "And"), ("logical_or", "Or"), ("logical_xor", "Xor"))},
    **{name: logical(op) for name, op in (("__and__", "And"), ("__or__", "Or"))},
    **{name: logical(op) for name, op in (("bitwise_and", "And"), ("bitwise_or", "Or"))},
    **{name: binary(op) for name, op in (("maximum", "Max"), ("minimum", "Min"))},
    **dict.fromkeys(("contiguous", "clone", "detach", "alias", "lift_fresh_copy", "dropout", "feature_dropout"), same),
    **dict.fromkeys(("to", "_to_copy", "type_as", "float"), _cast),
    **{name: reduced(op) for name, op in (("mean", "ReduceMean"), ("sum", "ReduceSum"))},
    **{name: reduced(op) for name, op in (("amax", "ReduceMax"), ("amin", "ReduceMin"))},
    **dict.fromkeys(("linalg_vector_norm", "norm"), _norm),
    "logsumexp": reduced("ReduceLogSumExp"),
    "ne": compare("Equal", turned=True),
    "div": _divided,
    "rsub": _from,
    "rsqrt": _chain("Sqrt", "Reciprocal"),
    "square": _square,
    "pow": _power,
    "logical_not": _inverted,
    "bitwise_not": _inverted,
    "gelu": _gelu,
    "silu": _silu,
    "relu6": _clipped(lambda a: 0.0, lambda a: 6.0),
    "hardtanh": _clipped(lambda a: a["min_val"], lambda a: a["max_val"]),
    "hardsigmoid": unary("HardSigmoid", alpha=1 / 6, beta=0.5),
    "clamp": _clamp,
    "clamp_min": _clipped(lambda a: a["min"], lambda a: None),
    "clamp_max": _clipped(lambda a: None, lambda a: a["max"]),
    "leaky_relu": _leaky,
    "elu": _elu,
    "selu": unary("Selu"),
    "softplus": _softplus,
    "prelu": _prelu,
    "where": _where,
    "masked_fill": _filled,
    "glu": _glu,
    "var": _variance,
    "max": _largest("ReduceMax", "ArgMax"),
    "min": _largest("ReduceMin", "ArgMin"),
    "argmax": _position("ArgMax"),
    "argmin": _position("ArgMin"),
    "softmax": _softmax("Softmax"),
    "log_softmax": _softmax("LogSoftmax"),
    "cumsum": _running_sum,
}
"""What is written for an operator, by its name without overload; rules raise `Unwritten` for uses that they lack."""
