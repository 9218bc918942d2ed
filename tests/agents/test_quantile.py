"""Quantile values: the loss by hand, and that its minimum is at the quantiles."""

from __future__ import annotations

import pytest
import torch

from whet.agents.quantile import Quantiles


def test_the_loss_by_hand() -> None:
    """Targets 2 and -1 for quantiles 0 and 1 at the shares 1/4 and 3/4."""
    chosen, following = torch.tensor([[0.0, 1.0]]), torch.tensor([[4.0, -2.0]])
    losses, missed = Quantiles(2).losses(chosen, following, torch.zeros(1), torch.full((1,), 0.5))
    first = (0.25 * 1.5 + 0.75 * 0.5) / 2
    second = (0.75 * 0.5 + 0.25 * 1.5) / 2
    assert losses.item() == pytest.approx(first + second) and missed.item() == losses.item()


def test_the_minimum_is_at_the_quantiles() -> None:
    values, targets = Quantiles(4), torch.arange(0.0, 800.0, 10.0)[None]
    chosen = torch.zeros(1, 4, requires_grad=True)
    optimizer = torch.optim.Adam([chosen], 5.0)
    for _ in range(600):
        optimizer.zero_grad()
        values.losses(chosen, targets, torch.zeros(1), torch.ones(1))[0].sum().backward()
        optimizer.step()
    assert values.shares.tolist() == [0.125, 0.375, 0.625, 0.875]
    wanted = torch.quantile(targets[0], values.shares)
    assert float((chosen.detach()[0] - wanted).abs().max()) < 12, "within a target's distance"


def test_scores_are_means() -> None:
    assert Quantiles(2).expected()(torch.tensor([[[1.0, 3.0], [0.0, -1.0]]])).tolist() == [[2.0, -0.5]]
