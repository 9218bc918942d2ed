"""Mixtures: the gradient of binary gates, draws without replacement, the cost corridor, and the trainable gate."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from whet.core.errors import SpecError
from whet.decisions.mixtures import (
    binary_gates,
    cost_term,
    gumbel_noise,
    nested_gates,
    sampled_interpolation,
    settled,
    trainable_gate,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_binary_gates_are_one_hot_drawn_by_their_probabilities() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0])
    source = generator()
    drawn = torch.stack([binary_gates(logits, source) for _ in range(4000)])
    assert torch.allclose(drawn.sum(-1), torch.ones(4000)) and ((drawn - 1).abs() < 1e-6).any(-1).all()
    assert torch.allclose(drawn.mean(0), logits.softmax(-1), atol=0.03)


def test_the_gradient_of_binary_gates_is_the_papers() -> None:
    logits = torch.tensor([0.3, -0.2, 0.9], requires_grad=True)
    slopes = torch.tensor([1.0, -2.0, 0.5])
    (binary_gates(logits, generator()) @ slopes).backward()
    p = logits.detach().softmax(-1).tolist()
    wanted = [sum(float(slopes[j]) * p[j] * ((i == j) - p[i]) for j in range(3)) for i in range(3)]
    assert logits.grad is not None and torch.allclose(logits.grad, torch.tensor(wanted))


def test_expected_latency_falls_under_its_own_gradient() -> None:
    """The latency loss of the paper, sum_i p_i F_i, sends the choice to its fastest value."""
    logits, latency = torch.zeros(3, requires_grad=True), torch.tensor([3.0, 1.0, 2.0])
    for _ in range(200):
        (slope,) = torch.autograd.grad(logits.softmax(-1) @ latency, logits)
        logits = (logits - slope).detach().requires_grad_()
    assert logits.argmax() == 1 and logits.softmax(-1)[1] > 0.95


def test_interpolation_draws_so_many_values_without_replacement() -> None:
    logits = torch.tensor([0.0, 0.5, 1.0, 1.5])
    p = logits.softmax(-1).tolist()
    source = generator(1)
    weights = torch.stack([sampled_interpolation(logits, 1.0, 2, source) for _ in range(6000)])
    assert ((weights > 0).sum(-1) == 2).all() and torch.allclose(weights.sum(-1), torch.ones(6000))
    for i, j in itertools.combinations(range(4), 2):
        wanted = p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j])
        seen = ((weights[:, i] > 0) & (weights[:, j] > 0)).float().mean()
        assert float(seen) == pytest.approx(wanted, abs=0.03)


def test_a_low_temperature_commits_to_one_value() -> None:
    weights = sampled_interpolation(torch.zeros(4), 0.01, 2, generator(2))
    assert float(weights.max()) > 0.99
    with pytest.raises(SpecError, match="temperature must be positive"):
        sampled_interpolation(torch.zeros(4), 0.0)


@pytest.mark.parametrize(("cost", "sign"), [(2.0, 1), (0.5, -1), (1.03, 0)])
def test_the_cost_term_pulls_towards_the_corridor(cost: float, sign: int) -> None:
    value = torch.tensor(cost, requires_grad=True)
    term = cost_term(value, 1.0)
    term.backward()
    assert value.grad is not None and math.copysign(1, float(value.grad)) * (float(value.grad) != 0) == sign


def sawtooth(w: Tensor, m: float) -> Tensor:
    return (w > 0).double() + (m * w - torch.floor(m * w)) / m * w.sigmoid()


def test_the_trainable_gate_is_the_limit_of_the_papers_sawtooth() -> None:
    w = torch.tensor([-1.37, -0.21, 0.113, 0.52, 2.31], dtype=torch.float64, requires_grad=True)
    for m in (10.0, 1e4):
        gate = sawtooth(w, m)
        assert ((gate - trainable_gate(w)).abs() <= w.sigmoid() / m + 1e-12).all()
    (limit,) = torch.autograd.grad(sawtooth(w, 1e6).sum(), w)
    # floor and the step have no gradient, so autograd differentiates what is left of the sawtooth
    (own,) = torch.autograd.grad(trainable_gate(w).sum(), w)
    assert torch.allclose(own, limit, atol=1e-5)


def test_gumbel_noise_has_the_moments_of_its_distribution_and_draws_by_p() -> None:
    """Mean 0.5772, variance pi^2 / 6, and skewed to the right; the largest of log p + noise is a draw of p."""
    noise = gumbel_noise(torch.zeros(200_000), generator(3)).double()
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.02)
    assert float(noise.var()) == pytest.approx(math.pi**2 / 6, rel=0.03)
    assert float(((noise - noise.mean()) / noise.std()).pow(3).mean()) == pytest.approx(1.14, abs=0.1)
    p = torch.tensor([0.05, 0.15, 0.8])
    drawn = (p.log() + gumbel_noise(torch.zeros(20_000, 3), generator(4))).argmax(-1)
    assert torch.allclose(torch.bincount(drawn, minlength=3) / 20_000, p, atol=0.02)


def test_the_likelier_of_two_drawn_values_weighs_more() -> None:
    logits = torch.tensor([0.0, 3.0])
    weights = torch.stack([sampled_interpolation(logits, 1.0, 2, generator(seed)) for seed in range(400)])
    p = float(logits.softmax(-1)[1])
    assert float((weights[:, 1] > 0.5).float().mean()) == pytest.approx(p, abs=0.04)
    sharp = torch.stack([sampled_interpolation(logits, 0.5, 2, generator(seed)) for seed in range(400)])
    ratio, sharper = ((w[:, 1] / w[:, 0]).log() for w in (weights, sharp))
    assert torch.allclose(2 * ratio, sharper, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("logits", "value"), [([9.0, 1.0, 1.0], 2), ([9.0, -1.0, 1.0], 0), ([-9.0, 1.0, -1.0], 1), ([0.0, -1.0, -1.0], 0)]
)
def test_nested_gates_stop_at_the_first_that_is_closed(logits: list[float], value: int) -> None:
    """What lies behind a closed gate is not reached, however open its own: trainable gates on nested values."""
    mixture = nested_gates(torch.tensor(logits))
    assert mixture.tolist() == [float(i == value) for i in range(3)]
    assert settled("trainable-gate", torch.tensor(logits)).argmax() == value
    assert settled("gates", torch.tensor(logits)).argmax() == max(range(3), key=lambda i: logits[i])


def test_the_gradient_of_nested_gates_reaches_a_gate_through_those_before_it() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0], requires_grad=True)
    (slope,) = torch.autograd.grad(nested_gates(logits) @ torch.tensor([0.0, 0.0, 1.0]), logits)
    # value 2 is g1 g2, and both are 1: each gate has its sigmoid
    assert slope.tolist() == pytest.approx([0.0, *torch.tensor([1.0, 2.0]).sigmoid().tolist()])
    closed = torch.tensor([0.0, -1.0, 2.0], requires_grad=True)
    (slope,) = torch.autograd.grad(nested_gates(closed) @ torch.tensor([0.0, 0.0, 1.0]), closed)
    assert slope.tolist() == pytest.approx([0.0, float(torch.tensor(-1.0).sigmoid()), 0.0])


def test_the_cost_term_is_the_logarithm_of_the_cost() -> None:
    terms = [float(cost_term(torch.tensor(c), 1.0)) for c in (2.0, 0.5, 1.04, 0.96)]
    assert terms == pytest.approx([math.log(2), math.log(2), 0.0, 0.0])
