"""Training on rounded weights and inputs: the steps of their grids are learned with them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from whet.core.checks import positive
from whet.graph.fake_quantize import ActivationQuantizer, IntegerWeight
from whet.graph.grids import EXACT_BITS
from whet.train.beside import Beside
from whet.train.technique import Hooks, Session

LEAST_STEP = 1e-8


@dataclass(frozen=True)
class LearnedSteps:
    """Layers whose weights or inputs have few bits learn the steps s of their grids; both are rounded in every forward.

        y = s clamp(round(w / s), -Q, Q),    dL/ds = g sum_w dL/dy (round(w / s) - w / s, or +-Q beyond the ends),
        g = 1 / sqrt(N Q)

    N weights share a step, or N numbers of a sample's input, whose grid runs from -z to Q = most - z around its zero
    point z; gradients of what is rounded pass straight through inside the range. The steps take the recipe's optimizer,
    without decay, at `rate` times its learning rate. Weights and inputs of eight and more bits keep steps that reach
    their largest value: what a learned one saves there is nothing.

    Paper: Esser et al. 2020, Learned Step Size Quantization, which has one step a layer where weights have one a
    channel here. Raises: ValueRangeError for a rate that is not positive.
    """

    rate: float = 1.0
    paper: str = field(default="esser2020learned", init=False, repr=False)

    def __post_init__(self) -> None:
        positive("rate", self.rate)

    def begin(self, session: Session) -> Hooks:
        layers, inputs = few_bits(session.module), few_bit_inputs(session.module)
        if not layers and not inputs:
            return Hooks()
        steps = [*(layer.weight_scale for layer in layers), *(quantizer.scale for quantizer in inputs)]
        features: dict[nn.Module, int] = {}

        def seen(quantizer: nn.Module, given: tuple[Tensor, ...]) -> None:
            features[quantizer] = given[0][0].numel()

        handles = [quantizer.register_forward_pre_hook(seen) for quantizer in inputs]
        for step in steps:
            step.requires_grad_(True)
        beside = Beside("learned-steps", steps, session, self.rate)

        @torch.no_grad()
        def after_step() -> None:
            shares = [*map(share_of, layers), *(input_share(q, features.get(q, 1)) for q in inputs)]
            for step, share in zip(steps, shares, strict=True):
                if step.grad is not None:
                    step.grad.mul_(share)
            beside.step()
            for step in steps:
                step.clamp_(min=LEAST_STEP)

        @torch.no_grad()
        def end() -> None:
            for handle in handles:
                handle.remove()
            for step in steps:
                step.requires_grad_(False).grad = None
            for layer in layers:
                weight: Tensor = layer._parameters["weight"]  # type: ignore[attr-defined]
                layer.weight_scale.copy_(layer.grid.settled(weight, layer.weight_scale))

        return Hooks(after_step=after_step, end=end)


def few_bits(module: nn.Module) -> list[IntegerWeight]:
    """Return the layers whose weights are on grids of fewer than eight bits."""
    return [m for m in module.modules() if isinstance(m, IntegerWeight) and m.grid.bits < EXACT_BITS]


def few_bit_inputs(module: nn.Module) -> list[ActivationQuantizer]:
    """Return the quantizers of inputs of fewer than eight bits."""
    return [m for m in module.modules() if isinstance(m, ActivationQuantizer) and m.grid.is_simulated]


def share_of(layer: IntegerWeight) -> float:
    """Return g = 1 / sqrt(N Q) of a layer whose steps have N weights each and whose largest integer is Q."""
    weight: Tensor = layer._parameters["weight"]  # type: ignore[attr-defined]
    return float((layer.grid.group_of(weight) * layer.grid.most) ** -0.5)


def input_share(quantizer: ActivationQuantizer, features: int) -> float:
    """Return g = 1 / sqrt(N Q) of a quantizer that reads N numbers of a sample.

    >>> from whet.graph.grids import InputGrid
    >>> input_share(ActivationQuantizer(grid=InputGrid(2)), features=3)
    0.3333333333333333
    """
    most = quantizer.grid.most - int(quantizer.zero_point)
    return float((max(features, 1) * max(most, 1)) ** -0.5)
