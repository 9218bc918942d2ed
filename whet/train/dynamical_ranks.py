"""Training on the manifold of low rank: bases turn, and the rank follows a tolerance step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from whet.core.checks import ValueRangeError, positive, share
from whet.core.net import Net
from whet.graph.factors import FIRST, SECOND, chained
from whet.train.technique import Hooks, Session

NONE = "no layer of it is a product of two others: `svd` makes such layers"


@dataclass(frozen=True)
class DynamicalRanks:
    """Layers that are products U S V^T take steps of gradient descent that keep to low rank, and choose their rank.

        K = U S - lr dL/dW V,    L = V S^T - lr (dL/dW)^T U,    U' = orth [K | U],    V' = orth [L | V],
        S' = U'^T U S V^T V' - lr U'^T dL/dW V',    W <- [U' S' V'^T]_r

    where [.]_r keeps the fewest singular values such that the norm of the others is no more than `tolerance` of all. As
    the bases hold those from before, ranks can double in a step, up to that which a pass gave, and none falls below 1.
    Nothing is divided by a singular value, however small. lr is the recipe's rate times `speed`, with its weight decay;
    other parameters take the steps of its optimizer. What is left of the rank is cut after a training
    (`whet.graph.empty`).

    Layers are those that `svd` made of others, whose ranks are choices of the search: a module, or a net without such
    layers, is reported as skipped.

    Deviations from the paper, which has a backward pass for K and L and one for S on their new bases: W is the same at
    both, so all three slopes are taken of one dL/dW, which is computed whole; a step costs what a whole layer's does.
    Its optimizer for K, L and S may have a memory; here it has none.

    Paper: Schotthöfer et al. 2022, Low-rank lottery tickets: finding efficient low-rank neural networks via matrix
    differential equations.
    Raises: ValueRangeError for a tolerance outside of [0, 1[ or a speed that is not above 0.
    """

    tolerance: float = 0.1
    speed: float = 1.0
    paper: str = field(default="schotthofer2022lowrank", init=False, repr=False)

    def __post_init__(self) -> None:
        positive("speed", self.speed)
        if share("tolerance", self.tolerance) == 1:
            raise ValueRangeError("tolerance must be below 1: nothing of a layer would be left.")

    def begin(self, session: Session) -> Hooks:
        products = found(session.net) if isinstance(session.net, Net) else []
        if not products:
            session.report.skipped["dynamical-ranks"] = NONE
            return Hooks()
        recipe, done = session.recipe, session.progress()
        handles = [handle for product in products for handle in product.hooked()]

        def after_step() -> None:
            nonlocal done
            before, done = done, session.progress()
            for product in products:
                product.step(self.speed * recipe.rate_at(before), recipe.weight_decay, self.tolerance)

        def end() -> None:
            for handle in handles:
                handle.remove()

        return Hooks(after_step=after_step, end=end)


@torch.no_grad()
def stepped(
    second: Tensor, first: Tensor, slope: Tensor, rate: float, tolerance: float, decay: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the factors `(out, r)` and `(r, in)` of a product after a step against `slope`, dL/dW `(out, in)`.

    Columns and rows that are zero are not part of the product; r is the largest rank, and what is left of it is zero.
    The scale is shared out evenly between the factors.
    """
    most = first.shape[0]
    active = (second.abs().sum(0) > 0) & (first.abs().sum(1) > 0)
    if not active.any():  # nothing turns a product that is zero: any one direction will do
        active[0] = True
    old_left, old_right = torch.linalg.qr(second[:, active]).Q, torch.linalg.qr(first[active].T).Q
    left = torch.linalg.qr(torch.cat([old_left, slope @ old_right], 1)).Q
    right = torch.linalg.qr(torch.cat([old_right, slope.T @ old_left], 1)).Q
    core = (1 - rate * decay) * (left.T @ second) @ (first @ right) - rate * (left.T @ slope @ right)
    inner, values, outer = torch.linalg.svd(core, full_matrices=False)
    tails = values.square().flip(0).cumsum(0).flip(0).sqrt()
    rank = min(max(1, int((tails > tolerance * tails[0]).sum())), most)
    root = values[:rank].sqrt()
    new_second, new_first = torch.zeros_like(second), torch.zeros_like(first)
    new_second[:, :rank] = left @ inner[:, :rank] * root
    new_first[:rank] = root[:, None] * (outer[:rank] @ right.T)
    return new_second, new_first


def found(net: Net) -> list[Product]:
    """Return the layers of a net that are products of two matrices."""
    sites = [dict(net.layer(site).named_children()) for site in chained(net)]
    pairs = [(parts[FIRST], parts[SECOND]) for parts in sites if len(parts) == 2]
    return [Product(first, second) for first, second in pairs if _is_plain(first, second)]


def _is_plain(first: nn.Module, second: nn.Module) -> bool:
    """Say whether two layers are one linear layer or convolution, of the first's kernel, as a product of matrices."""
    if getattr(first, "bias", None) is not None:
        return False
    if type(first) is nn.Conv2d and type(second) is nn.Conv2d:
        return first.groups == second.groups == 1 and set(second.kernel_size + second.stride) == {1}
    return type(first) is nn.Linear and type(second) is nn.Linear


class Product:
    """One layer W = `second` `first`, and the whole W in its place while it trains."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        self.first, self.second = first, second
        self.whole = self.weight()
        self.given: list[tuple[Tensor, ...]] = []

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Return the factors as matrices, `(out, r)` and `(r, in)`, a convolution's kernel being part of in."""
        first, second = (layer.get_parameter("weight").detach() for layer in (self.first, self.second))
        return second.flatten(1), first.flatten(1)

    def weight(self) -> Tensor:
        """Return W, of a shape as the first layer's weight, as a leaf that has slopes."""
        second, first = self.matrices()
        shape = self.first.get_parameter("weight").shape[1:]
        return (second @ first).view(-1, *shape).requires_grad_()

    @property
    def rank(self) -> int:
        """How many components are not zero."""
        return int((self.matrices()[1].abs().sum(1) > 0).sum())

    def hooked(self) -> list[Any]:
        """Have the whole weight in the place of its factors while the layers train; return what takes that back."""
        return [
            self.first.register_forward_pre_hook(lambda layer, given: self.given.append(given)),
            self.second.register_forward_hook(self._computed),
        ]

    def _computed(self, layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        (x,) = self.given.pop()
        if not layer.training:
            return None
        bias = layer.bias if isinstance(layer.bias, Tensor) else None
        if isinstance(self.first, nn.Conv2d):
            y: Tensor = self.first._conv_forward(x, self.whole, bias)
            return y
        return functional.linear(x, self.whole, bias)

    @torch.no_grad()
    def step(self, rate: float, decay: float, tolerance: float) -> None:
        """Take a step against the slope of the whole weight, where it has one."""
        if self.whole.grad is None:
            return
        new = stepped(*self.matrices(), self.whole.grad.flatten(1), rate, tolerance, decay)
        for layer, matrix in zip((self.second, self.first), new, strict=True):
            weight = layer.get_parameter("weight")
            weight.copy_(matrix.view(weight.shape))
        with torch.enable_grad():
            self.whole = self.weight()
