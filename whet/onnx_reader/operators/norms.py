"""Rows of the normalisations; those with constant scale and shift have a layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whet.onnx_reader.operators.create import dtype_of
from whet.onnx_reader.table import Attributes, Call, Row, Rows
from whet.onnx_reader.values import Value, optional_tensor, tensor

EPSILON = 1e-5


def batch_norm(call: Call, x: list[Value], a: Attributes) -> Value:
    """(v - mean) / sqrt(variance + epsilon) x scale + shift for each channel of (N, C, ...).

    In training mean and variance are the batch's own, and the running ones are further outputs.
    """
    value, epsilon = tensor(x[0]), a.get("epsilon", EPSILON)
    layer = call.layer
    if isinstance(layer, nn.BatchNorm2d):
        if value.dim() == 4:
            return layer(value)
        return F.batch_norm(
            value, layer.running_mean, layer.running_var, layer.weight, layer.bias, layer.training,
            layer.momentum or 0.0, layer.eps,
        )  # fmt: skip
    scale, shift, mean, variance = (tensor(v) for v in x[1:5])
    training = bool(a.get("training_mode")) or (call.opset < 14 and call.outputs > 1)
    if not training:
        return F.batch_norm(value, mean, variance, scale, shift, False, 0.0, epsilon)
    over = [d for d in range(value.dim()) if d != 1]
    now, spread = value.mean(over), value.var(over, unbiased=False)
    out = F.batch_norm(value, now, spread, scale, shift, False, 0.0, epsilon)
    keep = a.get("momentum", 0.9)
    return out, mean * keep + now * (1 - keep), variance * keep + spread * (1 - keep)


def layer_norm(call: Call, x: list[Value], a: Attributes) -> Value:
    """(v - mean) / sqrt(variance + epsilon) over the dimensions from `axis` on; mean and 1 / sqrt on demand."""
    value = tensor(x[0])
    axis, epsilon = a.get("axis", -1) % value.dim(), a.get("epsilon", EPSILON)
    if call.layer is not None and tuple(value.shape[axis:]) == tuple(call.layer.normalized_shape):
        return call.layer(value)
    scale, shift = _affine(call, x)
    shape = list(value.shape[axis:])
    if call.outputs == 1 and _fits(scale, shape) and (shift is None or _fits(shift, shape)):
        return F.layer_norm(value, shape, scale, shift, epsilon)
    over = list(range(axis, value.dim()))
    wide = value.to(dtype_of(a.get("stash_type", 1))) if value.element_size() < 4 else value
    mean = wide.mean(over, keepdim=True)
    inverse = ((wide - mean).square().mean(over, keepdim=True) + epsilon).rsqrt()
    out = ((wide - mean) * inverse).to(value.dtype)
    out = out if scale is None else out * scale
    out = out if shift is None else out + shift
    return (out, mean, inverse)[: call.outputs] if call.outputs > 1 else out


def _affine(call: Call, x: list[Value]) -> tuple[Tensor | None, Tensor | None]:
    if call.layer is not None:
        return call.layer.weight, getattr(call.layer, "bias", None)
    return optional_tensor(x, 1), optional_tensor(x, 2)


def _fits(affine: Tensor | None, shape: list[Any]) -> bool:
    return affine is None or list(affine.shape) == shape


def rms_norm(call: Call, x: list[Value], a: Attributes) -> Value:
    """v / sqrt(mean(v^2) + epsilon) over the dimensions from `axis` on, times a scale."""
    value = tensor(x[0])
    axis, epsilon = a.get("axis", -1) % value.dim(), a.get("epsilon", EPSILON)
    if call.layer is not None and tuple(value.shape[axis:]) == tuple(call.layer.normalized_shape):
        return call.layer(value)
    scale, _ = _affine(call, x)
    shape = list(value.shape[axis:])
    if _fits(scale, shape):
        return F.rms_norm(value, shape, scale, epsilon)
    over = list(range(axis, value.dim()))
    out = value * (value.square().mean(over, keepdim=True) + epsilon).rsqrt()
    return out if scale is None else out * scale


def skip_layer_norm(call: Call, x: list[Value], a: Attributes) -> Value:
    """Layer norm of a sum: input + skip + bias, whose value is the fourth output."""
    summed = tensor(x[0]) + tensor(x[1])
    simplified = "Simplified" in call.op
    scale, shift = tensor(x[2]), None if simplified else optional_tensor(x, 3)
    added = optional_tensor(x, 3 if simplified else 4)
    summed = summed if added is None else summed + added
    epsilon, shape = a.get("epsilon", 1e-12), list(summed.shape[-1:])
    if simplified:
        out: Any = F.rms_norm(summed, shape, scale, epsilon)
    else:
        out = F.layer_norm(summed, shape, scale, shift, epsilon)
    if call.step.outputs[1:3] != [""] * len(call.step.outputs[1:3]):
        raise call.not_read("its mean or deviation as an output")
    return out, None, None, summed


def instance_norm(call: Call, x: list[Value], a: Attributes) -> Value:
    """Each channel of each example (N, C, ...) by its own mean and variance."""
    value, layer = tensor(x[0]), call.layer
    if isinstance(layer, nn.InstanceNorm2d):
        if value.dim() == 4:
            return layer(value)
        return F.instance_norm(value, weight=layer.weight, bias=layer.bias, eps=layer.eps)
    return F.instance_norm(value, weight=tensor(x[1]), bias=tensor(x[2]), eps=a.get("epsilon", EPSILON))


def group_norm(call: Call, x: list[Value], a: Attributes) -> Value:
    """One scale and shift a channel; before operator set 21 one a group."""
    value = tensor(x[0])
    if call.layer is not None:
        return call.layer(value)
    groups, scale, shift = a["num_groups"], tensor(x[1]), tensor(x[2])
    if call.opset < 21:
        scale, shift = (v.repeat_interleave(value.shape[1] // groups) for v in (scale, shift))
    return F.group_norm(value, groups, scale, shift, a.get("epsilon", EPSILON))


def lp_normalize(call: Call, x: list[Value], a: Attributes) -> Value:
    """v / |v| along an axis; zeros where |v| is zero."""
    value, p, axis = tensor(x[0]), a.get("p", 2), a.get("axis", -1)
    size = torch.linalg.vector_norm(value, p, axis, keepdim=True)
    return torch.where(size == 0, torch.zeros_like(value), value / size)


def normalize_mean_variance(call: Call, x: list[Value], a: Attributes) -> Value:
    """(v - mean) / (deviation + 1e-9) over `axes`, by default all but the channels."""
    value, over = tensor(x[0]), list(a.get("axes") or [0, 2, 3])
    mean = value.mean(over, keepdim=True)
    deviation = (value.square().mean(over, keepdim=True) - mean.square()).sqrt()
    return (value - mean) / (deviation + 1e-9)


def local_response(call: Call, x: list[Value], a: Attributes) -> Value:
    """v / (bias + alpha / size x sum of squares over `size` neighbouring channels)^beta."""
    value, size = tensor(x[0]), a["size"]
    before = (size - 1) // 2
    squares = F.pad(value.square().movedim(1, -1), (before, size - 1 - before))
    sums = squares.unfold(-1, size, 1).sum(-1).movedim(-1, 1)
    return value / (a.get("bias", 1.0) + a.get("alpha", 1e-4) / size * sums) ** a.get("beta", 0.75)


ROWS: Rows = {
    "BatchNormalization": Row(batch_norm),
    "LayerNormalization": Row(layer_norm),
    "RMSNormalization": Row(rms_norm),
    "InstanceNormalization": Row(instance_norm),
    "GroupNormalization": Row(group_norm),
    "LpNormalization": Row(lp_normalize),
    "MeanVarianceNormalization": Row(normalize_mean_variance),
    "LRN": Row(local_response),
    "SimplifiedLayerNormalization": Row(rms_norm),
    "com.microsoft.SimplifiedLayerNormalization": Row(rms_norm),
    "com.microsoft.SkipLayerNormalization": Row(skip_layer_norm),
    "com.microsoft.SkipSimplifiedLayerNormalization": Row(skip_layer_norm),
}
