"""A chain of passes is a pass: results add up, spaces too, and it needs what any of its members needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

import whet
from whet.core.errors import DecisionError
from whet.core.passes import Chain, Change, OneOf, Pass, Result, Traits, changes
from whet.core.space import Choice, Decision, Space

PLAIN, LATE = Traits(), Traits("weights", needs=("calibration",))


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


@dataclass(frozen=True)
class Scoped:
    """A pass with a scope and a choice for each of two layers, as quantizers have; it says what it saw."""

    kind: str
    values: tuple[int, ...] = (8, 32)
    traits: Traits = LATE

    def space(self, net: Any, target: Any) -> Space:
        scope = Choice(f"network:{self.kind}", ("off", "all", "per-layer"), "off")
        each = [Choice(f"{s}:{self.kind}", self.values, 32, (scope.name, ("per-layer",))) for s in "ab"]
        return Space([scope, *each])

    def obvious(self, net: Any, target: Any) -> list[Decision]:
        return [Decision({f"network:{self.kind}": "all"})]

    def apply(self, net: Any, decision: Decision, run: Any) -> Result:
        own = {name: value for name, value in decision.items() if name.endswith(self.kind)}
        return Result(net, changes(self.kind, {"network": str(own)}) if own else ())


ONE = OneOf("network:form", (("static", Scoped("bits")), ("stored", Scoped("weights"))))


def test_one_choice_says_which_pass_acts_and_the_others_choices_do_not_count() -> None:
    net = whet.lift(nn.Linear(2, 2), torch.randn(2, 2))
    space = ONE.space(net, None)  # type: ignore[arg-type]
    assert isinstance(ONE, Pass) and space.choices["network:form"].values == ("none", "static", "stored")
    both = Decision({"network:form": "stored", "network:bits": "all", "network:weights": "per-layer", "a:weights": 8})
    assert space.canonical(both) == Decision({name: both[name] for name in both if name != "network:bits"})
    assert space.canonical(Decision({"network:bits": "all"})) == Decision()
    done = ONE.apply(net, space.canonical(both), None)  # type: ignore[arg-type]
    assert [(c.kind, c.text) for c in done.changed] == [("weights", "{'a:weights': 8, 'network:weights': 'per-layer'}")]
    nothing = ONE.apply(net, Decision(), None)  # type: ignore[arg-type]
    assert not nothing.changed and nothing.net is not net and torch.equal(nothing.net(*net.example), net(*net.example))
    assert ONE.traits == LATE
    assert ONE.obvious(net, None) == [  # type: ignore[arg-type]
        Decision({"network:bits": "all", "network:form": "static"}),
        Decision({"network:form": "stored", "network:weights": "all"}),
    ]


def test_choices_that_alternatives_share_are_one_and_those_that_differ_are_told() -> None:
    alike = OneOf("network:form", (("fast", Scoped("bits")), ("exact", Scoped("bits"))))
    space = alike.space(None, None)  # type: ignore[arg-type]
    assert space.choices["network:bits"].when == ("network:form", ("fast", "exact")) and len(space) == 4
    other = OneOf("network:form", (("fast", Scoped("bits")), ("small", Scoped("bits", (4, 32)))))
    with pytest.raises(DecisionError, match="different choices 'a:bits'"):
        other.space(None, None)  # type: ignore[arg-type]
    with pytest.raises(DecisionError, match="declared twice: make its passes alternatives, `OneOf`"):
        Chain((Scoped("bits"), Scoped("bits"))).space(None, None)  # type: ignore[arg-type]
