"""Training the few values that the weights of a layer take, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from whet.core.checks import positive
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.zeros import holds
from whet.train.beside import Beside
from whet.train.technique import Hooks, Session


@dataclass(frozen=True)
class LearnedPoints:
    """Layers whose weights take few values (`quantize(points=15)`) train these values, and the weights stay at theirs.

        w_j = s_j p_q(j),    dL/dp_i = sum over the weights j at point i of s_j dL/dw_j

    with the point q(j) of each weight as rounding chose it and s_j the scale of its channel. Points are whole numbers,
    and gradients pass their rounding. One is multiplied by 1 / (sqrt(n_i) a_i), a_i the mean of s_j^2 over the n_i
    weights: a point's value then moves as a learned step does (`train.learned-steps`), however many weights have it.
    Points take the recipe's optimizer, without decay, at `rate` times its learning rate; biases and norms train as
    always. A point of zeros that a layer holds stays at zero.

    The loss is that of any training here, that of the teacher among it. In the paper weights go to the nearest point
    anew in each step, from values that nothing trains; here rounding made later weights make up for earlier ones, which
    a new choice would undo.

    Paper: Polino et al. 2018, Model compression via distillation and quantization (differentiable quantization).
    Raises: ValueRangeError for a rate that is not positive.
    """

    rate: float = 1.0
    paper: str = field(default="polino2018model", init=False, repr=False)

    def __post_init__(self) -> None:
        positive("rate", self.rate)

    def begin(self, session: Session) -> Hooks:
        layers = with_points(session.module)
        if not layers:
            return Hooks()
        trained = [_Points(name, layer, session) for name, layer in layers.items()]
        beside = Beside("learned-points", [each.points for each in trained], session, self.rate)
        for each in trained:
            each.layer.in_training = each.form

        @torch.no_grad()
        def after_step() -> None:
            for each in trained:
                if each.points.grad is not None:
                    each.points.grad.mul_(each.share)
            beside.step()
            for each in trained:
                each.points.clamp_(-each.layer.grid.most, each.layer.grid.most)

        @torch.no_grad()
        def end() -> None:
            for each in trained:
                each.layer.in_training = None
                each.weight.copy_(each.form(each.weight))

        return Hooks(after_step=after_step, end=end)


class _Points:
    """A layer with its points, and at which each weight is."""

    def __init__(self, name: str, layer: IntegerWeight, session: Session) -> None:
        self.layer = layer
        self.weight: Tensor = layer._parameters["weight"]  # type: ignore[attr-defined]
        scale = layer.weight_scale.detach()
        integers = layer.grid.integers(self.weight, scale)
        found, self.index = torch.unique(integers, return_inverse=True)
        self.points = session.keep(f"learned-points.{name}", found.float()).requires_grad_(True)
        self.steps = (layer.grid.rows(torch.ones_like(self.weight)) * scale.unsqueeze(1)).view_as(self.weight).detach()
        squares = torch.zeros(len(found)).index_add_(0, self.index.flatten(), self.steps.square().flatten())
        counts = torch.bincount(self.index.flatten(), minlength=len(found)).float()
        self.share = counts.sqrt() / squares
        if holds(layer):  # type: ignore[arg-type]
            self.share[found == 0] = 0.0

    def form(self, weight: Tensor) -> Tensor:
        """Return the weight that the points give, of its shape."""
        whole = self.points + (self.points.round() - self.points).detach()
        return self.steps * whole[self.index]


def with_points(module: nn.Module) -> dict[str, IntegerWeight]:
    """Return by name the layers whose weights take few values of their own."""
    return {name: m for name, m in module.named_modules() if isinstance(m, IntegerWeight) and m.grid.points}
