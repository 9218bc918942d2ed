"""Training by coarse gradients: float weights step along the gradient at their projections, and the best are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from whet.core.checks import whole
from whet.graph.fake_quantize import IntegerWeight
from whet.train.learned_steps import few_bits
from whet.train.technique import Hooks, Session

NAME = "coarse-gradient"


@dataclass(frozen=True)
class CoarseGradient:
    """Layers of few bits compute with the nearest weights that are integers times a scale, and step by their gradient.

        v <- v - rate grad L(w),    w = argmin over s > 0, q in -Q..Q of |v - s q|^2

    The gradient is taken at w, and all of it moves the float weights v, also those beyond the grid's end; that of
    inputs on few bits is the straight-through one (`fake_quantize`). No fixed point is to be expected: since

        mean_t grad L(w_t) = (v_0 - v_T) / (rate T)

    with bounded v, the w_t wander about the optimum among such weights, and visit it again and again. So the training
    ends with the network of the best step: that whose last `window` losses, of a batch each, have the least mean (one
    of fewer steps with the last).
    Scales are of the projection, not learned (`train.learned-steps`). At the end the weights are on the layer's grid.

    The paper proves the visits for two layers and a given scale of the loss's expectation; that the best is to be kept
    follows from it, by losses of batches is our way. Its text was known here by the abstract and an excerpt.

    Paper: Long et al. 2020, Recurrence of Optimum for Training Weight and Activation Quantized Networks.
    Raises: ValueRangeError for a window that is no positive whole number.
    """

    window: int = 20
    paper: str = field(default="long2020recurrence", init=False, repr=False)

    def __post_init__(self) -> None:
        whole("window", self.window)

    def begin(self, session: Session) -> Hooks:
        layers = few_bits(session.module)
        if not layers:
            return Hooks()
        state = {name: t for name, t in session.module.state_dict().items() if t.is_floating_point()}
        best = {name: session.keep(f"{NAME}.{name}", t.detach().clone()) for name, t in state.items()}
        recent = session.keep(f"{NAME}.recent", torch.full((self.window,), torch.inf, dtype=torch.float64))
        least = session.keep(f"{NAME}.least", torch.full((), torch.inf, dtype=torch.float64))
        for layer in layers:
            layer.in_training = _Projected(layer)

        @torch.no_grad()
        def before_step() -> None:  # the weights are those whose loss it is
            recent[session.report.steps % self.window] = session.report.loss
            if recent.mean() < least:
                least.copy_(recent.mean())
                for name, value in state.items():
                    best[name].copy_(value)

        @torch.no_grad()
        def end() -> None:
            if least < torch.inf and not session.report.failure:
                for name, value in state.items():
                    value.copy_(best[name])
            for layer in layers:
                weight: Tensor = layer._parameters["weight"]  # type: ignore[attr-defined]
                weight.copy_(_Projected(layer)(weight))
                layer.in_training = None

        return Hooks(before_step=before_step, end=end)


@dataclass(frozen=True)
class _Projected:
    """The form of a layer's weight in training; the layer's scales follow it."""

    layer: IntegerWeight

    def __call__(self, weight: Tensor) -> Tensor:
        grid = self.layer.grid
        with torch.no_grad():
            self.layer.weight_scale.copy_(nearest_scale(grid.rows(weight), grid.most))
            nearest = grid.nearest(weight, self.layer.weight_scale).view_as(weight)
        return weight + (nearest - weight).detach()


@torch.no_grad()
def nearest_scale(rows: Tensor, most: int) -> Tensor:
    """Return for each row, `(rows, n)`, the scale s of the nearest integers times it, exactly, `(rows,)`.

        min over q of |v - s q|^2 = |v|^2 - <v, q>^2 / |q|^2  at  s = <v, q> / |q|^2

    As s falls, integer j of weight i becomes j + 1 at s = |v_i| / (j + 1/2): of these at most n Q pairs of sums the
    largest <v, q>^2 / |q|^2 is taken. Of one bit and a sign it is the ternary weights' closed form. Rows of zeros have
    a scale of 1e-8.

    >>> nearest_scale(torch.tensor([[3.0, -3.0, 0.0], [4.0, 1.0, 2.0]]), 1).tolist()
    [3.0, 3.0]
    """
    size, below = rows.abs().double().unsqueeze(-1), torch.arange(most, dtype=torch.float64)
    falling = torch.argsort((size / (below + 0.5)).flatten(1), dim=1, descending=True, stable=True)
    along = size.expand(-1, -1, most).flatten(1).gather(1, falling).cumsum(1)
    own = (2 * below + 1).expand(*rows.shape, most).flatten(1).gather(1, falling).cumsum(1)
    best = (along.square() / own).argmax(1, keepdim=True)
    return (along / own).gather(1, best).squeeze(1).clamp_min(1e-8).to(rows.dtype)
