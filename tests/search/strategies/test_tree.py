"""Tree search: the bound that it follows, halvings, conditional choices, and that it goes where the reward is."""

from __future__ import annotations

import numpy as np
import pytest
from engines import NETWORK, beat_random_search

from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.search import strategies
from whet.search.strategies.tree import Node, TreeSearch
from whet.testing.strategies import SPACES, WIDTHS, check

SIXTEEN = Choice("a:width", tuple((i + 1) / 16 for i in range(16)), 1.0)
CONDITIONAL = (
    Choice("first:method", ("none", "prune"), "none"),
    *(Choice(f"first{i}:density", WIDTHS, 1.0, when=("first:method", ("prune",))) for i in range(3)),
)


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(("exploration", "mean", "taken"), [(0.3, 0.32, 1), (0.3, 0.30, 0), (0.0, 0.49, 0)])
def test_the_child_of_the_largest_upper_bound_is_taken(exploration: float, mean: float, taken: int) -> None:
    """After 90 and 10 visits, 0.3 sqrt(2 log(100) / n) is 0.096 and 0.288: 0.5 is passed from 0.308 on."""
    node = Node(100, 0.0, {0: Node(90, 90 * 0.5), 1: Node(10, 10 * mean)})
    assert TreeSearch(NETWORK, exploration=exploration)._step(node, 2, generator()) == taken


def test_children_that_were_never_visited_come_first() -> None:
    node = Node(9, 9.0, {0: Node(8, 8.0), 2: Node(1, 1.0)})
    assert TreeSearch(NETWORK)._step(node, 3, generator()) == 1


def test_a_walk_counts_as_a_visit_so_that_the_next_is_another() -> None:
    strategy = TreeSearch(Space([Choice(f"b{i}:keep", (True, False), True) for i in range(2)]))
    root = Node()
    for row in ([0, 0], [0, 1], [1, 0], [1, 1]):
        strategy._grow(root, np.array(row), np.array([True, True]), 0.5)
    walks = {tuple(strategy._walk(root, generator()).tolist()) for _ in range(4)}
    assert len(walks) == 4


def test_a_value_of_an_ordered_choice_is_a_path_of_halvings() -> None:
    strategy = TreeSearch(Space([Choice("a:width", WIDTHS, 1.0), Choice("b:bits", (2, 4, 8), 8)]))
    assert [strategy._steps(0, v) for v in range(4)] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert [strategy._steps(1, v) for v in range(3)] == [[0], [1, 0], [1, 1]]
    assert TreeSearch(strategy.space, bisect=False)._steps(0, 2) == [2]


@pytest.mark.parametrize("before", [0, 4], ids=["alone", "behind conditional choices"])
def test_it_goes_where_the_reward_is(before: int) -> None:
    """Visits concentrate on the values near the optimum, among sixteen by halvings; chance is 5 of 16."""
    space = Space([*CONDITIONAL[:before], SIXTEEN, *(Choice(f"b{i}:keep", (True, False), True) for i in range(6))])
    near = []
    for seed in range(3):
        strategy = TreeSearch(space, seed, ("minimize",))
        for index in range(90):
            (decision,) = strategy.ask()
            distance = abs(float(decision.of(SIXTEEN)) - 0.25)  # type: ignore[arg-type]
            strategy.tell([Observation(decision, (distance + ("first:method" in decision),))])
            near += [distance < 0.15] if index >= 45 else []
    assert np.mean(near) > 0.8


def test_inactive_choices_are_no_levels_of_the_tree() -> None:
    strategy = TreeSearch(Space([*CONDITIONAL, SIXTEEN]))
    root = Node()
    rows = strategy.genes.rows([Decision({"a:width": 0.25})])
    strategy._grow(root, rows[0], strategy.genes.active(rows)[0], 1.0)
    assert _depths(root) == [1 + 4]  # the method, and one of sixteen widths


def _depths(node: Node) -> list[int]:
    return [1 + depth for child in node.children.values() for depth in _depths(child)] or [0]


def test_conforms() -> None:
    assert check(lambda space, seed: strategies.get("tree", space, seed)) == list(SPACES)


def test_beats_random_search() -> None:
    assert beat_random_search("tree")
