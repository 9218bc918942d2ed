"""The rungs of an elastic search: the chain, its rivals, and which of them is the last rung."""

from __future__ import annotations

import pytest

from whet.core.space import Choice, Decision, Space
from whet.schedule.chain import RUNGS, best_last, beyond, planned
from whet.search.strategies.sensitivity import Sensitivity


def blocks(*damages: float, budgets: tuple[float, float] = (0.01, 0.1)) -> Sensitivity:
    """Return a strategy over blocks that all gain alike and do these damages."""
    strategy = Sensitivity(Space([Choice(f"b{i}:keep", (True, False), True) for i in range(len(damages))]))
    strategy.budgets = budgets
    strategy.believe({c.name: -0.1 for c in strategy.space}, dict(zip(strategy.space.choices, damages, strict=True)))
    return strategy


def without(*dropped: int) -> Decision:
    return Decision({f"b{i}:keep": False for i in dropped})


def test_a_short_chain_gets_rivals_of_its_last_rung_and_one_more_comes_after_it() -> None:
    """Drops of untrained ResNet-20: the third and the fourth block gain alike, and the fourth trains better."""
    strategy = blocks(0.040, 0.048, 0.063, 0.075, 0.156, budgets=(0.075, 0.3))
    chain, rivals = planned(strategy)
    assert chain == [without(0), without(0, 1), without(0, 1, 2)]
    assert rivals == [without(0, 1, 3)]
    assert beyond(strategy, rivals[0]) == [without(0, 1, 2, 3)]
    assert beyond(strategy, without(0, 1, 2, 3)) == []


def test_chain_and_rivals_are_never_more_than_can_be_trained_at_once() -> None:
    chain, rivals = planned(blocks(*[0.02] * 14))
    assert len(chain) + len(rivals) <= RUNGS and chain[-1].items() > chain[0].items()


def test_blocks_that_do_no_damage_have_no_chain() -> None:
    assert planned(blocks(0.0, 0.0)) == ([], [])


@pytest.mark.parametrize(
    ("drops", "best"),
    [
        ([0.004, 0.010, 0.012, 0.006], 3),  # gains alike: the least drop
        ([0.004, 0.0045, 0.0041, 0.005], 2),  # no difference beyond the noise: the largest gain
        ([0.004, 0.008, 0.020, 0.012], 1),
    ],
)
def test_the_last_rung_is_the_one_of_largest_gain_for_its_drop(drops: list[float], best: int) -> None:
    strategy = blocks(0.01, 0.01, 0.01, 0.01)
    strategy.believe({"b0:keep": -0.1, "b1:keep": -0.1, "b2:keep": -0.11, "b3:keep": -0.1}, {})
    rungs = [without(0), without(0, 1), without(0, 2), without(0, 3)]
    assert best_last(strategy, rungs, 1, drops, noise=0.0015) == best


def test_the_only_rung_of_a_chain_is_held_against_its_rivals_too() -> None:
    assert best_last(blocks(0.01, 0.01), [without(0), without(1)], 0, [0.02, 0.01], noise=0.001) == 1
