"""Noisy layers: exploration by weights that are drawn anew, with how much noise each has learned."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class NoisyLinear(nn.Module):
    r"""A linear layer whose weights have noise, of a size that is learned.

    :math:`y = (\mu^w + \sigma^w \odot \epsilon^w) x + \mu^b + \sigma^b \odot \epsilon^b`. The noise is factorised:
    :math:`\epsilon^w_{ij} = f(\epsilon_i) f(\epsilon_j)`, :math:`\epsilon^b_i = f(\epsilon_i)` with
    :math:`f(x) = \mathrm{sgn}(x) \sqrt{|x|}` of one normal number for each output i and input j. `draw_noise` draws
    it; in eval mode there is none.

    Shapes: weights (outputs, inputs), biases (outputs,).
    Fortunato et al. (2018), Noisy Networks for Exploration.
    """

    def __init__(self, inputs: int, outputs: int, sigma: float = 0.5) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.weight_noise = nn.Parameter(torch.full((outputs, inputs), sigma * bound))
        self.bias_noise = nn.Parameter(torch.full((outputs,), sigma * bound))
        self.of_inputs: Tensor
        self.of_outputs: Tensor
        self.register_buffer("of_inputs", torch.zeros(inputs))
        self.register_buffer("of_outputs", torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (N, outputs) of x (N, inputs)."""
        if not self.training:
            return functional.linear(x, self.weight, self.bias)
        weight = self.weight + self.weight_noise * torch.outer(self.of_outputs, self.of_inputs)
        return functional.linear(x, weight, self.bias + self.bias_noise * self.of_outputs)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the noise anew."""
        for buffer in (self.of_inputs, self.of_outputs):
            normal = torch.randn(buffer.shape, generator=generator)
            buffer.copy_(normal.sign() * normal.abs().sqrt())


def draw_noise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the noise of all noisy layers of a network anew."""
    for module in network.modules():
        if isinstance(module, NoisyLinear):
            module.draw(generator)


def without_noise(network: nn.Module) -> nn.Module:
    """Return a copy of a network in eval mode whose noisy layers are plain ones with the same means."""
    found = copy.deepcopy(network).eval()
    for parent in list(found.modules()):
        for name, module in parent.named_children():
            if isinstance(module, NoisyLinear):
                plain = nn.Linear(module.weight.shape[1], module.weight.shape[0])
                plain.load_state_dict({"weight": module.weight.detach(), "bias": module.bias.detach()})
                setattr(parent, name, plain)
    return found
