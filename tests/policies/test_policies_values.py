"""One number a value: Huber's loss of the temporal difference, by hand."""

from __future__ import annotations

import torch

from whet.policies.values import Expected, of_actions


def test_the_loss_is_hubers_of_the_temporal_difference() -> None:
    chosen = torch.tensor([[1.0], [1.0], [0.0]], requires_grad=True)
    following, rewards = torch.tensor([[2.0], [8.0], [5.0]]), torch.tensor([0.5, 1.0, 3.0])
    losses, missed = Expected().losses(chosen, following, rewards, torch.tensor([0.5, 0.5, 0.0]))
    assert missed.tolist() == [0.5, 4.0, 3.0], "behind an end nothing is added to the reward"
    assert losses.tolist() == [0.125, 3.5, 2.5]
    losses.sum().backward()
    assert chosen.grad is not None and chosen.grad.tolist() == [[-0.5], [-1.0], [-1.0]]


def test_what_is_told_of_an_action() -> None:
    outputs = torch.arange(12.0).view(2, 3, 2)
    assert of_actions(outputs, torch.tensor([2, 0])).tolist() == [[4, 5], [6, 7]]
    assert Expected().expected()(torch.ones(2, 3, 1)).shape == (2, 3)
