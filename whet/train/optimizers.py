"""The optimizers by name: plain data from a recipe's fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn, optim

from whet import catalogue

if TYPE_CHECKING:
    from whet.train.recipe import Recipe

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def sgd(groups: list[dict[str, Any]], recipe: Recipe) -> optim.Optimizer:
    """Return stochastic gradient descent with Nesterov's momentum: `w - lr (g + mu v)`, where `v = mu v + g`.

    Paper: Sutskever et al. 2013, On the Importance of Initialization and Momentum in Deep Learning.
    """
    return optim.SGD(groups, recipe.learning_rate, recipe.momentum, nesterov=recipe.momentum > 0)


def adamw(groups: list[dict[str, Any]], recipe: Recipe) -> optim.Optimizer:
    """Return Adam with its weight decay apart from the gradient: `w (1 - lr decay) - lr m / (sqrt(v) + eps)`.

    Paper: Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization.
    """
    return optim.AdamW(groups, recipe.learning_rate, recipe.betas, recipe.epsilon, fused=True)


class Optimizers(Mapping[str, Callable[[list[dict[str, Any]], "Recipe"], optim.Optimizer]]):
    """The optimizers of the catalogue by their names, each imported when it is asked for."""

    def __getitem__(self, name: str) -> Callable[[list[dict[str, Any]], Recipe], optim.Optimizer]:
        row, _ = catalogue.names("optimizer")[name]
        found: Callable[[list[dict[str, Any]], Recipe], optim.Optimizer] = catalogue.get(row).load()
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(catalogue.names("optimizer"))

    def __len__(self) -> int:
        return len(catalogue.names("optimizer"))


OPTIMIZERS = Optimizers()
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
