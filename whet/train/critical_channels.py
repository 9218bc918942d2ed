"""Training the channels that matter most, and leaving the others as they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from whet.core.checks import ValueRangeError, share
from whet.core.errors import unknown
from whet.train.technique import Hooks, Session

By = Literal["network", "layer", "layers"]
BY: tuple[By, ...] = ("network", "layer", "layers")
TRAINED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class CriticalChannels:
    """Of convolutions and linear layers only the channels with the largest weights are trained.

        I_c = mean_i |w_ci|,    trained are those with the largest I_c, a `share` of them

    Channels are ranked `by` all of the network, or within each layer (`layer`); with `layers` whole layers are ranked,
    each by the mean of its weights, and one that is left has no gradient taken, which is what saves time here: of
    layers that are trained in part the whole gradient is computed. Norms, biases and the steps of grids always train.
    Frozen channels do not move at all, whatever momentum and decay say. Meant for networks that post-training
    quantization left near the original, which little training mends.

    They are chosen before each step, where the paper does so every 4096 samples, so that a training that was
    interrupted goes on exactly.

    Paper: Ashkboos et al. 2024, EfQAT: An Efficient Framework for Quantization-Aware Training (there CWPN, CWPL, LWPN).
    Raises: ValueRangeError for a share outside of (0, 1]; UnknownNameError for another way to rank.
    """

    share: float = 0.25
    by: By = "network"
    paper: str = field(default="ashkboos2024efqat", init=False, repr=False)

    def __post_init__(self) -> None:
        share("share", self.share)
        if self.share == 0:
            raise ValueRangeError("share must be above 0: nothing would train.")
        if self.by not in BY:
            raise unknown("by", str(self.by), BY)

    def begin(self, session: Session) -> Hooks:
        layers = {name: m for name, m in session.module.named_modules() if isinstance(m, TRAINED)}
        weights = {name: layer.weight for name, layer in layers.items() if layer.weight.requires_grad}
        kept: dict[str, tuple[Tensor, Tensor]] = {}
        if not weights:
            return Hooks()

        def choose() -> None:
            for name, trained in chosen(weights, self.share, self.by).items():
                weight = weights[name]
                kept[name] = ~trained, weight.detach()[~trained].clone()
                if self.by == "layers":
                    weight.requires_grad_(bool(trained.all()))

        @torch.no_grad()
        def after_step() -> None:
            for name, (frozen, values) in kept.items():
                weights[name][frozen] = values
            choose()

        def end() -> None:
            for weight in weights.values():
                weight.requires_grad_(True)

        choose()
        return Hooks(after_step=after_step, end=end)


@torch.no_grad()
def chosen(weights: dict[str, Tensor], share: float, by: By = "network") -> dict[str, Tensor]:
    """Return by name which channels of each weight, `(out, ...)`, train: booleans `(out,)`.

    Equals are taken in their order; at least one channel, or layer, trains.

    >>> weights = {"a": torch.tensor([[1.0], [4.0]]), "b": torch.tensor([[3.0], [2.0]])}
    >>> {name: found.tolist() for name, found in chosen(weights, 0.5).items()}
    {'a': [False, True], 'b': [True, False]}
    >>> {name: found.tolist() for name, found in chosen(weights, 0.5, by="layers").items()}
    {'a': [True, True], 'b': [False, False]}
    """
    scores = {name: weight.abs().flatten(1).mean(1) for name, weight in weights.items()}
    if by == "layer":
        return {name: _largest(score, share) for name, score in scores.items()}
    if by == "layers":
        means = torch.stack([weight.abs().mean() for weight in weights.values()])
        taken = _largest(means, share)
        return {name: yes.expand(len(score)) for (name, score), yes in zip(scores.items(), taken, strict=True)}
    sizes = [len(score) for score in scores.values()]
    found = torch.split(_largest(torch.cat(list(scores.values())), share), sizes)
    return dict(zip(scores, found, strict=True))


def _largest(scores: Tensor, share: float) -> Tensor:
    count = max(1, round(share * len(scores)))
    found = torch.zeros(len(scores), dtype=torch.bool)
    found[torch.argsort(scores, descending=True, stable=True)[:count]] = True
    return found
