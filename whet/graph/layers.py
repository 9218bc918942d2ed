"""Which ATen operations are layers: a table from an operation to the `nn` module that stands for it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

aten = torch.ops.aten
Args = dict[str, Any]
"""An operation's arguments by the names of its schema, defaults filled in; tensors are the real ones."""


@dataclass(frozen=True)
class LayerRow:
    """How one operation becomes a module: `tensors` maps arguments to the module's tensors, the first names it."""

    build: Callable[[Args], nn.Module]
    inputs: tuple[str, ...] = ("input",)
    tensors: tuple[tuple[str, str], ...] = (("weight", "weight"), ("bias", "bias"))


def _conv(kind: type[nn.Module], transposed: bool = False) -> Callable[[Args], nn.Module]:
    def build(a: Args) -> nn.Module:
        weight: Tensor = a["weight"]
        out, inside = (1, 0) if transposed else (0, 1)
        channels = [weight.shape[0], weight.shape[1]]
        channels[1] *= a["groups"]
        extra = {"output_padding": tuple(a["output_padding"])} if transposed else {}
        padding = a["padding"] if isinstance(a["padding"], str) else _spread(a["padding"], weight.dim() - 2)
        return kind(
            channels[inside], channels[out], tuple(weight.shape[2:]), stride=_spread(a["stride"], weight.dim() - 2),
            padding=padding, dilation=_spread(a["dilation"], weight.dim() - 2), groups=a["groups"],
            bias=a["bias"] is not None, device="meta", **extra,
        )  # fmt: skip

    return build


def _spread(value: Sequence[int], rank: int) -> tuple[int, ...]:
    return tuple(value) if len(value) == rank else tuple(value) * rank


def _linear(a: Args) -> nn.Module:
    out_features, in_features = a["weight"].shape
    return nn.Linear(in_features, out_features, bias=a["bias"] is not None, device="meta")


_BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def _batch_norm(a: Args) -> nn.Module:
    kind = _BATCH_NORMS[a["input"].dim()]
    affine, track = a["weight"] is not None, a["running_mean"] is not None
    size = a["input"].shape[1]
    return kind(size, a["eps"], a["momentum"], affine=affine, track_running_stats=track, device="meta")


def _layer_norm(a: Args) -> nn.Module:
    affine = a["weight"] is not None
    return nn.LayerNorm(
        tuple(a["normalized_shape"]), a["eps"], elementwise_affine=affine,
        bias=a["bias"] is not None, device="meta",
    )  # fmt: skip


def _group_norm(a: Args) -> nn.Module:
    return nn.GroupNorm(a["num_groups"], a["input"].shape[1], a["eps"], a["weight"] is not None, device="meta")


def _embedding(a: Args) -> nn.Module:
    rows, columns = a["weight"].shape
    padding = a["padding_idx"] if a["padding_idx"] >= 0 else None
    return nn.Embedding(rows, columns, padding_idx=padding, device="meta")


def _rms_norm(a: Args) -> nn.Module:
    return nn.RMSNorm(tuple(a["normalized_shape"]), a["eps"], a["weight"] is not None, device="meta")


_STATISTICS = (("running_mean", "running_mean"), ("running_var", "running_var"))
_BOTH = (("weight", "weight"), ("bias", "bias"))
_WEIGHT = (("weight", "weight"),)

LAYERS: dict[Any, LayerRow] = {
    aten.conv1d.default: LayerRow(_conv(nn.Conv1d)),
    aten.conv2d.default: LayerRow(_conv(nn.Conv2d)),
    aten.conv3d.default: LayerRow(_conv(nn.Conv3d)),
    aten.conv1d.padding: LayerRow(_conv(nn.Conv1d)),
    aten.conv2d.padding: LayerRow(_conv(nn.Conv2d)),
    aten.conv3d.padding: LayerRow(_conv(nn.Conv3d)),
    aten.conv_transpose1d.default: LayerRow(_conv(nn.ConvTranspose1d, True)),
    aten.conv_transpose2d.input: LayerRow(_conv(nn.ConvTranspose2d, True)),
    aten.conv_transpose3d.input: LayerRow(_conv(nn.ConvTranspose3d, True)),
    aten.linear.default: LayerRow(_linear),
    aten.batch_norm.default: LayerRow(_batch_norm, tensors=_BOTH + _STATISTICS),
    aten.layer_norm.default: LayerRow(_layer_norm),
    aten.group_norm.default: LayerRow(_group_norm),
    aten.rms_norm.default: LayerRow(_rms_norm, tensors=_WEIGHT),
    aten.embedding.default: LayerRow(_embedding, inputs=("indices",), tensors=_WEIGHT),
    aten.dropout.default: LayerRow(lambda a: nn.Dropout(a["p"]), tensors=()),
}

ASSERTIONS = {
    aten._assert_scalar.default,
    aten._assert_async.msg,
    aten._assert_tensor_metadata.default,
    aten.sym_constrain_range_for_size.default,
    aten.sym_constrain_range.default,
    torch._check,
    torch.sym_constrain_range_for_size,
}
"""Operations that only check; a net has none."""

GETITEM = operator.getitem


def bind(target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Args:
    """Return an ATen call's arguments by name, with the defaults of its schema."""
    bound: Args = {}
    for position, argument in enumerate(target._schema.arguments):
        if position < len(args):
            bound[argument.name] = args[position]
        elif argument.name in kwargs:
            bound[argument.name] = kwargs[argument.name]
        else:
            bound[argument.name] = argument.default_value
    return bound
