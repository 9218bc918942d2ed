"""Training the ranks of factorized layers in the order of their importance, and taking the last ones to zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from whet.core.checks import positive, share
from whet.core.net import Net
from whet.graph.axes import AtomGroup, analyze
from whet.graph.empty import along, products, tensors_of
from whet.graph.factors import FIRST, chained
from whet.train.technique import Hooks, Session

LEAST_NORM = 1e-30


@dataclass(frozen=True)
class OrderedRanks:
    """The components of layers that are products learn an order: the first k of them do as well as k can, for each k.

        min E_(l, b) L(W_l = sum_(k <= b) u_k v_k^T)  +  penalty sum_l sum_b |U_(>= b)| + |V_(>= b)|

    In each step one rank b of one layer l is drawn, each pair of both alike, and the other layers are whole; in eval
    mode all are. For a linear layer on isotropic inputs the minimum without penalty is the singular value
    decomposition. The penalty draws the last components hardest, as they are in the norms of all tails; a tail is zero
    from then on where it comes to zero, or where |U_(>= b)| |V_(>= b)| is no more than `least` of the whole layer's.
    A search cuts zero components after each training (`whet.graph.empty`), so that training chooses ranks below those
    that a pass gave.

    Layers are those that `svd` or another pass of low rank made of others, whose ranks are choices of the search: a
    module, or a net without such layers, is reported as skipped. The first component is left alone.

    Deviations from the paper, which begins with full ranks and has hundreds of epochs: the penalty's step follows the
    optimizer's, of length `penalty` d |X| / sqrt(components) where a step is a share d of the training, and no
    component crosses zero. `least` is a share of the layer's norms, not a number.

    Paper: Horvath et al. 2024, Maestro: Uncovering Low-Rank Structures via Trainable Decomposition.
    Raises: ValueRangeError for a negative penalty, or a share outside of [0, 1].
    """

    penalty: float = 0.1
    least: float = 1e-3
    paper: str = field(default="horvath2024maestro", init=False, repr=False)

    def __post_init__(self) -> None:
        positive("penalty", self.penalty, zero=True)
        share("least", self.least)

    def begin(self, session: Session) -> Hooks:
        layers = found(session.net) if isinstance(session.net, Net) else []
        if not layers:
            session.report.skipped["ordered-ranks"] = "no layer of it is a product of others: `svd` makes such layers"
            return Hooks()
        ranks, done = [layer.rank() for layer in layers], session.progress()

        def masked(at: int, module: nn.Module, given: Any, output: Tensor) -> Tensor | None:
            drawn, rank = draw(ranks, session.report.steps)
            return layers[at].first(output, rank) if module.training and drawn == at else None

        handles = [layer.module.register_forward_hook(partial(masked, at)) for at, layer in enumerate(layers)]

        def after_step() -> None:
            nonlocal done
            before, done = done, session.progress()
            for at, layer in enumerate(layers):
                layer.shrink(self.penalty * (done - before), self.least, ranks[at])
                ranks[at] = layer.rank()

        def end() -> None:
            for handle in handles:
                handle.remove()

        return Hooks(after_step=after_step, end=end)


def draw(ranks: Sequence[int], step: int) -> tuple[int, int]:
    """Return a layer and a rank of it, from 1 up to the layer's: each pair of both as likely as any other.

    The same step draws the same, so that a training that was interrupted goes on exactly.
    """
    drawn = int(torch.randint(sum(ranks), (), generator=torch.Generator().manual_seed(step)))
    for layer, rank in enumerate(ranks):
        if drawn < rank:
            return layer, drawn + 1
        drawn -= rank
    raise AssertionError("a number below the sum of the ranks lies in one of them")


def found(net: Net) -> list[Components]:
    """Return the components of each chain of layers that nothing else shares them with."""
    groups, sites = analyze(net).groups, [f"{site}.{FIRST}" for site in chained(net)]
    return [Components(net, groups[site]) for site in sites if site in groups]


class Components:
    """The components of one layer in their order: what `SITE.reduce` gives and the layers behind it read."""

    def __init__(self, net: Net, group: AtomGroup) -> None:
        self.module, self.size = net.layer(group.site), group.size
        self.parts = tensors_of(net, group)[0]
        self.axis = -1 if isinstance(self.module, nn.Linear) else 1

    def first(self, output: Tensor, rank: int) -> Tensor:
        """Return the layer's output, of the same shape, with all but its first `rank` components zero."""
        shape = [1] * output.dim()
        shape[self.axis] = self.size
        return output * (torch.arange(self.size) < rank).to(output.dtype).view(shape)

    def tails(self) -> list[Tensor]:
        """Return |X_(>= b)| for each b and each factor X: `(size,)` each."""
        squares = [products([part], [part[0]], [part[0]], self.size) for part in self.parts]
        return [square.flip(0).cumsum(0).flip(0).sqrt() for square in squares]

    @torch.no_grad()
    def rank(self) -> int:
        """Return how many components there are up to the last that is not zero, one at least."""
        return max(1, int((torch.stack(self.tails()) > 0).all(0).sum()))

    @torch.no_grad()
    def shrink(self, rate: float, least: float, rank: int) -> None:
        """Take a step of the penalty and end small tails, and whatever lies at `rank` and behind it.

        x_k <- x_k max(0, 1 - rate |X| / sqrt(size) sum_(b <= k) 1 / |X_(>= b)|)    for each factor X
        """
        tails = self.tails()
        whole = torch.stack(tails).prod(0)
        lengths = [rate * tail[0] / self.size**0.5 for tail in tails]
        factors = [
            (1 - length * (1 / tail.clamp(min=LEAST_NORM)).cumsum(0)).clamp(min=0.0)
            for length, tail in zip(lengths, tails, strict=True)
        ]
        gone = (whole <= least * whole[0]) | (torch.arange(self.size) >= rank) | torch.stack(factors).eq(0).any(0)
        for (parameter, dim, atom), factor in zip(self.parts, factors, strict=True):
            kept = torch.where(gone, 0.0, factor).index_fill(0, torch.tensor(0), 1.0)
            parameter.mul_(along(kept, parameter, dim, atom, 1.0))
