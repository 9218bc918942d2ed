from __future__ import annotations

from collections import Counter

import pytest

from whet.core.errors import UnknownNameError
from whet.core.space import Choice, Space
from whet.search import strategies
from whet.search.strategies.random import RandomStrategy
from whet.testing.strategies import SPACES, check


def test_conforms() -> None:
    assert check(lambda space, seed: RandomStrategy(space, seed)) == list(SPACES)


def test_covers_a_space_evenly() -> None:
    space = Space([Choice(f"layer{i}:width", (0.25, 0.5, 0.75, 1.0), 1.0) for i in range(8)])
    decisions = RandomStrategy(space, seed=0).ask(1200)
    assert len(set(decisions)) == 1200
    for choice in space:
        for value in choice.values:
            assert abs(sum(d.of(choice) == value for d in decisions) - 300) < 60  # 4 standard deviations


def test_a_value_that_opens_more_decisions_is_proposed_more_often() -> None:
    """Of four decisions three have 4 bits: each is the first in a quarter of the runs."""
    space = Space([Choice("a:bits", (4, 32), 32), Choice("a:clip", (1, 2, 3), 1, when=("a:bits", (4,)))])
    first = Counter(RandomStrategy(space, seed).ask()[0] for seed in range(800))
    assert len(first) == 4 and all(abs(count - 200) < 50 for count in first.values())  # 4 standard deviations


def test_misspelt_strategy_is_named_with_its_neighbour() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'nsga2'"):
        strategies.get("nsga22", Space())


def test_every_name_of_the_table_can_be_made() -> None:
    space = SPACES["ordered"]
    for name in set(strategies.STRATEGIES) - {"cmaes"}:
        assert len(strategies.get(name, space, 0).ask(2)) == 2
