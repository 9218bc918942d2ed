"""What a network tells of an action's value: one number, or a distribution in `categorical` and `quantile`."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional


class Values(Protocol):
    """A way to tell values of actions by `outputs` numbers each."""

    outputs: int

    def expected(self) -> nn.Module:
        """Return the module that makes one score an action, (N, actions), of outputs (N, actions, outputs)."""
        ...

    def losses(self, chosen: Tensor, following: Tensor, rewards: Tensor, discounts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each transition and how far its target was missed, both (B,).

        `chosen` (B, outputs) is what the network tells of the action that was taken, `following` (B, outputs) what
        the target network tells of the best action after it.
        """
        ...


class Squeezed(nn.Module):
    """One output an action is its score."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x (N, actions, 1) as (N, actions)."""
        return x.squeeze(2)


class Expected:
    r"""One number, the expected return, learned from :math:`\delta = r + d \, Q(s', a') - Q(s, a)`.

    The loss is Huber's: :math:`\delta^2 / 2` up to an error of 1 and linear beyond, as if errors were clipped.
    Mnih et al. (2013), Playing Atari with Deep Reinforcement Learning; the clipping is of the same authors' later form.
    """

    outputs = 1

    def expected(self) -> nn.Module:
        """Return the module that takes the one number as the score."""
        return Squeezed()

    def losses(self, chosen: Tensor, following: Tensor, rewards: Tensor, discounts: Tensor) -> tuple[Tensor, Tensor]:
        """Return Huber's loss and the absolute error, (B,), of outputs (B, 1)."""
        target = rewards + discounts * following[:, 0]
        losses = functional.smooth_l1_loss(chosen[:, 0], target, reduction="none")
        return losses, (target - chosen[:, 0].detach()).abs()


def of_actions(outputs: Tensor, actions: Tensor) -> Tensor:
    """Return what is told of one action a row: outputs (B, actions, outputs) at actions (B,) are (B, outputs)."""
    return outputs[torch.arange(len(actions)), actions]
