"""A chain of passes is a pass: results add up, spaces too, and it needs what any of its members needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import whet
from whet.core.passes import Chain, Change, Pass, Result, Traits, changes
from whet.core.space import Choice, Decision, Space

PLAIN = Traits()


@dataclass(frozen=True)
class Marks:
    """Says that it was here, and what it saw of the decision."""

    site: str
    traits: Traits = PLAIN

    def space(self, net: Any, target: Any) -> Space:
        return Space([Choice(f"{self.site}:mark", (0, 1), 0)])

    def apply(self, net: Any, decision: Decision, run: Any) -> Result:
        text = f"marked {decision.get(f'{self.site}:mark', 0)}"
        return Result(net, changes("marked", {self.site: text, "both": text}), {self.site: "no reason"})


def test_results_of_a_chain_add_up_in_order() -> None:
    net = whet.lift(nn.Linear(2, 2), torch.randn(2, 2))
    chain = Chain((Marks("a"), Marks("b")))
    assert isinstance(chain, Pass) and list(chain.space(net, None).choices) == ["a:mark", "b:mark"]  # type: ignore[arg-type]
    result = chain.apply(net, Decision({"b:mark": 1}), None)  # type: ignore[arg-type]
    assert result.texts == {"a": "marked 0", "both": "marked 0; marked 1", "b": "marked 1"}
    assert set(result.skipped) == {"a", "b"} and result.changed[0] == Change("a", "marked", "marked 0")


def test_a_chain_nests_where_all_do_and_needs_what_any_needs() -> None:
    first = Marks("a", Traits("weights", nests=True, needs=("calibration",)))
    second = Marks("b", Traits("structure", nests=False, needs=("training", "calibration")))
    assert Chain((first, second)).traits == Traits("weights", False, ("calibration", "training"))
    assert Chain(()).traits == Traits("structure", True, ())
