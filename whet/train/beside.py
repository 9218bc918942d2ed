"""`Beside`: tensors of a technique that train beside the network's parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from whet.train.optimizers import OPTIMIZERS
from whet.train.technique import Session


class Beside:
    """The recipe's optimizer over a technique's own tensors, without decay, at `rate` times its learning rate.

    What it remembers from step to step is kept in checkpoints under `name`.
    """

    def __init__(self, name: str, tensors: Sequence[Tensor], session: Session, rate: float = 1.0) -> None:
        self.session, self.rate = session, rate
        groups: list[dict[str, Any]] = [{"params": list(tensors), "weight_decay": 0.0}]
        self.optimizer = OPTIMIZERS[session.recipe.optimizer](groups, session.recipe)
        self._remember(name, tensors)

    def _remember(self, name: str, tensors: Sequence[Tensor]) -> None:
        """Have the optimizer's state from the beginning, all zeros as before a first step: it is made in one."""
        for tensor in tensors:
            tensor.grad = torch.zeros_like(tensor)
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for index, tensor in enumerate(tensors):
            for key, value in self.optimizer.state[tensor].items():
                if isinstance(value, Tensor):
                    self.session.keep(f"{name}.{index}.{key}", value.zero_())

    @torch.no_grad()
    def step(self) -> None:
        """Step by the gradients that there are, and forget them."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * self.session.recipe.rate_at(self.session.progress())
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
