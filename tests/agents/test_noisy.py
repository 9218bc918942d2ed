"""Noisy layers: the noise is factorised, of known variance, and gone when the policy is deployed."""

from __future__ import annotations

import math

import torch
from torch import nn

from whet.agents.noisy import NoisyLinear, draw_noise, without_noise


def test_noise_has_the_papers_scale_and_form() -> None:
    layer, generator = NoisyLinear(16, 4), torch.Generator().manual_seed(0)
    assert torch.allclose(layer.weight_noise, torch.tensor(0.5 / math.sqrt(16)))
    products, x = [], torch.eye(16)
    plain = layer.eval()(x)
    layer.train()
    for _ in range(4000):
        layer.draw(generator)
        products.append(torch.outer(layer.of_outputs, layer.of_inputs))
    noise = torch.stack(products)
    assert abs(float(noise.mean())) < 0.01
    assert abs(float(noise.square().mean()) - 2 / math.pi) < 0.03, "E f(x)^2 = E |x| = sqrt(2 / pi) each"
    assert torch.linalg.matrix_rank(noise[0]) == 1
    moved = layer(x) - plain
    by_hand = (layer.weight_noise * noise[-1]).T + layer.bias_noise * layer.of_outputs
    assert torch.allclose(moved, by_hand, atol=1e-6)


def test_noise_is_learned() -> None:
    layer = NoisyLinear(3, 2)
    layer.draw(torch.Generator().manual_seed(0))
    layer(torch.randn(5, 3)).square().sum().backward()
    assert layer.weight_noise.grad is not None and bool(layer.weight_noise.grad.abs().min() > 0)


def test_what_is_deployed_has_plain_layers_and_no_noise() -> None:
    network = nn.Sequential(nn.Sequential(NoisyLinear(3, 4), nn.ReLU()), NoisyLinear(4, 2))
    x, generator = torch.randn(6, 3), torch.Generator().manual_seed(1)
    draw_noise(network, generator)
    noisy = network(x)
    deployed = without_noise(network)
    assert not any(isinstance(m, NoisyLinear) for m in deployed.modules())
    assert torch.allclose(deployed(x), network.eval()(x), atol=1e-6)
    assert not torch.allclose(noisy, network(x), atol=1e-3)
