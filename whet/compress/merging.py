"""Merging: channels and neurons that do nearly the same become one, and what reads them reads the one. No data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from whet.compress.ties import Tie
from whet.compress.width import Width
from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Decision, Space
from whet.core.target import Target
from whet.graph.axes import AtomGroup, Member, analyze
from whet.graph.cut import cut
from whet.graph.empty import Along, exact
from whet.graph.sides import owner, reads

KIND = "merged"
LEAST = 1e-30
DIFFERENT = "equal atoms of it cannot be one without changing the outputs: not all that reads them adds them up."


@dataclass(frozen=True)
class Merging:
    """Merge the atoms of each group, two at a time, until a fraction is left: `SITE:merged`, identity 1.0.

        x_ij = (n_i x_i + n_j x_j) / (n_i + n_j),    y_ij = y_i + y_j

    x are an atom's parameters and statistics that write or scale it, y the weights that read it, n how many atoms it
    was made of. Equal atoms (equal x) give the same, so that their sum is read from one of them and the outputs stay
    what they are. Others err: two that are next to each other in `Features.distance`, a bound on what their readers
    get, become one first. Groups, alignment, ties and fractions are those of `width`. Merged are groups of which two
    equal atoms can be one without a difference, which is tried on the example inputs; the others are skipped. Needs no
    data; where a search has some, the layers that are left are solved on it (`compress.repair`).

    Paper: Chen et al. 2024, Going Beyond Neural Network Feature Similarity (iterative feature merging). It goes by the
    distance of writing and reading weights together and ends at a threshold; how it merges is inferred from what keeps
    the function. Here the reading weights say how much a difference costs, so that equal atoms merge first, whatever
    reads them, and the fraction is the choice.
    Raises: DecisionError for fractions that are no fractions or lack 1.
    """

    fractions: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    tie: Tie = "stage"
    round_to: int | None = None
    streams: bool = True
    paper = "chen2024going"
    traits = Traits("structure")

    def __post_init__(self) -> None:
        self._width()

    def _width(self) -> Width:
        """Return the pass whose groups and counts these are."""
        return Width(self.fractions, "weight_norm", self.tie, self.round_to, self.streams)

    def space(self, net: Net, target: Target) -> Space:
        return Space([replace(c, name=f"{c.site}:{KIND}") for c in self._width().space(net, target)])

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return each fraction for all groups at once, as `width` does."""
        return [
            Decision({f"{name.rpartition(':')[0]}:{KIND}": fraction for name, fraction in decision.items()})
            for decision in self._width().obvious(net, target)
        ]

    def shares(self, net: Net, run: Run) -> dict[str, list[dict[str, float]]]:
        """Return by choice, for each of its values, the share of their operations that it leaves layers."""
        found = self._width().shares(net, run)
        return {f"{name.rpartition(':')[0]}:{KIND}": left for name, left in found.items()}

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        axes, smaller = analyze(net), net.copy()
        wanted, skipped = self._width().wanted(net, axes, decision, run.target, KIND)
        can = exact(net, axes, wanted, duplicated) if wanted else []
        skipped |= dict.fromkeys(wanted.keys() - set(can), DIFFERENT)
        keep, texts = dict[str, list[int]](), {}
        for site in can:
            group, count = wanted[site]
            features = Features(smaller, group)
            keep[site] = features.merge(count)
            texts[site] = f"{group.size} to {count} {group.kind}, {features.equal} of them without any difference"
        return Result(cut(smaller, keep, axes), changes("merged", texts), skipped)


class Features:
    """The atoms of a group as rows: what writes or scales them, and what reads them, each tensor by its mean square.

    Shapes: `own` (size, numbers that write an atom), `read` (size, numbers that read it), `joined` (size, size), whose
    row i has a 1 for each atom that i was made of.
    """

    def __init__(self, net: Net, group: AtomGroup) -> None:
        reading = [m for m in group.members if reads(net, m)]
        self.size, self.equal = group.size, 0
        self.owned = [part for m in group.members if m not in reading for part in _tensors(net, m)]
        self.readers = [part for m in reading for part in _tensors(net, m)]
        self.own, self.read = (self._rows(parts) for parts in (self.owned, self.readers))
        self.joined = torch.eye(group.size, dtype=torch.float64)

    def _rows(self, parts: Sequence[Along]) -> Tensor:
        rows = [_by_atom(part, self.size) for part in parts]
        rows = [row / row.square().mean().sqrt().clamp(min=LEAST) for row in rows]
        return torch.cat(rows, 1) if rows else torch.zeros(self.size, 0, dtype=torch.float64)

    def distance(self, at: int) -> Tensor:
        """Return |x_i - x_j| (|y_i| + |y_j|) / 2 of one atom i to each j, `(size,)`: infinite to itself.

        Where what an atom gives changes by no more than its x, no reader's output changes by more when both become
        their mean.
        """
        apart = (self.own - self.own[at]).norm(dim=1)
        sizes = self.read.norm(dim=1)
        bound: Tensor = apart * (sizes + sizes[at]) / 2
        return bound.index_fill(0, torch.tensor(at), torch.inf)

    def merge(self, count: int) -> list[int]:
        """Merge the two nearest until `count` are left, in the tensors, too; return which atoms these are."""
        alive = torch.ones(self.size, dtype=torch.bool)
        every = torch.stack([self.distance(i) for i in range(self.size)])
        for _ in range(self.size - count):
            one, other = sorted(divmod(int(every.argmin()), self.size))
            self.equal += bool(torch.equal(self.own[one], self.own[other]))
            self._join(one, other)
            alive[other] = False
            every[one] = self.distance(one).masked_fill(~alive, torch.inf)
            every[:, one] = every[one]
            every[other], every[:, other] = torch.inf, torch.inf
        self.assign(self.joined / self.joined.sum(1, keepdim=True).clamp(min=1), self.joined)
        return alive.nonzero().flatten().tolist()

    def _join(self, one: int, other: int) -> None:
        more, few = self.joined[other].sum(), self.joined[one].sum()
        self.own[one] += more / (more + few) * (self.own[other] - self.own[one])
        self.read[one] += self.read[other]
        self.joined[one] += self.joined[other]
        self.joined[other] = 0.0

    @torch.no_grad()
    def assign(self, own: Tensor, read: Tensor) -> None:
        """Multiply what writes the atoms, and what reads them, by matrices `(size, size)`, in place."""
        for parts, matrix in ((self.owned, own), (self.readers, read)):
            for part in parts:
                _put(part, matrix @ _by_atom(part, self.size))


def _tensors(net: Net, member: Member) -> list[Along]:
    """Return a member's parameter, and beside the scale of a batch norm its statistics."""
    atom, layer = torch.from_numpy(member.atom), owner(net, member)
    found = [(net.module.get_parameter(member.parameter), member.dim, atom)]
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and member.parameter.endswith(".weight"):
        found += [(t, 0, atom) for t in (layer.running_mean, layer.running_var) if t is not None]  # type: ignore[misc]
    return found  # type: ignore[return-value]


def _by_atom(part: Along, size: int) -> Tensor:
    """Return the numbers of each atom: `(size, numbers)`."""
    tensor, dim, atom = part
    return tensor.detach().double().movedim(dim, 0)[_order(atom)].reshape(size, -1)


def _order(atom: Tensor) -> Tensor:
    """Return the elements of a dimension atom by atom, without those that are of none."""
    return torch.argsort(atom, stable=True)[int((atom < 0).sum()) :]


def _put(part: Along, rows: Tensor) -> None:
    tensor, dim, atom = part
    order, turned = _order(atom), tensor.movedim(dim, 0)
    turned[order] = rows.reshape(turned[order].shape).to(tensor.dtype)


def duplicated(net: Net, groups: Sequence[AtomGroup]) -> tuple[Net, Net]:
    """Return a copy in which each group's first two atoms are equal, and one whose readers read the second for both.

    In groups that nothing reads the first is not summed up anywhere: they differ once it is cut.
    """
    whole = net.copy()
    for group in (g for g in groups if g.size > 1):
        same = torch.eye(group.size, dtype=torch.float64)
        same[0] = same[1].clone()
        Features(whole, group).assign(same, torch.eye(group.size, dtype=torch.float64))
    ready = whole.copy()
    for group in (g for g in groups if g.size > 1):
        both = torch.eye(group.size, dtype=torch.float64)
        both[1, 0] = 1.0
        Features(ready, group).assign(torch.eye(group.size, dtype=torch.float64), both)
    return whole, ready
