"""Quantization noise: what rounding will do to weights, as noise that gradients pass through."""

from __future__ import annotations

import torch
from torch import Tensor

from whet.core.errors import SpecError


def with_noise(weight: Tensor, bits: int, generator: torch.Generator | None = None) -> Tensor:
    """Return `weight + step * u` with u uniform in [-1/2, 1/2], the step that of each output channel.

        step = max |weight| / (2^(bits - 1) - 1)

    The noise has the variance `step^2 / 12` of rounding to that step; rounding itself has no gradient, and its error is
    not independent from one training step to the next.

    Paper: Shvetsov et al. 2022, QuantNAS, which adds noise to activations too. Raises: SpecError for fewer than
    two bits.

    Of the shape of the weight.
    """
    if bits < 2:
        raise SpecError(f"quantization noise needs at least 2 bits; got {bits}.")
    largest = weight.detach().abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True)
    step: Tensor = largest / float(2 ** (bits - 1) - 1)
    return weight + step * (torch.rand(weight.shape, generator=generator) - 0.5)
