"""Categorical values: the projection keeps mass and mean, and does by hand what the paper's figure shows."""

from __future__ import annotations

import pytest
import torch

from whet.agents.categorical import Categorical
from whet.policies.spaces import AgentError

ATOMS = Categorical(5, -2.0, 2.0)


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float32)


def test_the_projection_by_hand() -> None:
    half = ATOMS.projected(row(0, 0, 1, 0, 0), torch.tensor([0.25]), torch.tensor([1.0]))
    assert half.tolist() == [[0, 0, 0.75, 0.25, 0]]
    shrunk = ATOMS.projected(row(0.5, 0, 0, 0, 0.5), torch.tensor([0.0]), torch.tensor([0.5]))
    assert shrunk.tolist() == [[0, 0.5, 0, 0.5, 0]]
    ended = ATOMS.projected(row(0.5, 0, 0, 0, 0.5), torch.tensor([1.0]), torch.tensor([0.0]))
    assert ended.tolist() == [[0, 0, 0, 1, 0]], "behind an end there is the reward alone"
    beyond = ATOMS.projected(row(0, 0, 0, 0, 1), torch.tensor([3.0]), torch.tensor([1.0]))
    assert beyond.tolist() == [[0, 0, 0, 0, 1]], "what lies beyond the last atom is put on it"


def test_mass_and_mean_are_kept_within_the_range() -> None:
    torch.manual_seed(0)
    probabilities, rewards, discounts = torch.rand(9, 5).softmax(1), torch.rand(9) - 0.5, torch.rand(9) * 0.7
    found = ATOMS.projected(probabilities, rewards, discounts)
    assert torch.allclose(found.sum(1), torch.ones(9), atol=1e-6)
    assert torch.allclose(found @ ATOMS.atoms, rewards + discounts * (probabilities @ ATOMS.atoms), atol=1e-5)


def test_nothing_is_missed_where_the_distribution_is_the_target() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    losses, missed = ATOMS.losses(logits, logits.detach(), torch.zeros(3), torch.ones(3))
    assert torch.allclose(missed, torch.zeros(3), atol=1e-5)
    losses.sum().backward()
    assert logits.grad is not None and torch.allclose(logits.grad, torch.zeros(3, 5), atol=1e-6)
    assert bool((ATOMS.losses(logits, logits.detach(), torch.ones(3), torch.ones(3))[1] > 0.01).all())


def test_scores_are_means() -> None:
    logits = torch.tensor([[[0.0, 0, 0, 0, 50.0], [0.0, 0, 0, 0, 0]]])
    assert torch.allclose(ATOMS.expected()(logits), torch.tensor([[2.0, 0.0]]), atol=1e-5)


def test_a_range_that_spans_nothing() -> None:
    with pytest.raises(AgentError, match="values must span from low to a larger high; got low=1, high=1"):
        Categorical(51, 1, 1)
