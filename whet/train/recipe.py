"""`Recipe`: how to train, as plain values; schedules; distances to a teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from whet.core.checks import ValueRangeError, positive, share
from whet.core.errors import unknown
from whet.core.kinds import Kind
from whet.data.kinds import DISTANCES as DISTANCES
from whet.data.kinds import chosen
from whet.train.optimizers import OPTIMIZERS, groups_of
from whet.train.technique import Technique


def _cosine(progress: float, warmup: float) -> float:
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def _one_cycle(progress: float, warmup: float) -> float:
    peak = max(warmup, 0.3)
    if progress < peak:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * progress / peak))
    return 0.5 * (1 + math.cos(math.pi * (progress - peak) / (1 - peak)))


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "cosine": _cosine,
    "one-cycle": _one_cycle,
    "constant": lambda progress, warmup: min(1.0, progress / warmup) if warmup else 1.0,
}
"""Schedules give the learning rate's factor for a progress and a warm-up share, both in [0, 1]."""


PRESETS: dict[str, dict[str, Any]] = {
    "convolutions": {"optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 5e-4, "clip_norm": 5.0},
    "transformer": {"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.05, "clip_norm": 1.0},
    "perceptron": {"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.01, "clip_norm": 5.0},
    "gentle": {"optimizer": "adamw", "learning_rate": 1e-4, "weight_decay": 0.01, "clip_norm": 1.0},
}
"""Where to begin, by the kind of network: convolutions with batch norms, attention, dense layers; `gentle` moves large
networks that were trained elsewhere little."""


HOW_FAR = ("auto", *DISTANCES)
PRECISIONS = ("auto", "bf16", "f32")


@dataclass(frozen=True)
class Recipe:
    """How to train.

    The loss is `(1 - distillation) * task loss + distillation * distance(student, teacher)`. The distance `auto`
    follows the kind of each output (`whet.data.kinds`): `kl` for logits and probabilities, `T^2 KL(softmax(teacher / T)
    || softmax(student / T))` over their class axis (Hinton et al. 2015), `cosine` for embeddings, `mse`, the mean
    squared difference, for other numbers, and `relative`, that over the teacher's variance, where there are several
    outputs. `class_axis`, counted with the batch as 0, overrules the axis that was told from task and outputs.
    Without a teacher the loss is the task's. `hints` names layers whose outputs are pulled to the
    teacher's (Romero et al. 2015, FitNets) by `hint_weight |student - teacher|^2 / |teacher|^2`, which unlike theirs
    does not depend on a layer's scale; `auto` takes three spread over the layers that have one shape in both networks.
    `momentum` is SGD's (Nesterov), `betas` and `epsilon` are AdamW's; weight decay spares norms and biases.
    `techniques` take part in every training by this recipe (`whet.train.technique`). `precision` auto is bf16 autocast
    where the CPU computes in bf16.
    """

    optimizer: str = "sgd"
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    warmup: float = 0.05
    distillation: float = 0.9
    temperature: float = 4.0
    distance: str = "auto"
    clip_norm: float = 5.0
    precision: str = "auto"
    hints: tuple[str, ...] | Literal["auto"] = ()
    hint_weight: float = 1.0
    class_axis: int | None = None
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-8
    techniques: tuple[Technique, ...] = ()

    def __post_init__(self) -> None:
        for field, allowed in (
            ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("distance", HOW_FAR), ("precision", PRECISIONS),
        ):  # fmt: skip
            if getattr(self, field) not in allowed:
                raise unknown(field, str(getattr(self, field)), allowed)
        for name in ("learning_rate", "temperature", "epsilon"):
            positive(name, getattr(self, name))
        for name in ("weight_decay", "clip_norm", "hint_weight"):
            positive(name, getattr(self, name), zero=True)
        for name in ("momentum", "warmup", "distillation"):
            share(name, getattr(self, name))
        for beta in self.betas:
            share("betas", beta)
        if self.warmup == 1 or self.momentum == 1:
            raise ValueRangeError("warmup and momentum must be below 1.")
        if self.class_axis == 0:
            raise ValueRangeError("class_axis 0 is the batch; classes lie in another.")
        for technique in self.techniques:
            if not isinstance(technique, Technique):
                raise ValueRangeError(f"techniques must have a method begin(session); got {technique!r:.80}.")
        if isinstance(self.hints, str) and self.hints != "auto":
            raise unknown("hints", self.hints, ("auto",))

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Recipe:
        """Return a recipe of `PRESETS`, with changes: `convolutions`, `transformer`, `perceptron` or `gentle`.

        >>> Recipe.preset("transformer", learning_rate=3e-4).learning_rate
        0.0003

        Raises: UnknownNameError for another name.
        """
        if name not in PRESETS:
            raise unknown("preset", name, PRESETS)
        return cls(**{**PRESETS[name], **changes})

    def kinds(self, told: Sequence[Kind]) -> tuple[Kind, ...]:
        """Return the kinds of outputs by which to compare: those told, with this recipe's class axis."""
        if self.class_axis is None:
            return tuple(told)
        classes = [k.name in ("logits", "probabilities") or self.distance == "kl" for k in told]
        return tuple(
            replace(k, class_axis=self.class_axis) if axis else k for k, axis in zip(told, classes, strict=True)
        )

    def comparison(self, told: Sequence[Kind]) -> str:
        """Say by which distance each output is compared with the teacher's.

        >>> Recipe().comparison((Kind("logits", 1), Kind("regression")))
        'kl over axis 1, relative'
        """
        kinds = self.kinds(told)
        pairs = zip(chosen(self.distance, kinds), kinds, strict=True)
        return ", ".join(f"kl over axis {k.class_axis}" if how == "kl" else str(how or "none") for how, k in pairs)

    def bf16(self) -> bool:
        """Say whether to train in bf16 on this machine."""
        if self.precision != "auto":
            return self.precision == "bf16"
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())

    def rate_at(self, progress: float) -> float:
        """Return the learning rate when so large a share of the training, in [0, 1], is done."""
        return self.learning_rate * SCHEDULES[self.schedule](progress, self.warmup)

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer over the parameters of `module` that train."""
        return OPTIMIZERS[self.optimizer](groups_of(module, self.weight_decay), self)


def usual(module: nn.Module) -> Recipe:
    """Return what one begins with for a network: SGD where batch norms steady the steps, AdamW elsewhere.

    A network without batch norms, a transformer or a perceptron, is lost by SGD at the rates that residual networks
    like, and where the budget leaves no time to try recipes the first one is all there is.

    >>> usual(nn.Linear(2, 2)).optimizer, usual(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))).optimizer
    ('adamw', 'sgd')
    """
    if any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) for m in module.modules()):
        return Recipe()
    return Recipe("adamw", 1e-3, weight_decay=0.01)
