"""Training that takes whole channels to zero, which can then be cut without any change of the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from whet.core.checks import ValueRangeError, positive, share
from whet.core.net import Net
from whet.graph.axes import AtomGroup, analyze
from whet.graph.empty import along, exact, products, tensors_of
from whet.train.technique import Hooks, Session

LEAST_NORM = 1e-30


@dataclass(frozen=True)
class HalfSpace:
    """Channels, heads and neurons are drawn to zero as a whole; one that would cross to its other side becomes zero.

        x'_g = u_g - r x_g / |x_g|,    x_g = 0 if <x'_g, x_g> < epsilon |x_g|^2, else x'_g

    x_g are all parameters that write or scale an atom g (weights, biases, norms) before a step, u_g what the
    optimizer made of them: x'_g is projected to zero where it leaves the half-space that x_g lies in. Atoms are
    `whet.graph.axes`'. A zero atom stays zero, and what reads it becomes zero, too, so that it can be cut whatever its
    activation gives for zero: a search does so
    after each training (`whet.graph.empty`). The projection begins at `start`, a share of the training. Of each
    site the atom with the largest |x_g| is left alone. Skipped are sites whose atoms cannot be cut exactly, such as
    those that a layer norm averages over. Nothing is kept from step to step but the weights.

    Deviations from the paper, whose penalty of 0.001 for all groups takes hundreds of epochs:
    - Drawn is only the `share` of atoms that are smallest, |x_g| over the mean of their site's that are not zero.
      One that is drawn stays among them unless its gradient makes it grow. 1 draws all, as the paper does.
    - r is `penalty` d mean |x_g|, where a step is a share d of the training, in place of lr penalty: with 4 an atom of
      its site's mean size is zero after a quarter of the training, whatever optimizer and length.

    Paper: Chen et al. 2021, Only Train Once: A One-Shot Neural Network Training and Pruning Framework.
    Raises: ValueRangeError for a negative penalty, shares outside of [0, 1], an epsilon of 1.
    """

    share: float = 0.5
    penalty: float = 4.0
    epsilon: float = 0.0
    start: float = 0.25
    paper: str = field(default="chen2021only", init=False, repr=False)

    def __post_init__(self) -> None:
        positive("penalty", self.penalty, zero=True)
        for name in ("share", "epsilon", "start"):
            share(name, getattr(self, name))
        if self.epsilon == 1:
            raise ValueRangeError("epsilon must be below 1: an atom that rests would become zero.")

    def begin(self, session: Session) -> Hooks:
        if not isinstance(session.net, Net):
            session.report.skipped["half-space"] = "which channels belong together is known of a Net, not of a module"
            return Hooks()
        axes, skipped = analyze(session.net), session.report.skipped
        kept = exact(session.net, axes)
        sites = [Atoms(session.net, axes.groups[site]) for site in kept]
        skipped |= {s: "its atoms cannot be cut without changing the outputs" for s in axes.groups if s not in kept}
        done = session.progress()

        def after_step() -> None:
            nonlocal done
            before, done = done, session.progress()
            for atoms, drawn in zip(sites, smallest([atoms.relative() for atoms in sites], self.share), strict=True):
                rate = self.penalty * (done - before) * atoms.mean()
                atoms.step(rate, drawn, self.epsilon if done > self.start else None)

        return Hooks(after_step=after_step) if sites else Hooks()


def smallest(sizes: Sequence[Tensor], share: float) -> list[Tensor]:
    """Return which of all sizes are the smallest, so large a `share` of them; equals of the largest of them, too.

    >>> smallest([torch.tensor([0.1, 1.0]), torch.tensor([0.2, 0.3])], 0.5)
    [tensor([ True, False]), tensor([ True, False])]
    """
    together = torch.cat(list(sizes))
    count = int(share * len(together) + 0.5)
    limit = float(together.kthvalue(count).values) if count else -1.0
    return [found <= limit for found in sizes]


class Atoms:
    """The atoms of one site: their parameters, and what these were before the step."""

    def __init__(self, net: Net, group: AtomGroup) -> None:
        self.size = group.size
        self.all, self.own = tensors_of(net, group)
        self.before = [parameter.detach().clone() for parameter, _, _ in self.own]

    def sizes(self) -> Tensor:
        """Return |x_g| of each atom g: `(size,)`."""
        return self.products(self.before).sqrt()

    def products(self, left: Sequence[Tensor]) -> Tensor:
        """Return <l_g, x_g> for each atom g: `(size,)`."""
        return products(self.own, left, self.before, self.size)

    def mean(self) -> float:
        """Return the mean |x_g| of the atoms that are not zero, 0 where all are."""
        sizes = self.sizes()
        return float(sizes.sum() / (sizes > 0).sum().clamp(min=1))

    def relative(self) -> Tensor:
        """Return each atom's |x_g| over their mean: `(size,)`."""
        return self.sizes() / max(self.mean(), LEAST_NORM)

    @torch.no_grad()
    def step(self, rate: float, drawn: Tensor, epsilon: float | None) -> None:
        """Draw the atoms `drawn`, `(size,)`, to zero by `rate`; with an `epsilon`, make those zero that cross."""
        squares = self.products(self.before)
        drawn = drawn.index_fill(0, squares.argmax(), False)
        shrink = drawn * rate / squares.sqrt().clamp(min=LEAST_NORM)
        for (parameter, dim, atom), before in zip(self.own, self.before, strict=True):
            parameter.sub_(before * along(shrink, parameter, dim, atom, 0.0))
        gone = squares == 0
        if epsilon is not None:
            inner = self.products([parameter for parameter, _, _ in self.own])
            gone |= drawn & (inner < epsilon * squares)
        for parameter, dim, atom in self.all:
            parameter.mul_(along((~gone).float(), parameter, dim, atom, 1.0))
        for (parameter, _, _), before in zip(self.own, self.before, strict=True):
            before.copy_(parameter)
