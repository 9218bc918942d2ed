"""Entropic Wasserstein regression: its plan, its limits, and that it evens out noise of single targets."""

from __future__ import annotations

import torch

from whet.compress.prune.entropic import neighbours, plan
from whet.compress.prune.least_squares import Problem, pruned


def values(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    wanted = torch.randn(40, generator=generator).double()
    return wanted + 0.1 * torch.randn(40, generator=generator).double(), wanted


def test_the_plan_has_equal_shares_and_is_the_minimum() -> None:
    given, wanted = values()
    found = plan(given, wanted, 0.2)
    shares = torch.full((40,), 1 / 40).double()
    assert torch.allclose(found.sum(0), shares, atol=1e-6) and torch.allclose(found.sum(1), shares, atol=1e-6)

    def cost(p: torch.Tensor) -> float:
        return float((p * (given[:, None] - wanted).square()).sum() + 0.2 * (p * p.clamp(min=1e-300).log()).sum())

    for a, b in ((0, 1), (3, 17), (20, 39)):  # moves along a square keep all shares
        square = torch.zeros_like(found)
        square[a, a], square[b, b], square[a, b], square[b, a] = 1, 1, -1, -1
        assert all(cost(found + sign * 1e-5 * square) > cost(found) for sign in (1, -1))


def test_without_entropy_rows_go_to_their_own_targets_and_with_much_to_the_mean() -> None:
    given, wanted = torch.tensor([0.1, 0.9, 2.1]).double(), torch.tensor([0.0, 1.0, 2.0]).double()
    assert torch.allclose(neighbours(given, wanted, 1e-4), wanted, atol=1e-6)
    assert torch.allclose(neighbours(given, wanted, 1e4), torch.ones(3).double(), atol=1e-3)


def test_a_plan_of_little_entropy_is_the_assignment_by_rank_however_far_the_costs_are_spread() -> None:
    """Most targets next to zero and few large, as the gradients of a trained network are."""
    wanted = torch.cat([torch.linspace(-1e-3, 1e-3, 30), torch.tensor([-40.0, -6.0, 5.0, 50.0])]).double()
    given = wanted.flip(0) * 1.1
    found = neighbours(given, wanted, 1e-9)
    assert torch.allclose(found[[0, 1, 2, 3]], torch.tensor([50.0, 5.0, -6.0, -40.0]).double(), atol=1e-3)
    assert torch.allclose(plan(given, wanted, 1e-4).sum(1), torch.full((34,), 1 / 34).double())


def test_targets_near_each_other_are_mixed_and_their_mean_stays() -> None:
    given, wanted = values()
    mixed = neighbours(given, wanted, 0.1)
    assert abs(float(mixed.mean() - wanted.mean())) < 1e-5
    assert 0.5 < float(mixed.var() / wanted.var()) < 0.99
    order = torch.argsort(given)
    assert (mixed[order].diff() > -1e-9).all(), "means move along with what the rows give"


def test_with_next_to_no_entropy_the_weights_are_those_of_least_squares() -> None:
    generator = torch.Generator().manual_seed(3)
    rows, start = torch.randn(6, 12, generator=generator).double(), torch.randn(12, generator=generator).double()
    asked = Problem(rows, start, 0.01)
    plain = pruned(asked, 8, 1, lambda given: asked.goal)
    near = pruned(asked, 8, 1, lambda given: neighbours(given, asked.goal, 1e-6))
    far = pruned(asked, 8, 1, lambda given: neighbours(given, asked.goal, 1.0))
    assert torch.allclose(plain, near, atol=1e-4) and not torch.allclose(plain, far, atol=1e-2)
