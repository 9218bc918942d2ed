"""Atoms that training left empty: all of their parameters are zero, so that they can be cut and no output changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from whet.core.errors import AxesError
from whet.core.net import Net
from whet.graph.axes import AtomGroup, Axes, analyze
from whet.graph.cut import cut
from whet.graph.probe import apart
from whet.graph.sides import reads

SAME = 1e-4
"""Largest difference of outputs, as a share of the largest, that counts as rounding where a cut is held to be exact."""
EMPTIED = "emptied"
"""In a module's `meta`: by site the atoms that are left, of those that there were before the first was cut as empty."""
Spared = Callable[[Net, Sequence[AtomGroup]], tuple[Net, Net]]
Along = tuple[Tensor, int, Tensor]
"""A parameter, its dimension that runs over the atoms, and which atom each element of that is, -1 for none."""


def tensors_of(net: Net, group: AtomGroup) -> tuple[list[Along], list[Along]]:
    """Return the parameters of a group, and those of them that write or scale its atoms."""
    members = [(m, (net.module.get_parameter(m.parameter), m.dim, torch.from_numpy(m.atom))) for m in group.members]
    return [found for _, found in members], [found for m, found in members if not reads(net, m)]


def products(parts: Sequence[Along], left: Sequence[Tensor], right: Sequence[Tensor], size: int) -> Tensor:
    """Return <l_g, r_g> for each atom g, l and r being shaped as the parameters: `(size,)`."""
    total = torch.zeros(size)
    for (_, dim, atom), one, other in zip(parts, left, right, strict=True):
        rows = (one * other).movedim(dim, 0).flatten(1).sum(1) if one.ndim > 1 else one * other
        total.index_add_(0, atom[atom >= 0], rows[atom >= 0])
    return total


def along(values: Tensor, parameter: Tensor, dim: int, atom: Tensor, other: float) -> Tensor:
    """Return the atoms' values `(size,)` along a dimension of a parameter, `other` where an element is of no atom.

    The shape is 1 in all other dimensions.
    """
    found = torch.where(atom >= 0, values[atom.clamp(min=0)], other)
    return found.view([-1 if i == dim else 1 for i in range(parameter.ndim)])


def zeroed(net: Net, groups: Sequence[AtomGroup]) -> tuple[Net, Net]:
    """Return, twice, a copy in which all parameters of the first atom of each group are zero."""
    copy = net.copy()
    for group in groups:
        for parameter, dim, atom in tensors_of(copy, group)[0]:
            parameter.mul_(along(torch.tensor([0.0]), parameter, dim, torch.where(atom == 0, 0, -1), 1.0))
    return copy, copy


@torch.no_grad()
def exact(net: Net, axes: Axes, among: Collection[str] | None = None, spared: Spared = zeroed) -> list[str]:
    """Return the sites whose atoms, once all their parameters are zero, can be cut without any change of the outputs.

    Tried on the example inputs, with the first atom of all sites at once and, where that changes something, site by
    site. `spared` returns, for other ways of making it needless, a network and one that is to compute the same once the
    first atom of each group is cut from it.
    """

    def same(sites: Sequence[str]) -> bool:
        whole, ready = spared(net, [axes.groups[site] for site in sites])
        try:
            narrow = cut(ready, {site: range(1, axes.groups[site].size) for site in sites}, axes)
        except AxesError:  # several sites that together are all of a dimension
            return False
        with whole.evaluating(), narrow.evaluating():
            found, wanted = (n.results(n(*net.example)) for n in (narrow, whole))
        return max(map(apart, found, wanted)) <= SAME

    sites = [site for site in axes.groups if among is None or site in among]
    return sites if not sites or same(sites) else [site for site in sites if same([site])]


@torch.no_grad()
def without_empty(net: Net) -> Net:
    """Return the net without its empty atoms, where that changes no output; one a site stays, and the net if none goes.

    What is left is noted in the module's `meta`, so that `emptied` makes the same of a net with other weights.
    """
    axes, left = analyze(net), dict[str, list[int]]()
    for site, group in axes.groups.items():
        own = tensors_of(net, group)[1]
        squares = products(own, [p for p, _, _ in own], [p for p, _, _ in own], group.size)
        kept = (squares > 0).nonzero().flatten().tolist() or [0]
        if own and len(kept) < group.size:
            left[site] = kept
    sites = exact(net, axes, left)
    return _narrower(net, {site: left[site] for site in sites}, axes) if sites else net


def emptied(net: Net, left: Mapping[str, Sequence[int]]) -> Net:
    """Return a net with the atoms that another of the same structure was left with, or the net where that is all.

    Raises: AxesError if it has no such atoms.
    """
    return _narrower(net, left, analyze(net)) if left else net


def _narrower(net: Net, left: Mapping[str, Sequence[int]], axes: Axes) -> Net:
    narrow = cut(net, left, axes)
    before: dict[str, list[int]] = net.module.meta.get(EMPTIED, {})
    now = {site: [before[site][i] for i in kept] if site in before else list(kept) for site, kept in left.items()}
    narrow.module.meta[EMPTIED] = before | now
    return narrow
