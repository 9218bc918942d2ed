"""Training 0-1 gates of channels beside the weights: what closes is empty at the end, and can be cut exactly."""

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
from whet.graph.axes import AtomGroup, analyze
from whet.graph.empty import along, exact, tensors_of
from whet.graph.sides import MATRICES, owner, reads
from whet.train.technique import Hooks, Session

LEAST, MOMENTUM = 1e-3, 0.9
APART = "its atoms cannot be cut without changing the outputs"
UNKNOWN = "which channels belong together is known of a Net, not of a module"
UNSEEN = "what reads its atoms is no layer of its own that a gate could stand before"


@dataclass(frozen=True)
class TrainedGates:
    """Channels, heads and neurons have gates, 0 or 1, that learn with the weights; those that close are cut.

        x_g -> b(w_g) x_g,    b(w) = 1 for w > 0, else 0,    db/dw := sigmoid(w)

    stands before each layer that reads atom g. So every gate, a closed one too, has the gradient of what its opening
    would change, and weights train for what is open. All begin at 1, open, and step by

        w <- w - speed d (m / mean |m| + cost sigmoid(w) [open > 1 - share])

    where a step is a share d of the time in which gates learn, m is the mean of the loss's gradients so far, and the
    cost is due as long as more gates are open than are to be in the end. Of each site the gate with the largest w stays
    open. Gates learn for a share `learning` of the training; then they stand still, and weights train for those that
    are open. At the end all parameters of closed atoms become zero, and a search cuts them (`whet.graph.empty`); sites
    whose atoms cannot be cut exactly, and those that something else reads than linear layers and convolutions, are
    skipped.

    The gate's gradient is the paper's (`search.trainable-gate`). There the loss has a term of the cost, whose weight is
    tuned; the step here is inferred from that: gradients count by their mean size, and the time in which gates learn is
    1, so that neither the loss's scale nor the optimizer matters. That gates stand still at last is an addition.

    Paper: Kim et al. 2020, Plug-in, Trainable Gate for Streamlining Arbitrary Neural Networks.
    Raises: ValueRangeError for a share outside of [0, 1], or a speed, cost or time to learn that is not above 0.
    """

    share: float = 0.5
    speed: float = 2.0
    cost: float = 3.0
    learning: float = 0.5
    paper: str = field(default="kim2020gate", init=False, repr=False)

    def __post_init__(self) -> None:
        share("share", self.share)
        positive("speed", self.speed), positive("cost", self.cost)
        share("learning", self.learning), positive("learning", self.learning)

    def begin(self, session: Session) -> Hooks:
        if not isinstance(session.net, Net):
            session.report.skipped["trained-gates"] = UNKNOWN
            return Hooks()
        sites = {g.site: Gates(session.net, g) for g in gateable(session.net, session.report.skipped)}
        if not sites:
            return Hooks()
        done = session.progress()
        for site, gates in sites.items():
            session.keep(f"trained-gates.{site}", gates.weights), session.keep(f"trained-gates.{site}.mean", gates.mean)
        handles = [handle for gates in sites.values() for handle in gates.hooked()]

        def after_step() -> None:
            nonlocal done
            before, done = done, session.progress()
            if before < self.learning:
                rate = self.speed * (done - before) / self.learning
                stepped(list(sites.values()), rate, self.cost, 1 - self.share)

        def end() -> None:
            for handle in handles:
                handle.remove()
            for gates in sites.values():
                gates.close()

        return Hooks(after_step=after_step, end=end)


def gateable(net: Net, skipped: dict[str, str]) -> list[AtomGroup]:
    """Return the groups whose atoms can have gates before the layers that read them; say why the others cannot."""
    axes = analyze(net)
    kept, called = exact(net, axes), {str(n.target) for n in net.graph.nodes if n.op == "call_module"}
    skipped |= {site: APART for site in axes.groups if site not in kept}
    found = list[AtomGroup]()
    for site in kept:
        members = [m for m in axes.groups[site].members if reads(net, m)]
        names = [m.parameter.rpartition(".")[0] for m in members]
        layers = [owner(net, m) for m in members]
        plain = [isinstance(x, MATRICES) and getattr(x, "groups", 1) == 1 for x in layers]
        if members and all(plain) and called.issuperset(names):
            found.append(axes.groups[site])
        else:
            skipped[site] = UNSEEN
    return found


def stepped(sites: Sequence[Gates], rate: float, cost: float, goal: float) -> None:
    """Take a step of all gates, of which a share `goal` is to be open in the end, and forget their gradients."""
    with torch.no_grad():
        for gates in sites:
            if gates.weights.grad is not None:
                gates.mean.lerp_(gates.weights.grad, 1 - MOMENTUM)
                gates.weights.grad = None
        size = max(float(torch.cat([gates.mean for gates in sites]).abs().mean()), 1e-30)
        is_open = torch.cat([gates.weights > 0 for gates in sites])
        due = cost if float(is_open.float().mean()) > goal else 0.0
        for gates in sites:
            gates.weights.sub_(rate * (gates.mean / size + due * gates.weights.sigmoid()))
            gates.weights[gates.weights.argmax()] = max(LEAST, float(gates.weights.max()))


class Gates:
    """The gates of one site, and the layers that read its atoms."""

    def __init__(self, net: Net, group: AtomGroup) -> None:
        self.weights = torch.ones(group.size, requires_grad=True)
        self.mean = torch.zeros(group.size)
        self.parts = tensors_of(net, group)[0]
        self.readers = [(owner(net, m), torch.from_numpy(m.atom)) for m in group.members if reads(net, m)]

    def hooked(self) -> list[Any]:
        """Put the gates before the layers that read the atoms; return what takes them away."""
        return [layer.register_forward_pre_hook(partial(self.gated, atom)) for layer, atom in self.readers]

    def gated(self, atom: Tensor, layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return what a layer is given, of the same shapes, with the atoms of closed gates zero."""
        x, *others = given
        axis = x.dim() - 1 if isinstance(layer, nn.Linear) else 1
        return x * along(trainable_gate(self.weights), x, axis, atom, 1.0).to(x.dtype), *others

    @torch.no_grad()
    def close(self) -> None:
        """Set all parameters of closed atoms to zero."""
        for parameter, dim, atom in self.parts:
            parameter.mul_(along((self.weights > 0).float(), parameter, dim, atom, 1.0))
