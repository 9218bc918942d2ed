"""Rows of layers: convolutions, norms, pooling, embeddings and what quantization puts into a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from whet.graph.fake_quantize import (
    ACTIVATION_MAX,
    ACTIVATION_MIDDLE,
    ActivationQuantizer,
    DynamicLinear,
    IntegerWeight,
    QuantizedConv1d,
    QuantizedConv2d,
    QuantizedEmbedding,
    QuantizedLinear,
)
from whet.graph.grids import INT8
from whet.graph.layers import Args
from whet.hardware.onnx_writer.elementwise import Rule
from whet.hardware.onnx_writer.groups import groups, multiplied_groups, of_points, stored_bits, stored_name
from whet.hardware.onnx_writer.products import linear
from whet.hardware.onnx_writer.writer import Names, Unwritten, Writer, pads, spread

LayerRule = Callable[[Writer, fx.Node, Any], Names]


# -- convolutions and linear layers --------------------------------------------------------------------------------


def _window(kernel: list[int], stride: Any, padding: Any, dilation: Any, groups: int) -> dict[str, Any]:
    """Return a convolution's attributes, without those that ONNX takes to be so.

    'same' padding is spelled out, the odd element at the end.
    """
    rank = len(kernel)
    dilations = spread(dilation, rank)
    if padding == "same":
        whole = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        around = [p // 2 for p in whole] + [p - p // 2 for p in whole]
    else:
        around = pads([0] * rank if padding == "valid" else spread(padding, rank))
    ones, strides = [1] * rank, spread(stride, rank)
    return {
        "kernel_shape": kernel, "strides": strides if strides != ones else None,
        "dilations": dilations if dilations != ones else None, "pads": around if any(around) else None,
        "group": groups if groups > 1 else None,
    }  # fmt: skip


def _convolution(op: str) -> LayerRule:
    def rule(w: Writer, n: fx.Node, layer: Any) -> Names:
        if layer.padding_mode != "zeros":
            raise Unwritten(f"padding by '{layer.padding_mode}'")
        kernel = list(layer.weight.shape[2:])
        window = _window(kernel, layer.stride, layer.padding, layer.dilation, layer.groups)
        if op == "ConvTranspose":
            window["output_padding"] = list(layer.output_padding)
        given = [w.name(n.args[0]), _weight(w, n, layer)]
        given += [w.constant(layer.bias)] if layer.bias is not None else []
        return w.emit(op, given, n.name, **window)

    return rule


def _convolved(op: str) -> Rule:
    """Return the rule of a convolution whose weight is no layer's."""

    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        shape = w.dims(a["weight"])[2:] if isinstance(a["weight"], fx.Node) else []
        if None in shape:
            raise Unwritten("a convolution by a weight of a free size")
        kernel = [int(k or 0) for k in shape]
        window = _window(kernel, a["stride"], a["padding"], a["dilation"], a["groups"])
        if op == "ConvTranspose":
            window["output_padding"] = spread(a["output_padding"], len(kernel))
        given = [w.name(a["input"]), w.name(a["weight"]), *([w.name(a["bias"])] if a["bias"] is not None else [])]
        return w.emit(op, given, n.name, **window)

    return rule


def _linear(w: Writer, n: fx.Node, layer: Any) -> Names:
    matrix = w.rank(n) == 2
    weight = _weight(w, n, layer, turned=not matrix)
    bias = layer.bias
    if bias is not None and not matrix and isinstance(layer, IntegerWeight):
        bias = bias.detach().reshape(*[1] * (w.rank(n) - 1), -1)
    return linear(w, n, w.name(n.args[0]), weight, weight, bias)


def _weight(w: Writer, n: fx.Node, layer: Any, turned: bool = False) -> str:
    """Return the name of a layer's weight, transposed where asked; an integer one is stored as such.

    Where the layer multiplies integers, those of four bits are given as int8, which runtimes have kernels for.
    """
    site = str(n.target)
    weight: Tensor = layer.weight.detach()
    if not isinstance(layer, IntegerWeight):
        return w.constant(weight.t(), f"{site}.weight.t") if turned else w.constant(layer.weight)
    grid, scale = layer.grid, layer.weight_scale.detach()
    integers, group = grid.integers(weight, scale), grid.group_of(weight)
    multiplied = w.reads(n, ActivationQuantizer)
    if group < weight[0].numel():
        write = multiplied_groups if multiplied and grid.within else groups
        return write(w, site, layer, integers.flatten(1), scale.view(len(weight), -1), turned)
    bits = 8 if multiplied else stored_bits(grid)
    whole = integers.t() if turned else integers
    stored = of_points(w, site, whole) if grid.points else w.constant(whole, stored_name(site, grid), bits=bits)
    exact = grid.bits == 8 or multiplied
    zeros = [w.constant(layer.weight_zero_point.to(torch.int8), f"{site}.zero_point")] if exact else []
    return w.emit("DequantizeLinear", [stored, w.constant(scale), *zeros], axis=int(turned))


def _dynamic_linear(w: Writer, n: fx.Node, layer: DynamicLinear) -> Names:
    """Write a product of integers whose inputs get their scale and zero point in the runtime.

    ONNX Runtime makes one operation of these; layers that read the same tensor share its integers there.
    """
    parts = w.emit_several("DynamicQuantizeLinear", [w.name(n.args[0])], ["quantized", "scale", "zero_point"])
    scale = layer.weight_scale.detach()
    stored = w.constant(layer.grid.integers(layer.weight, scale).t(), f"{n.target}.weight.int8")
    product = w.emit("MatMulInteger", [parts[0], stored, parts[2]])
    factor = w.emit("Mul", [parts[1], w.constant(scale)])
    y = w.emit("Mul", [w.cast(product, torch.int32, torch.float32), factor], n.name)
    return y if layer.bias is None else w.emit("Add", [y, w.constant(layer.bias)], n.name)


def _quantizer(w: Writer, n: fx.Node, layer: ActivationQuantizer) -> Names:
    """Write a tensor on an 8-bit grid; one around the middle as signed integers around 0, which need no correction."""
    signed = int(layer.zero_point) == ACTIVATION_MIDDLE
    zero = torch.zeros((), dtype=torch.int8) if signed else layer.zero_point.to(torch.uint8)
    grid = [w.constant(layer.scale.detach()), w.constant(zero)]
    assert ACTIVATION_MAX == 255
    x = w.name(n.args[0])
    x = x if layer.factor is None else w.emit("Mul", [x, w.constant(layer.factor)])
    stored = w.emit("QuantizeLinear", [x, *grid])
    return w.emit("DequantizeLinear", [stored, *grid], n.name)


def _embedding(w: Writer, n: fx.Node, layer: Any) -> Names:
    if n.args[0] in w.trace.constants:  # positions: only the rows that are ever read
        return w.constant(layer.weight.detach()[w.fixed(n.args[0])], f"{n.target}.rows")
    return w.emit("Gather", [w.constant(layer.weight), w.name(n.args[0], torch.int64)], n.name, axis=0)


def _quantized_embedding(w: Writer, n: fx.Node, layer: Any) -> Names:
    """Write rows that are looked up as integers and scaled then: a runtime would dequantize the whole table at a time.

    Rows that are always the same are looked up here.
    """
    fixed, table = n.args[0] in w.trace.constants, layer.weight.detach()
    table = table[w.fixed(n.args[0])] if fixed else table
    rows = table.flatten(0, -2)
    scale = INT8.scale(rows)
    integers, scale = INT8.integers(rows, scale).view_as(table), scale.view(*table.shape[:-1], 1)
    parts = [w.constant(integers, f"{n.target}.weight.int8"), w.constant(scale, f"{n.target}.weight_scale")]
    if not fixed:
        index = w.name(n.args[0], torch.int64)
        parts = [w.emit("Gather", [part, index], axis=0) for part in parts]
    return w.emit("Mul", [w.cast(parts[0], torch.int8, torch.float32), parts[1]], n.name)


def _same(w: Writer, n: fx.Node, layer: Any) -> Names:
    return w.name(n.args[0])


# -- norms ---------------------------------------------------------------------------------------------------------


def _batch_norm(w: Writer, n: fx.Node, layer: Any) -> Names:
    if layer.running_mean is None:
        raise Unwritten("a batch norm without statistics")
    ones, zeros = torch.ones_like(layer.running_mean), torch.zeros_like(layer.running_mean)
    gain, shift = (layer.weight, layer.bias) if layer.affine else (ones, zeros)
    given = [w.name(n.args[0]), *map(w.constant, (gain, shift, layer.running_mean, layer.running_var))]
    return w.emit("BatchNormalization", given, n.name, epsilon=layer.eps)


Affine = Tensor | None


def layer_norm(w: Writer, n: fx.Node, x: str, shape: Any, gain: Affine, shift: Affine, eps: float) -> Names:
    """Write a norm over the last axes, `shape`; gain and shift have that shape, and no gain is written as ones."""
    scale = w.constant(gain if gain is not None else torch.ones(list(shape)))
    given = [x, scale, *([w.constant(shift)] if shift is not None else [])]
    return w.emit("LayerNormalization", given, n.name, axis=-len(shape), epsilon=eps)


def rms_norm(w: Writer, n: fx.Node, x: str, shape: Any, gain: Affine, eps: float | None) -> Names:
    """Write `x / sqrt(mean x^2 + eps)`, times the gain."""
    small = torch.finfo(torch.float32).eps if eps is None else eps
    mean = w.emit("ReduceMean", [w.emit("Mul", [x, x]), w.vector(range(-len(shape), 0))], keepdims=1)
    scale = w.emit("Reciprocal", [w.emit("Sqrt", [w.emit("Add", [mean, w.name(float(small), torch.float32)])])])
    y = w.emit("Mul", [x, scale], n.name)
    return y if gain is None else w.emit("Mul", [y, w.constant(gain)], n.name)


def group_norm(w: Writer, n: fx.Node, x: str, groups: int, gain: Affine, shift: Affine, eps: float) -> Names:
    """Write groups as the channels of an instance norm, then gain and shift of each channel."""
    flat = w.emit("Reshape", [x, w.vector([0, groups, -1])])
    grid = [w.constant(v) for v in (torch.ones(groups), torch.zeros(groups))]
    normed = w.emit("InstanceNormalization", [flat, *grid], epsilon=eps)
    if w.dims(n)[1:].count(None):
        raise Unwritten("a group norm over a free size")
    y = w.emit("Reshape", [normed, w.vector([-1 if d is None else d for d in w.dims(n)])])
    for op, part in (("Mul", gain), ("Add", shift)):
        if part is not None:
            wide = part.detach().reshape(-1, *[1] * (w.rank(n) - 2))
            y = w.emit(op, [y, w.constant(wide)], n.name)
    return y


def instance_norm(w: Writer, n: fx.Node, x: str, gain: Affine, shift: Affine, eps: float) -> Names:
    """Write a norm over each sample's channel; gain and shift `(channels,)`, where they are missing ones and zeros."""
    channels = w.dims(n)[1] or 0
    grid = torch.ones(channels), torch.zeros(channels)
    parts = [given if given is not None else own for given, own in zip((gain, shift), grid, strict=True)]
    return w.emit("InstanceNormalization", [x, *map(w.constant, parts)], n.name, epsilon=eps)


def _instance_layer(w: Writer, n: fx.Node, layer: Any) -> Names:
    if layer.running_mean is not None:
        raise Unwritten("an instance norm with statistics")
    return instance_norm(w, n, w.name(n.args[0]), layer.weight, layer.bias, layer.eps)


def _layer_normed(w: Writer, n: fx.Node, layer: Any) -> Names:
    return layer_norm(w, n, w.name(n.args[0]), layer.normalized_shape, layer.weight, layer.bias, layer.eps)


def _rms_normed(w: Writer, n: fx.Node, layer: Any) -> Names:
    return rms_norm(w, n, w.name(n.args[0]), layer.normalized_shape, layer.weight, layer.eps)


def _group_normed(w: Writer, n: fx.Node, layer: Any) -> Names:
    return group_norm(w, n, w.name(n.args[0]), layer.num_groups, layer.weight, layer.bias, layer.eps)


LAYERS: dict[type[nn.Module], LayerRule] = {
    **{kind: _convolution("Conv") for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d, QuantizedConv1d, QuantizedConv2d)},
    **{getattr(nn, f"ConvTranspose{n}d"): _convolution("ConvTranspose") for n in (1, 2, 3)},
    **{getattr(nn, f"BatchNorm{n}d"): _batch_norm for n in (1, 2, 3)},
    **{getattr(nn, f"InstanceNorm{n}d"): _instance_layer for n in (1, 2, 3)},
    **{getattr(nn, f"Dropout{n}"): _same for n in ("", "1d", "2d", "3d")},
    nn.Linear: _linear,
    QuantizedLinear: _linear,
    DynamicLinear: _dynamic_linear,
    nn.LayerNorm: _layer_normed,
    nn.RMSNorm: _rms_normed,
    nn.GroupNorm: _group_normed,
    nn.Embedding: _embedding,
    QuantizedEmbedding: _quantized_embedding,
    nn.Identity: _same,
    ActivationQuantizer: _quantizer,
}
"""What is written for a layer that a network calls, by its type."""


# -- the same as operators -----------------------------------------------------------------------------------------


def _fixed(w: Writer, a: Args, *keys: str) -> list[Any]:
    return [w.fixed(a[key]) for key in keys]


def _norm_operator(w: Writer, n: fx.Node, a: Args) -> Names:
    return layer_norm(w, n, w.name(a["input"]), a["normalized_shape"], *_fixed(w, a, "weight", "bias", "eps"))


def _rms_operator(w: Writer, n: fx.Node, a: Args) -> Names:
    return rms_norm(w, n, w.name(a["input"]), a["normalized_shape"], *_fixed(w, a, "weight", "eps"))


def _group_operator(w: Writer, n: fx.Node, a: Args) -> Names:
    return group_norm(w, n, w.name(a["input"]), a["num_groups"], *_fixed(w, a, "weight", "bias", "eps"))


def _instance_operator(w: Writer, n: fx.Node, a: Args) -> Names:
    if not a["use_input_stats"]:
        raise Unwritten("an instance norm with statistics")
    return instance_norm(w, n, w.name(a["input"]), *_fixed(w, a, "weight", "bias", "eps"))


def _batch_normed(w: Writer, n: fx.Node, a: Args) -> Names:
    known = [w.fixed(a[key]) for key in ("weight", "bias", "running_mean", "running_var")]
    if known[2] is None:
        raise Unwritten("a batch norm without statistics")
    known[0] = torch.ones_like(known[2]) if known[0] is None else known[0]
    known[1] = torch.zeros_like(known[2]) if known[1] is None else known[1]
    return w.emit("BatchNormalization", [w.name(a["input"]), *map(w.constant, known)], n.name, epsilon=a["eps"])


def _looked_up(w: Writer, n: fx.Node, a: Args) -> Names:
    return w.emit("Gather", [w.name(a["weight"]), w.name(a["indices"], torch.int64)], n.name, axis=0)


def _same_size(w: Writer, n: fx.Node, a: Args, rank: int) -> bool:
    """Say whether rounding up gives no other size than rounding down."""
    stride = spread(a["stride"] or a["kernel_size"], rank)
    kernel, around = spread(a["kernel_size"], rank), spread(a["padding"], rank)
    dilation = spread(a.get("dilation", 1), rank)
    old, new = w.dims(a["self"])[-rank:], w.dims(n)[-rank:]
    sizes = zip(old, new, stride, kernel, around, dilation, strict=True)
    return all(o is not None and (o + 2 * p - d * (k - 1) - 1) // s + 1 == m for o, m, s, k, p, d in sizes)


def _max_pool(w: Writer, n: fx.Node, a: Args) -> Names:
    rank = len(w.trace.values[a["self"]][0].shape) - 2
    stride = spread(a["stride"] or a["kernel_size"], rank)
    return w.emit(
        "MaxPool", [w.name(a["self"])], n.name, kernel_shape=spread(a["kernel_size"], rank), strides=stride,
        pads=pads(spread(a["padding"], rank)), dilations=spread(a["dilation"], rank), ceil_mode=int(a["ceil_mode"]),
    )  # fmt: skip


def _average_pool(w: Writer, n: fx.Node, a: Args) -> Names:
    rank = w.rank(n) - 2
    kernel, around = spread(a["kernel_size"], rank), spread(a["padding"], rank)
    old, new = w.dims(a["self"])[-rank:], w.dims(n)[-rank:]
    covered = all(o is not None and o <= k for o, k in zip(old, kernel, strict=True))
    if new == [1] * rank and covered and not any(around):
        return w.emit("GlobalAveragePool", [w.name(a["self"])], n.name)
    if a.get("divisor_override") is not None or (a["ceil_mode"] and not _same_size(w, n, a, rank)):
        raise Unwritten("an average over windows that leave the image")
    return w.emit(
        "AveragePool", [w.name(a["self"])], n.name, kernel_shape=kernel, pads=pads(around),
        strides=spread(a["stride"] or a["kernel_size"], rank), count_include_pad=int(a["count_include_pad"]),
    )  # fmt: skip


def _adaptive(op: str) -> Rule:
    def rule(w: Writer, n: fx.Node, a: Args) -> Names:
        rank = w.rank(n) - 2
        old, new = w.dims(a["self"])[-rank:], w.dims(n)[-rank:]
        if new == [1] * rank:
            return w.emit(f"Global{op}", [w.name(a["self"])], n.name)
        if None in old or None in new or any((o or 0) % (m or 1) for o, m in zip(old, new, strict=True)):
            raise Unwritten("adaptive pooling whose windows differ in size")
        kernel = [(o or 0) // (m or 1) for o, m in zip(old, new, strict=True)]
        return w.emit(op, [w.name(a["self"])], n.name, kernel_shape=kernel, strides=kernel)

    return rule


ROWS: dict[str, Rule] = {
    **{f"conv{n}d": _convolved("Conv") for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _convolved("ConvTranspose") for n in (1, 2, 3)},
    **{f"max_pool{n}d": _max_pool for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _average_pool for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": _adaptive("AveragePool") for n in (1, 2, 3)},
    "layer_norm": _norm_operator,
    "rms_norm": _rms_operator,
    "group_norm": _group_operator,
    "instance_norm": _instance_operator,
    "batch_norm": _batch_normed,
    "embedding": _looked_up,
}
