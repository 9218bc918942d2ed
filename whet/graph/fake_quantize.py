"""How quantization is written inside a `Net`: one operation, a quantizer of activations, layers of integer weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from whet.graph.grids import INPUT8, INT8, Grid, InputGrid

WEIGHT_MAX = INT8.most
LARGE_TABLE = 2**16
"""Values from which an embedding is worth storing as integers: a smaller one saves less than 200 kB of a file."""
ACTIVATION_MAX = INPUT8.most
ACTIVATION_MIDDLE = INPUT8.middle
"""The zero point that stands for signed integers: files hold those, around 0 (`hardware.onnx_integers`)."""


@torch.library.custom_op("whet::fake_quantize", mutates_args=())
def fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor, axis: int, qmin: int, qmax: int) -> Tensor:
    """Round to the grid of an integer type: `(clamp(round(x / scale) + zero_point, qmin, qmax) - zero_point) * scale`.

    `scale` and `zero_point` are scalars with `axis` -1, else vectors along dimension `axis`. The gradient passes
    straight through inside the range and is zero outside (Bengio et al. 2013, Estimating or Propagating Gradients
    Through Stochastic Neurons); that of the scale, where it is asked for, is (Esser et al. 2020, Learned Step Size
    Quantization)

        dy / dscale = round(x / scale) - x / scale inside,    the integer at the end, less `zero_point`, outside

    Exported as QuantizeLinear and DequantizeLinear.
    """
    step, zero = _along(scale, x, axis), _along(zero_point, x, axis)
    integers = torch.clamp(torch.round(x.float() / step) + zero, qmin, qmax)
    return ((integers - zero) * step).to(x.dtype)


@fake_quantize.register_fake
def _(x: Tensor, scale: Tensor, zero_point: Tensor, axis: int, qmin: int, qmax: int) -> Tensor:
    return torch.empty_like(x)


def _along(vector: Tensor, x: Tensor, axis: int) -> Tensor:
    if axis < 0:
        return vector
    shape = [1] * x.dim()
    shape[axis] = -1
    return vector.view(shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, scale, zero_point, axis, qmin, qmax = inputs
    scaled, zero = x.float() / _along(scale, x, axis), _along(zero_point, x, axis)
    integers = torch.round(scaled) + zero
    inside, slope, ctx.axis = (integers >= qmin) & (integers <= qmax), None, axis
    if ctx.needs_input_grad[1]:
        slope = torch.clamp(integers, qmin, qmax) - zero - scaled * inside
    ctx.save_for_backward(inside, slope)


def _straight_through(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    inside, slope = ctx.saved_tensors
    step = None
    if slope is not None:
        along = gradient.float() * slope
        step = along.sum() if ctx.axis < 0 else along.sum([d for d in range(along.dim()) if d != ctx.axis])
    return gradient * inside, step, None, None, None, None


fake_quantize.register_autograd(_straight_through, setup_context=_remember)


class ActivationQuantizer(nn.Module):
    """A tensor on a grid of unsigned integers; `zero_point` is fixed at calibration, and of eight bits `scale`, too.

    With a `factor`, one number a feature of the last dimension, it is the product of both that is put on the grid.
    """

    scale: Tensor
    zero_point: Tensor
    factor: Tensor | None
    grid: InputGrid = INPUT8

    def __init__(
        self, scale: float = 1.0, zero_point: int = 0, factor: Tensor | None = None, grid: InputGrid = INPUT8
    ) -> None:
        super().__init__()
        self.grid = grid
        self.register_buffer("factor", factor)
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("zero_point", torch.tensor(int(zero_point)))

    def forward(self, x: Tensor) -> Tensor:
        """Return x, times the factor, rounded to the grid; shapes (..., features) in and out."""
        x = x if self.factor is None else x * self.factor.to(x.dtype)
        quantized: Tensor = fake_quantize(x, self.scale, self.zero_point, -1, 0, self.grid.most)
        return quantized

    def extra_repr(self) -> str:
        """Say the bits."""
        return self.grid.name


def asymmetric_grid(low: Tensor, high: Tensor, most: int = ACTIVATION_MAX) -> tuple[Tensor, Tensor]:
    """Return scale and zero point, in the shape of `low`, of the unsigned grid over [low, high], widened to hold zero.

        s = (high - low) / most,    z = round(-low / s)

    >>> [float(x) for x in asymmetric_grid(torch.tensor(-5.0), torch.tensor(250.0))]
    [1.0, 5.0]
    """
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / most).clamp_min(1e-8)
    return scale, torch.round(-low / scale).clamp(0, most).long()


class IntegerWeight:
    """A layer whose weight lies on a grid of integers; in training the scales follow the weight, or are trained.

    `weight_grid` holds the grid's numbers, so that the grid is part of the layer's state: a training may change it.

    A training may put another form of the weight in the place of the rounded one, `in_training(weight)`, of the same
    shape; it takes it away at its end, and leaves a weight that lies on the grid.
    """

    training: bool
    weight_scale: Tensor
    weight_zero_point: Tensor
    weight_grid: Tensor
    grid: Grid = INT8
    in_training: Callable[[Tensor], Tensor] | None = None

    def regrid(self, weight: Tensor, grid: Grid) -> None:
        """Put the weight on another grid, with as many scales, which are chosen anew."""
        self.__dict__["grid"] = grid
        with torch.no_grad():
            self.weight_grid.copy_(torch.tensor(astuple(grid)))
            self.weight_scale.copy_(grid.scale(weight))

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)  # type: ignore[misc]
        self.__dict__["grid"] = Grid(*self.weight_grid.tolist())

    def integer_weight(self, weight: Tensor) -> Tensor:
        """Return the weight on its grid, of the same shape; in training scales that do not train are set anew."""
        if self.training and self.in_training is not None:
            return self.in_training(weight)
        if self.training and not self.weight_scale.requires_grad:
            self.weight_scale.copy_(self.grid.scale(weight))
        most, rows = self.grid.most, self.grid.rows(weight)
        scale = self.grid.settled(weight, self.weight_scale)
        on_grid: Tensor = fake_quantize(rows, scale, self.weight_zero_point, 0, -most, most)
        return on_grid.view_as(weight)

    def extra_repr(self) -> str:
        """Say the grid too: layers on different ones do not cost alike."""
        return f"{super().extra_repr()}, {self.grid.name}"  # type: ignore[misc]


class QuantizedLinear(IntegerWeight, nn.Linear):
    """`nn.Linear` with an integer weight."""

    def forward(self, input: Tensor) -> Tensor:
        """Return W x + b with the rounded weight: (..., in) to (..., out)."""
        return functional.linear(input, self.integer_weight(self.weight), self.bias)


class DynamicLinear(IntegerWeight, nn.Linear):
    """`nn.Linear` with an integer weight, whose input is on a grid over the range that it has at the call."""

    def forward(self, input: Tensor) -> Tensor:
        """Return `(..., out)` of `(..., in)`, rounded on the grid over this very input's range, as the runtime does."""
        grid = asymmetric_grid(*input.detach().float().aminmax())
        on_grid: Tensor = fake_quantize(input, *grid, -1, 0, ACTIVATION_MAX)
        return functional.linear(on_grid, self.integer_weight(self.weight), self.bias)


class QuantizedConv1d(IntegerWeight, nn.Conv1d):
    """`nn.Conv1d` with an integer weight."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution with the rounded weight: (N, in, length) to (N, out, length')."""
        output: Tensor = self._conv_forward(input, self.integer_weight(self.weight), self.bias)
        return output


class QuantizedConv2d(IntegerWeight, nn.Conv2d):
    """`nn.Conv2d` with an integer weight."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution with the rounded weight: (N, in, H, W) to (N, out, H', W')."""
        output: Tensor = self._conv_forward(input, self.integer_weight(self.weight), self.bias)
        return output


class QuantizedEmbedding(nn.Embedding):
    """`nn.Embedding` whose rows lie on int8 grids, each on one of its own: `max |row| / 127` a step."""

    def forward(self, input: Tensor) -> Tensor:
        """Return rows of the rounded table: indices (...) to (..., features)."""
        rows = functional.embedding(input, self.weight, self.padding_idx)
        flat = rows.flatten(0, -2)
        zeros = torch.zeros(len(flat), dtype=torch.int64, device=flat.device)
        on_grid: Tensor = fake_quantize(flat, INT8.scale(flat), zeros, 0, -WEIGHT_MAX, WEIGHT_MAX)
        return on_grid.view_as(rows)


QUANTIZED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: QuantizedLinear,
    nn.Conv1d: QuantizedConv1d,
    nn.Conv2d: QuantizedConv2d,
}
"""The layers that can have integer weights, with what they become."""


def quantize_weight(layer: nn.Module, grid: Grid = INT8, kind: type[nn.Module] | None = None) -> nn.Module:
    """Return the layer with its weight on a grid, which takes over the tensors and attributes of `layer`.

    It becomes a `kind`, by default that of `QUANTIZED`.
    """
    quantized = _of_kind(kind or QUANTIZED[type(layer)], layer)
    weight = quantized._parameters["weight"]
    assert weight is not None
    scale = grid.scale(weight)
    quantized.__dict__["grid"] = grid
    quantized.register_buffer("weight_grid", torch.tensor(astuple(grid)))
    quantized.register_buffer("weight_scale", scale)
    quantized.register_buffer("weight_zero_point", torch.zeros(len(scale), dtype=torch.int64))
    return quantized


def is_large_table(layer: nn.Module) -> bool:
    """Say whether a layer is an embedding that is worth storing as integers."""
    return type(layer) is nn.Embedding and layer.max_norm is None and layer.weight.numel() >= LARGE_TABLE


def quantize_embedding(layer: nn.Embedding) -> QuantizedEmbedding:
    """Return the embedding with int8 rows that takes over the tensors and attributes of `layer`."""
    quantized = _of_kind(QuantizedEmbedding, layer)
    assert isinstance(quantized, QuantizedEmbedding)
    return quantized


def _of_kind(kind: type[nn.Module], layer: nn.Module) -> nn.Module:
    made = kind.__new__(kind)
    made.__dict__.update(layer.__dict__)
    made._parameters = dict(layer._parameters)
    made._buffers = dict(layer._buffers)
    return made
