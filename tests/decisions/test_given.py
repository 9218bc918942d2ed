"""What is given stays, the rest is decided: spaces, decisions and proposals for a structure that is done."""

from __future__ import annotations

import pytest

from whet.core.errors import DecisionError, UnknownNameError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.decisions.enumerate import point, size
from whet.decisions.given import agrees, free, restricted, whole
from whet.search.strategies.llama_nas import LlamaNas
from whet.search.strategies.optuna import OptunaStrategy
from whet.search.strategies.sensitivity import Sensitivity

SPACE = Space(
    [
        Choice("a:width", (0.5, 1.0), 1.0),
        Choice("net:scope", ("off", "all", "each"), "off"),
        Choice("a:bits", (8, 32), 32, when=("net:scope", ("each",))),
        Choice("b:bits", (8, 32), 32, when=("net:scope", ("each",))),
    ]
)
HALF = {"a:width": 0.5}


@pytest.mark.parametrize("given", [HALF, {"net:scope": "each"}, {"net:scope": "all", "a:bits": 8}, {}])
def test_decisions_of_what_is_left_are_those_that_agree(given: dict[str, float | str]) -> None:
    inner = restricted(SPACE, given)
    every = [point(SPACE, rank) for rank in range(size(SPACE))]
    found = [whole(SPACE, point(inner, rank), given) for rank in range(size(inner))]
    assert sorted(found, key=str) == sorted((d for d in every if agrees(SPACE, d, given)), key=str)
    assert len(set(found)) == len(found)
    assert [whole(SPACE, free(inner, d, given), given) for d in found] == found


def test_what_the_space_does_not_have_cannot_be_given() -> None:
    with pytest.raises(UnknownNameError, match="a:width"):
        restricted(SPACE, {"a:widht": 0.5})
    with pytest.raises(DecisionError, match=r"0\.75"):
        restricted(SPACE, {"a:width": 0.75})


def test_what_is_believed_of_single_layers_is_proposed_for_the_structure() -> None:
    names = [f"{site}:bits" for site in "abcd"]
    space = Space([Choice("a:width", (0.5, 1.0), 1.0), *(Choice(name, (8, 32), 32) for name in names)])
    strategy = Sensitivity(space, seed=1, budgets=(0.008, 0.009))
    strategy.believe(
        {"a:width": 0.0, **dict(zip(names, (-0.4, -0.2, 0.1, -0.3), strict=True))},
        {"a:width": 9.0, **dict(zip(names, (0.013, 0.001, 0.001, 0.5), strict=True))},
    )
    strategy.aim((0.008, 0.009))
    (asked,) = strategy.ask(1, Decision(HALF))
    assert asked == Decision({**HALF, "b:bits": 8}), "c is slower, a and d do too much damage"


def test_a_strategy_that_cannot_work_on_what_is_left_draws() -> None:
    space = Space([Choice("b0:keep", (True, False), True), Choice("b0:bits", (8, 32), 32)])
    asked = LlamaNas(space, 0).ask(9, Decision({"b0:keep": False}))
    assert set(asked) == {Decision({"b0:keep": False}), Decision({"b0:keep": False, "b0:bits": 8})}


def test_options_and_what_was_measured_go_along() -> None:
    strategy = OptunaStrategy(SPACE, 4, sampler="nsga2", population_size=6)
    strategy.tell(
        [Observation(Decision({**HALF, "net:scope": "all"}), (2.0, 0.1)), Observation(Decision(), (1.0, 0.0))]
    )
    inner = strategy.within(HALF)
    assert isinstance(inner, OptunaStrategy) and inner.options == strategy.options and inner.row is strategy.row
    assert [o.decision for o in inner.ledger.measured()] == [Decision({"net:scope": "all"})]
