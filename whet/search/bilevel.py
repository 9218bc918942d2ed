"""Gradients of an architecture whose weights answer: `min_a L_val(w*(a), a)`, `w*(a) = argmin_w L_train(w, a)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from whet.core.errors import SpecError

Loss = Callable[[Tensor, Tensor], Tensor]
"""A loss of the weights and the architecture, both flat vectors."""


def first_order_gradient(train: Loss, val: Loss, w: Tensor, a: Tensor) -> Tensor:
    """Return dL_val/da as if the weights did not answer (Liu et al. 2019, DARTS, first order)."""
    return _gradients(val, w, a)[1]


def amended_gradient(train: Loss, val: Loss, w: Tensor, a: Tensor, amending: float = 0.1) -> Tensor:
    """Return the gradient of the architecture, in the shape of `a`, with an amending term for the weights' answer.

        dL_val/da - amending * d2L_train/(da dw) H dL_val/dw,    H = d2L_train/dw2

    The exact term has H^-1 in place of `amending * H`, because `dw*/da = -H^-1 d2L_train/(dw da)` where the weights are
    trained out; inverting H is out of reach, and dropping the term, or taking H for the identity, has no bounded
    error. Both products are of Hessians with a vector, two backward passes each.

    Paper: Bi et al. 2019, Stabilizing DARTS with Amended Gradient Estimation on Architectural Parameters.
    """
    w, a = w.detach().requires_grad_(), a.detach().requires_grad_()
    val_w, val_a = _gradients(val, w, a)
    train_w = torch.autograd.grad(train(w, a), w, create_graph=True)[0]
    curved = torch.autograd.grad(train_w, w, val_w, retain_graph=True)[0]
    mixed = torch.autograd.grad(train_w, a, curved)[0]
    return val_a - amending * mixed


@dataclass
class Relaxed:
    """Two copies of the weights, w for the training data and y for the validation data, with one architecture.

        L(y, w, a) = L_val(y, a) + train_weight * L_train(w, a) + coupling / 2 * |y - w|^2

    descended in turn in w, y and a, each seeing the others' newest value: first-order, single-level, and all data
    take part in the architecture's gradient.

    Paper: Xue et al. 2022, RARTS: An Efficient First-Order Relaxed Architecture Search Method.
    """

    y: Tensor
    w: Tensor
    a: Tensor
    train_weight: float = 1.0
    coupling: float = 10.0

    def __post_init__(self) -> None:
        if self.y.shape != self.w.shape:
            raise SpecError(f"both copies of the weights need one shape; got {self.y.shape} and {self.w.shape}.")
        if self.train_weight <= 0 or self.coupling < 0:
            raise SpecError(f"got train_weight={self.train_weight}, coupling={self.coupling}; they must be positive.")

    def step(self, train: Loss, val: Loss, rate: float, architecture_rate: float) -> None:
        """Descend once in w, then in y, then in a."""
        train_w, _ = _gradients(train, self.w, self.a)
        self.w = self.w - rate * (self.train_weight * train_w + self.coupling * (self.w - self.y))
        val_y, _ = _gradients(val, self.y, self.a)
        self.y = self.y - rate * (val_y + self.coupling * (self.y - self.w))
        _, val_a = _gradients(val, self.y, self.a)
        _, train_a = _gradients(train, self.w, self.a)
        self.a = self.a - architecture_rate * (val_a + self.train_weight * train_a)


def _gradients(loss: Loss, w: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """Return dL/dw and dL/da."""
    w, a = w.detach().requires_grad_(), a.detach().requires_grad_()
    by_w, by_a = torch.autograd.grad(loss(w, a), (w, a), materialize_grads=True)
    return by_w, by_a
