"""Choices as differentiable mixtures of their values: what gradient-based searches feed a relaxed network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from whet.core.errors import SpecError


def binary_gates(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return a one-hot draw g from `softmax(logits)`, shape (..., values), whose gradient reaches all logits.

        dL/dlogit_i = sum_j dL/dg_j  p_j (delta_ij - p_i)

    Going forwards one value counts alone, so what is trained is the network that was drawn. All values' paths are run
    for it: a step costs what the whole network costs, where the paper's implementation runs two paths alone.

    Paper: Cai, Zhu and Han 2019, ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware.
    """
    p = logits.softmax(-1)
    drawn = torch.multinomial(p.detach(), 1, generator=generator).squeeze(-1)
    drawn = functional.one_hot(drawn, p.shape[-1]).to(p.dtype)
    return drawn + p - p.detach()


def gumbel_noise(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return draws of `-log(-log u)`, u ~ U(0, 1), shaped as `like`; the largest of log p plus noise is a draw of p."""
    return -torch.log(-torch.log(torch.rand(like.shape, generator=generator).clamp(1e-9, 1 - 1e-7)))


def sampled_interpolation(
    logits: Tensor, temperature: float = 1.0, count: int = 2, generator: torch.Generator | None = None
) -> Tensor:
    """Return weights over the values, zero on all but `count` of them, drawn by p without replacement.

        weights_i ~ exp((log p_i + o_i) / temperature) over the drawn,   o_i = -log(-log u_i),   u_i ~ U(0, 1)

    The features of the drawn widths are aggregated by these weights. The `count` largest of `log p_i + o_i` are a
    draw without replacement, so noise and draw are one.

    Paper: Dong and Yang 2019, Network Pruning via Transformable Architecture Search, which draws and perturbs
    separately and aligns features of different widths by interpolation, where a relaxed net pads them with zeros.
    Raises: SpecError for a temperature that is not positive.
    """
    if temperature <= 0:
        raise SpecError(f"temperature must be positive; got {temperature}.")
    perturbed = logits.log_softmax(-1) + gumbel_noise(logits, generator)
    kept = torch.topk(perturbed, min(count, logits.shape[-1])).indices
    masked = torch.full_like(perturbed, -torch.inf).scatter(-1, kept, perturbed.gather(-1, kept))
    return (masked / temperature).softmax(-1)


def cost_term(cost: Tensor, wanted: float, tolerance: float = 0.05) -> Tensor:
    """Return `log cost` above `(1 + tolerance) wanted`, `-log cost` below `(1 - tolerance) wanted`, and 0 between.

    All are scalars. Its gradient moves a cost into the corridor and leaves it alone there (Dong and Yang 2019).
    """
    if cost > (1 + tolerance) * wanted:
        return cost.log()
    if cost < (1 - tolerance) * wanted:
        return -cost.log()
    return cost * 0.0


class TrainableGate(torch.autograd.Function):
    """The step function b(w) = 1 for w > 0, else 0, with the gradient of a shape g(w) = sigmoid(w).

        G_M(w) = b(w) + s_M(w) g(w),    s_M(w) = (M w - floor(M w)) / M

    As M grows, G_M goes to the step (|G_M - b| <= g / M) while its derivative goes to g(w) almost everywhere: the
    step becomes trainable by the gradient that its sawtooth has. This is the limit.

    Paper: Kim et al. 2020, Plug-in, Trainable Gate for Streamlining Arbitrary Neural Networks.
    """

    @staticmethod
    def forward(ctx: Any, w: Tensor) -> Tensor:
        """Return 1 where a weight is above zero and 0 elsewhere, in the shape of `w`."""
        ctx.save_for_backward(w)
        return (w > 0).to(w.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the gradient with the sigmoid of the weight in the place of the step's derivative; shape of `w`."""
        w: Tensor = ctx.saved_tensors[0]
        return gradients[0] * w.sigmoid()


def trainable_gate(w: Tensor) -> Tensor:
    """Return 1 where `w > 0`, else 0, with the gradient sigmoid(w).

    >>> w = torch.tensor([-1.0, 2.0], requires_grad=True)
    >>> trainable_gate(w).tolist()
    [0.0, 1.0]
    """
    gate: Tensor = TrainableGate.apply(w)  # type: ignore[no-untyped-call]
    return gate


def nested_gates(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return the one-hot value at which the first gate is closed; gate v opens the way from value v - 1 to value v.

    >>> nested_gates(torch.tensor([0.0, 1.0, -1.0, 1.0])).tolist()
    [0.0, 1.0, 0.0, 0.0]
    """
    end = (*logits.shape[:-1], 1)
    reached = torch.cat([torch.ones(end), trainable_gate(logits[..., 1:]).cumprod(-1)], -1)
    return reached - torch.cat([reached[..., 1:], torch.zeros(end)], -1)


MIXINGS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "gates": binary_gates,
    "interpolation": lambda logits, generator: sampled_interpolation(logits, generator=generator),
    "trainable-gate": nested_gates,
}
"""Ways of making a mixture from logits, (..., values), and a source of chance, by name."""


def settled(mixing: str, logits: Tensor) -> Tensor:
    """Return the one-hot mixture that logits, `(..., values)`, stand for once nothing is left to chance."""
    if mixing == "trainable-gate":
        return nested_gates(logits)
    return functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
