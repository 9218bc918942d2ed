"""Weights that stay on their grid while low-rank factors train beside them, merged into them now and then."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from whet.core.checks import ValueRangeError, positive, share, whole
from whet.graph.fake_quantize import IntegerWeight, fake_quantize
from whet.graph.zeros import holds
from whet.train.beside import Beside
from whet.train.learned_steps import few_bits
from whet.train.technique import Hooks, Session

NAME = "low-rank-merges"


@dataclass(frozen=True)
class LowRankMerges:
    """Of layers of few bits a factor B of low rank trains, the quantized weight does not; the two are merged at times.

        w = Q + P B,    at a merge    W = Q + P B,  P <- the first `rank` left singular vectors of dL/dw,
        and `rounds` times    Q <- round(W - P B),  B <- P^T (W - Q)

    `dL/dB = P^T dL/dw`: what is trained are rank x in numbers in place of out x in; with more outputs than inputs the
    sides change. Merges come behind the first step and then after `interval` growth^i steps each, so that the sum of
    what was learned has any rank. B begins with the least squared error that P allows. Q has the scales of the grid.

    At the end files hold the grid alone: for the last `settled` share of the training w is round(W + P B), through
    which gradients of B pass straight, and that is what stays; the paper keeps Q and P B. Its Q is four-bit in memory;
    here only what is trained is of less size. Its text was known here by the abstract, a summary and names in its code.

    Paper: Loeschcke et al. 2024, LoQT: Low-Rank Adapters for Quantized Pretraining.
    Raises: ValueRangeError for no rank, interval or rounds, a growth below 1, a share outside of [0, 1].
    """

    rank: int = 8
    interval: int = 100
    growth: float = 1.2
    rounds: int = 5
    settled: float = 0.3
    rate: float = 1.0
    paper: str = field(default="loeschcke2024loqt", init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("rank", "interval", "rounds"):
            whole(name, getattr(self, name))
        positive("rate", self.rate)
        share("settled", self.settled)
        if self.growth < 1:
            raise ValueRangeError(f"growth must be at least 1; got {self.growth!r}.")

    def begin(self, session: Session) -> Hooks:
        names = {id(module): name for name, module in session.module.named_modules()}
        found = []
        for layer in few_bits(session.module):
            if holds(layer):  # type: ignore[arg-type]
                session.report.skipped[names[id(layer)]] = "it holds zeros, which factors of low rank would fill"
            else:
                found.append(_Adapted(names[id(layer)], layer, self, session))
        if not found:
            return Hooks()
        next_merge = session.keep(f"{NAME}.next", torch.ones((), dtype=torch.long))
        merges = session.keep(f"{NAME}.merges", torch.zeros((), dtype=torch.long))
        beside = Beside(NAME, [each.factor for each in found], session, self.rate)

        @torch.no_grad()
        def after_step() -> None:
            beside.step()
            if session.report.steps >= int(next_merge) and not found[0].settles:
                for each in found:
                    each.merge()
                next_merge.add_(round(self.interval * self.growth ** int(merges)))
                merges.add_(1)

        def end() -> None:
            for each in found:
                each.end()

        return Hooks(after_step=after_step, end=end)


class _Adapted:
    """A layer with its factors: `sides` P, `(n, rank)`, fixed, and `factor` B, which trains."""

    def __init__(self, name: str, layer: IntegerWeight, item: LowRankMerges, session: Session) -> None:
        self.layer, self.item, self.session = layer, item, session
        self.weight: Tensor = layer._parameters["weight"]  # type: ignore[attr-defined]
        out, read = self.weight.flatten(1).shape
        self.is_turned = out > read
        few, many = sorted((out, read))
        rank = min(item.rank, few)
        self.sides = session.keep(f"{NAME}.{name}.sides", torch.zeros(few, rank))
        self.factor = session.keep(f"{NAME}.{name}.factor", torch.zeros(rank, many)).requires_grad_(True)
        self.has_settled = session.keep(f"{NAME}.{name}.settled", torch.zeros((), dtype=torch.bool))
        self.slope = torch.zeros(few, many)
        layer.in_training = self.form

    @property
    def settles(self) -> bool:
        """Whether the last part of the training has begun."""
        return self.session.progress() >= 1 - self.item.settled

    def form(self, weight: Tensor) -> Tensor:
        """Return Q + P B, of the weight's shape; rounded in the last part of the training."""
        found = weight.detach() + self.shaped(self.sides @ self.factor)
        if self.settles:
            return self.rounded(found)
        if found.requires_grad:
            found.register_hook(self._remember)  # type: ignore[no-untyped-call]
        return found

    def _remember(self, slope: Tensor) -> None:
        self.slope = self.matrix(slope)

    def matrix(self, weight: Tensor) -> Tensor:
        """Return a weight as a matrix, `(n, m)`, n being the lesser of outputs and inputs."""
        return weight.flatten(1).t() if self.is_turned else weight.flatten(1)

    def shaped(self, matrix: Tensor) -> Tensor:
        """Return a matrix `(n, m)` in the weight's shape."""
        return (matrix.t() if self.is_turned else matrix).reshape(self.weight.shape)

    def rounded(self, weight: Tensor) -> Tensor:
        """Return a weight on the grid, on scales that are set once and may be learned then."""
        grid = self.layer.grid
        if not self.has_settled:
            self.has_settled.fill_(True)
            with torch.no_grad():
                self.layer.weight_scale.copy_(grid.scale(weight))
        scale, zeros = grid.settled(weight, self.layer.weight_scale), self.layer.weight_zero_point
        found: Tensor = fake_quantize(grid.rows(weight), scale, zeros, 0, -grid.most, grid.most)
        return found.view_as(weight)

    @torch.no_grad()
    def merge(self) -> None:
        """Take the factors into the weight, and begin anew along the gradient of this step."""
        grid = self.layer.grid
        wanted = self.weight + self.shaped(self.sides @ self.factor)
        self.sides.copy_(torch.linalg.svd(self.slope, full_matrices=False)[0][:, : self.sides.shape[1]])
        self.factor.zero_()
        for _ in range(self.item.rounds):
            left = wanted - self.shaped(self.sides @ self.factor)
            scale = grid.scale(left)
            self.layer.weight_scale.copy_(scale)
            self.weight.copy_(grid.nearest(left, scale).view_as(left))
            self.factor.copy_(self.sides.t() @ self.matrix(wanted - self.weight))

    @torch.no_grad()
    def end(self) -> None:
        """Leave a weight on the grid."""
        self.weight.copy_(self.rounded(self.weight + self.shaped(self.sides @ self.factor)))
        self.layer.in_training = None
