"""Categorical values: the distribution of the return on fixed atoms."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from whet.core.checks import whole
from whet.policies.spaces import AgentError


class OnAtoms(nn.Module):
    """The mean of a distribution on atoms: `(softmax(x) z).sum()`."""

    def __init__(self, atoms: Tensor) -> None:
        super().__init__()
        self.atoms: Tensor
        self.register_buffer("atoms", atoms, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the means (N, actions) of logits (N, actions, atoms)."""
        return torch.matmul(functional.softmax(x, 2), self.atoms)


class Categorical:
    r"""Probabilities of the return on N atoms :math:`z_i`, evenly between `low` and `high`.

    The distribution after a step is that of :math:`r + d z_j`, brought back onto the atoms (equation 7 of the paper):
    :math:`(\Phi \hat T Z)_i = \sum_j [1 - |[r + d z_j]_{low}^{high} - z_i| / \Delta z]_0^1 \, p_j(s', a')`. The loss is
    the cross-entropy to it. What was missed is the divergence, the cross-entropy less the target's entropy.

    Shapes: logits (B, atoms).
    Bellemare, Dabney and Munos (2017), A Distributional Perspective on Reinforcement Learning.
    Raises: AgentError for atoms that do not span anything.
    """

    def __init__(self, atoms: int = 51, low: float = -10.0, high: float = 10.0) -> None:
        self.outputs = whole("atoms", atoms, 2)
        if not low < high:
            raise AgentError(f"values must span from low to a larger high; got low={low}, high={high}.")
        self.atoms = torch.linspace(low, high, atoms)

    def expected(self) -> nn.Module:
        """Return the module that takes the mean as the score."""
        return OnAtoms(self.atoms)

    def projected(self, probabilities: Tensor, rewards: Tensor, discounts: Tensor) -> Tensor:
        """Return the distribution of `reward + discount z` on the atoms, (B, atoms), of probabilities (B, atoms)."""
        low, high = float(self.atoms[0]), float(self.atoms[-1])
        moved = (rewards[:, None] + discounts[:, None] * self.atoms).clamp(low, high)
        apart = (moved[:, None, :] - self.atoms[:, None]).abs() / (self.atoms[1] - self.atoms[0])
        return torch.matmul((1 - apart).clamp(0, 1), probabilities[:, :, None])[:, :, 0]

    def losses(self, chosen: Tensor, following: Tensor, rewards: Tensor, discounts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy and the divergence, (B,), of logits (B, atoms)."""
        target = self.projected(functional.softmax(following, 1), rewards, discounts)
        losses = -(target * functional.log_softmax(chosen, 1)).sum(1)
        entropy = -torch.special.xlogy(target, target).sum(1)
        return losses, losses.detach() - entropy
