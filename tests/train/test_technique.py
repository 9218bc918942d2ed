"""Techniques take part in every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_training import F32, network, task

from whet.core.checks import ValueRangeError
from whet.train.fit import fit
from whet.train.recipe import Recipe
from whet.train.technique import Hooks, Session


@dataclass(frozen=True)
class Noting:
    """Adds a constant times the squares of the weights to the loss, and notes when it was called."""

    factor: float
    seen: list[Any]

    def begin(self, session: Session) -> Hooks:
        weights = list(session.module.parameters())

        def decay() -> Tensor:
            return self.factor * sum((w.square().sum() for w in weights), torch.zeros(()))

        return Hooks(decay, lambda: self.seen.append(session.report.steps), lambda: self.seen.append("end"))


def test_a_term_of_the_loss_counts_whole_and_the_hooks_come_in_order() -> None:
    plain, other, seen = network(), network(), list[Any]()
    before = sum(float(w.detach().square().sum()) for w in plain.parameters())
    losses = [
        fit(module, task(), recipe=F32, samples=32, techniques=techniques).losses[0]
        for module, techniques in ((plain, ()), (other, (Noting(0.5, seen),)))
    ]
    assert losses[1] - losses[0] == pytest.approx(0.5 * before, rel=1e-5)
    assert seen == [1, "end"]


def test_a_technique_ends_where_the_training_fails() -> None:
    seen: list[Any] = []
    with pytest.raises(RuntimeError, match="broken"):
        fit(network(), task(_broken), recipe=Recipe(precision="f32", techniques=(Noting(0.0, seen),)), samples=32)
    assert seen == ["end"]


def _broken(outputs: Tensor, targets: Tensor) -> Tensor:
    raise RuntimeError("broken")


def test_what_is_no_technique_is_told() -> None:
    with pytest.raises(ValueRangeError, match="method begin"):
        Recipe(techniques=("hints",))  # type: ignore[arg-type]
