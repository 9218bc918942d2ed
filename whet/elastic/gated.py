"""One-shot search: the weights of a relaxed supernet and the logits of its choices, trained together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from whet.core.errors import SpecError, unknown
from whet.core.run import Run
from whet.core.space import Decision
from whet.decisions.mixtures import MIXINGS
from whet.elastic.relaxation import Relaxation
from whet.elastic.supernet import Supernet

WAYS = ("gates", "interpolation")
"""The mixings whose logits are those of probabilities."""
BEGIN = 1.0
"""The logit of the identity at the start, where the others' is 0: the search begins near the trained network."""
SCALE = 5.0
"""What logits are multiplied by: they learn so much faster than weights."""


class Gated(nn.Module):
    """A relaxed supernet that makes its mixtures from trainable logits; in eval mode it runs the likeliest decision.

    Raises: UnknownNameError for a mixing that is not in `WAYS`.
    """

    def __init__(self, relaxation: Relaxation, mixing: str = "gates", seed: int = 0) -> None:
        if mixing not in WAYS:
            raise unknown("mixing", mixing, WAYS)
        super().__init__()
        self.relaxation, self.mixing = relaxation, mixing
        self.source = torch.Generator().manual_seed(seed)
        self.logits = nn.ParameterList()
        for choice in relaxation.choices:
            start = torch.zeros(len(choice.values))
            start[choice.values.index(choice.identity)] = BEGIN / SCALE
            self.logits.append(nn.Parameter(start))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return outputs `(rows, ...)` of a mixture drawn from the logits; in eval mode of the likeliest decision."""
        if self.training:
            mixtures = [MIXINGS[self.mixing](SCALE * one, self.source) for one in self.logits]
        else:
            mixtures = self.relaxation.one_hot(self.decision)
        output: Tensor = self.relaxation(mixtures, *inputs)
        return output

    @property
    def probabilities(self) -> list[Tensor]:
        """The probability of each value of each choice: one tensor (values,) a choice."""
        return [(SCALE * one).softmax(-1) for one in self.logits]

    @property
    def decision(self) -> Decision:
        """The decision of each choice's likeliest value."""
        return self.relaxation.likeliest([p.detach() for p in self.probabilities])

    def expected(self, tables: Sequence[Tensor]) -> Tensor:
        """Return the scalar `sum_c sum_v p_cv table_cv`: the expected log latency, if tables hold the effects."""
        return torch.stack([p @ table for p, table in zip(self.probabilities, tables, strict=True)]).sum()

    def indecision(self) -> Tensor:
        """Return the scalar `sum_c sum_v p_cv (1 - p_cv)`, zero where every choice is settled.

        As a penalty it polarizes the choices until one sub-network is agreed on, in the one pass that trains it:
        Learning a Consensus Sub-Network with Polarization Regularization and One Pass Training, whose gates also
        depend on the input until they agree.
        """
        return torch.stack([(p * (1 - p)).sum() for p in self.probabilities]).sum()


@dataclass(frozen=True)
class Price:
    """What the search pays for beside the task's loss: the expected log latency, and indecision."""

    latency: float = 0.1
    indecision: float = 0.0


def one_shot(
    supernet: Supernet, run: Run, effects: Mapping[str, Sequence[float]], price: Price, *, mixing: str = "gates",
    recipe: Any = None, **limit: Any,
) -> Decision:  # fmt: skip
    """Train weights and choices together for as long as `limit` says; return the decision that they settle on.

        loss(output, target) + price.latency * E[log latency] + price.indecision * sum p (1 - p)

    `effects` hold, for each choice by name, each value's effect on log latency. The supernet's weights are trained on
    the way, for what was likely. Raises: SpecError where effects are missing or of another length.

    Paper: Cai, Zhu and Han 2019, ProxylessNAS, which updates weights and gates in turn on two halves of the
    data.
    """
    relaxation = Relaxation(supernet)
    for choice in relaxation.choices:
        given = effects.get(choice.name, ())
        if len(given) != len(choice.values):
            raise SpecError(f"choice '{choice.name}' has {len(choice.values)} values; got {len(given)} effects.")
    tables = [torch.tensor(list(effects[c.name]), dtype=torch.float32) for c in relaxation.choices]
    gated = Gated(relaxation, mixing, run.seed)
    own = run.task.loss

    def loss(output: Tensor, target: Tensor) -> Tensor:
        total: Tensor = own(output, target)
        return total + price.latency * gated.expected(tables) + price.indecision * gated.indecision()

    replace(run, task=replace(run.task, loss=loss)).fit(gated, recipe=recipe, **limit)
    return gated.decision
