"""Lottery tickets: which few of the weights that a network began with learn as well as all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from whet.core.checks import ValueRangeError, share, whole
from whet.core.errors import TrainingError
from whet.core.net import Net
from whet.core.task import Task
from whet.graph.zeros import hold, largest, masked, sites
from whet.train.activating import activated
from whet.train.fit import fit
from whet.train.fit_report import FitReport
from whet.train.recipe import Recipe
from whet.train.technique import Hooks, Session

Masks = dict[str, Tensor]
"""By layer which of its weights are left, of the weight's shape: true is left."""


@dataclass(frozen=True)
class Ticket:
    """A network that was trained with what is left, from where it began; `left` is the share of treated weights.

    The first is the whole network. `net` holds its zeros: files store them as bits, and trainings keep them.
    """

    net: Net
    masks: Masks
    left: float
    report: FitReport


@dataclass(frozen=True)
class Masked:
    """Weights that are not left are zero after each step; weights that are left may be zero, and learn."""

    masks: Mapping[str, Tensor]

    def begin(self, session: Session) -> Hooks:
        weights = {name: session.module.get_submodule(name).get_parameter("weight") for name in self.masks}
        return Hooks(after_step=lambda: masked(weights, self.masks))


def tickets(
    net: Net, task: Task, *, rounds: int = 5, gone: float = 0.2, each: bool = True, activating: float = 0.0,
    least: int = 1, recipe: Recipe | None = None, samples: int | None = None, epochs: float | None = None,
    seed: int = 0, progress: Callable[[dict[str, Any]], None] = lambda event: None,
) -> Iterator[Ticket]:  # fmt: skip
    """Yield the whole network trained, then a ticket for each round of pruning; `net` is as it begins, untrained.

        m_0 = 1,    m_n = m_(n-1) without its share `gone` of least |train(m_(n-1) * w_0)|

    Every training begins at m * w_0, with the statistics of norms that were there at first, an optimizer without
    memory, a schedule from its start and the same batches, and goes on for as long. Layers are ranked one by one, and
    the last of them loses half as much a round; without `each` all are ranked together. Of l weights that are left in
    a layer floor(gone l + 1/2) go, so that a share of (1 - gone)^n is left after n rounds. Of `gone`, a share
    `activating` is not taken by magnitude but from what holds neurons back (`whet.train.activating`). Treated are
    linear layers and convolutions of at least `least` weights.

    Its controls are `from_start` of a network that began otherwise, with the same masks, and of the same one with
    masks that are `shuffled`: a ticket wins where it learns better than both.

    Deviation from the paper: its networks of convolutions alone have rates of their own for kinds of layers.

    Paper: Frankle and Carbin 2019, The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks.
    Raises: ValueRangeError for a share outside of ]0, 1[, a part of it that is not below it, or less than one round;
    TrainingError where no layer is treated; what `fit` raises.
    """
    whole("rounds", rounds)
    if not 0 < share("gone", gone) < 1:
        raise ValueRangeError(f"gone must be above 0 and below 1; got {gone!r}.")
    if share("activating", activating) >= gone:
        raise ValueRangeError(f"activating is a part of gone, {gone}, and must be below it; got {activating!r}.")
    names = list(sites(net.layers(), least))
    if not names:
        raise TrainingError(f"no linear layer or convolution of {net.name} has {least} weights: no tickets are drawn.")
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights_of(net, names).items()}
    for stage in range(rounds + 1):
        limits = {"recipe": recipe, "samples": samples, "epochs": epochs, "seed": seed}
        found = trained(net, masks, task, progress=lambda e, at=stage: progress({**e, "round": at}), **limits)
        yield found
        masks = pruned(found, gone - activating, each)
        if activating:
            count = int(activating * sum(int(mask.sum()) for mask in found.masks.values()))
            masks = activated(weights_of(found.net, names), weights_of(net, names), masks, count)


def trained(net: Net, masks: Masks, task: Task, **options: Any) -> Ticket:
    """Return what comes of a copy of a network that begins with the masks; `options` are those of `fit`."""
    copy = from_start(net, masks)
    report = fit(copy, task, techniques=(Masked(masks),), **options)
    for name in masks:
        hold(copy.layer(name))
    total = sum(mask.numel() for mask in masks.values())
    return Ticket(copy, masks, sum(int(mask.sum()) for mask in masks.values()) / total, report)


def from_start(net: Net, masks: Mapping[str, Tensor]) -> Net:
    """Return a copy of a network that has not been trained, zeros where masks, of the weights' shapes, are false."""
    copy = net.copy()
    masked(weights_of(copy, masks), masks)
    return copy


def weights_of(net: Net, names: Iterable[str]) -> dict[str, Tensor]:
    """Return the weights of layers by name, `(out, in, ...)` each."""
    return {name: net.layer(name).get_parameter("weight") for name in names}


def pruned(ticket: Ticket, gone: float, each: bool = True) -> Masks:
    """Return the masks of the next round: without the smallest of the weights that training made of what is left."""
    weights = weights_of(ticket.net, ticket.masks)
    *_, last = weights
    if each:
        rates = {name: gone / 2 if name == last else gone for name in weights}
        left = {n: largest({n: w}, 1 - (1 - rates[n]) * _share(ticket.masks[n]))[n] for n, w in weights.items()}
    else:
        left = largest(weights, 1 - (1 - gone) * ticket.left)
    return {name: left[name] & mask for name, mask in ticket.masks.items()}


def _share(mask: Tensor) -> float:
    return int(mask.sum()) / mask.numel()


def shuffled(masks: Mapping[str, Tensor], seed: int = 0) -> Masks:
    """Return masks with as many weights of each layer, at places that are drawn; of the same shapes.

    >>> shuffled({"a": torch.tensor([[True, False, True]])}, seed=1)["a"].sum(1)
    tensor([2])
    """
    generator = torch.Generator().manual_seed(seed)
    return {n: m.flatten()[torch.randperm(m.numel(), generator=generator)].view(m.shape) for n, m in masks.items()}
