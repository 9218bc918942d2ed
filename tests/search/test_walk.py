"""A walk through choices: what values save, what is legal under a budget, and what is seen of each step."""

from __future__ import annotations

import math

import numpy as np
import pytest

from whet.core.space import Choice, Decision, Space
from whet.decisions.enumerate import point, size
from whet.decisions.genes import Genes
from whet.search.walk import AFTER, BEFORE, DISTANCE, LEFT, LEGAL, PLACE, REST, SAVING, SIZE, SPENT, Walk
from whet.testing.strategies import SPACES, WIDTHS

SPACE = Space(
    [
        Choice("a:width", (0.25, 0.5, 1.0), 1.0), Choice("b:keep", (True, False), True),
        Choice("c:bits", (8, 16, 32), 32),
    ]
)  # fmt: skip


def operations(decision: Decision) -> float:
    """A quarter of the operations is left by the narrowest width, half without the block; bits change none."""
    return 1000.0 * float(decision.get("a:width", 1.0)) * (1.0 if decision.get("b:keep", True) else 0.5)


def walk() -> Walk:
    return Walk(Genes(SPACE), operations)


def test_savings_are_logs_of_operations_and_a_mean_choice_where_they_say_nothing() -> None:
    total = math.log(4) + math.log(2) + 0.75 * math.log(8) / 2
    by_hand = [
        [math.log(4), math.log(2), 0.0],
        [0.0, math.log(2), 0.0],
        [0.75 * math.log(8) / 2, 0.25 * math.log(8), 0],
    ]
    assert walk().savings == pytest.approx(np.array(by_hand) / total)
    assert Walk(Genes(SPACE)).savings[1] == pytest.approx(np.array([0.0, 1.0, 0.0]) / 2.5)
    assert walk().spent(np.array([[0, 1, 0], [2, 0, 2]])).tolist() == pytest.approx([1, 0])


def test_what_is_seen_by_hand() -> None:
    found, total = walk(), math.log(4) + math.log(2) + 0.75 * math.log(8) / 2
    seen = found.seen(np.array([[1, 0, 2]]), 1, np.array([0.6]))[0]
    spent, rest = math.log(2) / total, 0.75 * math.log(8) / 2 / total
    wanted = {PLACE: 1 / 3, SIZE: math.log(2) / total, SPENT: spent, LEFT: 0.6 - spent, REST: rest, BEFORE: spent}
    for column, value in wanted.items():
        assert seen[:, column] == pytest.approx([value] * 3), column
    assert seen[:2, SAVING] == pytest.approx([0, spent]) and seen[:2, AFTER] == pytest.approx(
        [0.6 - spent, 0.6 - 2 * spent]
    )
    assert seen[:2, DISTANCE].tolist() == [0, 1] and seen[:, LEGAL].tolist() == [0, 1, 0]
    assert seen[:, LEGAL + 1 :].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_every_legal_walk_reaches_its_budget_and_the_most_that_can_be_saved_is_always_legal() -> None:
    generator, found = np.random.default_rng(0), walk()
    budgets = generator.random(300) * found.most.sum()

    def anyone(seen: np.ndarray) -> np.ndarray:
        assert seen[..., LEGAL].any(1).all()
        return (generator.random(seen.shape[:2]) * seen[..., LEGAL]).argmax(1)

    rows = found.walked(anyone, budgets)
    assert (found.spent(rows) >= budgets - 1e-9).all()
    assert len(np.unique(rows, axis=0)) > size(SPACE) / 2, "what is not needed is free"
    assert (found.walked(anyone, np.full(9, 2.0)) == [0, 1, 0]).all(), "no budget is too large to walk under"


def test_steps_are_those_of_the_active_choices_and_nothing_follows_the_last() -> None:
    space = SPACES["conditional"]
    genes = Genes(space)
    found = Walk(genes)
    for rank in range(size(space)):
        row = genes.rows([point(space, rank)])
        budget = float(found.spent(row)[0])
        seen, chosen, following = found.steps(row[0], budget)
        active = genes.active(row)[0]
        assert chosen.tolist() == row[0][active].tolist() and (following[:-1] == seen[1:]).all()
        assert not following[-1].any() and seen[range(len(chosen)), chosen, LEGAL].all()
        assert seen[-1, chosen[-1], AFTER] == pytest.approx(0.0, abs=1e-6)


def test_choices_that_are_not_active_are_not_made() -> None:
    genes = Genes(SPACES["conditional"])
    rows = Walk(genes).walked(lambda seen: np.zeros(len(seen), np.int64), np.zeros(2))
    assert (rows == genes.canonical(rows)).all()


def test_the_state_is_of_any_width() -> None:
    space = Space([Choice(f"layer{i}:width", WIDTHS, 1.0) for i in range(7)])
    found = Walk(Genes(space))
    assert found.seen(np.zeros((5, 7), np.int64), 3, np.zeros(5)).shape == (5, 4, found.columns)
