"""The softmax's entropy, and how likely it makes an action."""

from __future__ import annotations

import math

import torch

from whet.policies.likelihood import entropy, log_chance


def test_entropy_and_chances() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]])
    by_hand = [math.log(2), -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))]
    assert torch.allclose(entropy(logits), torch.tensor(by_hand))
    assert torch.allclose(log_chance(logits, torch.tensor([0, 1])).exp(), torch.tensor([0.5, 0.75]))
