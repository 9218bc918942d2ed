"""Training integer weights whose sums of products cannot overflow an accumulator of so many bits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from whet.core.checks import ValueRangeError, whole
from whet.graph.fake_quantize import IntegerWeight
from whet.train.technique import Hooks, Session

LEAST_BITS = 8


@dataclass(frozen=True)
class BoundedSums:
    """Weights of integer layers keep each channel's sum of products within an accumulator of `bits`, for any input.

        |sum_i q_i x_i| <= |q|_1 2^(inputs - signed) <= 2^(bits - 1) - 1
        |q|_1 <= B = (2^(bits - 1) - 1) / 2^(inputs - signed)

    for inputs x of so many bits, `signed` or not, and integer weights q = w / s. After each step a channel beyond the
    bound is scaled to it, and rounded towards zero where rounding to nearest would cross it again: |trunc(w / s)|_1 is
    never more than |w / s|_1. The paper writes w = g v / |v|_1 with g at most s B and trains g and v; here w is
    projected onto the same set. That many weights become zero is the paper's other finding.

    Integer layers are those that a pass made (`quantize.static`, `quantize.weight-only`). Their steps are held, also
    where they would be learned (`train.learned-steps`): one that shrinks takes the bound on its weights with it, and a
    small perceptron's went to nothing. At the end every channel is checked against the bound. No runtime here has
    accumulators of fewer than 32 bits that one could choose: the bound is for other hardware, and for those x86 kernels
    that add two products in 16 bits.

    Paper: Colbert et al. 2023, A2Q: Accumulator-Aware Quantization with Guaranteed Overflow Avoidance.
    Raises: ValueRangeError for fewer than 8 bits, or inputs that leave no room for a weight.
    """

    bits: int = 16
    inputs: int = 8
    signed: bool = False
    paper: str = field(default="colbert2023a2q", init=False, repr=False)

    def __post_init__(self) -> None:
        whole("bits", self.bits, least=LEAST_BITS)
        whole("inputs", self.inputs)
        if self.bound < 1:
            raise ValueRangeError(
                f"{self.bits} bits hold no product with inputs of {self.inputs}: take at least {self.inputs + 2} bits."
            )

    @property
    def bound(self) -> float:
        """The largest sum of magnitudes that a channel's integers may have.

        >>> BoundedSums(bits=16, inputs=8).bound, BoundedSums(bits=16, inputs=8, signed=True).bound
        (127.99609375, 255.9921875)
        """
        return float((2 ** (self.bits - 1) - 1) / 2 ** (self.inputs - self.signed))

    def begin(self, session: Session) -> Hooks:
        layers = integer_layers(session.module)
        if not layers:
            return Hooks()
        held = [layer for layer in layers.values() if not layer.weight_scale.requires_grad]
        for layer in held:  # steps that follow the largest weight would make every sum larger again
            layer.weight_scale.requires_grad_(True)

        steps = {name: layer.weight_scale.detach().clone() for name, layer in layers.items()}

        @torch.no_grad()
        def after_step() -> None:
            for name, layer in layers.items():
                layer.weight_scale.copy_(steps[name])
                project(layer, self.bound)

        def end() -> None:
            after_step()
            for layer in held:
                layer.weight_scale.requires_grad_(False).grad = None
            for name, layer in layers.items():
                needed = int(bits_needed(integers(layer), self.inputs, self.signed).max())
                if needed > self.bits:
                    session.report.skipped[name] = f"its sums take {needed} bits, more than {self.bits}"

        return Hooks(after_step=after_step, end=end)


def integer_layers(module: nn.Module) -> dict[str, IntegerWeight]:
    """Return the layers with integer weights by name."""
    return {name: m for name, m in module.named_modules() if isinstance(m, IntegerWeight)}


@torch.no_grad()
def integers(layer: IntegerWeight) -> Tensor:
    """Return the integers of a layer as they are computed with: `(out, weights)`."""
    weight: Tensor = layer._parameters["weight"]  # type: ignore[attr-defined]
    return layer.grid.integers(weight, layer.weight_scale).flatten(1)


@torch.no_grad()
def project(layer: IntegerWeight, bound: float) -> None:
    """Bring the channels of a layer whose integers have magnitudes of more than `bound` in all back to it, in place."""
    weight: Tensor = layer._parameters["weight"]  # type: ignore[attr-defined]
    steps = layer.weight_scale.detach().repeat_interleave(layer.grid.group_of(weight)).view(len(weight), -1)
    rows = (weight.flatten(1) / steps).clamp(-layer.grid.most, layer.grid.most)
    beyond = rows.round().abs().sum(1, keepdim=True) > bound
    scaled = rows * (bound / rows.abs().sum(1, keepdim=True).clamp(min=bound))
    crossed = scaled.round().abs().sum(1, keepdim=True) > bound
    found = torch.where(crossed, scaled.trunc(), scaled)
    weight.copy_(torch.where(beyond, found * steps, weight.flatten(1)).view_as(weight))


def bits_needed(integers: Tensor, inputs: int, signed: bool = False) -> Tensor:
    """Return the bits of a signed accumulator that no inputs overflow: whole numbers `(out,)` of integers `(out, d)`.

    >>> bits_needed(torch.tensor([[1, 0], [100, -28], [0, 0]]), inputs=8).tolist()
    [10, 17, 1]
    """
    most = integers.double().abs().sum(1) * 2 ** (inputs - signed)
    return torch.tensor([1 + math.ceil(math.log2(value + 1)) for value in most.tolist()])
