"""What flows ask of a planner, of every strategy that says it is one; and that no other strategy says so."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from whet.core.space import Choice, Decision, Space
from whet.decisions.planner import Counting, Planner
from whet.search.strategies import get

SPACE = Space(
    [
        *(Choice(f"block{i}:keep", (True, False), True) for i in range(3)),
        *(Choice(f"layer{i}:width", (0.5, 0.75, 1.0), 1.0) for i in range(3)),
    ]
)
HARMS = {c.name: 0.01 * (i + 1) for i, c in enumerate(SPACE)}


def planner(name: str) -> Planner:
    """Return a strategy that believes that each choice is worth a tenth and does more harm than the one before."""
    made = get(name, SPACE)
    assert isinstance(made, Planner)
    made.believe(dict.fromkeys(HARMS, -0.1), HARMS)
    return made


@pytest.mark.parametrize(("name", "is_one"), [("sensitivity", True), ("random", False)])
def test_a_strategy_is_a_planner_by_what_it_can(name: str, is_one: bool) -> None:
    made = get(name, SPACE)
    assert isinstance(made, Planner) == is_one and isinstance(made, Counting)
    assert not isinstance(object(), Counting)


@pytest.mark.parametrize("name", ["sensitivity"])
def test_forecasts_are_powers_of_sums_of_effects_times_distances(name: str) -> None:
    made = planner(name)
    parts = [Decision({"block0:keep": False}), Decision({"layer1:width": 0.5})]
    both = parts[0].merge(parts[1])
    assert made.log_latency(Decision()) == made.drop(Decision()) == 0
    assert made.log_latency(both) == pytest.approx(sum(map(made.log_latency, parts)))
    assert max(map(made.drop, parts)) < made.drop(both)
    for choice in SPACE:
        steps = [made.steps(choice, value) for value in choice.values]
        assert steps[choice.values.index(choice.identity)] == (0, 0)
        assert all(0 <= distance <= 1 for pair in steps for distance in pair)


@pytest.mark.parametrize("name", ["sensitivity"])
def test_chains_nest_with_rising_damage_and_extensions_share_no_choice(name: str) -> None:
    made = planner(name)
    chain = made.chain([0.02, 0.05, 0.1, 0.2])
    assert len(chain) > 2 and all(a.items() < b.items() or made.drop(a) < made.drop(b) for a, b in pairwise(chain))
    assert all(a.keys() <= b.keys() for a, b in pairwise(chain))
    base = Decision({"block0:keep": False})
    found = made.extensions(base, 0.06, 3, barred=["block1:keep"])
    own = [set(each) - set(base) for each in found]
    assert len(found) > 1 and all(base.items() <= each.items() for each in found)
    assert sum(map(len, own)) == len(set.union(*own)) and "block1:keep" not in set.union(*own)


@pytest.mark.parametrize("name", ["sensitivity"])
def test_once_aimed_proposals_contain_the_base_and_keep_within_the_window(name: str) -> None:
    made, base = planner(name), Decision({"block2:keep": False})
    made.aim((0.02, 0.05), base)
    assert made.budgets == (0.02, 0.05) and made.base == base
    (first,) = made.ask(1)
    assert base.items() <= first.items()
    assert made.drop(first) - made.drop(base) <= math.sqrt(0.02 * 0.05) * 1.0001


@pytest.mark.parametrize("name", ["sensitivity"])
def test_the_shape_of_a_choice_is_taken_in(name: str) -> None:
    made = planner(name)
    choice = SPACE.choices["layer0:width"]
    made.shape({choice.name: [1.0, 0.9, 0.0]}, {choice.name: [1.0, 0.1, 0.0]})
    assert made.steps(choice, 0.75) == (0.9, 0.1)
