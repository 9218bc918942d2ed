"""The optimizers by name: plain data from a recipe's fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn, optim

if TYPE_CHECKING:
    from whet.train.recipe import Recipe

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)

OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], Recipe], optim.Optimizer]] = {
    "sgd": lambda groups, r: optim.SGD(groups, r.learning_rate, r.momentum, nesterov=r.momentum > 0),
    "adamw": lambda groups, r: optim.AdamW(groups, r.learning_rate, betas=r.betas, eps=r.epsilon),
}
"""Each makes an optimizer of parameter groups, which hold their weight decay, and a recipe."""


def groups_of(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters that train in two groups: those that decay, and norms and vectors, which do not.

    >>> [len(g["params"]) for g in groups_of(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), 0.1)]
    [1, 3]
    """
    spared = {id(p) for m in module.modules() if isinstance(m, NORMS) for p in m.parameters()}
    trained = [p for p in module.parameters() if p.requires_grad]
    decayed = [p for p in trained if id(p) not in spared and p.dim() > 1]
    rest = [p for p in trained if id(p) in spared or p.dim() <= 1]
    return [{"params": p, "weight_decay": w} for p, w in ((decayed, weight_decay), (rest, 0.0)) if p]
