"""Gates that first look at their inputs and then come to one decision for all: a sub-network in one training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from whet.core.checks import positive, share
from whet.core.net import Net
from whet.decisions.mixtures import trainable_gate
from whet.graph.axes import AtomGroup
from whet.graph.empty import along, tensors_of
from whet.graph.sides import owner, reads
from whet.train.technique import Hooks, Session
from whet.train.trained_gates import UNKNOWN, gateable

MOMENTUM, LEAST = 0.9, 1e-12


@dataclass(frozen=True)
class PolarizedGates:
    """Channels, heads and neurons have gates, 0 or 1, that depend on the input and are drawn to depend on nothing.

        z = b + V mean x / |mean x|,    g = b(z) = 1 for z > 0, else 0,    db/dz := sigmoid(z)
        loss + polarity mean_i q_i (1 - q_i) + cost (mean_i q_i - 1 + share)^2,    q_i = mean over samples of g_i

    g multiplies what layers read of the atoms of a site; x is what the first of them reads, its mean that over
    positions. q (1 - q) is the variance of a gate over the samples: zero where all of them agree. Gates begin open and
    blind, b = 1 and V = 0, and learn for a share `learning` of the training with the weights. Then each is what most
    samples said, and weights train for those that are open; at the end all parameters of closed atoms become zero, and
    a search cuts them (`whet.graph.empty`). Of each site the gate that was open most often stays. Sites are skipped
    as in `train.trained-gates`.

    Of the paper a summary was at hand: gates by straight-through estimates, and a loss that polarizes them to a
    consensus of a size that is chosen. The forms of V, of the slope (here that of `search.trainable-gate`), of the cost
    and of the steps of gates (against the mean slope, by its mean size, `speed` in the time in which they learn) are
    inferred, and that gates stand still at last is an addition.

    Paper: Zhi et al. 2023, Learning a Consensus Sub-Network with Polarization Regularization and One Pass Training.
    Raises: ValueRangeError for a share outside of [0, 1], or a speed or time to learn that is not above 0.
    """

    share: float = 0.5
    polarity: float = 1.0
    cost: float = 4.0
    speed: float = 4.0
    learning: float = 0.6
    paper: str = field(default="zhi2023learning", init=False, repr=False)

    def __post_init__(self) -> None:
        share("share", self.share)
        positive("polarity", self.polarity, zero=True), positive("cost", self.cost, zero=True)
        positive("speed", self.speed), share("learning", self.learning), positive("learning", self.learning)

    def begin(self, session: Session) -> Hooks:
        if not isinstance(session.net, Net):
            session.report.skipped["polarized-gates"] = UNKNOWN
            return Hooks()
        sites = [InputGates(session.net, g) for g in gateable(session.net, session.report.skipped)]
        if not sites:
            return Hooks()
        for gates in sites:
            for name, tensor in gates.state.items():
                session.keep(f"polarized-gates.{gates.site}.{name}", tensor)
        done = session.progress()
        for gates in sites:
            gates.learning = done < self.learning
        handles = [handle for gates in sites for handle in gates.hooked()]

        def loss() -> Tensor:
            opened = [gates.opened for gates in sites if gates.learning and gates.opened is not None]
            return polarized(opened, self.polarity, self.cost, 1 - self.share) if opened else torch.zeros(())

        def after_step() -> None:
            nonlocal done
            before, done = done, session.progress()
            for gates in sites:
                if before < self.learning:
                    gates.step(self.speed * (done - before) / self.learning)
                gates.learning = done < self.learning

        def end() -> None:
            for handle in handles:
                handle.remove()
            for gates in sites:
                gates.close()

        return Hooks(loss=loss, after_step=after_step, end=end)


def polarized(opened: Sequence[Tensor], polarity: float, cost: float, goal: float) -> Tensor:
    """Return what gates add to the loss, a scalar, of the gates of each site, `(samples, atoms)`.

    >>> polarized([torch.tensor([[1.0, 0.0], [1.0, 1.0]])], 1.0, 0.0, 0.5).item()
    0.125
    >>> polarized([torch.tensor([[1.0, 0.0], [1.0, 0.0]])], 1.0, 1.0, 0.5).item()
    0.0
    """
    shares = torch.cat([gate.float().mean(0) for gate in opened])
    return polarity * (shares * (1 - shares)).mean() + cost * (shares.mean() - goal).square()


class InputGates:
    """The gates of one site, what they look at, and the layers that read its atoms."""

    def __init__(self, net: Net, group: AtomGroup) -> None:
        self.site, self.size = group.site, group.size
        self.parts = tensors_of(net, group)[0]
        order = list(net.layers().values())
        readers = [(owner(net, m), torch.from_numpy(m.atom)) for m in group.members if reads(net, m)]
        self.readers = sorted(readers, key=lambda pair: order.index(pair[0]))
        columns = len(self.readers[0][1])
        self.offset = torch.ones(group.size, requires_grad=True)
        self.look = torch.zeros(group.size, columns, requires_grad=True)
        self.state: dict[str, Tensor] = {
            "offset": self.offset, "look": self.look, "share": torch.ones(group.size),
            "offset.mean": torch.zeros(group.size), "look.mean": torch.zeros(group.size, columns),
        }  # fmt: skip
        self.opened: Tensor | None = None
        self.learning = True

    def hooked(self) -> list[Any]:
        """Put the gates before the layers that read the atoms; return what takes them away."""
        return [
            layer.register_forward_pre_hook(partial(self.gated, atom, at == 0))
            for at, (layer, atom) in enumerate(self.readers)
        ]

    def gated(self, atom: Tensor, first: bool, layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return what a layer is given, of the same shapes, with the atoms of closed gates zero."""
        x, *others = given
        axis = x.dim() - 1 if isinstance(layer, nn.Linear) else 1
        if first:
            self.opened = self.decide(x, axis)
        assert self.opened is not None
        gate = torch.where(atom >= 0, self.opened[:, atom.clamp(min=0)], 1.0).to(x.dtype)
        return x * gate.view([len(gate), *(-1 if i == axis else 1 for i in range(1, x.dim()))]), *others

    def decide(self, x: Tensor, axis: int) -> Tensor:
        """Return the gates `(samples, atoms)`: by the input while they learn, then those that most were for."""
        if not self.learning:
            return self.consensus().float().expand(len(x), -1)
        seen = x.detach().float().movedim(axis, 1).flatten(2).mean(2) if x.dim() > 2 else x.detach().float()
        seen = seen / seen.norm(dim=1, keepdim=True).clamp(min=LEAST)
        opened = trainable_gate(self.offset + seen @ self.look.T)
        if torch.is_grad_enabled():
            self.state["share"].lerp_(opened.detach().mean(0), 1 - MOMENTUM)
        return opened

    def consensus(self) -> Tensor:
        """Return which gates are open for most samples, `(atoms,)`: one at least."""
        shares = self.state["share"]
        return (shares > 0.5).index_fill(0, shares.argmax(), True)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Take a step of `rate` against the mean slope of the gates, by its mean size, and forget the slope."""
        for name, tensor in (("offset", self.offset), ("look", self.look)):
            if tensor.grad is not None:
                mean = self.state[f"{name}.mean"].lerp_(tensor.grad, 1 - MOMENTUM)
                tensor.sub_(rate * mean / mean.abs().mean().clamp(min=LEAST))
                tensor.grad = None

    @torch.no_grad()
    def close(self) -> None:
        """Set all parameters of closed atoms to zero."""
        for parameter, dim, atom in self.parts:
            parameter.mul_(along(self.consensus().float(), parameter, dim, atom, 1.0))
