"""The meaning of a cut, spelled out on the original network: removed elements are zero wherever read.

`Silenced` runs the uncut graph. Before a contraction (convolution, linear, matmul, attention, sum,
recurrence) it zeroes the removed elements of every operand; averages, variances and softmax run over what is left.
Nothing here slices a parameter or rewrites a size, so that agreement with `cut` is evidence for both.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx, nn

from whet.core.net import Net
from whet.graph.axes import Axes
from whet.graph.rows import is_dims, operator_name

CONTRACTIONS = (
    *(f"conv{n}d" for n in (1, 2, 3)),
    *(f"conv_transpose{n}d" for n in (1, 2, 3)),
    *("linear", "matmul", "bmm", "mm", "addmm", "baddbmm", "einsum", "scaled_dot_product_attention"),
    *("sum", "linalg_vector_norm", "norm", "lstm", "gru", "rnn_tanh", "rnn_relu"),
    *("_weight_norm", "grouped_mm_fallback"),
)


class Silenced(fx.Interpreter):
    def __init__(self, net: Net, axes: Axes, removed: Any) -> None:
        super().__init__(net.module)
        self.axes = axes
        self.removed = torch.from_numpy(removed)

    def masks(self, dims: list[Any]) -> list[Tensor]:
        """One boolean a dimension, shaped to broadcast, True where elements stay."""
        rank = len(dims)
        kept = [~self.removed[torch.tensor(dim)] for dim in dims]
        return [k.reshape([-1 if i == j else 1 for j in range(rank)]) for i, k in enumerate(kept)]

    def zero(self, x: Tensor, dims: list[Any]) -> Tensor:
        return self.fill(x, dims, 0.0)

    def fill(self, x: Tensor, dims: list[Any], value: float) -> Tensor:
        for mask in self.masks(dims):
            if not mask.all():
                x = torch.where(mask, x, torch.full((), value, dtype=x.dtype))
        return x

    def zeroed(self, argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            value, dims = self.env[argument], self.axes.values[argument.name]
            return self.zero(value, dims) if isinstance(value, Tensor) and is_dims(dims) else value
        if isinstance(argument, (list, tuple)):
            return type(argument)(self.zeroed(item) for item in argument)
        return argument

    def moments(self, x: Tensor, dims: list[Any], over: list[int], keepdim: bool = True) -> tuple[Tensor, Tensor, int]:
        """Mean and sum of squared deviations over the kept elements, and their number."""
        masks = self.masks(dims)
        count = math.prod(int(masks[d].sum()) for d in over)
        mean = self.zero(x, dims).sum(over, keepdim=True) / count
        square = self.zero((x - mean) ** 2, dims).sum(over, keepdim=True)
        return (mean, square, count) if keepdim else (mean.sum(over), square.sum(over), count)

    def run_node(self, n: fx.Node) -> Any:
        x = n.args[0] if n.args else None
        dims = self.axes.values.get(x.name) if isinstance(x, fx.Node) else None
        if n.op == "call_module":
            return self.layer(self.module.get_submodule(str(n.target)), self.env[x], dims)
        name = operator_name(n.target) if n.op == "call_function" else ""
        if name in CONTRACTIONS:
            return n.target(*self.zeroed(tuple(n.args)), **{k: self.zeroed(v) for k, v in n.kwargs.items()})
        if name in ("softmax", "_softmax", "log_softmax"):
            return n.target(self.fill(self.env[x], dims, float("-inf")), *n.args[1:], **n.kwargs)
        if name in ("mean", "var", "std"):
            return self.average(n, name, self.env[x], dims)
        if name in ("layer_norm", "group_norm"):
            args = [self.env[a] if isinstance(a, fx.Node) else a for a in n.args]
            return getattr(self, name)(args[0], dims, *args[1:5])
        if name == "instance_norm":
            weight, bias = (self.env[a] if isinstance(a, fx.Node) else a for a in n.args[1:3])
            return affine(self.standard(self.env[x], dims, list(range(2, self.env[x].ndim)), n.args[7]), weight, bias)
        return super().run_node(n)

    def average(self, n: fx.Node, name: str, x: Tensor, dims: list[Any]) -> Tensor:
        given = n.args[1] if len(n.args) > 1 else n.kwargs.get("dim")
        over = list(range(x.ndim)) if given is None else [given] if isinstance(given, int) else list(given)
        over = [d % x.ndim for d in over]
        keepdim = bool(n.kwargs.get("keepdim", n.args[2] if name == "mean" and len(n.args) > 2 else False))
        mean, square, count = self.moments(x, dims, over, keepdim)
        if name == "mean":
            return mean
        correction = n.kwargs.get("correction", 1)
        variance = square / (count - (1 if correction is None else correction))
        return variance if name == "var" else variance.sqrt()

    def layer(self, module: nn.Module, x: Tensor, dims: list[Any]) -> Tensor:
        if isinstance(module, nn.LayerNorm):
            return self.layer_norm(x, dims, module.normalized_shape, module.weight, module.bias, module.eps)
        if isinstance(module, nn.RMSNorm):
            over = list(range(x.ndim - len(module.normalized_shape), x.ndim))
            eps = torch.finfo(x.dtype).eps if module.eps is None else module.eps
            count = self.moments(x, dims, over)[2]
            return x * (self.zero(x, dims).square().sum(over, keepdim=True) / count + eps).rsqrt() * module.weight
        if isinstance(module, nn.GroupNorm):
            return self.group_norm(x, dims, module.num_groups, module.weight, module.bias, module.eps)
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
            return module(self.zero(x, dims))
        return module(x)

    def layer_norm(self, x: Tensor, dims: list[Any], shape: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Tensor:
        out = self.standard(x, dims, list(range(x.ndim - len(shape), x.ndim)), eps)
        out = out if weight is None else out * weight
        return out if bias is None else out + bias

    def group_norm(self, x: Tensor, dims: list[Any], groups: int, weight: Any, bias: Any, eps: float = 1e-5) -> Tensor:
        outs, size = [], x.shape[1] // groups
        for g in range(groups):
            part = [dims[0], dims[1][g * size : (g + 1) * size], *dims[2:]]
            inside = x[:, g * size : (g + 1) * size]
            gone = not self.masks(part)[1].any()
            outs.append(inside if gone else self.standard(inside, part, list(range(1, x.ndim)), eps))
        return affine(torch.cat(outs, 1), weight, bias)

    def standard(self, x: Tensor, dims: list[Any], over: list[int], eps: float) -> Tensor:
        mean, square, count = self.moments(x, dims, over)
        return (x - mean) / (square / count + eps).sqrt()


def affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """One factor and one summand a channel, in dimension 1."""
    shape = [-1] + [1] * (x.ndim - 2)
    return x if weight is None or bias is None else x * weight.reshape(shape) + bias.reshape(shape)


def in_double(net: Net) -> Net:
    """Return a copy in float64, dtypes that the graph names included."""
    net = net.copy()
    for node in net.graph.nodes:
        if node.op == "call_function":
            node.args, node.kwargs = torch.fx.node.map_aggregate((node.args, dict(node.kwargs)), _doubled)
    net.module.recompile()
    net.module.double()
    net.example = tuple(x.double() if x.is_floating_point() else x for x in net.example)
    return net


def _doubled(value: object) -> object:
    return torch.float64 if value is torch.float32 else value
