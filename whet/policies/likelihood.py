"""How likely a softmax makes an action, and how undecided it is."""

from __future__ import annotations

import torch
from torch import Tensor


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of the softmax of each row of logits (B, actions), shape (B,)."""
    logs = torch.log_softmax(logits, 1)
    return -(logs.exp() * logs).sum(1)


def log_chance(logits: Tensor, actions: Tensor) -> Tensor:
    """Return the log of the probability of each row's action: logits (B, actions), actions (B,), result (B,)."""
    return torch.log_softmax(logits, 1).gather(1, actions[:, None])[:, 0]
