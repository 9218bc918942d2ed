"""Zeros in training: those that a network holds stay, and more come gradually."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from whet.core.checks import ValueRangeError, share, whole
from whet.graph.zeros import chosen, held_weights, hold, masked, sites
from whet.train.technique import Hooks, Session


@dataclass(frozen=True)
class HeldZeros:
    """Weights that are zero in layers that hold their zeros (`whet.graph.zeros.hold`) are zero after each step."""

    def begin(self, session: Session) -> Hooks:
        weights = held_weights(session.module)
        left = {name: weight.detach() != 0 for name, weight in weights.items()}
        return Hooks(after_step=lambda: masked(weights, left)) if left else Hooks()


@dataclass(frozen=True)
class GradualPruning:
    """More and more weights of least magnitude become zero during a training, and stay so.

        s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3,    t in {t_0, t_0 + dt, ..., t_0 + n dt}

    s_f is the `share` of zeros in the end, s_i the `initial` one, t the share of the training that is done, t_0 its
    `start`, t_0 + n dt its `stop`; masks are drawn every `every` steps. A weight that went is zero, so it is among the
    smallest from then on. Ranked are all layers together, each for itself with `each`, or every `group` of weights that
    follow one another in an output: 2:4 is share .5, group 4. Treated are linear layers and convolutions of at least
    `least` weights; they hold their zeros afterwards.

    Paper: Zhu and Gupta 2017, To Prune, or Not to Prune, whose layers are ranked one by one.
    Raises: ValueRangeError for shares outside of [0, 1], a stop that is not after the start, fewer than one step.
    """

    share: float = 0.8
    initial: float = 0.0
    start: float = 0.0
    stop: float = 0.75
    every: int = 10
    group: int = 0
    each: bool = False
    least: int = 1024
    paper: str = field(default="zhu2017prune", init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("share", "initial", "start", "stop"):
            share(name, getattr(self, name))
        whole("every", self.every)
        if not self.start < self.stop:
            raise ValueRangeError(f"stop must be after start, {self.start}; got {self.stop}.")

    def share_at(self, progress: float) -> float:
        """Return the share of zeros when so large a share of the training is done.

        >>> [round(GradualPruning(0.8, start=0.1, stop=0.6).share_at(t), 3) for t in (0.1, 0.35, 0.6, 1.0)]
        [0.0, 0.7, 0.8, 0.8]
        """
        done = min(max((progress - self.start) / (self.stop - self.start), 0.0), 1.0)
        return self.share + (self.initial - self.share) * (1 - done) ** 3

    def begin(self, session: Session) -> Hooks:
        layers = dict(session.module.named_modules())
        names = sites(layers, self.least)
        weights: dict[str, Tensor] = {name: layers[name].get_parameter("weight") for name in names}
        if self.group:
            uneven = [name for name, w in weights.items() if w[0].numel() % self.group]
            session.report.skipped.update(dict.fromkeys(uneven, f"groups of {self.group} do not divide its weights"))
            weights = {name: w for name, w in weights.items() if name not in uneven}
        for name in weights:
            hold(layers[name])
        left = {name: weight.detach() != 0 for name, weight in weights.items()}

        drawn = self.initial

        def after_step() -> None:
            nonlocal drawn
            progress = session.progress()
            due = session.report.steps % self.every == 0 or progress >= self.stop
            if due and drawn != (now := self.share_at(progress)):
                drawn = now
                left.update(chosen(weights, now, self.group, self.each))
            masked(weights, left)

        return Hooks(after_step=after_step)
