"""`Recipe`: how to train, as plain values; schedules; distances to a teacher."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from whet.core.errors import unknown

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


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


def _divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    rows = student.float().flatten(0, -2) / temperature, teacher.float().flatten(0, -2) / temperature
    log_p, log_q = (functional.log_softmax(r, -1) for r in rows)
    return functional.kl_div(log_p, log_q, log_target=True, reduction="batchmean") * temperature**2


DISTANCES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "kl": _divergence,
    "mse": lambda student, teacher, temperature: functional.mse_loss(student.float(), teacher.float()),
}
OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = ("auto", "bf16", "f32")


@dataclass(frozen=True)
class Recipe:
    """How to train.

    The loss is `(1 - distillation) * task loss + distillation * distance(student, teacher)`; the distance `kl` is
    `T^2 KL(softmax(teacher / T) || softmax(student / T))` over the last dimension (Hinton et al. 2015), `mse` the mean
    squared difference. Without a teacher the loss is the task's. `hints` names layers whose outputs are pulled to the
    teacher's (Romero et al. 2015, FitNets) by `hint_weight |student - teacher|^2 / |teacher|^2`, which unlike theirs
    does not depend on a layer's scale; `auto` takes three spread over the layers that have one shape in both networks.
    Weight decay spares norms and biases. `precision` auto is bf16 autocast where the CPU computes in bf16.
    """

    optimizer: str = "sgd"
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    warmup: float = 0.05
    distillation: float = 0.9
    temperature: float = 4.0
    distance: str = "kl"
    clip_norm: float = 5.0
    precision: str = "auto"
    hints: tuple[str, ...] | Literal["auto"] = ()
    hint_weight: float = 1.0

    def __post_init__(self) -> None:
        for field, allowed in (
            ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("distance", DISTANCES), ("precision", PRECISIONS),
        ):  # fmt: skip
            if getattr(self, field) not in allowed:
                raise unknown(field, getattr(self, field), allowed)

    def bf16(self) -> bool:
        """Say whether to train in bf16 on this machine."""
        if self.precision != "auto":
            return self.precision == "bf16"
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer over the parameters of `module` that train."""
        spared = {id(p) for m in module.modules() if isinstance(m, NORMS) for p in m.parameters()}
        trained = [p for p in module.parameters() if p.requires_grad]
        decayed = [p for p in trained if id(p) not in spared and p.dim() > 1]
        rest = [p for p in trained if id(p) in spared or p.dim() <= 1]
        groups = [{"params": p, "weight_decay": w} for p, w in ((decayed, self.weight_decay), (rest, 0.0)) if p]
        if self.optimizer == "sgd":
            return torch.optim.SGD(groups, self.learning_rate, self.momentum, nesterov=self.momentum > 0)
        return torch.optim.AdamW(groups, self.learning_rate, betas=(0.9, 0.98), eps=1e-8)
