"""Which operators are layers: a table from an operator with constant weights to the `nn` module that stands for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from whet.core.errors import LiftError
from whet.onnx_reader.fold import Folded, Quantization, walk
from whet.onnx_reader.graph import Step
from whet.onnx_reader.names import Places, layer_names
from whet.onnx_reader.operators.convolution import AUTO, geometry
from whet.onnx_reader.operators.recurrent import USUAL
from whet.onnx_reader.table import Attributes, choice
from whet.onnx_reader.values import Array, is_host, tensor

Known = Sequence[Array | None]
"""The constants among a step's inputs, None where an input is absent or data."""


@dataclass
class Parameters:
    """Makes parameters of constants; the same memory is the same parameter, so tied weights stay tied.

    Vectors are an exception: exporters store equal tensors once, and the scales of norms are often equal by chance.
    """

    made: dict[tuple[Any, ...], tuple[Array, nn.Parameter]] = field(default_factory=dict)

    def of(self, value: Array, trains: bool = True) -> nn.Parameter:
        """Return the parameter of a constant, the same one each time for the same memory.

        Of the shape of the constant.
        """
        if value.ndim < 2:
            return nn.Parameter(tensor(np.array(value)), trains)
        place = value.__array_interface__["data"][0]
        key = (place, value.shape, value.strides, value.dtype.str, value.dtype.name)
        if key not in self.made:
            self.made[key] = (value, nn.Parameter(tensor(value), trains))
        return self.made[key][1]


def fill(layer: nn.Module, parameters: Parameters, **values: Array | None) -> nn.Module:
    """Give a layer made without memory its tensors."""
    for name, value in values.items():
        if value is None:
            continue
        if name in layer._buffers:
            layer._buffers[name] = tensor(np.array(value))
        else:
            setattr(layer, name, parameters.of(value))
    if "num_batches_tracked" in layer._buffers:
        layer._buffers["num_batches_tracked"] = torch.tensor(0)
    return layer


def is_float(value: Array | None) -> bool:
    """Say whether a constant, of any shape, is of floats that torch computes with."""
    return value is not None and value.dtype.name in ("float16", "bfloat16", "float32", "float64")


# -- builders: each returns None where the operator is no layer ----------------------------------------------------

Builder = Callable[[Parameters, Step, Known], nn.Module | None]

CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def static_padding(a: Attributes, kernel: Sequence[int]) -> list[int]:
    """Return the padding that the layer does itself: where it is the same on both sides, whatever the input."""
    n, auto = len(kernel), a.get("auto_pad", "NOTSET")
    strides, dilations = geometry(a, kernel)
    if auto.startswith("SAME"):
        totals = [(k - 1) * d for k, d in zip(kernel, dilations)]
        fits = all(s == 1 for s in strides) and all(t % 2 == 0 for t in totals)
        return [t // 2 for t in totals] if fits else [0] * n
    pads = list(a.get("pads") or [0] * 2 * n)
    same = auto in ("NOTSET", "") and pads[:n] == pads[n:] and min(pads) >= 0
    return pads[:n] if same else [0] * n


def convolution(p: Parameters, step: Step, known: Known) -> nn.Module | None:
    """Conv with a constant kernel (out, in / groups, ...) and a constant bias or none."""
    weight, bias, a = known[1], _at(known, 2), step.attributes
    n, groups = (weight.ndim - 2 if weight is not None else 0), a.get("group", 1)
    if weight is None or n not in CONVOLUTIONS or groups < 1 or weight.shape[0] % groups:
        return None
    kernel = list(weight.shape[2:])
    (strides, dilations), padding = geometry(a, kernel), static_padding(a, kernel)
    layer = CONVOLUTIONS[n](
        weight.shape[1] * groups, weight.shape[0], tuple(kernel), tuple(strides), tuple(padding), tuple(dilations),
        groups, bias is not None, device="meta",
    )  # fmt: skip
    return fill(layer, p, weight=weight, bias=bias)


def transposed_convolution(p: Parameters, step: Step, known: Known) -> nn.Module | None:
    """ConvTranspose with a constant kernel (in, out / groups, ...), where its padding is one that torch has."""
    weight, bias, a = known[1], _at(known, 2), step.attributes
    n, groups = (weight.ndim - 2 if weight is not None else 0), a.get("group", 1)
    if weight is None or n not in TRANSPOSED or groups < 1 or weight.shape[0] % groups or "output_shape" in a:
        return None
    kernel, pads = list(weight.shape[2:]), list(a.get("pads") or [0] * 2 * n)
    auto = choice(a, "auto_pad", *AUTO)
    pads = [0] * 2 * n if auto == "VALID" else pads
    if auto.startswith("SAME") or pads[:n] != pads[n:] or min(pads) < 0:
        return None
    (strides, dilations), extra = geometry(a, kernel), list(a.get("output_padding") or [0] * n)
    layer = TRANSPOSED[n](
        weight.shape[0], weight.shape[1] * groups, tuple(kernel), tuple(strides), tuple(pads[:n]), tuple(extra),
        groups, bias is not None, tuple(dilations), device="meta",
    )  # fmt: skip
    return fill(layer, p, weight=weight, bias=bias)


def linear(p: Parameters, step: Step, known: Known) -> nn.Module | None:
    """x W, with the bias that stood behind it."""
    matrix = known[1]
    return None if matrix is None or matrix.ndim != 2 else _linear(p, matrix.T, _at(known, 2))


def gemm(p: Parameters, step: Step, known: Known) -> nn.Module | None:
    """x W or x W^T, plus a bias; their factors are multiplied in."""
    matrix, bias, a = known[1], _at(known, 2), step.attributes
    if matrix is None or matrix.ndim != 2:
        return None
    matrix = matrix if a.get("transB") else matrix.T
    if bias is not None and (bias.size not in (1, matrix.shape[0]) or bias.shape[-1:] != (bias.size,)):
        return None
    if bias is not None and bias.size != matrix.shape[0]:
        bias = np.broadcast_to(bias.reshape(-1), matrix.shape[:1])
    if bias is not None:
        bias = bias.reshape(-1) if a.get("beta", 1.0) == 1.0 else (bias.reshape(-1) * a["beta"]).astype(bias.dtype)
    alpha = a.get("alpha", 1.0)
    return _linear(p, matrix if alpha == 1.0 else (matrix * alpha).astype(matrix.dtype), bias)


def _linear(p: Parameters, weight: Array, bias: Array | None) -> nn.Module:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    return fill(layer, p, weight=weight, bias=bias)


def batch_norm(p: Parameters, step: Step, known: Known) -> nn.Module | None:
    """BatchNormalization in inference: scale, shift, mean and variance (C,)."""
    a, (scale, shift, mean, variance) = step.attributes, known[1:5]
    if scale is None or a.get("training_mode") or sum(map(bool, step.outputs)) > 1:
        return None
    layer = nn.BatchNorm2d(scale.size, a.get("epsilon", 1e-5), 1 - a.get("momentum", 0.9), device="meta")
    return fill(layer, p, weight=scale, bias=shift, running_mean=mean, running_var=variance)


def layer_norm(p: Parameters, step: Step, known: Known) -> nn.Module | None:
    """LayerNormalization over the last dimensions, of the shape of its scale."""
    scale, shift = known[1], _at(known, 2)
    several = sum(map(bool, step.outputs)) > 1
    if scale is None or scale.ndim == 0 or several or (shift is not None and shift.shape != scale.shape):
        return None
    layer = nn.LayerNorm(scale.shape, step.attributes.get("epsilon", 1e-5), bias=shift is not None, device="meta")
    return fill(layer, p, weight=scale, bias=shift)


def rms_norm(p: Parameters, step: Step, known: Known) -> nn.Module | None:
    """RMSNormalization over the last dimensions, of the shape of its scale."""
    scale = known[1]
    if scale is None or scale.ndim == 0 or sum(map(bool, step.outputs)) > 1:
        return None
    return fill(nn.RMSNorm(scale.shape, step.attributes.get("epsilon", 1e-5), device="meta"), p, weight=scale)


def instance_norm(p: Parameters, step: Step, known: Known) -> nn.Module | None:
    """InstanceNormalization with scale and shift (C,)."""
    scale, shift = known[1], known[2]
    if scale is None:
        return None
    layer = nn.InstanceNorm2d(scale.size, step.attributes.get("epsilon", 1e-5), affine=True, device="meta")
    return fill(layer, p, weight=scale, bias=shift)


def group_norm(p: Parameters, step: Step, known: Known) -> nn.Module | None:
    """Before operator set 21 there is one scale a group, and the file does not say how many channels that is."""
    scale, groups = known[1], step.attributes["num_groups"]
    if scale is None or step.opset < 21 or groups < 1 or scale.size % groups:
        return None
    layer = nn.GroupNorm(groups, scale.size, step.attributes.get("epsilon", 1e-5), device="meta")
    return fill(layer, p, weight=scale, bias=known[2])


def embedding(p: Parameters, step: Step, known: Known) -> nn.Module | None:
    """Gather of rows out of a constant float table (rows, features) by indices that are data."""
    table, index = known[0], known[1]
    if table is None or index is not None or table.ndim != 2 or step.attributes.get("axis", 0) != 0:
        return None
    return fill(nn.Embedding(table.shape[0], table.shape[1], device="meta"), p, weight=table)


def dropout(p: Parameters, step: Step, known: Known) -> nn.Module | None:
    """Dropout, whose rate is kept for training."""
    given, training = _at(known, 1), _at(known, 2)
    rate = float(given.reshape(-1)[0]) if given is not None and given.size else step.attributes.get("ratio", 0.5)
    unknown = len(step.inputs) > 2 and step.inputs[2] and training is None
    trains = unknown or (training is not None and training.any())
    if sum(map(bool, step.outputs)) > 1 or not 0 <= rate <= 1 or trains:
        return None
    return nn.Dropout(rate)


ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where torch's gates stand among the standard's: i, o, f, c to i, f, g, o; z, r, h to r, z, n."""


def recurrent(p: Parameters, step: Step, known: Known) -> nn.Module | None:
    """One layer in one or two directions, with the usual activations and nothing that torch's layers lack."""
    a, w, r, b = step.attributes, known[1], known[2], _at(known, 3)
    if w is None or r is None or w.ndim != 3 or not _is_usual(step):
        return None
    gates, hidden, two = len(ORDER[step.op]), r.shape[-1], a.get("direction") == "bidirectional"
    if w.shape[:2] != (2 if two else 1, gates * hidden) or r.shape[:2] != w.shape[:2]:
        return None
    names = [name.lower() for name in a.get("activations") or []]
    extra = {"nonlinearity": names[0]} if step.op == "RNN" and names else {}
    kinds: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
    layer = kinds[step.op](w.shape[2], hidden, bias=b is not None, bidirectional=two, device="meta", **extra)
    for d, suffix in enumerate(("", "_reverse")[: w.shape[0]]):
        parts = {"weight_ih": w[d], "weight_hh": r[d]}
        if b is not None:
            parts.update(bias_ih=b[d, : gates * hidden], bias_hh=b[d, gates * hidden :])
        for name, value in parts.items():
            blocks = [value[g * hidden : (g + 1) * hidden] for g in ORDER[step.op]]
            setattr(layer, f"{name}_l0{suffix}", p.of(np.concatenate(blocks)))
    layer._init_flat_weights()
    made: nn.Module = layer
    return made


def _is_usual(step: Step) -> bool:
    a = step.attributes
    odd = any(a.get(name) for name in ("clip", "input_forget", "activation_alpha", "activation_beta"))
    lengths = len(step.inputs) > 4 and step.inputs[4]
    peepholes = len(step.inputs) > 7 and step.inputs[7]
    if odd or lengths or peepholes or (step.op == "GRU" and not a.get("linear_before_reset")):
        return False
    names, usual = [n.lower() for n in a.get("activations") or []], [n.lower() for n in USUAL[step.op]]
    if step.op == "RNN" and names:
        return set(names) in ({"tanh"}, {"relu"})
    return not names or names == usual * (len(names) // len(usual))


def _at(known: Known, position: int) -> Array | None:
    return known[position] if position < len(known) else None


# -- the table -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerRow:
    """How an operator becomes a layer: which inputs must be constant where they are given, and which are left."""

    build: Builder
    weights: tuple[int, ...] = (1, 2)
    needed: int = 2
    data: tuple[int, ...] = (0,)


LAYERS: dict[str, LayerRow] = {
    "Conv": LayerRow(convolution),
    "ConvTranspose": LayerRow(transposed_convolution),
    "MatMul": LayerRow(linear),
    "Gemm": LayerRow(gemm),
    "BatchNormalization": LayerRow(batch_norm, weights=(1, 2, 3, 4), needed=5),
    "LayerNormalization": LayerRow(layer_norm),
    "RMSNormalization": LayerRow(rms_norm),
    "SimplifiedLayerNormalization": LayerRow(rms_norm),
    "com.microsoft.SimplifiedLayerNormalization": LayerRow(rms_norm),
    "InstanceNormalization": LayerRow(instance_norm, needed=3),
    "GroupNormalization": LayerRow(group_norm, needed=3),
    "Gather": LayerRow(embedding, weights=(0,), data=(1,)),
    "Dropout": LayerRow(dropout, weights=(), needed=1),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), LayerRow(recurrent, weights=(1, 2, 3), needed=3, data=(0, 5, 6))),
}


def _built(row: LayerRow, parameters: Parameters, step: Step, known: Known) -> nn.Module | None:
    try:
        return row.build(parameters, step, known)
    except LiftError as error:
        raise type(error)(f"{step.where}: {error}") from error
    except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise LiftError(f"{step.where} fails: {type(error).__name__}: {error}") from error


def make_layers(folded: Folded, places: Places, parameters: Parameters) -> dict[str, Quantization]:
    """Put a layer in place of each operator in the table; return how their weights were stored, by name."""
    stored: dict[str, Quantization] = {}
    constants = folded.graph.constants
    reads = Counter(name for step in walk(folded.graph.body) for name in step.inputs)
    for step in walk(folded.graph.body):
        row = LAYERS.get(step.op)
        if row is None or len(step.inputs) < row.needed:
            continue
        names = [step.inputs[i] for i in row.weights if i < len(step.inputs)]
        if any(name and not is_float(constants.get(name)) for name in names) or not all(step.inputs[: row.needed]):
            continue
        known = [constants[name] if is_host(constants.get(name)) else None for name in step.inputs]
        layer = _built(row, parameters, step, known)
        if layer is None:
            continue
        given = [name for name in names if name]
        own, shared = ([folded.source(n) for n in given if (reads[n] == 1) == alone] for alone in (True, False))
        paths = layer_names(step, own, shared)
        step.layer = places.free(next((path for path in paths if not places.holds(path)), paths[0]))
        places.put(step.layer, layer)
        for name, kind in zip(given, ("weight", "bias")):
            if name in folded.stored:
                stored[f"{step.layer}.{kind}"] = folded.stored[name]
        step.inputs = [name if i in row.data else "" for i, name in enumerate(step.inputs)]
    return stored
