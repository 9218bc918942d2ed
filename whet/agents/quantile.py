"""Quantile values: the distribution of the return by its quantiles, which need no range."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from whet.core.checks import whole


class MeanOfQuantiles(nn.Module):
    """The mean of a distribution of which each quantile holds as much."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the means (N, actions) of quantiles (N, actions, quantiles)."""
        return x.mean(2)


class Quantiles:
    r"""The return's quantiles :math:`\theta_i` at the shares :math:`\hat\tau_i = (2 i + 1) / 2N`, i = 0 ... N - 1.

    Each is learned by quantile regression: with :math:`u_{ij} = r + d \theta_j(s', a') - \theta_i(s, a)` the loss is
    :math:`\sum_i E_j |\hat\tau_i - 1_{u_{ij} < 0}| L_1(u_{ij})`, where :math:`L_1` is Huber's loss.

    Shapes: quantiles (B, quantiles).
    Dabney, Rowland, Bellemare and Munos (2018), Distributional Reinforcement Learning with Quantile Regression.
    """

    def __init__(self, quantiles: int = 50) -> None:
        self.outputs = whole("quantiles", quantiles)
        self.shares = (2 * torch.arange(quantiles) + 1) / (2 * quantiles)

    def expected(self) -> nn.Module:
        """Return the module that takes the mean as the score."""
        return MeanOfQuantiles()

    def losses(self, chosen: Tensor, following: Tensor, rewards: Tensor, discounts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of quantile regression, (B,), of quantiles (B, quantiles); it is what was missed as well."""
        target = rewards[:, None] + discounts[:, None] * following
        errors = target[:, None, :] - chosen[:, :, None]
        huber = torch.where(errors.abs() <= 1, errors.square() / 2, errors.abs() - 0.5)
        losses = ((self.shares[:, None] - (errors.detach() < 0).float()).abs() * huber).mean(2).sum(1)
        return losses, losses.detach()
