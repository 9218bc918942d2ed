"""Quantization noise: its variance is that of rounding, and gradients pass."""

from __future__ import annotations

import pytest
import torch
from test_supernet import ARCHITECTURES, lifted, made

import whet
from whet.core.errors import SpecError
from whet.elastic.noise import with_noise
from whet.elastic.supernet import Supernet


@pytest.mark.parametrize("bits", [4, 8])
def test_noise_has_the_variance_of_rounding(bits: int) -> None:
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 20_000, generator=source, dtype=torch.float64)
    step = weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    rounded = ((weight / step).round() * step - weight).var(1)
    noisy = (with_noise(weight, bits, source) - weight).var(1)
    assert torch.allclose(noisy, step.squeeze() ** 2 / 12, rtol=0.05)
    assert torch.allclose(rounded, noisy, rtol=0.05)


@pytest.mark.parametrize("bits", [3, 8])
def test_noise_is_as_likely_up_as_down_and_within_half_a_step_of_its_channel(bits: int) -> None:
    """Uniform on [-1/2, 1/2] steps, as rounding's error: its mean is 0, its fourth moment 1/80, its bounds are kept."""
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 50_000, generator=source, dtype=torch.float64) * torch.tensor([[1.0], [10.0], [0.1]])
    step = weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    noise = (with_noise(weight, bits, source) - weight) / step
    assert float(noise.mean(1).abs().max()) < 0.006  # 4.6 deviations of a mean of so many
    assert float(noise.abs().max()) < 0.5 + 1e-9 and float(noise.abs().amax(1).min()) > 0.499
    torch.testing.assert_close((noise**4).mean(1), torch.full((3,), 1 / 80).double(), rtol=0.03, atol=0)


def test_gradients_pass_unchanged() -> None:
    weight = torch.randn(3, 5, requires_grad=True)
    with_noise(weight, 8).sum().backward()
    assert weight.grad is not None and torch.equal(weight.grad, torch.ones(3, 5))


def test_a_supernet_trains_under_noise_and_is_judged_without() -> None:
    net = lifted(ARCHITECTURES["resnet20"])
    plain, passes, run = made(net)
    noisy = Supernet(net, passes, run, noise_bits=4, schedule=lambda step: whet.Decision())
    with torch.no_grad():
        torch.testing.assert_close(noisy.eval()(*net.example), plain.eval()(*net.example))
        first, second = (noisy.train()(*net.example) for _ in range(2))
    assert not torch.allclose(first, second)


def test_one_bit_is_refused() -> None:
    with pytest.raises(SpecError, match="got 1"):
        with_noise(torch.randn(2, 2), 1)
