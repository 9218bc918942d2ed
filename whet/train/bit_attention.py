"""Attention over bit widths: weights begin as a mixture of high, medium and low precision, and end in the lowest."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from whet.core.checks import ValueRangeError, positive, whole
from whet.graph.fake_quantize import IntegerWeight, fake_quantize
from whet.graph.grids import Grid, widest_scale
from whet.train.beside import Beside
from whet.train.learned_steps import few_bits
from whet.train.technique import Hooks, Session

SURE = 0.99
"""The share of the lowest precision from which the mixture counts as none."""


@dataclass(frozen=True)
class BitAttention:
    """Weights on grids of few bits train as a mixture of these with finer grids, until the coarsest alone is left.

        w = sum_k a_k Q_k(v),    a = softmax(alpha / T),    T = hot (cold / hot)^progress

    The mixture of each layer, alpha, is learned with the weights; with the temperature T it becomes a choice, and
    `pull` sum_k a_k (bits_k - bits_low) / bits_low, a term of the loss for each layer, makes it that of the layer's own
    grid. Finer grids, `higher` bits, reach up to the largest weight; the layer's own has learned steps
    (`train.learned-steps`). At the end only the own grid counts; a layer whose mixture was not on it yet is named in
    the report: its training was too short, or its pull too weak.

    Paper: Boukli Hacene et al. 2021, DNN Quantization with Attention (activations are mixed there, too).
    Raises: ValueRangeError for no `higher` bits, temperatures that are not positive or that rise, a negative pull.
    """

    higher: tuple[int, ...] = (8, 4)
    hot: float = 1.0
    cold: float = 0.02
    pull: float = 0.1
    rate: float = 1.0
    paper: str = field(default="boukli2021dqa", init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.higher:
            raise ValueRangeError("higher must name the bits of at least one finer grid, such as (8, 4).")
        for bits in self.higher:
            whole("higher", bits, least=3)
        for name in ("hot", "cold", "rate"):
            positive(name, getattr(self, name))
        positive("pull", self.pull, zero=True)
        if self.cold > self.hot:
            raise ValueRangeError(f"cold must be at most hot, which is {self.hot}; got {self.cold}.")

    def begin(self, session: Session) -> Hooks:
        names = {id(module): name for name, module in session.module.named_modules()}
        mixtures = [
            _Mixture(names[id(layer)], layer, grids, self, session)
            for layer in few_bits(session.module)
            if (grids := self.finer(layer.grid))
        ]
        if not mixtures:
            return Hooks()
        beside = Beside("bit-attention", [mixture.alpha for mixture in mixtures], session, self.rate)
        for mixture in mixtures:
            mixture.layer.in_training = mixture.form

        def end() -> None:
            for mixture in mixtures:
                mixture.layer.in_training = None
                own = float(mixture.shares().detach()[-1])
                if own < SURE:
                    note = f"{own:.0%} of its mixture was on its own grid at the end of the training"
                    session.report.skipped[mixture.name] = note

        return Hooks(loss=partial(self._pulls, mixtures), after_step=beside.step, end=end)

    def finer(self, grid: Grid) -> tuple[Grid, ...]:
        """Return the grids that a layer's own is mixed with, the finest first; none where it is as fine itself."""
        return tuple(Grid(bits, grid.group) for bits in sorted(self.higher, reverse=True) if bits > grid.bits)

    def temperature(self, progress: float) -> float:
        """Return T when so large a share of the training, in [0, 1], is done.

        >>> [round(BitAttention(hot=1.0, cold=0.01).temperature(p), 3) for p in (0.0, 0.5, 1.0)]
        [1.0, 0.1, 0.01]
        """
        return float(self.hot * (self.cold / self.hot) ** progress)

    def _pulls(self, mixtures: list[_Mixture]) -> Tensor:
        return self.pull * torch.stack([mixture.excess() for mixture in mixtures]).sum()


class _Mixture:
    """A layer with its grids, the finest first and its own last, and how much of each there is."""

    def __init__(
        self, name: str, layer: IntegerWeight, finer: tuple[Grid, ...], item: BitAttention, session: Session
    ) -> None:
        self.name, self.layer, self.finer, self.item, self.session = name, layer, finer, item, session
        self.alpha = session.keep(f"bit-attention.{name}", torch.zeros(len(finer) + 1)).requires_grad_(True)
        bits = [grid.bits for grid in finer]
        self.more = torch.tensor([*(b / layer.grid.bits - 1 for b in bits), 0.0])

    def shares(self) -> Tensor:
        """Return the attention a: a share for each grid."""
        return torch.softmax(self.alpha / self.item.temperature(self.session.progress()), 0)

    def excess(self) -> Tensor:
        """Return how many more bits than its own the mixture has in the mean, as a share of these."""
        return self.shares() @ self.more

    def form(self, weight: Tensor) -> Tensor:
        """Return the mixture of the weight on all grids, of its shape."""
        layer, shares = self.layer, self.shares()
        rows, zeros = layer.grid.rows(weight), layer.weight_zero_point
        own = fake_quantize(rows, layer.weight_scale, zeros, 0, -layer.grid.most, layer.grid.most)
        mixed: Tensor = shares[-1] * own
        for share, grid in zip(shares, self.finer, strict=False):
            scale = widest_scale(rows.detach(), grid.most)
            mixed = mixed + share * fake_quantize(rows, scale, zeros, 0, -grid.most, grid.most)
        return mixed.view_as(weight)
