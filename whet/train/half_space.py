"""Training that takes whole channels to zero, which can then be cut without any change of the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from whet.core.checks import ValueRangeError, positive, share
from whet.core.errors import AxesError
from whet.core.net import Net
from whet.graph.axes import AtomGroup, Axes, analyze
from whet.graph.cut import cut
from whet.graph.probe import apart
from whet.graph.sides import reads
from whet.train.technique import Hooks, Session

LEAST_NORM = 1e-30
SAME = 1e-4
"""Largest difference of outputs, as a share of the largest, that counts as rounding where a cut is held to be exact."""


@dataclass(frozen=True)
class HalfSpace:
    """Channels, heads and neurons are drawn to zero as a whole; one that would cross to its other side becomes zero.

        x'_g = u_g - r x_g / |x_g|,    x_g = 0 if <x'_g, x_g> < epsilon |x_g|^2, else x'_g

    x_g are all parameters that write or scale an atom g (weights, biases, norms) before a step, u_g what the
    optimizer made of them: x'_g is projected to zero where it leaves the half-space that x_g lies in. Atoms are
    `whet.graph.axes`'. A zero atom stays zero, and what reads it becomes zero, too, so that it can be cut whatever its
    activation gives for zero: `without_zeros` does. The projection begins at `start`, a share of the training. Of each
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
        members = [(m, net.module.get_parameter(m.parameter), torch.from_numpy(m.atom)) for m in group.members]
        self.all = [(parameter, m.dim, atom) for m, parameter, atom in members]
        self.own = [(parameter, m.dim, atom) for m, parameter, atom in members if not reads(net, m)]
        self.before = [parameter.detach().clone() for parameter, _, _ in self.own]

    def sizes(self) -> Tensor:
        """Return |x_g| of each atom g: `(size,)`."""
        return self.products(self.before, self.before).sqrt()

    def products(self, left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
        """Return <l_g, r_g> for each atom g: `(size,)`."""
        total = torch.zeros(self.size)
        for (_, dim, atom), one, other in zip(self.own, left, right, strict=True):
            rows = (one * other).movedim(dim, 0).flatten(1).sum(1) if one.ndim > 1 else one * other
            total.index_add_(0, atom[atom >= 0], rows[atom >= 0])
        return total

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
        squares = self.products(self.before, self.before)
        drawn = drawn.index_fill(0, squares.argmax(), False)
        shrink = drawn * rate / squares.sqrt().clamp(min=LEAST_NORM)
        for (parameter, dim, atom), before in zip(self.own, self.before, strict=True):
            parameter.sub_(before * _along(shrink, parameter, dim, atom, 0.0))
        gone = squares == 0
        if epsilon is not None:
            inner = self.products([parameter for parameter, _, _ in self.own], self.before)
            gone |= drawn & (inner < epsilon * squares)
        for parameter, dim, atom in self.all:
            parameter.mul_(_along((~gone).float(), parameter, dim, atom, 1.0))
        for (parameter, _, _), before in zip(self.own, self.before, strict=True):
            before.copy_(parameter)


def _along(values: Tensor, parameter: Tensor, dim: int, atom: Tensor, other: float) -> Tensor:
    """Return the atoms' values along a dimension of a parameter, `other` where an element belongs to no atom."""
    found = torch.where(atom >= 0, values[atom.clamp(min=0)], other)
    return found.view([-1 if i == dim else 1 for i in range(parameter.ndim)])


@torch.no_grad()
def exact(net: Net, axes: Axes) -> list[str]:
    """Return the sites whose atoms, once all their parameters are zero, can be cut without any change of the outputs.

    Tried on the example inputs, with the first atom of all sites at once and, where that changes something, site by
    site.
    """

    def same(sites: Sequence[str]) -> bool:
        zeroed = net.copy()
        for site in sites:
            for parameter, dim, atom in Atoms(zeroed, axes.groups[site]).all:
                parameter.mul_(_along(torch.tensor([0.0]), parameter, dim, torch.where(atom == 0, 0, -1), 1.0))
        try:
            narrow = cut(zeroed, {site: range(1, axes.groups[site].size) for site in sites}, axes)
        except AxesError:  # several sites that together are all of a dimension
            return False
        with zeroed.evaluating(), narrow.evaluating():
            found, wanted = (n.results(n(*net.example)) for n in (narrow, zeroed))
        return max(map(apart, found, wanted)) <= SAME

    return list(axes.groups) if same(list(axes.groups)) else [site for site in axes.groups if same([site])]


@torch.no_grad()
def without_zeros(net: Net) -> Net:
    """Return a copy without the atoms whose parameters are all zero, where that changes no output; one a site stays."""
    axes = analyze(net)
    keep: dict[str, Sequence[int]] = {}
    for site in exact(net, axes):
        atoms = Atoms(net, axes.groups[site])
        keep[site] = (atoms.sizes() > 0).nonzero().flatten().tolist() or [0]
    return cut(net, keep, axes)
